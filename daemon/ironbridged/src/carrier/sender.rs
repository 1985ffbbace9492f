//! Sending packets as frames: many in one system call, and those of one stream as one large datagram that the kernel, or
//! the network card, cuts (`UDP_SEGMENT`).

use std::io::IoSlice;
use std::net::{SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, SockaddrIn, sendmmsg};

use super::wait::{Stop, Wake};
use crate::eyes::{Direction, Lost, Tally};

/// Datagrams in one system call.
const BATCH: usize = 64;
/// The kernel's `UDP_MAX_SEGMENTS`, as it was at first.
const SEGMENTS: usize = 64;
/// What one large datagram may have, with room for its headers.
const LARGEST: usize = 65_000;

/// Where frames leave, and who counts them.
#[derive(Clone, Copy)]
pub struct Way<'a> {
    /// The socket.
    pub socket: &'a UdpSocket,
    /// The end, for which a full socket does not wait.
    pub stop: &'a Stop,
    /// The counters.
    pub tally: &'a Tally,
}

/// What the system calls need, made once.
pub struct Sender {
    singles: MultiHeaders<SockaddrIn>,
    run: MultiHeaders<SockaddrIn>,
}

/// Datagrams of which each has its own destination.
struct Singles<'p> {
    parts: [[IoSlice<'p>; 1]; BATCH],
    nodes: [Option<SockaddrIn>; BATCH],
    count: usize,
}

/// Packets of equal length, but for a shorter last one, to one node.
struct Run<'p> {
    parts: [IoSlice<'p>; SEGMENTS],
    count: usize,
    node: SocketAddrV4,
    segment: usize,
    bytes: usize,
    is_closed: bool,
}

impl Sender {
    /// Takes the memory.
    pub fn new() -> Self {
        Sender {
            singles: MultiHeaders::preallocate(BATCH, None),
            run: MultiHeaders::preallocate(1, Some(cmsg_space!(u16))),
        }
    }

    /// Sends them in their order. Waits for a socket that is full.
    pub fn send<'p>(&mut self, way: Way, packets: impl Iterator<Item = (&'p [u8], SocketAddrV4)>) -> Wake {
        let mut singles = Singles::new();
        let mut run: Option<Run> = None;
        for (packet, node) in packets {
            if run.as_mut().is_some_and(|run| run.take(packet, node)) {
                continue;
            }
            if let Some(done) = run.replace(Run::new(packet, node))
                && self.end(way, &mut singles, &done) == Wake::Stop
            {
                return Wake::Stop;
            }
        }
        match run {
            Some(last) if self.end(way, &mut singles, &last) == Wake::Stop => Wake::Stop,
            Some(_) | None => self.flush(way, &mut singles),
        }
    }

    /// A run of one waits for others of its kind; a longer one goes at once, after what waits.
    fn end<'p>(&mut self, way: Way, singles: &mut Singles<'p>, run: &Run<'p>) -> Wake {
        if run.count > 1 {
            if self.flush(way, singles) == Wake::Stop {
                return Wake::Stop;
            }
            // Where the kernel does not cut, each goes by itself.
            if let Some(wake) = self.send_run(way, run) {
                return wake;
            }
        }
        for part in run.parts.iter().take(run.count) {
            if singles.is_full() && self.flush(way, singles) == Wake::Stop {
                return Wake::Stop;
            }
            singles.add(*part, run.node);
        }
        Wake::Ready
    }

    /// `None` when it cannot be sent that way.
    fn send_run(&mut self, way: Way, run: &Run) -> Option<Wake> {
        let segment = u16::try_from(run.segment).ok()?;
        let node = [Some(SockaddrIn::from(run.node))];
        let parts = [run.parts.get(..run.count)?];
        loop {
            let cut = [ControlMessage::UdpGsoSegments(&segment)];
            let socket = way.socket.as_raw_fd();
            let sent = sendmmsg(socket, &mut self.run, &parts, node, cut, MsgFlags::MSG_DONTWAIT).map(|_| ());
            match sent {
                Ok(()) => {
                    run.parts.iter().take(run.count).for_each(|p| way.tally.carried(Direction::Out, p.len()));
                    return Some(Wake::Ready);
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    if way.stop.wait(way.socket.as_fd(), PollFlags::POLLOUT) == Wake::Stop {
                        return Some(Wake::Stop);
                    }
                }
                Err(_) => return None,
            }
        }
    }

    /// Sends what waits. A datagram that the kernel refuses is lost, those behind it are not.
    fn flush(&mut self, way: Way, singles: &mut Singles) -> Wake {
        let mut done = 0;
        while let (Some(parts @ [first, ..]), Some(nodes)) =
            (singles.parts.get(done..singles.count), singles.nodes.get(done..singles.count))
        {
            let socket = way.socket.as_raw_fd();
            let sent = sendmmsg(socket, &mut self.singles, parts, nodes, [], MsgFlags::MSG_DONTWAIT)
                .map(Iterator::count);
            match sent {
                Ok(sent) => {
                    let parts = parts.iter().take(sent).flatten();
                    parts.for_each(|part| way.tally.carried(Direction::Out, part.len()));
                    done += sent.max(1);
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    if way.stop.wait(way.socket.as_fd(), PollFlags::POLLOUT) == Wake::Stop {
                        return Wake::Stop;
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, length = first.iter().map(|p| p.len()).sum::<usize>(), "a frame cannot be sent");
                    way.tally.lost(Lost::Socket);
                    done += 1;
                }
            }
        }
        singles.count = 0;
        Wake::Ready
    }
}

