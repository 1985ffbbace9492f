//! One ping without the program of that name.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, recv, sendto, setsockopt,
    socket, sockopt::ReceiveTimeout,
};
use nix::sys::time::{TimeVal, TimeValLike};

/// What makes our echo ours among those of other programs.
const MARK: &[u8] = b"ironbridged self-test";

/// `ICMP`'s and `ICMPv6`'s echo request and reply.
const V4: (u8, u8) = (8, 0);
const V6: (u8, u8) = (128, 129);

/// Whether the host answers an echo request in time.
pub fn answers(host: IpAddr, patience: Duration) -> io::Result<bool> {
    let (family, protocol, (request, reply)) = match host {
        IpAddr::V4(_) => (AddressFamily::Inet, SockProtocol::Icmp, V4),
        IpAddr::V6(_) => (AddressFamily::Inet6, SockProtocol::IcmpV6, V6),
    };
    let raw = socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
    let to = SockaddrStorage::from(SocketAddr::new(host, 0));
    sendto(raw.as_raw_fd(), &message(request), &to, MsgFlags::empty())?;
    let deadline = Instant::now() + patience;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        if heard(&raw, (reply, host), left)? {
            return Ok(true);
        }
    }
}

/// Whether the next packet is the reply; every raw socket gets everybody's.
fn heard(raw: &OwnedFd, (reply, host): (u8, IpAddr), left: Duration) -> io::Result<bool> {
    let micros = i64::try_from(left.as_micros()).unwrap_or(i64::MAX).max(1);
    setsockopt(raw, ReceiveTimeout, &TimeVal::microseconds(micros))?;
    let mut packet = [0; 256];
    let length = match recv(raw.as_raw_fd(), &mut packet, MsgFlags::empty()) {
        Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => return Ok(false),
        received => received?,
    };
    let packet = packet.get(..length).unwrap_or_default();
    // An IPv4 socket shows the IP header, whose length is in its first byte.
    let (icmp, is_from) = match host {
        IpAddr::V4(v4) => {
            let header = packet.first().map_or(0, |first| usize::from(first & 0xf) * 4);
            (packet.get(header..).unwrap_or_default(), packet.get(12..16) == Some(v4.octets().as_slice()))
        }
        IpAddr::V6(_) => (packet, true),
    };
    Ok(is_from && icmp.first() == Some(&reply) && icmp.ends_with(MARK))
}

/// Type, code, checksum, identifier, number, and the mark. The kernel computes the checksum of `ICMPv6` itself.
fn message(request: u8) -> Vec<u8> {
    let mut message = vec![request, 0, 0, 0, 0x49, 0x42, 0, 1];
    message.extend_from_slice(MARK);
    let sum = checksum(&message).to_be_bytes();
    message.splice(2..4, sum);
    message
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = 0;
    for pair in bytes.chunks(2) {
        let high = u32::from(pair.first().copied().unwrap_or(0));
        let low = u32::from(pair.get(1).copied().unwrap_or(0));
        sum += high << 8 | low;
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_with_its_checksum_sums_to_nothing() {
        assert_eq!(checksum(&message(8)), 0);
        // RFC 1071 §3.
        assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
    }
}
