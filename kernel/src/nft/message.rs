//! Messages of the nfnetlink family: their kinds and headers.

use super::attribute::Writer;
use crate::{abi::nlm, wire::Message};

/// `NFNL_MSG_BATCH_BEGIN`.
pub(super) const BATCH_BEGIN: u16 = 0x10;
/// `NFNL_MSG_BATCH_END`.
pub(super) const BATCH_END: u16 = 0x11;
/// `NFNL_SUBSYS_NFTABLES`, in the upper byte of a message's kind and as the resource of a batch.
pub(super) const NFTABLES: u16 = 10;

/// The length of `struct nfgenmsg`, which follows the netlink header.
pub(super) const FAMILY_HEADER: usize = 4;

/// The `nf_tables` messages that are used here (`enum nf_tables_msg_types`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum Kind {
    NewTable = 0,
    GetTable = 1,
    DeleteTable = 2,
    NewChain = 3,
    GetChain = 4,
    DeleteChain = 5,
    NewRule = 6,
    GetRule = 7,
    DeleteRule = 8,
    NewSet = 9,
    GetSet = 10,
    DeleteSet = 11,
    NewElement = 12,
    GetElement = 13,
    DeleteElement = 14,
    NewGeneration = 15,
    GetGeneration = 16,
}

impl Kind {
    /// The kinds that change something or tell of a change.
    const CHANGES: [Kind; 11] = [
        Kind::NewTable,
        Kind::DeleteTable,
        Kind::NewChain,
        Kind::DeleteChain,
        Kind::NewRule,
        Kind::DeleteRule,
        Kind::NewSet,
        Kind::DeleteSet,
        Kind::NewElement,
        Kind::DeleteElement,
        Kind::NewGeneration,
    ];

    /// The kind as it stands in a message header.
    pub(super) fn number(self) -> u16 {
        NFTABLES << 8 | self as u16
    }

    /// The request that reads what this one deletes: its attributes name the object in the same way.
    pub(super) fn reading(self) -> Option<Kind> {
        let pairs = [
            (Self::DeleteTable, Self::GetTable),
            (Self::DeleteChain, Self::GetChain),
            (Self::DeleteRule, Self::GetRule),
            (Self::DeleteSet, Self::GetSet),
            (Self::DeleteElement, Self::GetElement),
        ];
        pairs.into_iter().find(|(deletion, _)| *deletion == self).map(|(_, reading)| reading)
    }

    /// The change that a message header's kind means; `None` for every other message.
    pub(super) fn of_change(number: u16) -> Option<Kind> {
        Self::CHANGES.into_iter().find(|kind| kind.number() == number)
    }
}

/// A request that reads: no batch, one message.
pub(super) fn request(kind: Kind, family: u8) -> Message {
    Message::new(kind.number(), 0, &[family, 0, 0, 0])
}

/// What stands in front of a message's attributes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    /// The header's kind.
    pub(super) kind: u16,
    /// Flags besides `NLM_F_REQUEST`.
    pub(super) flags: u16,
    /// `NFPROTO_*`.
    pub(super) family: u8,
    /// The resource; the subsystem in batch messages, else 0.
    pub(super) resource: u16,
}

/// Appends a message whose attributes are what `body` writes; its sequence number is filled in when it is sent.
pub(super) fn write(writer: &mut Writer, head: Head, body: impl FnOnce(&mut Writer)) {
    let start = open(writer, head);
    body(writer);
    close(writer, start);
}

/// Starts a message by hand; [`close`] ends it. The answer is where it starts.
pub(super) fn open(writer: &mut Writer, head: Head) -> usize {
    let start = writer.len();
    writer.raw(&[0; 4]);
    writer.raw(&head.kind.to_ne_bytes());
    writer.raw(&(head.flags | nlm::REQUEST).to_ne_bytes());
    writer.raw(&[0; 8]);
    writer.raw(&[head.family, 0]);
    writer.raw(&head.resource.to_be_bytes());
    start
}

/// Ends the message that began at `start`: sets its length.
pub(super) fn close(writer: &mut Writer, start: usize) {
    // A message is far below 4 GiB: its attributes are limited to 64 KiB each.
    let length = u32::try_from(writer.len() - start).unwrap_or(u32::MAX);
    writer.patch(start, &length.to_ne_bytes());
}

/// Sets the sequence number of the message at `start`.
pub(super) fn set_sequence(writer: &mut Writer, start: usize, sequence: u32) {
    writer.patch(start + 8, &sequence.to_ne_bytes());
}

/// The length of the message at `start`, as its header has it.
pub(super) fn length(bytes: &[u8], start: usize) -> usize {
    let length = bytes.get(start..).and_then(|rest| rest.first_chunk::<4>());
    length.map_or(0, |length| u32::from_ne_bytes(*length) as usize)
}

/// Adds flags to the message at `start`.
pub(super) fn add_flags(writer: &mut Writer, start: usize, flags: u16) {
    let at = start + 6;
    let old = writer.as_bytes().get(at..).and_then(|rest| rest.first_chunk::<2>());
    let flags = old.map_or(0, |old| u16::from_ne_bytes(*old)) | flags;
    writer.patch(at, &flags.to_ne_bytes());
}

#[cfg(test)]
mod tests {
    use super::{super::attribute::Attributes, *};
    use crate::wire::Messages;

    const HEAD: Head = Head { kind: 5, flags: 0x10, family: 2, resource: 10 };

    #[test]
    fn a_message_reads_back_with_what_was_patched_in() {
        let mut writer = Writer::default();
        write(&mut writer, HEAD, |body| body.u32(1, 9));
        set_sequence(&mut writer, 0, 77);
        add_flags(&mut writer, 0, nlm::ACK);
        let message = Messages(writer.as_bytes()).next().unwrap().unwrap();
        assert_eq!((message.kind, message.sequence), (5, 77));
        assert_eq!(message.flags, nlm::REQUEST | nlm::ACK | 0x10);
        assert_eq!(Attributes::of(&message).u32(1), Some(9));
    }
}
