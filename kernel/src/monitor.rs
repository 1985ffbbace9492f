//! What the kernel tells about changes, and waiting for a state with a deadline.

use crate::{
    Address, Error, Forwarding, Link, Neighbour, Netns, Nexthop, Route,
    abi::{af, rtm},
    address::read_address,
    channel::datagram,
    error::During,
    link_wire::read_link,
    neighbour::{read_forwarding, read_neighbour},
    nexthop::read_nexthop,
    route_wire::read_routes,
    wire::{Messages, Received},
};
use netlink_sys::{Socket, protocols::NETLINK_ROUTE};
use nix::{
    errno::Errno,
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{setsockopt, sockopt::RcvBufForce},
};
use std::{
    collections::VecDeque,
    os::fd::{AsFd, BorrowedFd},
    time::{Duration, Instant},
};

/// Receive buffer in bytes.
const ROOM: usize = 1 << 20;

/// What to be told about (`RTNLGRP_*`, `linux/rtnetlink.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Links.
    Link = 1,
    /// Neighbours and forwarding entries.
    Neighbour = 3,
    /// IPv4 addresses.
    Ipv4Address = 5,
    /// IPv4 routes.
    Ipv4Route = 7,
    /// IPv6 addresses.
    Ipv6Address = 9,
    /// IPv6 routes.
    Ipv6Route = 11,
    /// Settings of IPv4, such as forwarding.
    Ipv4Settings = 24,
    /// Settings of IPv6.
    Ipv6Settings = 25,
    /// Nexthop objects.
    Nexthop = 32,
}

/// A change. It may be out of date when it is read: ask for the state, do not add up changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A link is new or has changed.
    Link(Link),
    /// A link is gone.
    LinkGone {
        /// Its index.
        index: u32,
        /// Its last name.
        name: String,
    },
    /// Something about a link as port of a bridge has changed; the bridge tells only that.
    Port {
        /// Its index.
        index: u32,
    },
    /// An address is new or has changed.
    Address(Address),
    /// An address is gone.
    AddressGone(Address),
    /// A route is new or has changed.
    Route(Route),
    /// A route is gone. IPv4 routes that go with their link are not told of.
    RouteGone(Route),
    /// A nexthop object is new or has changed.
    Nexthop(Nexthop),
    /// A nexthop object is gone, and the routes through it, of which nothing else is told.
    NexthopGone(Nexthop),
    /// A neighbour is new or has changed.
    Neighbour(Neighbour),
    /// A neighbour is gone.
    NeighbourGone(Neighbour),
    /// A forwarding entry is new or has changed.
    Forwarding(Forwarding),
    /// A forwarding entry is gone.
    ForwardingGone(Forwarding),
    /// A setting of some link or of all has changed, such as forwarding: the kernel tells which, we look.
    Settings,
    /// The kernel had more to tell than fitted: look at the whole state.
    Overrun,
}

/// A subscription to changes in one namespace.
#[derive(Debug)]
pub struct Monitor {
    socket: Socket,
    buffer: Vec<u8>,
    waiting: VecDeque<Event>,
}

impl Monitor {
    /// Subscribes in the namespace of the calling thread. Changes from now on are told.
    pub fn open(groups: &[Group]) -> Result<Self, Error> {
        let subscribe = || {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.bind_auto()?;
            for group in groups {
                socket.add_membership(*group as u32)?;
            }
            // The daemon's own thousand routes come back to it; more than the default lets fewer overruns happen. Only
            // a wish: without the right to it the default stays.
            setsockopt(&socket, RcvBufForce, &ROOM).ok();
            // Poll may wake up for a datagram that is then dropped.
            socket.set_non_blocking(true)?;
            Ok::<_, std::io::Error>(socket)
        };
        let socket = subscribe().during(|| format!("subscribing to {groups:?}"))?;
        Ok(Self { socket, buffer: Vec::new(), waiting: VecDeque::new() })
    }

    /// Subscribes in another namespace.
    pub fn open_in(netns: &Netns, groups: &[Group]) -> Result<Self, Error> {
        netns.run(|| Self::open(groups))?
    }

    /// Tells no more of what is changed through the socket of that port ([`crate::Rtnl::port`]): ten thousand routes of
    /// one's own making would come back, and make the kernel lose news of others.
    pub fn ignore(&self, port: u32) -> Result<(), Error> {
        socket2::SockRef::from(&self.socket)
            .attach_filter(&unless_made_by(port))
            .during(|| format!("leaving out notifications of port {port}"))
    }

