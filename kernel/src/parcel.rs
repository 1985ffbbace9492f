//! Many requests in one piece of memory, in the order in which they are to be sent.

use crate::{
    abi::nlm,
    error::Cause,
    wire::{Message, u16_at},
};
use std::ops::Range;

/// Offsets in `struct nlmsghdr`.
const FLAGS: usize = 6;
const SEQUENCE: usize = 8;

/// Requests, one behind the other. One that netlink cannot carry has its place and no bytes.
#[derive(Debug, Default)]
pub(crate) struct Parcel {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    faults: Vec<(usize, Cause)>,
}

/// A part of a parcel, ready to be sent.
pub(crate) struct Sealed<'a> {
    pub(crate) bytes: &'a [u8],
    /// The sequence number of the message that asks for an acknowledgement.
    pub(crate) last: u32,
}

impl Parcel {
    pub(crate) fn push(&mut self, mut message: Message) {
        match message.seal(0) {
            Ok(bytes) => self.bytes.extend_from_slice(bytes),
            Err(cause) => self.faults.push((self.ends.len(), cause)),
        }
        self.ends.push(self.bytes.len());
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// What could not be packed, by position.
    pub(crate) fn take_faults(&mut self) -> Vec<(usize, Cause)> {
        std::mem::take(&mut self.faults)
    }

    /// Numbers the messages of these positions from `first` on. The last one alone asks for an acknowledgement; errors
    /// are always answered. Nothing if there is nothing to send.
    pub(crate) fn seal(&mut self, part: Range<usize>, first: u32) -> Option<Sealed<'_>> {
        let begin = self.begin(part.start)?;
        let (mut start, mut sequence, mut asking) = (begin, first, None);
        for end in self.ends.get(part)? {
            if *end > start {
                write(&mut self.bytes, start + SEQUENCE, &sequence.to_ne_bytes());
                asking = Some((start, sequence));
            }
            (start, sequence) = (*end, sequence.wrapping_add(1));
        }
        let (message, last) = asking?;
        let flags = u16_at(&self.bytes, message + FLAGS)? | nlm::ACK;
        write(&mut self.bytes, message + FLAGS, &flags.to_ne_bytes());
        Some(Sealed { bytes: self.bytes.get(begin..start)?, last })
    }

    fn begin(&self, position: usize) -> Option<usize> {
        match position.checked_sub(1) {
            Some(before) => self.ends.get(before).copied(),
            None => Some(0),
        }
    }
}

fn write(bytes: &mut [u8], offset: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(offset..offset + value.len()) {
        place.copy_from_slice(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Messages;

    #[test]
    fn each_part_is_numbered_and_its_last_whole_message_asks_for_an_answer() {
        let mut parcel = Parcel::default();
        for at in 0..5u16 {
            let mut message = Message::new(16 + at, 0, &[at.to_ne_bytes()[0]; 4]);
            if at == 1 || at == 4 {
                message.put_text(3, "a\0b");
            }
            parcel.push(message);
        }
        let read = |sealed: &Sealed<'_>| -> Vec<(u16, u32, bool)> {
            let all = Messages(sealed.bytes).map(Result::unwrap);
            all.map(|m| (m.kind, m.sequence, m.flags & nlm::ACK != 0)).collect()
        };
        let sealed = parcel.seal(0..3, 7).unwrap();
        assert_eq!((read(&sealed), sealed.last), (vec![(16, 7, false), (18, 9, true)], 9));
        let sealed = parcel.seal(3..5, 10).unwrap();
        assert_eq!((read(&sealed), sealed.last), (vec![(19, 10, true)], 10));
        assert!(parcel.seal(4..5, 20).is_none());
        let positions: Vec<usize> = parcel.take_faults().iter().map(|(at, _)| *at).collect();
        assert_eq!((parcel.len(), positions), (5, vec![1, 4]));
    }
}
