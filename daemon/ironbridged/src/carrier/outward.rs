//! From the tun device to the socket.

use std::io::{self, ErrorKind};
use std::net::SocketAddrV4;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::poll::PollFlags;
use nix::sys::socket::{MsgFlags, SockaddrIn, sendto};
use overlay::{Loss, Reply};
use tun_rs::VIRTIO_NET_HDR_LEN;

use super::inward::is_gone;
use super::sender::{Sender, Way};
use super::wait::Wake;
use super::{LARGEST, Line, STRIDE};
use crate::eyes::Lost;

/// Packets that are read before they are sent.
const BATCH: usize = 64;
/// The kernel's largest packet in segments of 128 bytes: shorter ones no TCP sends by the dozen.
const SEGMENTS: usize = 512;
/// What can be read before a batch is full.
const SLOTS: usize = BATCH + SEGMENTS;

/// That direction.
pub struct Outward {
    line: Line,
    sizes: Vec<usize>,
    /// Where each packet goes; `None` for one that goes nowhere.
    nodes: Vec<Option<SocketAddrV4>>,
    sender: Sender,
}

impl Outward {
    /// For that line.
    pub fn new(line: Line) -> Self {
        Outward { line, sizes: vec![0; SLOTS], nodes: vec![None; SLOTS], sender: Sender::new() }
    }

    /// Until the data path ends, or its device is gone. Takes all the memory that it will ever need; the kernel gives a
    /// page of it when the page is first written to.
    pub fn run(mut self) {
        let mut raw = vec![0; VIRTIO_NET_HDR_LEN + LARGEST];
        let mut memory = vec![0; SLOTS * STRIDE];
        let mut slots: Vec<&mut [u8]> = memory.chunks_exact_mut(STRIDE).collect();
        loop {
            let (read, last) = self.read(&mut raw, &mut slots);
            let sent = self.send(slots.get_mut(..read).unwrap_or_default());
            let wake = last.map_or(Wake::Ready, |error| self.rest(&error));
            if wake == Wake::Stop || sent == Wake::Stop || self.line.stop.is_over() {
                return;
            }
        }
    }

    /// After an error, which most often is that there is nothing to read.
    fn rest(&self, error: &io::Error) -> Wake {
        if error.kind() == ErrorKind::WouldBlock {
            return self.line.stop.wait(self.line.device.as_fd(), PollFlags::POLLIN);
        }
        if is_gone(error) {
            return Wake::Stop;
        }
        if error.raw_os_error().is_none() {
            // The crate could not cut a large packet. It was read, and the next one is another.
            tracing::debug!(%error, "a packet of the tun device cannot be used");
            self.line.tally.lost(Lost::Device);
            return Wake::Ready;
        }
        tracing::warn!(%error, "packets cannot be read from the tun device");
        self.line.stop.rest()
    }

    /// As many packets as there are, up to a batch; and why there were no more.
    fn read(&mut self, raw: &mut [u8], slots: &mut [&mut [u8]]) -> (usize, Option<io::Error>) {
        let mut read = 0;
        while read < BATCH {
            let (Some(slots), Some(sizes)) = (slots.get_mut(read..), self.sizes.get_mut(read..)) else {
                break;
            };
            match self.line.device.recv_multiple(raw, slots, sizes, 0) {
                Ok(more) => read += more,
                Err(error) => return (read, Some(error)),
            }
        }
        (read, None)
    }

    fn send(&mut self, slots: &mut [&mut [u8]]) -> Wake {
        let Line { errors, socket, table, tally, stop, .. } = &mut self.line;
        let post = table.post();
        for ((slot, size), node) in slots.iter_mut().zip(&self.sizes).zip(&mut self.nodes) {
            let packet = slot.get_mut(..*size).unwrap_or_default();
            *node = match post.outward(packet) {
                Ok(node) => Some(node),
                Err(Loss { reason, answer }) => {
                    tally.lost(Lost::Reason(reason));
                    if let Some(reply) = answer.and_then(|answer| post.reply(answer, packet)) {
                        tell(errors.as_ref().as_ref(), &reply);
                    }
                    None
                }
            };
        }
        let packets = slots.iter().zip(&self.sizes).zip(&self.nodes);
        let packets = packets.filter_map(|((slot, size), node)| Some((slot.get(..*size)?, (*node)?)));
        self.sender.send(Way { socket, stop, tally }, packets)
    }
}

/// Like any packet it may get lost.
fn tell(errors: Option<&OwnedFd>, reply: &Reply) {
    let to = SockaddrIn::from(SocketAddrV4::new(reply.to(), 0));
    errors.map(|raw| sendto(raw.as_raw_fd(), reply.packet(), &to, MsgFlags::MSG_DONTWAIT).ok());
}
