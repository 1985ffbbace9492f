//! The udp backend's data path: a tun device, a UDP socket, and a thread for each direction between them.
//!
//! flannel's daemon has one thread for both. What becomes of each packet is decided in `overlay`; here it is read,
//! written and counted. The device lives as long as this process holds it.

mod board;
mod inward;
mod outward;
mod sender;
mod wait;

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddrV4, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::JoinHandle;

use ipnetwork::IpNetwork;
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, setsockopt, socket, sockopt};
use overlay::{Post, UdpLink};
use tun_rs::{DeviceBuilder, SyncDevice};

use crate::eyes::Tally;

use board::{Board, Reader};
use inward::Inward;
use outward::Outward;
use wait::{End, Stop};

/// A packet can have as many bytes at most.
const LARGEST: usize = 65_535;

/// So many bytes each packet has room in: a packet of the usual size then lies in one page.
const STRIDE: usize = 17 * 4096;

/// The kernel holds as many bytes of frames that were not read yet: some 20 ms at 1 Gbit/s.
const SOCKET_BUFFER: usize = 4 << 20;

/// Why there is no data path.
#[derive(Debug, thiserror::Error)]
pub enum CarrierError {
    #[error(
        "the udp backend cannot listen on {local}: {source}; if another program has the port (flanneld? `ss -ulpn`), end it or give the network another Port"
    )]
    Socket { local: SocketAddrV4, source: io::Error },
    #[error(
        "tun device {name} cannot be made: {source}; the kernel must have `tun`, and the daemon /dev/net/tun and CAP_NET_ADMIN"
    )]
    Device { name: String, source: io::Error },
    #[error("a thread of the udp backend cannot start: {0}")]
    Thread(io::Error),
}

/// A running data path; it ends, and its device goes, when this value does.
#[derive(Debug)]
pub struct Carrier {
    /// The device's interface index.
    pub index: u32,
    /// What it was made for.
    pub link: UdpLink,
    board: Arc<Board>,
    carried: BTreeMap<IpNetwork, SocketAddrV4>,
    threads: Vec<JoinHandle<()>>,
    /// Dropped, it tells both threads to end.
    end: Option<End>,
}

/// What both directions have in common.
#[derive(Clone)]
struct Line {
    device: Arc<SyncDevice>,
    socket: Arc<UdpSocket>,
    /// A raw socket.
    errors: Arc<Option<OwnedFd>>,
    table: Reader,
    stop: Stop,
    tally: Tally,
}

impl Carrier {
    /// Makes the device and starts both threads; no peer is known yet.
    pub fn open(name: &str, link: UdpLink, tally: Tally) -> Result<Self, CarrierError> {
        let socket =
            listen(link.local).map_err(|source| CarrierError::Socket { local: link.local, source })?;
        let (device, index) =
            device(name).map_err(|source| CarrierError::Device { name: name.to_owned(), source })?;
        let (stop, end) = Stop::new().map_err(CarrierError::Thread)?;
        let board = Arc::new(Board::new(Post::new(link.subnet, &BTreeMap::new())));
        let (device, socket, errors) = (Arc::new(device), Arc::new(socket), Arc::new(errors()));
        let outward = Line { device, socket, errors, table: Reader::new(board.clone()), stop, tally };
        let inward = outward.clone();
        let mut carrier =
            Carrier { index, link, board, carried: BTreeMap::new(), threads: Vec::new(), end: Some(end) };
        carrier.start("udp-out", move || Outward::new(outward).run())?;
        carrier.start("udp-in", move || Inward::new(inward).run())?;
        Ok(carrier)
    }

    fn start(&mut self, name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), CarrierError> {
        let named = std::thread::Builder::new().name(name.to_owned());
        self.threads.push(named.spawn(work).map_err(CarrierError::Thread)?);
        Ok(())
    }

    /// Whether both directions work: a thread ends by itself when its device was deleted.
    pub fn is_whole(&self) -> bool {
        !self.threads.iter().any(JoinHandle::is_finished)
    }

    /// The subnets that are carried, each with its node.
    pub fn carried(&self) -> &BTreeMap<IpNetwork, SocketAddrV4> {
        &self.carried
    }

    /// Carries these from the next packet on.
    pub fn carry(&mut self, carried: BTreeMap<IpNetwork, SocketAddrV4>) {
        self.board.put(Post::new(self.link.subnet, &carried));
        self.carried = carried;
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        drop(self.end.take());
        for thread in self.threads.drain(..) {
            // One that panicked has ended, too.
            thread.join().ok();
        }
    }
}

fn listen(local: SocketAddrV4) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(local)?;
    socket.set_nonblocking(true)?;
    // Without the right to go beyond the system's limit it is that limit.
    if setsockopt(&socket, sockopt::RcvBufForce, &SOCKET_BUFFER).is_err() {
        setsockopt(&socket, sockopt::RcvBuf, &SOCKET_BUFFER)?;
    }
    Ok(socket)
}

/// Where ICMP errors for this node's pods leave, with headers of ours. Out of the tun device they would have to come with
/// an address of this node, which the kernel rightly refuses from outside. Without the right to such a socket the pods
/// are told nothing.
fn errors() -> Option<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let opened = socket(AddressFamily::Inet, SockType::Raw, flags, SockProtocol::Raw);
    if let Err(error) = &opened {
        tracing::warn!(%error, "no raw socket (CAP_NET_RAW): pods are not told of packets that go nowhere");
    }
    opened.ok()
}

/// Segments of a TCP stream come from the kernel as one large packet, which the crate cuts. The device is down yet.
fn device(name: &str) -> io::Result<(SyncDevice, u32)> {
    let wanted = DeviceBuilder::new().name(name).inherit_enable_state().with(|wanted| {
        wanted.offload(true);
    });
    let device = wanted.build_sync()?;
    device.set_nonblocking(true)?;
    let index = device.if_index()?;
    Ok((device, index))
}
