//! Sending a transaction, and what the kernel says to it.

use super::{
    assemble::{Absence, Entry},
    attribute::Writer,
    describe,
    message::{self, FAMILY_HEADER, Head, Kind},
    socket::Nft,
    transaction::Transaction,
};
use crate::{
    Cause, Error,
    abi::nlm,
    channel::{self, ERROR},
    error::During,
    monitor::readable,
    wire::{self, Messages, Received},
};
use nix::{
    libc,
    sys::socket::{setsockopt, sockopt},
};
use std::{os::fd::AsFd, time::Instant};

/// A refused message: its place (0 is the batch as a whole, 1 its first change) and the cause.
type Failure = (usize, Cause);

/// Before so many deletions it is asked whether their objects are there.
const MOST_ASKED: usize = 256;
/// So many answers fit the receive buffer of a socket as it is opened.
const FIRST_ANSWERS: usize = 128;
/// What one answer is accounted with in that buffer, in bytes.
const ANSWER: usize = 1280;
/// The largest receive buffer that is asked for.
const MOST_ANSWERS: usize = 1 << 24;

impl Transaction {
    /// Applies the whole batch in one `sendmsg`, or nothing of it. The error names the first change that the kernel
    /// refused and its place in the batch. An empty batch is applied without a system call.
    pub fn commit(self, nft: &mut Nft) -> Result<(), Error> {
        if let Some(reason) = self.writer.unfit() {
            let cause = Cause::Refused { errno: libc::EINVAL, text: Some(reason.to_owned()), offset: None };
            return Err(cause).during(|| self.summary());
        }
        let mut rest = self.without_known_absent(nft)?;
        while !rest.messages.is_empty() {
            let failures = rest.exchange(nft).during(|| rest.summary())?;
            if failures.is_empty() {
                return Ok(());
            }
            rest = rest.without_absent(failures)?;
        }
        Ok(())
    }

    fn summary(&self) -> String {
        format!("committing {} nftables changes", self.messages.len())
    }

    /// The batch without those messages that would find nothing, where that is fine: a batch that fails costs an RCU
    /// grace period (16 ms), asking first some microseconds for each. Of very many, the failure is the cheaper answer.
    fn without_known_absent(self, nft: &mut Nft) -> Result<Self, Error> {
        let unsure = |(_, entry): &(usize, &Entry)| entry.absence == Absence::IsFine;
        if self.messages.iter().enumerate().filter(unsure).count() > MOST_ASKED {
            return Ok(self);
        }
        let mut absent = Vec::new();
        for (index, entry) in self.messages.iter().enumerate().filter(unsure) {
            let bytes = self.writer.as_bytes().get(entry.start..).unwrap_or_default();
            if !nft.finds(bytes).during(|| self.summary())? {
                absent.push(index);
            }
        }
        Ok(if absent.is_empty() { self } else { self.without(&absent) })
    }

    /// The batch without those messages whose object is absent, where that is fine. Any other failure is the error.
    ///
    /// The kernel works through a whole batch whichever of its messages fail, so one answer names all of them.
    fn without_absent(self, failures: Vec<Failure>) -> Result<Self, Error> {
        let mut absent = Vec::new();
        for (place, cause) in failures {
            let index = place.checked_sub(1);
            let entry = index.and_then(|index| self.messages.get(index));
            match (index, entry) {
                (Some(index), Some(entry))
                    if entry.absence == Absence::IsFine && cause.errno() == Some(libc::ENOENT) =>
                {
                    absent.push(index);
                }
                (_, entry) => {
                    let name = self.name(place, entry, &cause);
                    return Err(cause).during(|| name);
                }
            }
        }
        Ok(self.without(&absent))
    }

    fn name(&self, place: usize, entry: Option<&Entry>, cause: &Cause) -> String {
        let bytes = entry.and_then(|entry| self.writer.as_bytes().get(entry.start..));
        match bytes.and_then(|bytes| describe::describe(bytes, offset(cause))) {
            Some(change) => format!("{change} (change {place} of {})", self.messages.len()),
            None => self.summary(),
        }
    }

    /// A batch of the other messages.
    fn without(&self, indexes: &[usize]) -> Self {
        let bytes = self.writer.as_bytes();
        let end_of = |at: usize| self.messages.get(at + 1).map_or(self.end(), |next| next.start);
        let first = self.messages.first().map_or(0, |first| first.start);
        let mut rest = Self {
            writer: Writer::with_capacity(bytes.len()),
            messages: Vec::with_capacity(self.messages.len()),
            sets: self.sets,
        };
        rest.writer.raw(bytes.get(..first).unwrap_or_default());
        for (at, entry) in self.messages.iter().enumerate() {
            if indexes.binary_search(&at).is_err() {
                rest.messages.push(Entry { start: rest.writer.len(), ..*entry });
                rest.writer.raw(bytes.get(entry.start..end_of(at)).unwrap_or_default());
            }
        }
        rest
    }

