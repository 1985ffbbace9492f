//! Writing and reading netlink messages: a header, a fixed structure, and attributes that may nest.
//!
//! The crate writes its own few messages instead of using the typed ones of `netlink-packet-route`: those bring
//! the parsers of every object there is (about 0.6 MB in a plugin of 1.7 MB), have no nexthop objects, and leave
//! parts of what is needed here (forwarding entries, queue counts in a veth peer) to raw bytes all the same.

use crate::{abi::nlm, error::Cause};
use nix::libc;
use std::net::IpAddr;

/// Length of `struct nlmsghdr`.
pub(crate) const HEADER: usize = 16;
/// `NLA_F_NESTED`
const NESTED: u16 = 1 << 15;
/// `NLA_TYPE_MASK`: what is left without the flags "nested" and "big endian".
const TYPE: u16 = 0x3fff;

/// One request in the making. A value that netlink cannot carry is remembered and reported by [`Message::seal`].
#[derive(Clone, Debug)]
pub(crate) struct Message {
    bytes: Vec<u8>,
    fault: Option<i32>,
}

impl Message {
    /// A request of the given type, with its fixed structure as bytes.
    pub(crate) fn new(kind: u16, flags: u16, fixed: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&(flags | nlm::REQUEST).to_ne_bytes());
        bytes.extend_from_slice(&[0; 8]);
        let mut message = Self { bytes, fault: None };
        message.put_raw(fixed);
        message
    }

    /// Bytes as they are, padded to four: a fixed structure.
    pub(crate) fn put_raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    /// One attribute.
    pub(crate) fn put(&mut self, kind: u16, value: &[u8]) {
        let Ok(length) = u16::try_from(value.len() + 4) else {
            self.fault = Some(libc::EMSGSIZE);
            return;
        };
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.put_raw(value);
    }

    /// An attribute of 32 bits in the machine's order.
    pub(crate) fn put_u32(&mut self, kind: u16, value: u32) {
        self.put(kind, &value.to_ne_bytes());
    }

    /// An address in network order, four bytes or sixteen.
    pub(crate) fn put_ip(&mut self, kind: u16, value: IpAddr) {
        match value {
            IpAddr::V4(ip) => self.put(kind, &ip.octets()),
            IpAddr::V6(ip) => self.put(kind, &ip.octets()),
        }
    }

    /// A text with the zero byte that the kernel wants at its end.
    pub(crate) fn put_text(&mut self, kind: u16, value: &str) {
        if value.contains('\0') {
            self.fault = Some(libc::EINVAL);
            return;
        }
        let mut text = Vec::with_capacity(value.len() + 1);
        text.extend_from_slice(value.as_bytes());
        text.push(0);
        self.put(kind, &text);
    }

    /// An attribute that holds what `fill` writes.
    pub(crate) fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.put(kind | NESTED, &[]);
        fill(self);
        match u16::try_from(self.bytes.len() - start) {
            Ok(length) => self.patch(start, &length.to_ne_bytes()),
            Err(_) => self.fault = Some(libc::EMSGSIZE),
        }
    }

    /// Adds flags of the header.
    pub(crate) fn flag(&mut self, flags: u16) {
        let old = u16_at(&self.bytes, 6).unwrap_or_default();
        self.patch(6, &(old | flags).to_ne_bytes());
    }

    /// Writes length and sequence number; the bytes are then ready to be sent.
    pub(crate) fn seal(&mut self, sequence: u32) -> Result<&[u8], Cause> {
        let length = u32::try_from(self.bytes.len()).map_err(|_| refused(libc::EMSGSIZE))?;
        if let Some(errno) = self.fault {
            return Err(refused(errno));
        }
        self.patch(0, &length.to_ne_bytes());
        self.patch(8, &sequence.to_ne_bytes());
        Ok(&self.bytes)
    }

    fn patch(&mut self, offset: usize, value: &[u8]) {
        if let Some(place) = self.bytes.get_mut(offset..offset + value.len()) {
            place.copy_from_slice(value);
        }
    }
}

/// The same cause as if the kernel had refused the request with this number.
pub(crate) fn refused(errno: i32) -> Cause {
    Cause::Refused { errno, text: None, offset: None }
}

/// One received message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received<'a> {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    pub(crate) port: u32,
    pub(crate) payload: &'a [u8],
}

/// The messages of one datagram.
pub(crate) struct Messages<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Received<'a>, Cause>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let received = split_message(self.0);
        self.0 = match &received {
            Some((_, rest)) => rest,
            None => &[],
        };
        Some(received.map(|(message, _)| message).ok_or(Cause::Malformed("length of a message")))
    }
}

