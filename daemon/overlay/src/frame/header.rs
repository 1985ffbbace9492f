//! The IPv4 header of a packet (RFC 791), read with nothing taken for granted.

use std::net::Ipv4Addr;

use super::LossReason;

/// The header without options.
const LEAST: usize = 20;
/// `IPPROTO_ICMP`.
pub const ICMP: u8 = 1;
/// ICMP messages that are errors themselves, about which RFC 1122 §3.2.2 wants no further one.
const ICMP_ERRORS: [u8; 5] = [3, 4, 5, 11, 12];

/// What is needed of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Its own length in bytes, with options.
    pub length: usize,
    /// The packet's length in bytes.
    pub total: usize,
    ttl: u8,
    protocol: u8,
    /// Not the first of several fragments.
    is_later_fragment: bool,
    /// Who sent it.
    pub source: Ipv4Addr,
    /// Whom it is for.
    pub destination: Ipv4Addr,
}

impl Header {
    /// Reads it. What follows the packet's end is no part of it.
    pub fn parse(packet: &[u8]) -> Result<Self, LossReason> {
        let fixed: [u8; LEAST] = *packet.first_chunk().ok_or(LossReason::Short)?;
        let word = |at: usize| {
            let pair = packet.get(at..).and_then(<[u8]>::first_chunk).copied();
            u16::from_be_bytes(pair.unwrap_or_default())
        };
        let length = usize::from(fixed[0] & 0xf) * 4;
        let total = usize::from(word(2));
        let is_sound = fixed[0] >> 4 == 4 && length >= LEAST && total >= length;
        let header = packet.get(..length).filter(|_| is_sound && packet.len() >= total);
        if checksum(header.ok_or(LossReason::Malformed)?) != 0 {
            return Err(LossReason::Malformed);
        }
        let [source, destination] = [12, 16].map(|at| u32::from(word(at)) << 16 | u32::from(word(at + 2)));
        Ok(Header {
            length,
            total,
            ttl: fixed[8],
            protocol: fixed[9],
            is_later_fragment: word(6) & 0x1fff != 0,
            source: Ipv4Addr::from_bits(source),
            destination: Ipv4Addr::from_bits(destination),
        })
    }

    /// Whether one host can have the source address.
    pub fn has_real_source(&self) -> bool {
        is_host(self.source)
    }

    /// Takes one from the time to live, and corrects the checksum (RFC 1624). False, with nothing changed, when it is
    /// over.
    pub fn decrement(&self, packet: &mut [u8]) -> bool {
        let Some(fixed) = packet.first_chunk_mut::<LEAST>().filter(|_| self.ttl > 1) else { return false };
        let field = |ttl: u8| u16::from_be_bytes([ttl, self.protocol]);
        let sum = u16::from_be_bytes([fixed[10], fixed[11]]);
        let changed = [!sum, !field(self.ttl), field(self.ttl - 1)].into_iter().map(u32::from).sum();
        fixed[8] = self.ttl - 1;
        [fixed[10], fixed[11]] = (!folded(changed)).to_be_bytes();
        true
    }

    /// Whether an ICMP error may be sent about it (RFC 1122 §3.2.2): not about errors, later fragments, and what is not
    /// from one host to one host.
    pub fn may_be_answered(&self, packet: &[u8]) -> bool {
        let kind = packet.get(self.length).filter(|_| self.total > self.length);
        let is_error = self.protocol == ICMP && kind.is_none_or(|kind| ICMP_ERRORS.contains(kind));
        !is_error && !self.is_later_fragment && is_host(self.source) && is_host(self.destination)
    }
}

/// Neither a group, nor everybody, nor nobody, nor oneself.
fn is_host(address: Ipv4Addr) -> bool {
    let [first, ..] = address.octets();
    (1..224).contains(&first) && !address.is_loopback()
}

/// The ones' complement of the ones' complement sum (RFC 1071); of a header with its right checksum it is 0.
pub fn checksum(bytes: &[u8]) -> u16 {
    let (pairs, odd) = bytes.as_chunks::<2>();
    let sum: u32 = pairs.iter().map(|pair| u32::from(u16::from_be_bytes(*pair))).sum();
    let last = odd.first().map_or(0, |byte| u32::from(*byte) << 8);
    !folded(sum + last)
}

/// The sum of some words as one, carries added in. A packet has at most 2^15 words, whose sum does not overflow.
fn folded(sum: u32) -> u16 {
    let once = (sum >> 16) + (sum & 0xffff);
    let twice = (once >> 16) + (once & 0xffff);
    u16::try_from(twice & 0xffff).unwrap_or(u16::MAX)
}
