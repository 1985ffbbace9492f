//! The kernel's notifications, reduced to "look again": a thread that wakes the settling loop.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use ipnetwork::IpNetwork;
use kernel::{Event, Group, Monitor};
use overlay::ROUTE_PROTOCOL;

use super::{Assignment, Input, Places};

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
    /// The tunnel devices' names.
    devices: Vec<String>,
    /// Whether a route outside may say that a peer became a neighbour, or is none any more.
    direct: bool,
    /// Whether entries come by themselves from traffic.
    learning: bool,
    places: Arc<Places>,
    own: u32,
}

impl Ears {
    /// For that assignment. `places` are kept up to date by the settling loop, which changes the kernel through the
    /// socket of port `own`.
    pub fn new(assignment: &Assignment, places: Arc<Places>, own: u32) -> Self {
        let backend = &assignment.config.backend;
        Ears {
            own,
            devices: backend.device_names(),
            direct: backend.direct_routing(),
            learning: backend.learns(),
            networks: assignment.scope.clone(),
            uplink: assignment.uplink.clone(),
            published: assignment.published.clone(),
            places,
        }
    }

    /// Starts the thread. Changes after this call are not missed.
    pub fn listen(self, inputs: Sender<Input>) -> Result<(), kernel::Error> {
        // Pods make and lose neighbours all the time: only a tunnel has reason to listen to them.
        let neighbours = (!self.devices.is_empty()).then_some(Group::Neighbour);
        let groups: Vec<Group> = GROUPS.into_iter().chain(neighbours).collect();
        let mut monitor = Monitor::open(&groups)?;
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
            Event::Route(route) | Event::RouteGone(route) => self.matters(route),
            // The kernel drops IPv4 routes with their link and tells of the link only.
            Event::Link(link) => {
                self.is_uplink(link.index, &link.name) || self.is_end(link.index, &link.name)
            }
            Event::LinkGone { index, name } => self.is_uplink(*index, name) || self.is_end(*index, name),
            Event::Address(address) | Event::AddressGone(address) => {
                self.is_uplink(address.index, "")
                    || self.is_end(address.index, "")
                    || self.published.contains(&address.network.ip())
            }
            Event::Nexthop(nexthop) | Event::NexthopGone(nexthop) => nexthop.protocol == ROUTE_PROTOCOL,
            // Our own entries come back here too and cost one more comparison: nothing tells whose they are.
            Event::Neighbour(neighbour) | Event::NeighbourGone(neighbour) => self.is_end(neighbour.index, ""),
            Event::Forwarding(entry) | Event::ForwardingGone(entry) => {
                self.is_end(entry.index, "") && (entry.is_permanent() || !self.learning)
            }
            Event::Settings | Event::Overrun => true,
            Event::Port { .. } => false,
        }
    }

    fn is_uplink(&self, index: u32, name: &str) -> bool {
        name == self.uplink || index == self.places.uplink.load(Ordering::Relaxed)
    }

    fn is_end(&self, index: u32, name: &str) -> bool {
        self.devices.iter().any(|device| device == name)
            || self.places.ends.iter().any(|end| end.load(Ordering::Relaxed) == index)
    }

    /// Inside the cluster network, or a sign that a peer became a neighbour of the uplink or is none any more.
    fn matters(&self, route: &kernel::Route) -> bool {
        let to = route.destination;
        let covers =
            |network: &IpNetwork| network.is_ipv4() == to.is_ipv4() && network.contains(to.network());
        route.table == MAIN && (self.direct || self.networks.iter().any(covers))
    }
}
