//! The kernel's notifications, reduced to "look again": a thread that wakes the settling loop.

use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use ipnetwork::IpNetwork;
use kernel::{Event, Group, Monitor};
use overlay::ROUTE_PROTOCOL;

use super::{Assignment, Input, UplinkIndex};

const GROUPS: [Group; 8] = [
    Group::Link,
    Group::Ipv4Address,
    Group::Ipv6Address,
    Group::Ipv4Route,
    Group::Ipv6Route,
    Group::Nexthop,
    Group::Ipv4Settings,
    Group::Ipv6Settings,
];

/// `RT_TABLE_MAIN`.
const MAIN: u32 = 254;

/// How often an idle thread looks whether anybody still listens.
const IDLE: Duration = Duration::from_mins(1);

/// What is worth a comparison of all routes. A busy node makes and deletes links, addresses and routes for its pods all
/// the time: those are not.
pub struct Ears {
    networks: Vec<IpNetwork>,
    uplink: String,
    published: Vec<IpAddr>,
    at: UplinkIndex,
    own: u32,
}

impl Ears {
    /// For that assignment. `at` is kept up to date by the settling loop, which changes the kernel through the socket of
    /// port `own`.
    pub fn new(assignment: &Assignment, at: UplinkIndex, own: u32) -> Self {
        Ears {
            own,
            networks: assignment.scope.clone(),
            uplink: assignment.uplink.clone(),
            published: assignment.published.clone(),
            at,
        }
    }

    /// Starts the thread. Changes after this call are not missed.
    pub fn listen(self, inputs: Sender<Input>) -> Result<(), kernel::Error> {
        let mut monitor = Monitor::open(&GROUPS)?;
        monitor.ignore(self.own)?;
        std::thread::spawn(move || {
            loop {
                let told = match monitor.next(Instant::now() + IDLE) {
                    Ok(Some(event)) if self.concerns(&event) => inputs.send(Input::Kernel),
                    Ok(_) => Ok(()),
                    Err(error) => {
                        tracing::error!(%error, "no more notifications from the kernel: only the audit mends now");
                        return;
                    }
                };
                if told.is_err() {
                    return;
                }
            }
        });
        Ok(())
    }

    fn concerns(&self, event: &Event) -> bool {
        match event {
            // Ours is not told. Somebody else's may be in the place of ours, whatever protocol it carries.
            Event::Route(route) | Event::RouteGone(route) => self.is_inside(route),
            // The kernel drops IPv4 routes with their link and tells of the link only.
            Event::Link(link) => self.is_uplink(link.index, &link.name),
            Event::LinkGone { index, name } => self.is_uplink(*index, name),
            Event::Address(address) | Event::AddressGone(address) => {
                self.is_uplink(address.index, "") || self.published.contains(&address.network.ip())
            }
            Event::Nexthop(nexthop) | Event::NexthopGone(nexthop) => nexthop.protocol == ROUTE_PROTOCOL,
            Event::Settings | Event::Overrun => true,
            Event::Port { .. }
            | Event::Neighbour(_)
            | Event::NeighbourGone(_)
            | Event::Forwarding(_)
            | Event::ForwardingGone(_) => false,
        }
    }

    fn is_uplink(&self, index: u32, name: &str) -> bool {
        name == self.uplink || index == self.at.load(Ordering::Relaxed)
    }

    fn is_inside(&self, route: &kernel::Route) -> bool {
        let to = route.destination;
        let covers =
            |network: &IpNetwork| network.is_ipv4() == to.is_ipv4() && network.contains(to.network());
        route.table == MAIN && self.networks.iter().any(covers)
    }
}
