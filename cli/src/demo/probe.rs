//! Single probes between two network namespaces, with sockets of our own: no package has to be installed for them.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use kernel::Netns;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, recv, sendto,
    setsockopt, socket, sockopt::ReceiveTimeout,
};
use nix::sys::time::TimeVal;

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// Datagrams may be lost, if only while a neighbour is being resolved.
const TRIES: u8 = 3;
/// More than one packet at any MTU, less than any socket buffer.
const TCP_BYTES: usize = 8 * 1024;
/// IEEE 802 local experimental ethertype 1: nobody else's protocol.
const ETHERTYPE: [u8; 2] = [0x88, 0xb5];

/// Connects over TCP and sends bytes both ways. Returns the client's address as the server saw it.
pub fn tcp(from: &Netns, to: &Netns, address: Ipv4Addr) -> io::Result<IpAddr> {
    let listener = inside(to, || TcpListener::bind((address, 0)))?;
    let server = listener.local_addr()?;
    let mut client = inside(from, || TcpStream::connect_timeout(&server, PATIENCE * 3))?;
    // The handshake is done, so this returns at once.
    let (mut accepted, seen) = listener.accept()?;
    let sent: Vec<u8> =
        (0..TCP_BYTES).map(|i| i.to_le_bytes().first().copied().unwrap_or_default()).collect();
    exchange(&mut client, &mut accepted, &sent)?;
    exchange(&mut accepted, &mut client, &sent)?;
    Ok(seen.ip())
}

fn exchange(writer: &mut TcpStream, reader: &mut TcpStream, sent: &[u8]) -> io::Result<()> {
    reader.set_read_timeout(Some(PATIENCE))?;
    writer.write_all(sent)?;
    let mut received = vec![0; sent.len()];
    reader.read_exact(&mut received)?;
    if received == sent { Ok(()) } else { Err(io::Error::other("other bytes arrived than were sent")) }
}

/// Sends a datagram and answers it. Returns the client's address as the server saw it.
pub fn udp(from: &Netns, to: &Netns, address: Ipv4Addr) -> io::Result<IpAddr> {
    let server = inside(to, || UdpSocket::bind((address, 0)))?;
    let target = server.local_addr()?;
    let client = inside(from, || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)))?;
    for socket in [&server, &client] {
        socket.set_read_timeout(Some(PATIENCE))?;
    }
    client.connect(target)?;
    again(|| {
        client.send(b"question")?;
        let mut buffer = [0; 16];
        let (length, seen): (usize, SocketAddr) = server.recv_from(&mut buffer)?;
        server.send_to(buffer.get(..length).unwrap_or_default(), seen)?;
        client.recv(&mut buffer)?;
        Ok(seen.ip())
    })
}

/// Sends an ICMP echo request and waits for the kernel's reply.
pub fn icmp(from: &Netns, address: Ipv4Addr) -> io::Result<Duration> {
    let open = || socket(AddressFamily::Inet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Icmp);
    let socket = inside(from, || open().map_err(io::Error::from))?;
    setsockopt(&socket, ReceiveTimeout, &timeout())?;
    let target = SockaddrIn::from(std::net::SocketAddrV4::new(address, 0));
    let identifier = std::process::id().to_be_bytes();
    again(|| {
        let begin = Instant::now();
        sendto(socket.as_raw_fd(), &echo_request(identifier), &target, MsgFlags::empty())?;
        // The header of an IPv4 packet with options is longer than 20 bytes; replies to ours have none.
        receive(&socket, |packet| {
            packet.get(20) == Some(&0) && packet.get(24..28) == Some(identifier.as_slice())
        })?;
        Ok(begin.elapsed())
    })
}

/// RFC 792: type 8, code 0, checksum, and four bytes of identifier and sequence number.
fn echo_request(identifier: [u8; 4]) -> [u8; 8] {
    let [a, b, c, d] = identifier;
    let sum = 0x0800 + u32::from(u16::from_be_bytes([a, b])) + u32::from(u16::from_be_bytes([c, d]));
    // Ones' complement: carries come back in at the right end, twice at most.
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    let [_, _, high, low] = (!folded).to_be_bytes();
    [8, 0, high, low, a, b, c, d]
}

/// Sends an Ethernet frame to the sender's own hardware address: only a bridge port in hairpin mode sends it back.
pub fn reflected(from: &Netns, ifname: &str) -> io::Result<()> {
    let open = || socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll);
    let (socket, link) = inside(from, || Ok((open()?, link_address(ifname)?)))?;
    setsockopt(&socket, ReceiveTimeout, &timeout())?;
    let own = link.addr().ok_or_else(|| io::Error::other("the interface has no hardware address"))?;
    let frame = [&own, &own, ETHERTYPE.as_slice(), &[0x49; 46]].concat();
    again(|| {
        sendto(socket.as_raw_fd(), &frame, &link, MsgFlags::empty())?;
        // A packet socket does not see what it sent itself, so this one has come back.
        receive(&socket, |packet| packet == frame)
    })
}

fn link_address(ifname: &str) -> io::Result<LinkAddr> {
    let mut all = nix::ifaddrs::getifaddrs()?.filter(|a| a.interface_name == ifname);
    let found = all.find_map(|a| a.address.and_then(|s| s.as_link_addr().copied()));
    found.ok_or_else(|| io::Error::new(ErrorKind::NotFound, format!("no interface {ifname}")))
}

fn receive(socket: &OwnedFd, is_it: impl Fn(&[u8]) -> bool) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let mut buffer = [0; 2048];
    while Instant::now() < deadline {
        let length = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        if buffer.get(..length).is_some_and(&is_it) {
            return Ok(());
        }
    }
    Err(ErrorKind::TimedOut.into())
}

fn timeout() -> TimeVal {
    TimeVal::new(PATIENCE.as_secs().try_into().unwrap_or(1), 0)
}

fn again<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let mut last = attempt();
    for _ in 1..TRIES {
        match &last {
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => last = attempt(),
            _ => break,
        }
    }
    last
}

/// A socket belongs for ever to the namespace that it was made in; everything after that can be done from outside.
fn inside<T: Send>(netns: &Netns, f: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    netns.run(f).map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checksum_is_right(packet: [u8; 8]) -> bool {
        let sum: u32 = packet.chunks(2).map(|two| u32::from(u16::from_be_bytes([two[0], two[1]]))).sum();
        (sum & 0xffff) + (sum >> 16) == 0xffff
    }

    #[test]
    fn echo_requests_carry_the_checksum_of_rfc_1071() {
        for identifier in [[0; 4], [0xff; 4], [0, 0, 0x30, 0x39], [0xf7, 0xff, 0, 0], [0xf8, 0, 0, 1]] {
            let packet = echo_request(identifier);
            assert_eq!(packet[4..], identifier);
            assert!(checksum_is_right(packet), "{packet:?}");
        }
    }

    #[test]
    fn a_lost_datagram_is_sent_again_and_a_refusal_is_not() {
        let mut tries = 0;
        let mut attempt = |kind: ErrorKind| {
            again(|| {
                tries += 1;
                Err::<(), _>(kind.into())
            })
            .unwrap_err();
            std::mem::take(&mut tries)
        };
        assert_eq!(attempt(ErrorKind::WouldBlock), TRIES);
        assert_eq!(attempt(ErrorKind::ConnectionRefused), 1);
    }
}
