//! Switching a link on, and learning what came of it, with as few turns at the kernel's one lock (rtnl) as can be.
//!
//! Carrier makes workers of the kernel queue for that lock: one for the state of both ends of a pair, then one that tells the
//! neighbours of a new IPv6 address. On a bridge with a thousand ports the latter holds it for some 4 ms, and who asks a
//! question more waits for it.

use crate::{
    Error, Link, Rtnl,
    abi::{af, rtm},
    channel::datagram,
    error::{Absent, During},
    link::{named_message, up_message},
    link_wire::read_link,
    monitor::{Group, readable},
    wire::Messages,
};
use nix::libc;
use std::{os::fd::AsFd, time::Instant};

impl Rtnl {
    /// Switches a link on that is known by its name, and gives it as it is then. One call for both, so that nobody
    /// comes between because this program was slow.
    pub fn raise_named_link(&mut self, name: &str) -> Result<Option<Link>, Error> {
        let raised = self.channel.change_and_get(up_message(name), named_message(name), read_link);
        raised.during(|| format!("setting link {name} up")).absent_is_none()
    }

    /// Begins to keep what the kernel tells of the links here, for [`Rtnl::heard_link`]. For namespaces in which little
    /// happens, and a client that was answered before, for until then it cannot tell news from answers; what comes during a
    /// request of its own is lost.
    pub fn hear_links(&mut self) -> Result<(), Error> {
        self.channel.socket().add_membership(Group::Link as u32).during(hearing)
    }

    /// The newest that was told of a link since [`Rtnl::hear_links`], without waiting and without the lock; nothing if
    /// nothing was, or news were lost. Ends the hearing.
    pub fn heard_link(&mut self, index: u32) -> Result<Option<Link>, Error> {
        let (mut newest, mut buffer) = (None, Vec::new());
        while readable(self.channel.socket().as_fd(), Instant::now()).during(hearing)? {
            match datagram(self.channel.socket(), &mut buffer) {
                Err(cause) if cause.errno() == Some(libc::ENOBUFS) => newest = None,
                received => received.during(hearing)?,
            }
            for message in Messages(&buffer) {
                let message = message.during(hearing)?;
                let is_link = message.kind == rtm::NEWLINK && message.payload.first() == Some(&af::UNSPEC);
                let told = read_link(&message).filter(|link| is_link && link.index == index);
                newest = told.or(newest);
            }
        }
        self.channel.socket().drop_membership(Group::Link as u32).during(hearing)?;
        Ok(newest)
    }
}

fn hearing() -> String {
    "hearing of changes of links".into()
}
