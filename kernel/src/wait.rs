//! Waiting for a state of the kernel with a deadline: a change wakes up, the state is asked for.

use crate::{Address, Cause, Error, Event, Link, Monitor, Rtnl, error::During};
use std::time::Instant;

/// The index of a link, and until when to wait for it.
pub type Until = (u32, Instant);

impl Rtnl {
    /// Waits until `wanted` says yes to the link, or to its absence. `monitor` must be subscribed to
    /// [`crate::Group::Link`] in the namespace of this client; open it before the act that brings the change about, so
    /// that none is missed.
    ///
    /// # Errors
    /// [`Cause::DeadlinePassed`] at the deadline.
    pub fn wait_link(
        &mut self,
        monitor: &mut Monitor,
        (index, deadline): Until,
        mut wanted: impl FnMut(Option<&Link>) -> bool,
    ) -> Result<Option<Link>, Error> {
        loop {
            let link = self.link_at(index)?;
            if wanted(link.as_ref()) {
                return Ok(link);
            }
            await_event(monitor, (index, deadline), || format!("waiting for link {index}"))?;
        }
    }

    /// Waits until `wanted` says yes to the addresses of a link: that none is tentative any more. `monitor` must be
    /// subscribed to [`crate::Group::Ipv6Address`] (or IPv4's), as for [`Rtnl::wait_link`].
    ///
    /// # Errors
    /// [`Cause::DeadlinePassed`] at the deadline; `ENODEV` if the link goes away.
    pub fn wait_addresses(
        &mut self,
        monitor: &mut Monitor,
        (index, deadline): Until,
        mut wanted: impl FnMut(&[Address]) -> bool,
    ) -> Result<Vec<Address>, Error> {
        loop {
            let addresses = self.addresses(index)?;
            if wanted(&addresses) {
                return Ok(addresses);
            }
            await_event(monitor, (index, deadline), || format!("waiting for the addresses of link {index}"))?;
        }
    }
}

/// Waits for a change that has to do with the link.
fn await_event(
    monitor: &mut Monitor,
    (index, deadline): Until,
    doing: impl FnOnce() -> String,
) -> Result<(), Error> {
    loop {
        match monitor.next(deadline)? {
            Some(event) if concerns(&event, index) => return Ok(()),
            Some(_) => {}
            None => return Err(Cause::DeadlinePassed).during(doing),
        }
    }
}

fn concerns(event: &Event, wanted: u32) -> bool {
    match event {
        Event::Link(link) => link.index == wanted,
        Event::LinkGone { index, .. } | Event::Port { index } => *index == wanted,
        Event::Address(address) | Event::AddressGone(address) => address.index == wanted,
        Event::Overrun => true,
        Event::Route(_)
        | Event::RouteGone(_)
        | Event::Nexthop(_)
        | Event::NexthopGone(_)
        | Event::Neighbour(_)
        | Event::NeighbourGone(_)
        | Event::Forwarding(_)
        | Event::ForwardingGone(_)
        | Event::Settings => false,
    }
}