impl<'p> Singles<'p> {
    fn new() -> Self {
        Singles { parts: [[IoSlice::new(&[])]; BATCH], nodes: [None; BATCH], count: 0 }
    }

    fn is_full(&self) -> bool {
        self.count == BATCH
    }

    fn add(&mut self, packet: IoSlice<'p>, node: SocketAddrV4) {
        if let (Some(part), Some(to)) = (self.parts.get_mut(self.count), self.nodes.get_mut(self.count)) {
            (*part, *to) = ([packet], Some(SockaddrIn::from(node)));
            self.count += 1;
        }
    }
}

impl<'p> Run<'p> {
    fn new(packet: &'p [u8], node: SocketAddrV4) -> Self {
        let mut run = Run {
            parts: [IoSlice::new(&[]); SEGMENTS],
            count: 0,
            node,
            segment: packet.len(),
            bytes: 0,
            is_closed: false,
        };
        run.take(packet, node);
        run
    }

    /// Whether the packet continues the run.
    fn take(&mut self, packet: &'p [u8], node: SocketAddrV4) -> bool {
        let length = packet.len();
        let fits = self.node == node && length <= self.segment && self.bytes + length <= LARGEST;
        let Some(place) = self.parts.get_mut(self.count).filter(|_| fits && !self.is_closed) else {
            return false;
        };
        *place = IoSlice::new(packet);
        self.count += 1;
        self.bytes += length;
        self.is_closed = length < self.segment;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: &str = "192.0.2.2:8285";

    fn taken<'p>(run: &mut Run<'p>, packet: &'p [u8], node: &str) -> bool {
        run.take(packet, node.parse().unwrap())
    }

    #[test]
    fn a_run_is_of_one_length_to_one_node_and_a_shorter_packet_ends_it() {
        let (long, short) = ([1; 1472], [2; 100]);
        let mut run = Run::new(&long, NODE.parse().unwrap());
        assert!(taken(&mut run, &long, NODE));
        assert!(!taken(&mut run, &long, "192.0.2.3:8285"));
        assert!(taken(&mut run, &short, NODE));
        assert!(!taken(&mut run, &short, NODE), "what follows the last one would be cut wrongly");
        assert_eq!((run.count, run.segment, run.bytes), (3, 1472, 2 * 1472 + 100));
        let mut run = Run::new(&short, NODE.parse().unwrap());
        assert!(!taken(&mut run, &long, NODE), "longer than the first");
    }

    #[test]
    fn a_run_is_no_longer_than_the_kernel_takes() {
        for (length, most) in [(1472, 44), (100, SEGMENTS), (LARGEST, 1)] {
            let packet = vec![0; length];
            let mut run = Run::new(&packet, NODE.parse().unwrap());
            while taken(&mut run, &packet, NODE) {}
            assert_eq!(run.count, most, "{length}");
        }
    }
}
