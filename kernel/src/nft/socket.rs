//! The socket through which rulesets are read and changed.

use super::{
    attribute::Attributes,
    message::{self, Kind},
};
use crate::{Error, Netns, channel::Channel, error::During};
use netlink_sys::protocols::NETLINK_NETFILTER;
use std::os::fd::{AsFd, BorrowedFd};

/// A socket to the netfilter of one network namespace. One is enough for any number of requests.
///
/// Closing it waits until the kernel has freed what anybody deleted there just now, some 12 ms: see
/// [`linger::outlive`](crate::linger::outlive).
#[derive(Debug)]
pub struct Nft {
    pub(crate) channel: Channel,
    /// Numbers of batch messages; [`Channel`] counts its own requests from 1, these count from the other half, so
    /// that a late answer to one is never taken for an answer to the other.
    sequence: u32,
    /// For answers to batches; kept, so that its memory is found once.
    pub(super) buffer: Vec<u8>,
    /// How long a batch may be, in bytes, before the socket's send buffer must grow.
    pub(super) room: usize,
}

/// What fits the send buffer of a socket as it is opened (`net.core.wmem_default` is 212,992), with some distance.
const FIRST_ROOM: usize = 200_000;
/// Where the numbers of batch messages begin.
const BATCHES: u32 = 1 << 31;

/// `NFTA_GEN_ID`.
const GENERATION_ID: u16 = 1;

/// The number of a state of the namespace's whole ruleset: each commit of anybody makes a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Generation(pub(super) u32);

impl Nft {
    /// Opens a socket in the namespace of the calling thread.
    pub fn open() -> Result<Self, Error> {
        let channel =
            Channel::open_bound(NETLINK_NETFILTER).during(|| "opening a netfilter socket".to_owned())?;
        Ok(Self { channel, sequence: BATCHES, buffer: Vec::new(), room: FIRST_ROOM })
    }

    /// Opens a socket in another namespace; the caller stays where it is.
    pub fn open_in(netns: &Netns) -> Result<Self, Error> {
        netns.run(Self::open)?
    }

    /// The present state's number, for [`Transaction::only_at`](super::Transaction::only_at).
    pub fn generation(&mut self) -> Result<Generation, Error> {
        self.channel
            .get(message::request(Kind::GetGeneration, 0), |received| {
                Attributes::of(received).u32(GENERATION_ID).map(Generation)
            })
            .during(|| "reading the ruleset's generation".to_owned())
    }

    /// Reserves numbers for a batch of so many messages and gives the first.
    pub(super) fn reserve(&mut self, messages: usize) -> u32 {
        let count = u32::try_from(messages).unwrap_or(u32::MAX);
        let first = match self.sequence.checked_add(count) {
            Some(_) => self.sequence,
            None => BATCHES,
        };
        self.sequence = first.saturating_add(count);
        first
    }
}

impl AsFd for Nft {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.socket().as_fd()
    }
}
