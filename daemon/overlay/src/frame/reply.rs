//! The ICMP error that tells a sender what became of its packet (RFC 792).

use std::net::Ipv4Addr;

use super::Answer;
use super::header::{Header, ICMP, checksum};

/// The IP header and the ICMP header of the answer.
const HEADERS: usize = 20 + 8;
/// A header with all options and eight bytes of what follows it: so much of the lost packet goes back.
const QUOTED: usize = 60 + 8;
/// So much of the lost packet's payload goes back with its header.
const PAYLOAD: usize = 8;
/// As many routers as any packet may pass.
const TTL: u8 = 64;

/// A whole IPv4 packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    bytes: [u8; HEADERS + QUOTED],
    length: usize,
    to: Ipv4Addr,
}

impl Reply {
    /// About a lost packet, to its sender, in the name of `by`.
    #[must_use]
    pub fn new(answer: Answer, by: Ipv4Addr, lost: &[u8]) -> Option<Self> {
        let header = Header::parse(lost).ok()?;
        let quote = lost.get(..header.total.min(header.length + PAYLOAD))?;
        let length = HEADERS + quote.len();
        let mut bytes = [0; HEADERS + QUOTED];
        bytes.get_mut(HEADERS..length)?.copy_from_slice(quote);
        let (kind, code) = match answer {
            Answer::NetUnreachable => (3, 0),
            Answer::TimeExceeded => (11, 0),
        };
        [bytes[20], bytes[21]] = [kind, code];
        let sum = checksum(bytes.get(20..length)?).to_be_bytes();
        [bytes[22], bytes[23]] = sum;
        [bytes[0], bytes[8], bytes[9]] = [0x45, TTL, ICMP];
        [bytes[2], bytes[3]] = u16::try_from(length).ok()?.to_be_bytes();
        bytes.get_mut(12..16)?.copy_from_slice(&by.octets());
        bytes.get_mut(16..20)?.copy_from_slice(&header.source.octets());
        let sum = checksum(bytes.get(..20)?).to_be_bytes();
        [bytes[10], bytes[11]] = sum;
        Some(Reply { bytes, length, to: header.source })
    }

    /// The packet.
    #[must_use]
    pub fn packet(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// Whom it is for.
    #[must_use]
    pub fn to(&self) -> Ipv4Addr {
        self.to
    }
}
