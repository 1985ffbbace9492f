//! What others (and we) do to the ruleset, as the kernel tells it after each commit.

use super::{
    attribute::Attributes,
    message::Kind,
    object::Family,
    socket::{Generation, Nft},
};
use crate::{
    Error, Netns,
    channel::datagram,
    error::During,
    monitor::readable,
    wire::{Messages, Received},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use nix::libc;
use std::{
    collections::VecDeque,
    io,
    os::fd::{AsFd, BorrowedFd},
    time::Instant,
};

/// `NFNLGRP_NFTABLES` of `nfnetlink.h`.
const GROUP: u32 = 7;
/// `NFTA_GEN_ID`.
const GENERATION_ID: u16 = 1;
/// Attribute 1 of every object's message is its table.
const TABLE: u16 = 1;

/// A kind of object in a ruleset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Object {
    /// A table.
    Table,
    /// A chain.
    Chain,
    /// A rule.
    Rule,
    /// A set or map.
    Set,
    /// An element of one.
    Element,
}

/// What became of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It was made or changed.
    Made,
    /// It is gone.
    Gone,
}

/// One notification. A commit tells of each object that it changed, and then of the new generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An object changed.
    Changed {
        /// Made or gone.
        fate: Fate,
        /// What it is.
        object: Object,
        /// The family of its table; none for one that is not known here (`arp`, `netdev`).
        family: Option<Family>,
        /// The table that it is in (or is).
        table: String,
        /// The netlink port of the socket that committed it: [`Nft::port`] for our own.
        by: u32,
    },
    /// A commit is complete.
    Committed {
        /// The new state's number.
        generation: Generation,
        /// The netlink port of the socket that committed it.
        by: u32,
    },
    /// The kernel had more to tell than fitted: look at the whole state.
    Overrun,
}

/// A subscription to the changes of one namespace's ruleset.
///
/// ```no_run
/// use kernel::nft::{Event, Fate, Monitor};
/// use std::time::{Duration, Instant};
/// let mut monitor = Monitor::open()?;
/// let deadline = Instant::now() + Duration::from_secs(30);
/// while let Some(event) = monitor.next(deadline)? {
///     match event {
///         Event::Changed { fate: Fate::Gone, table, .. } if table == "ironbridge" => break, // put it back
///         Event::Overrun => break, // look at everything
///         _ => {}
///     }
/// }
/// # Ok::<(), kernel::Error>(())
/// ```
#[derive(Debug)]
pub struct Monitor {
    socket: Socket,
    buffer: Vec<u8>,
    waiting: VecDeque<Event>,
}

impl Monitor {
    /// Subscribes in the namespace of the calling thread. Changes from now on are told.
    pub fn open() -> Result<Self, Error> {
        let subscribe = || {
            let mut socket = Socket::new(NETLINK_NETFILTER)?;
            socket.bind_auto()?;
            socket.add_membership(GROUP)?;
            // Poll may wake up for a datagram that is then dropped.
            socket.set_non_blocking(true)?;
            Ok::<_, io::Error>(socket)
        };
        let socket = subscribe().during(|| "subscribing to nftables changes".to_owned())?;
        Ok(Self { socket, buffer: Vec::new(), waiting: VecDeque::new() })
    }

    /// Subscribes in another namespace.
    pub fn open_in(netns: &Netns) -> Result<Self, Error> {
        netns.run(Self::open)?
    }

    /// The next change, or nothing at the deadline. With a deadline that has passed it does not wait.
    pub fn next(&mut self, deadline: Instant) -> Result<Option<Event>, Error> {
        let doing = || "waiting for nftables changes".to_owned();
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Ok(Some(event));
            }
            match datagram(&self.socket, &mut self.buffer) {
                Ok(()) => self.read().during(doing)?,
                Err(cause) if cause.errno() == Some(libc::ENOBUFS) => return Ok(Some(Event::Overrun)),
                Err(cause) if cause.errno() == Some(libc::EAGAIN) => {
                    if !readable(self.socket.as_fd(), deadline).during(doing)? {
                        return Ok(None);
                    }
                }
                Err(cause) => return Err(cause).during(doing),
            }
        }
    }

    fn read(&mut self) -> Result<(), crate::Cause> {
        for message in Messages(&self.buffer) {
            self.waiting.extend(event(&message?));
        }
        Ok(())
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Nft {
    /// The netlink port of this socket, by which [`Event`]s tell our own changes from those of others.
    pub fn port(&self) -> Result<u32, Error> {
        let mut address = SocketAddr::new(0, 0);
        let read = self.channel.socket().get_address(&mut address);
        read.during(|| "reading the port of a netfilter socket".to_owned())?;
        Ok(address.port_number())
    }
}

pub(super) fn event(message: &Received<'_>) -> Option<Event> {
    let (fate, object) = match Kind::of_change(message.kind)? {
        Kind::NewTable => (Fate::Made, Object::Table),
        Kind::DeleteTable => (Fate::Gone, Object::Table),
        Kind::NewChain => (Fate::Made, Object::Chain),
        Kind::DeleteChain => (Fate::Gone, Object::Chain),
        Kind::NewRule => (Fate::Made, Object::Rule),
        Kind::DeleteRule => (Fate::Gone, Object::Rule),
        Kind::NewSet => (Fate::Made, Object::Set),
        Kind::DeleteSet => (Fate::Gone, Object::Set),
        Kind::NewElement => (Fate::Made, Object::Element),
        Kind::DeleteElement => (Fate::Gone, Object::Element),
        Kind::NewGeneration => return committed(message),
        Kind::GetTable
        | Kind::GetChain
        | Kind::GetRule
        | Kind::GetSet
        | Kind::GetElement
        | Kind::GetGeneration => return None,
    };
    Some(Event::Changed {
        fate,
        object,
        family: message.payload.first().copied().and_then(Family::from_number),
        table: Attributes::of(message).text(TABLE)?,
        by: message.port,
    })
}

fn committed(message: &Received<'_>) -> Option<Event> {
    let generation = Generation(Attributes::of(message).u32(GENERATION_ID)?);
    Some(Event::Committed { generation, by: message.port })
}
