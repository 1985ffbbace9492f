//! Asking peers for an answer to a small packet and to one as large as a pod's, which must not be fragmented on its way.
//!
//! Echo requests from a raw socket carry DF as long as the kernel has heard of no smaller MTU. Where somebody answers
//! "fragmentation needed" all is well: the kernel learns, and the next try is in fragments and passes. Only silence is a black hole.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, recv, sendto, socket,
};

use super::super::node::{Node, Path};

/// As many peers are probed at most.
const PEERS: usize = 64;
/// Each packet is sent so often, for one may get lost.
const TRIES: u16 = 3;
/// How long an answer to each is waited for.
const PATIENCE: Duration = Duration::from_millis(400);
const IP_HEADER: usize = 20;
const ECHO_HEADER: usize = 8;
const ECHO_REQUEST: u8 = 8;

/// The ways to the peers of the daemon's document; none without a daemon.
pub fn paths(node: &Node) -> io::Result<Vec<Path>> {
    let mut paths = targets(node);
    if paths.is_empty() {
        return Ok(paths);
    }
    let prober = Prober::new()?;
    for round in 0..TRIES {
        let asked: Vec<(Ipv4Addr, usize)> = paths.iter().flat_map(open_questions).collect();
        if asked.is_empty() {
            break;
        }
        let answered = prober.ask(&asked, round)?;
        for path in &mut paths {
            path.small |= answered.contains(&(path.target, ECHO_HEADER));
            path.large |= answered.contains(&(path.target, payload(path)));
        }
    }
    Ok(paths)
}

/// Peers on the underlay, and with an overlay also its far ends: the network's own address of each peer's subnet.
fn targets(node: &Node) -> Vec<Path> {
    let Some(overview) = &node.overview else { return Vec::new() };
    let mtu = |name: &str| node.links.iter().find(|link| link.name == name).map_or(0, |link| link.mtu);
    let has_overlay = ["vxlan", "udp"].contains(&overview.network.backend.as_str());
    let path = |peer: IpAddr, target: IpAddr| {
        let overlay = peer != target;
        let size = if overlay { overview.node.mtu } else { mtu(&overview.node.uplink) };
        Path { peer, target, overlay, size, small: false, large: false }
    };
    let own = &overview.node.public_ip;
    let peers = overview.leases.iter().filter(|lease| !lease.own && lease.public_ip != *own).take(PEERS);
    let mut all = Vec::new();
    for lease in peers {
        let Some(peer) = lease.public_ip.as_ref().and_then(|ip| ip.parse().ok()) else { continue };
        all.push(path(peer, peer));
        let far = lease.subnets.iter().find_map(|subnet| subnet.parse::<ipnetwork::Ipv4Network>().ok());
        all.extend(far.filter(|_| has_overlay).map(|far| path(peer, IpAddr::V4(far.network()))));
    }
    all
}

fn open_questions(path: &Path) -> Vec<(Ipv4Addr, usize)> {
    let IpAddr::V4(target) = path.target else { return Vec::new() };
    let small = (!path.small).then_some((target, ECHO_HEADER));
    small.into_iter().chain((!path.large).then_some((target, payload(path)))).collect()
}

/// The length of an echo request that makes a packet of that size.
fn payload(path: &Path) -> usize {
    usize::try_from(path.size).unwrap_or(0).saturating_sub(IP_HEADER).max(ECHO_HEADER + 1)
}

struct Prober {
    socket: OwnedFd,
    id: u16,
}

impl Prober {
    fn new() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Inet, SockType::Raw, flags, SockProtocol::Icmp)?;
        // Replies to others' requests come in as well: the process tells ours apart.
        let id = u16::try_from(std::process::id() & 0xffff).unwrap_or(0);
        Ok(Prober { socket, id })
    }

    /// Sends all requests, then collects the answers: whose they are and how long.
    fn ask(&self, asked: &[(Ipv4Addr, usize)], round: u16) -> io::Result<BTreeSet<(IpAddr, usize)>> {
        for (target, length) in asked {
            let packet = request(self.id, round, *length);
            let to = SockaddrIn::from(SocketAddrV4::new(*target, 0));
            match sendto(self.socket.as_raw_fd(), &packet, &to, MsgFlags::empty()) {
                // No route, or one that forbids it: no answer either.
                Ok(_) | Err(Errno::EHOSTUNREACH | Errno::ENETUNREACH | Errno::EMSGSIZE | Errno::EACCES) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let until = Instant::now() + PATIENCE;
        let mut answered = BTreeSet::new();
        while answered.len() < asked.len() && self.wait(until)? {
            let mut packet = vec![0; 1 << 16];
            match recv(self.socket.as_raw_fd(), &mut packet, MsgFlags::empty()) {
                Ok(length) => answered.extend(packet.get(..length).and_then(|packet| reply(packet, self.id))),
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(answered)
    }

    /// Whether something came before that moment.
    fn wait(&self, until: Instant) -> io::Result<bool> {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        let mut sockets = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        match poll(&mut sockets, PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO)) {
            Ok(number) => Ok(number > 0),
            Err(Errno::EINTR) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }
}

/// An ICMP echo request of that length (RFC 792).
fn request(id: u16, sequence: u16, length: usize) -> Vec<u8> {
    let mut packet = vec![ECHO_REQUEST, 0, 0, 0];
    packet.extend(id.to_be_bytes());
    packet.extend(sequence.to_be_bytes());
    packet.resize(length, 0);
    let sum = checksum(&packet).to_be_bytes();
    packet.splice(2..4, sum);
    packet
}

/// Who answered, and to how long a request: the packet begins with its IP header.
fn reply(packet: &[u8], id: u16) -> Option<(IpAddr, usize)> {
    let header = usize::from(packet.first()? & 0xf) * 4;
    let source: [u8; 4] = packet.get(12..16)?.try_into().ok()?;
    let message = packet.get(header..)?;
    let is_ours = message.first() == Some(&0) && message.get(4..6) == Some(&id.to_be_bytes());
    is_ours.then(|| (IpAddr::V4(Ipv4Addr::from(source)), message.len()))
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let word = |pair: &[u8]| match pair {
        [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
        [high] => u32::from(u16::from_be_bytes([*high, 0])),
        _ => 0,
    };
    let sum: u32 = bytes.chunks(2).map(word).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_sums_to_nothing_and_its_reply_is_told_apart() {
        for length in [8, 9, 1472] {
            let packet = request(7, 1, length);
            assert_eq!((packet.len(), checksum(&packet)), (length, 0));
            let mut answer = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 1, 0, 0, 192, 0, 2, 1, 0, 0, 0, 0];
            answer.extend(&packet);
            assert_eq!(reply(&answer, 7), None, "our own request");
            answer[20] = 0;
            assert_eq!(reply(&answer, 7), Some(("192.0.2.1".parse().unwrap(), length)));
            assert_eq!(reply(&answer, 8), None);
        }
        assert_eq!(reply(&[0x4f, 0, 0], 7), None);
    }
}