    /// The next change, or nothing at the deadline. With a deadline that has passed it does not wait.
    pub fn next(&mut self, deadline: Instant) -> Result<Option<Event>, Error> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Ok(Some(event));
            }
            match datagram(&self.socket, &mut self.buffer) {
                Ok(()) => self.read()?,
                Err(cause) if cause.errno() == Some(libc::ENOBUFS) => return Ok(Some(Event::Overrun)),
                Err(cause) if cause.errno() == Some(libc::EAGAIN) => {
                    if !readable(self.socket.as_fd(), deadline).during(waiting)? {
                        return Ok(None);
                    }
                }
                Err(cause) => return Err(cause).during(waiting),
            }
        }
    }

    fn read(&mut self) -> Result<(), Error> {
        for message in Messages(&self.buffer) {
            read_event(&message.during(waiting)?, &mut self.waiting);
        }
        Ok(())
    }
}

/// `linux/bpf_common.h`: a socket filter that drops messages whose `nlmsg_pid` is that port. The kernel runs it before it
/// queues a message and wakes the listener.
fn unless_made_by(port: u32) -> [socket2::SockFilter; 4] {
    const LOAD_WORD: u16 = 0x20;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const NLMSG_PID: u32 = 12;
    // The filter's machine takes words for big-endian, netlink's are the machine's own.
    let port = u32::from_be_bytes(port.to_ne_bytes());
    [
        socket2::SockFilter::new(LOAD_WORD, 0, 0, NLMSG_PID),
        socket2::SockFilter::new(JUMP_IF_EQUAL, 0, 1, port),
        socket2::SockFilter::new(RETURN, 0, 0, 0),
        socket2::SockFilter::new(RETURN, 0, 0, u32::MAX),
    ]
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn waiting() -> String {
    "waiting for a change in the kernel".into()
}

/// Waits until there is something to read; false at the deadline.
pub(crate) fn readable(fd: BorrowedFd<'_>, deadline: Instant) -> Result<bool, Errno> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // Rounded up, so that the last round does not spin for the rest of a millisecond.
        let timeout = PollTimeout::try_from(left + Duration::from_micros(999)).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], timeout) {
            Ok(0) if Instant::now() >= deadline => return Ok(false),
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(true),
            Err(e) => return Err(e),
        }
    }
}

fn read_event(received: &Received<'_>, events: &mut VecDeque<Event>) {
    match received.kind {
        rtm::NEWLINK | rtm::DELLINK => events.extend(link_event(received)),
        rtm::NEWADDR => events.extend(read_address(received).map(Event::Address)),
        rtm::DELADDR => events.extend(read_address(received).map(Event::AddressGone)),
        rtm::NEWROUTE | rtm::DELROUTE => {
            let mut routes = Vec::new();
            read_routes(received, &mut routes);
            let event = if received.kind == rtm::NEWROUTE { Event::Route } else { Event::RouteGone };
            events.extend(routes.into_iter().map(event));
        }
        rtm::NEWNETCONF => events.push_back(Event::Settings),
        rtm::NEWNEXTHOP => events.extend(read_nexthop(received).map(Event::Nexthop)),
        rtm::DELNEXTHOP => events.extend(read_nexthop(received).map(Event::NexthopGone)),
        rtm::NEWNEIGH => {
            events.extend(read_neighbour(received).map(Event::Neighbour));
            events.extend(read_forwarding(received).map(Event::Forwarding));
        }
        rtm::DELNEIGH => {
            events.extend(read_neighbour(received).map(Event::NeighbourGone));
            events.extend(read_forwarding(received).map(Event::ForwardingGone));
        }
        _ => {}
    }
}

/// A bridge tells of its ports in the same group, with its own family: there, `RTM_DELLINK` says that a link is no port
/// any more, not that it is gone.
fn link_event(received: &Received<'_>) -> Option<Event> {
    let link = read_link(received)?;
    Some(match (received.payload.first().copied(), received.kind) {
        (Some(af::BRIDGE), _) => Event::Port { index: link.index },
        (_, rtm::DELLINK) => Event::LinkGone { index: link.index, name: link.name },
        _ => Event::Link(link),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{channel::finished, wire::Message};

    /// A few thousand messages of every kind with random contents: no panic and no endless loop.
    #[test]
    fn junk_in_place_of_an_event_does_no_harm() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        };
        for kind in (rtm::NEWLINK..=rtm::DELNEIGH).cycle().take(20_000) {
            let [words, small, family, ..] = random();
            let mut payload = vec![[af::BRIDGE, 2, 10, 0][usize::from(family % 4)]];
            for _ in 0..words % 32 {
                // Small numbers make lengths and types that fit.
                payload.extend(random().map(|byte| if small % 2 == 0 { byte % 24 } else { byte }));
            }
            let mut message = Message::new(kind, 0, &payload);
            let bytes = message.seal(1).unwrap();
            for received in Messages(bytes) {
                let received = received.unwrap();
                read_event(&received, &mut VecDeque::new());
                finished(&received).ok();
            }
        }
    }
}
