//! Netlink attributes: written in place into one growing buffer, read without copying.

use super::message::FAMILY_HEADER;
use crate::wire::{self, Attribute, Received};

/// Bit 15 of an attribute's kind: the value is itself a list of attributes.
const NESTED: u16 = 1 << 15;
/// Netlink pads everything to four bytes.
const ALIGN: usize = 4;

/// A buffer of attributes and messages.
///
/// Everything in `nf_tables` is big endian, except what goes into registers. What cannot be written (an attribute over
/// 64 KiB, a zero byte in a name, a value wider than the registers) makes the whole buffer unfit to be sent.
#[derive(Debug, Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
    unfit: Option<&'static str>,
}

impl Writer {
    /// An empty buffer with room for `capacity` bytes.
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self { bytes: Vec::with_capacity(capacity), unfit: None }
    }

    /// What could not be written, so that the buffer must not be sent.
    pub(super) fn unfit(&self) -> Option<&'static str> {
        self.unfit
    }

    /// Makes the buffer unfit to be sent.
    pub(super) fn refuse(&mut self, reason: &'static str) {
        self.unfit.get_or_insert(reason);
    }

    /// The bytes written so far.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many bytes were written so far.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Appends bytes that are not an attribute (headers).
    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Overwrites bytes that were written before.
    pub(super) fn patch(&mut self, at: usize, bytes: &[u8]) {
        if let Some(place) = self.bytes.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }

    /// An attribute with these bytes.
    pub(super) fn bytes(&mut self, kind: u16, value: &[u8]) {
        let start = self.open(kind);
        self.bytes.extend_from_slice(value);
        self.close(start);
    }

    /// A string with its terminating zero.
    pub(super) fn text(&mut self, kind: u16, value: &str) {
        if value.contains('\0') {
            self.refuse("a name with a zero byte");
        }
        let start = self.open(kind);
        self.bytes.extend_from_slice(value.as_bytes());
        self.bytes.push(0);
        self.close(start);
    }

    /// A 32-bit number, big endian.
    pub(super) fn u32(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    /// A 64-bit number, big endian.
    pub(super) fn u64(&mut self, kind: u16, value: u64) {
        self.bytes(kind, &value.to_be_bytes());
    }

    /// An attribute whose value is what `body` writes.
    pub(super) fn nest(&mut self, kind: u16, body: impl FnOnce(&mut Self)) {
        let start = self.open(kind | NESTED);
        body(self);
        self.close(start);
    }

    /// Starts an attribute by hand; [`Writer::close`] ends it.
    pub(super) fn open(&mut self, kind: u16) -> usize {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0, 0]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        start
    }

    /// Ends the attribute that began at `start`: sets its length and pads it.
    pub(super) fn close(&mut self, start: usize) {
        match u16::try_from(self.bytes.len() - start) {
            Ok(length) => self.patch(start, &length.to_ne_bytes()),
            Err(_) => self.refuse("an attribute over 64 KiB"),
        }
        let padded = self.bytes.len().next_multiple_of(ALIGN);
        self.bytes.resize(padded, 0);
    }
}

/// A list of attributes as read; ends quietly at the first one that is cut short. Numbers are big endian here.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attributes<'a>(pub(super) &'a [u8]);

impl<'a> Attributes<'a> {
    /// The attributes of an nfnetlink message: what follows `struct nfgenmsg`.
    pub(super) fn of(message: &Received<'a>) -> Self {
        Self(message.payload.get(FAMILY_HEADER..).unwrap_or_default())
    }

    /// One after the other.
    pub(super) fn iter(self) -> wire::Attributes<'a> {
        wire::attributes(self.0, 0)
    }

    /// The first attribute of this kind.
    pub(super) fn find(self, kind: u16) -> Option<Attribute<'a>> {
        self.iter().find(|attribute| attribute.kind == kind)
    }

    /// The first attribute of this kind, as a list; empty when there is none.
    pub(super) fn nested(self, kind: u16) -> Self {
        Self(self.find(kind).map_or(&[], |attribute| attribute.value))
    }

    /// The first attribute of this kind, as a number.
    pub(super) fn u32(self, kind: u16) -> Option<u32> {
        number(&self.find(kind)?)
    }

    /// The first attribute of this kind, as a number.
    pub(super) fn u64(self, kind: u16) -> Option<u64> {
        self.find(kind)?.value.try_into().ok().map(u64::from_be_bytes)
    }

    /// The first attribute of this kind, as text.
    pub(super) fn text(self, kind: u16) -> Option<String> {
        Some(self.find(kind)?.text())
    }
}

/// The value as a big-endian number; `None` when it has another length.
pub(super) fn number(attribute: &Attribute<'_>) -> Option<u32> {
    attribute.value.try_into().ok().map(u32::from_be_bytes)
}

/// Bytes as text up to their first zero.
pub(super) fn text(bytes: &[u8]) -> String {
    Attribute { kind: 0, value: bytes }.text()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let mut writer = Writer::default();
        writer.text(1, "abc");
        writer.nest(2, |inner| {
            inner.u32(3, 7);
            inner.u64(4, 1 << 40);
        });
        let read = Attributes(writer.as_bytes());
        assert_eq!(read.text(1).as_deref(), Some("abc"));
        assert_eq!(read.nested(2).u32(3), Some(7));
        assert_eq!(read.nested(2).u64(4), Some(1 << 40));
        assert_eq!(writer.len() % 4, 0);
    }

    #[test]
    fn an_attribute_over_64_kib_is_noticed() {
        let mut writer = Writer::default();
        writer.bytes(1, &vec![0; 65_531]);
        assert_eq!(writer.unfit(), None);
        writer.bytes(1, &vec![0; 65_532]);
        assert_eq!(writer.unfit(), Some("an attribute over 64 KiB"));
    }

    #[test]
    fn junk_ends_the_list_and_never_panics() {
        for junk in [&[1, 0, 0, 0][..], &[3, 0, 1, 0, 9], &[200, 0, 1, 0, 1], &[4, 0], &[0; 16]] {
            assert_eq!(Attributes(junk).iter().count(), 0, "{junk:?}");
        }
        assert_eq!(Attributes(&[5, 0, 1, 0, 9]).iter().count(), 1, "the last value needs no padding");
    }
}