fn split_message(bytes: &[u8]) -> Option<(Received<'_>, &[u8])> {
    let length = usize::try_from(u32_at(bytes, 0)?).ok()?;
    let received = Received {
        kind: u16_at(bytes, 4)?,
        flags: u16_at(bytes, 6)?,
        sequence: u32_at(bytes, 8)?,
        port: u32_at(bytes, 12)?,
        payload: bytes.get(HEADER..length)?,
    };
    Some((received, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// One received attribute.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attribute<'a> {
    pub(crate) kind: u16,
    pub(crate) value: &'a [u8],
}

/// The attributes after a fixed structure of `skip` bytes. Ends at the first malformed one.
pub(crate) fn attributes(payload: &[u8], skip: usize) -> Attributes<'_> {
    Attributes(payload.get(skip.next_multiple_of(4)..).unwrap_or_default())
}

/// Walks over attributes.
pub(crate) struct Attributes<'a>(&'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from(u16_at(self.0, 0)?);
        let kind = u16_at(self.0, 2)? & TYPE;
        let value = self.0.get(4..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Attribute { kind, value })
    }
}

impl<'a> Attribute<'a> {
    pub(crate) fn u8(&self) -> Option<u8> {
        self.value.first().copied()
    }

    pub(crate) fn u16(&self) -> Option<u16> {
        u16_at(self.value, 0)
    }

    pub(crate) fn u32(&self) -> Option<u32> {
        u32_at(self.value, 0)
    }

    /// An address, if the value is of the length of one.
    pub(crate) fn ip(&self) -> Option<IpAddr> {
        ip(self.value)
    }

    pub(crate) fn mac(&self) -> Option<crate::Mac> {
        self.value.try_into().ok().map(crate::Mac)
    }

    /// A text up to its zero byte. Bytes that are no UTF-8 are replaced.
    pub(crate) fn text(&self) -> String {
        let end = self.value.iter().position(|&b| b == 0).unwrap_or(self.value.len());
        String::from_utf8_lossy(self.value.get(..end).unwrap_or_default()).into_owned()
    }

    pub(crate) fn nested(&self) -> Attributes<'a> {
        Attributes(self.value)
    }
}

pub(crate) fn ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        _ => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
    }
}

pub(crate) fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    bytes.get(offset..)?.first_chunk().copied().map(u16::from_ne_bytes)
}

pub(crate) fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes.get(offset..)?.first_chunk().copied().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mut m = Message::new(16, nlm::ACK, &[9; 5]);
        m.put_text(3, "eth0");
        m.nest(18, |m| {
            m.put_u32(4, 1450);
            m.put_ip(5, "fd00::1".parse().unwrap());
        });
        let bytes = m.seal(77).unwrap().to_vec();
        let received = Messages(&bytes).next().unwrap().unwrap();
        assert_eq!((received.kind, received.flags, received.sequence), (16, nlm::ACK | nlm::REQUEST, 77));
        let all: Vec<_> = attributes(received.payload, 5).collect();
        assert_eq!(all.len(), 2);
        assert_eq!((all[0].kind, all[0].text()), (3, "eth0".into()));
        let inner: Vec<_> = all[1].nested().collect();
        assert_eq!(inner[0].u32(), Some(1450));
        assert_eq!(inner[1].ip(), "fd00::1".parse().ok());
    }

    #[test]
    fn a_value_that_netlink_cannot_carry_is_refused_not_cut() {
        let mut m = Message::new(16, 0, &[]);
        m.put(1, &vec![0; 70_000]);
        assert_eq!(m.seal(1).unwrap_err().errno(), Some(libc::EMSGSIZE));
        let mut m = Message::new(16, 0, &[]);
        m.put_text(3, "eth0\0evil");
        assert_eq!(m.seal(1).unwrap_err().errno(), Some(libc::EINVAL));
    }

    #[test]
    fn torn_input_ends_without_a_panic() {
        let mut m = Message::new(16, 0, &[0; 16]);
        m.put_text(3, "eth0");
        m.nest(18, |m| m.put_u32(4, 1450));
        let bytes = m.seal(1).unwrap().to_vec();
        for end in 0..bytes.len() {
            for message in Messages(&bytes[..end]) {
                assert!(message.is_err(), "cut at {end}");
            }
        }
        for fill in [0u8, 3, 0xff] {
            let junk = vec![fill; 64];
            assert!(attributes(&junk, 0).count() <= 16);
            assert!(Messages(&junk).count() <= 4);
        }
    }
}
