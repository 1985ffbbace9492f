//! The rtnetlink client: one socket in one namespace; links, addresses, routes and neighbours are methods of it.

use crate::{Error, Netns, channel::Channel, error::During, wire::Message};
use netlink_sys::protocols::NETLINK_ROUTE;

/// A blocking rtnetlink client. Its socket belongs for ever to the namespace that it was opened in, so it may be
/// sent to any thread.
///
/// Strict checking is on: what a request asks to be filtered, the kernel filters, and what the kernel does not know,
/// it refuses.
#[derive(Debug)]
pub struct Rtnl {
    pub(crate) channel: Channel,
}

impl Rtnl {
    /// Opens a client in the namespace of the calling thread.
    pub fn open() -> Result<Self, Error> {
        let channel = Channel::open(NETLINK_ROUTE).during(|| "opening an rtnetlink socket".into())?;
        Ok(Self { channel })
    }

    /// Opens a client in another namespace, from a thread that ends. A caller that has more to do there (sysctls)
    /// saves a thread with [`Netns::run`] and [`Rtnl::open`] inside.
    pub fn open_in(netns: &Netns) -> Result<Self, Error> {
        netns.run(Self::open)?
    }

    /// The port of its socket: notifications of what it changes carry it ([`crate::Monitor::ignore`]).
    pub fn port(&mut self) -> Result<u32, Error> {
        self.channel.port().during(|| "binding an rtnetlink socket".into())
    }

    /// Sends a change and waits for the acknowledgement.
    pub(crate) fn change(&mut self, message: Message, doing: impl FnOnce() -> String) -> Result<(), Error> {
        self.channel.ack(message).during(doing)
    }
}
