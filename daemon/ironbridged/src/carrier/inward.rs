//! From the socket to the tun device.

use std::io::{self, IoSliceMut};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg};
use overlay::{Loss, Reply};
use tun_rs::VIRTIO_NET_HDR_LEN;

use super::wait::Wake;
use super::{Line, STRIDE};
use crate::eyes::{Direction, Lost};

/// Frames in one system call.
const BATCH: usize = 64;
/// What the kernel wants before each packet: nothing of it is used, so it is nothing but zeros.
const BEFORE: usize = VIRTIO_NET_HDR_LEN;

/// That direction.
pub struct Inward {
    line: Line,
    /// [`BATCH`] places for a frame.
    memory: Vec<u8>,
    headers: MultiHeaders<SockaddrIn>,
}

/// A frame that was read.
#[derive(Debug, Clone, Copy)]
struct Arrival {
    from: Ipv4Addr,
    length: usize,
}

impl Inward {
    /// Takes all the memory that it will ever need; the kernel gives a page when it is first written to.
    pub fn new(line: Line) -> Self {
        Inward { line, memory: vec![0; BATCH * STRIDE], headers: MultiHeaders::preallocate(BATCH, None) }
    }

    /// Until the data path ends, or its device is gone.
    pub fn run(mut self) {
        let mut arrivals = [None; BATCH];
        loop {
            let wake = match self.read(&mut arrivals) {
                Ok(()) => Wake::Ready,
                Err(Errno::EAGAIN) => self.line.stop.wait(self.line.socket.as_fd(), PollFlags::POLLIN),
                Err(Errno::EINTR) => continue,
                Err(error) => {
                    tracing::warn!(%error, "frames cannot be read from the socket of the udp backend");
                    self.line.stop.rest()
                }
            };
            if wake == Wake::Stop || self.line.stop.is_over() || self.pass_on(&mut arrivals).is_err() {
                return;
            }
        }
    }

    fn read(&mut self, arrivals: &mut [Option<Arrival>; BATCH]) -> Result<(), Errno> {
        let mut slots = self.memory.chunks_exact_mut(STRIDE).map(|slot| slot.get_mut(BEFORE..));
        let mut places: [_; BATCH] =
            std::array::from_fn(|_| [IoSliceMut::new(slots.next().flatten().unwrap_or_default())]);
        let socket = self.line.socket.as_raw_fd();
        let read = recvmmsg(socket, &mut self.headers, places.iter_mut(), MsgFlags::MSG_DONTWAIT, None)?;
        for (arrival, message) in arrivals.iter_mut().zip(read) {
            *arrival = Some(Arrival {
                from: message.address.map_or(Ipv4Addr::UNSPECIFIED, |address| address.ip()),
                length: message.bytes,
            });
        }
        Ok(())
    }

    /// An error is the end of the device.
    fn pass_on(&mut self, arrivals: &mut [Option<Arrival>; BATCH]) -> io::Result<()> {
        let Line { device, socket, table, tally, .. } = &mut self.line;
        let post = table.post();
        for (slot, arrival) in self.memory.chunks_exact_mut(STRIDE).zip(arrivals) {
            let Some(Arrival { from, length }) = arrival.take() else { break };
            // No datagram is longer than its place.
            let frame = slot.get_mut(BEFORE..BEFORE + length).unwrap_or_default();
            match post.inward(from, frame) {
                Ok(length) => {
                    let packet = slot.get(..BEFORE + length).unwrap_or_default();
                    match device.send(packet) {
                        Ok(_) => tally.carried(Direction::In, length),
                        Err(error) if is_gone(&error) => return Err(error),
                        Err(_) => tally.lost(Lost::Device),
                    }
                }
                Err(Loss { reason, answer }) => {
                    tally.lost(Lost::Reason(reason));
                    // The sender is a pod elsewhere: what it is told leaves as a frame, to the node that has it.
                    let reply = answer.and_then(|answer| post.reply(answer, frame));
                    let node = reply.as_ref().map(Reply::to).and_then(|to| post.node_of(to));
                    if let (Some(reply), Some(node)) = (reply, node) {
                        // Like any packet it may get lost.
                        socket.send_to(reply.packet(), node).ok();
                    }
                }
            }
        }
        Ok(())
    }
}

/// Nobody else can be told of the device's end.
pub fn is_gone(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::EBADFD as i32)
}