    /// Where the last change ends: before the end of the batch, which [`Transaction::exchange`] appends.
    fn end(&self) -> usize {
        let bytes = self.writer.as_bytes();
        self.messages.last().map_or(bytes.len(), |last| last.start + message::length(bytes, last.start))
    }

    /// Sends the batch and collects the failures; none means that it is applied.
    fn exchange(&mut self, nft: &mut Nft) -> Result<Vec<Failure>, Cause> {
        let first = self.seal(nft);
        nft.make_room(self.writer.len(), self.messages.len())?;
        channel::send(nft.channel.socket(), self.writer.as_bytes())?;
        nft.failures(first, self.messages.len())
    }

    /// Numbers the messages, asks for one acknowledgement and ends the batch. The answer is the batch's own number;
    /// the changes have those that follow.
    fn seal(&mut self, nft: &mut Nft) -> u32 {
        let first = nft.reserve(self.messages.len() + 1);
        message::set_sequence(&mut self.writer, 0, first);
        for (entry, sequence) in self.messages.iter().zip(first + 1..) {
            message::set_sequence(&mut self.writer, entry.start, sequence);
        }
        // The acknowledgement of the last change comes after the commit; one of the end needs Linux 6.10.
        if let Some(last) = self.messages.last() {
            message::add_flags(&mut self.writer, last.start, nlm::ACK);
        }
        let end = Head { kind: message::BATCH_END, flags: 0, family: 0, resource: message::NFTABLES };
        message::write(&mut self.writer, end, |_| {});
        first
    }
}

impl Nft {
    /// Whether the object that the message at the beginning of `bytes` deletes is there.
    fn finds(&mut self, bytes: &[u8]) -> Result<bool, Cause> {
        let Some(message) = Messages(bytes).next().transpose()? else { return Ok(true) };
        let Some(kind) = Kind::of_change(message.kind).and_then(Kind::reading) else { return Ok(true) };
        let (family, attributes) = message.payload.split_at_checked(FAMILY_HEADER).unwrap_or_default();
        let mut request = wire::Message::new(kind.number(), 0, family);
        request.put_raw(attributes);
        match self.channel.get(request, |_| Some(())) {
            Ok(()) => Ok(true),
            Err(cause) if cause.errno() == Some(libc::ENOENT) => Ok(false),
            Err(cause) => Err(cause),
        }
    }

    /// Lets the socket's buffers grow where a batch, or an error for each of its messages, would not fit.
    fn make_room(&mut self, length: usize, messages: usize) -> Result<(), Cause> {
        let socket = self.channel.socket().as_fd();
        if length > self.room {
            setsockopt(&socket, sockopt::SndBufForce, &length)?;
            self.room = length;
        }
        if messages > FIRST_ANSWERS {
            let answers = (messages * ANSWER).min(MOST_ANSWERS);
            setsockopt(&socket, sockopt::RcvBufForce, &answers)?;
        }
        Ok(())
    }

    /// Reads the answers to a batch of so many changes.
    fn failures(&mut self, first: u32, changes: usize) -> Result<Vec<Failure>, Cause> {
        let (mut failures, mut complete) = (Vec::new(), true);
        loop {
            match channel::datagram(self.channel.socket(), &mut self.buffer) {
                Err(cause) if cause.errno() == Some(libc::ENOBUFS) => complete = false,
                received => received?,
            }
            let mut last = false;
            for message in Messages(&self.buffer) {
                let message = message?;
                let Some(place) = place(&message, first, changes) else { continue };
                if let Err(cause) = channel::finished(&message) {
                    failures.push((place, restarted(cause)));
                }
                last |= place == changes;
            }
            // A batch that is refused as a whole, and answers that did not fit, may leave the last one out.
            let whole = failures.iter().any(|(place, _)| *place == 0);
            let waiting = || readable(self.channel.socket().as_fd(), Instant::now());
            if last || ((whole || !complete) && !waiting()?) {
                break;
            }
        }
        if failures.is_empty() && !complete {
            return Err(Cause::from(nix::errno::Errno::ENOBUFS));
        }
        failures.sort_by_key(|(place, _)| *place);
        Ok(failures)
    }
}

/// Where in its message the kernel found fault.
fn offset(cause: &Cause) -> Option<u32> {
    match cause {
        Cause::Refused { offset, .. } => *offset,
        Cause::System(_)
        | Cause::Truncated
        | Cause::Malformed(_)
        | Cause::Interrupted { .. }
        | Cause::DeadlinePassed => None,
    }
}

/// Which message an answer is about; nothing for late answers to an earlier batch.
fn place(message: &Received<'_>, first: u32, changes: usize) -> Option<usize> {
    let place = usize::try_from(message.sequence.checked_sub(first)?).ok()?;
    (message.kind == ERROR && place <= changes).then_some(place)
}

/// The kernel says `ERESTART` when the generation is another one. That is for the caller to try again.
fn restarted(cause: Cause) -> Cause {
    if cause.errno() != Some(libc::ERESTART) {
        return cause;
    }
    let text = Some("the ruleset was changed since it was read".to_owned());
    Cause::Refused { errno: libc::EAGAIN, text, offset: None }
}
