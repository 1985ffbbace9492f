//! The difference between the routes that should be and those that are, as changes in the order in which the kernel accepts them.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddrV4;

use ipnetwork::IpNetwork;

use crate::ROUTE_PROTOCOL;
use crate::desired::Desired;
use crate::key::Key;
use crate::problem::Problem;
use crate::route::{Actual, Hop, Route};
use crate::tunnel::{self, Forwarding, Neighbour};
use crate::wireguard::Peer;

/// `RTPROT_BOOT`: what flanneld's routes and those of `ip route add` carry.
const PROTOCOL_BOOT: u8 = 3;

/// With more distinct gateways than this, new routes go through nexthop objects: the kernel inserts a route with its own
/// gateway in time proportional to the gateways already on the link (13 µs at 1,000, 123 µs at 10,000; objects stay at 5).
const OBJECTS_ABOVE: usize = 100;

/// Where our nexthop ids begin ("I" in the highest byte), away from the small numbers that people and FRR pick.
const FIRST_ID: u32 = 0x4900_0000;

/// One message to the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Make a nexthop object.
    AddNexthop {
        /// A free id.
        id: u32,
        /// Where it leads.
        hop: Hop,
    },
    /// Add a route, or replace in place (`NLM_F_REPLACE`) what is there with the same destination: no packet meets a gap.
    PutRoute {
        /// What it leads to.
        destination: IpNetwork,
        /// Its next hop.
        hop: Hop,
        /// The nexthop object with that hop, when it goes through one.
        nexthop: Option<u32>,
    },
    /// Delete a route of ours.
    DeleteRoute(Route),
    /// Make a neighbour entry of a tunnel device, or change it.
    PutNeighbour(Neighbour),
    /// Make a forwarding entry of a tunnel device, or change it.
    PutForwarding(Forwarding),
    /// Add a `WireGuard` peer, or set all that is said of it.
    PutPeer {
        /// The device.
        index: u32,
        /// Its public key.
        key: Key,
        /// What is said of it.
        peer: Peer,
    },
    /// Remove a `WireGuard` peer.
    DeletePeer {
        /// The device.
        index: u32,
        /// Its public key.
        key: Key,
    },
    /// Carry the packets for a subnet to that node.
    PutCarried {
        /// The subnet.
        subnet: IpNetwork,
        /// Where its node listens.
        node: SocketAddrV4,
    },
    /// Carry no more packets for a subnet.
    DeleteCarried {
        /// The subnet.
        subnet: IpNetwork,
    },
    /// Delete a forwarding entry.
    DeleteForwarding(Forwarding),
    /// Delete a neighbour entry.
    DeleteNeighbour(Neighbour),
    /// Delete a nexthop object of ours that no route uses any more.
    DeleteNexthop {
        /// Its id.
        id: u32,
    },
}

/// The changes that turn `actual` into `desired`. Only routes and objects with our protocol number are touched,
/// routes of flanneld that already are what we want, which become ours, and the entries of our own tunnel devices.
/// A tunnel's entries come before the route that needs them and go after it.
#[must_use]
pub fn diff(desired: &Desired, actual: &Actual) -> Vec<Change> {
    let mut table = Table::of(actual);
    let mut verdict = Verdict::default();
    for (destination, hop) in &desired.routes {
        verdict.judge_wanted(*destination, *hop, table.walk_to(destination));
    }
    let is_unwanted = |route: &&&Route| route.is_ours() && !desired.routes.contains_key(&route.destination);
    verdict.deletes.extend(table.routes.iter().filter(is_unwanted).map(|route| (*route).clone()));
    let mut objects = Objects::of(desired, actual);
    objects.used.extend(verdict.kept.iter().copied());
    let puts: Vec<Change> = verdict
        .puts
        .iter()
        .map(|(destination, hop)| Change::PutRoute {
            destination: *destination,
            hop: *hop,
            nexthop: objects.through(*hop),
        })
        .collect();
    let orphans = objects.orphans(actual);
    let adds = objects.made.into_iter().map(|(id, hop)| Change::AddNexthop { id, hop });
    let entries = tunnel::difference(desired, actual);
    adds.chain(entries.puts)
        .chain(puts)
        .chain(verdict.deletes.into_iter().map(Change::DeleteRoute))
        .chain(entries.deletes)
        .chain(orphans.into_iter().map(|id| Change::DeleteNexthop { id }))
        .collect()
}

/// The routes of others that stand where ours should be: reported, never fought over.
#[must_use]
pub fn conflicts(desired: &Desired, actual: &Actual) -> Vec<Problem> {
    let foreign = actual.routes.iter().filter(|route| !route.is_ours());
    foreign
        .filter_map(|route| {
            let hop = desired.routes.get(&route.destination)?;
            let found = || description(route);
            (!is_adoptable(route, *hop)).then(|| Problem::ForeignRoute {
                destination: route.destination,
                wanted: hop.to_string(),
                found: found(),
            })
        })
        .collect()
}

/// The kernel's routes in the order of their destinations, for a walk beside the routes that should be.
struct Table<'a> {
    /// Those of one destination stay in the kernel's order.
    routes: Vec<&'a Route>,
    /// How many were passed by.
    passed: usize,
}

impl<'a> Table<'a> {
    fn of(actual: &'a Actual) -> Self {
        let mut routes: Vec<&Route> = actual.routes.iter().collect();
        routes.sort_by_key(|route| route.destination);
        Table { routes, passed: 0 }
    }

    /// The routes to there; those before are passed by. The next call must ask for a later destination.
    fn walk_to(&mut self, destination: &IpNetwork) -> &[&'a Route] {
        let rest = self.routes.get(self.passed..).unwrap_or_default();
        let before = rest.iter().take_while(|route| route.destination < *destination).count();
        let rest = rest.get(before..).unwrap_or_default();
        let here = rest.iter().take_while(|route| route.destination == *destination).count();
        self.passed += before + here;
        rest.get(..here).unwrap_or_default()
    }
}

#[derive(Default)]
struct Verdict {
    /// Nexthop ids of routes that stay.
    kept: Vec<u32>,
    puts: Vec<(IpNetwork, Hop)>,
    deletes: Vec<Route>,
}

impl Verdict {
    fn judge_wanted(&mut self, destination: IpNetwork, hop: Hop, here: &[&Route]) {
        let is_right = |r: &Route| r.is_ours() && r.has_usual_metric() && r.hop() == Some(hop);
        let right = here.iter().position(|route| is_right(route));
        let blocked = here.iter().any(|route| !route.is_ours() && !is_adoptable(route, hop));
        let spared = match right {
            Some(at) => {
                self.kept.extend(here.get(at).and_then(|route| route.nexthop));
                Some(at)
            }
            None if blocked => None,
            None => {
                self.puts.push((destination, hop));
                // The put takes the place of the first route with the usual metric: that one is not deleted, there is no gap.
                here.iter().position(|route| route.is_ours() && route.has_usual_metric())
            }
        };
        let surplus = here.iter().enumerate().filter(|(at, route)| route.is_ours() && Some(*at) != spared);
        self.deletes.extend(surplus.map(|(_, route)| (*route).clone()));
    }
}

/// Hands out nexthop objects: one that exists already, or a new one under a free id.
struct Objects {
    by_hop: HashMap<Hop, u32>,
    /// The kernel's, whoever made them.
    ids: HashSet<u32>,
    next: u32,
    made: Vec<(u32, Hop)>,
    /// Those of the kernel's that routes go through.
    used: HashSet<u32>,
    wanted: bool,
}

impl Objects {
    fn of(desired: &Desired, actual: &Actual) -> Self {
        let mut hops = HashSet::new();
        let is_many = |hop| hops.insert(hop) && hops.len() > OBJECTS_ABOVE;
        let ours = actual.nexthops.iter().filter(|object| object.protocol == ROUTE_PROTOCOL);
        Objects {
            by_hop: ours.filter_map(|object| Some((object.hop?, object.id))).collect(),
            ids: actual.nexthops.iter().map(|object| object.id).collect(),
            next: FIRST_ID,
            made: Vec::new(),
            used: HashSet::new(),
            wanted: desired.routes.values().any(is_many),
        }
    }

    fn through(&mut self, hop: Hop) -> Option<u32> {
        if !self.wanted {
            return None;
        }
        match self.by_hop.get(&hop) {
            Some(id) => {
                self.used.insert(*id);
                Some(*id)
            }
            None => Some(self.make(hop)),
        }
    }

    fn make(&mut self, hop: Hop) -> u32 {
        while self.ids.contains(&self.next) {
            self.next = self.next.wrapping_add(1);
        }
        let id = self.next;
        self.next = self.next.wrapping_add(1);
        self.by_hop.insert(hop, id);
        self.made.push((id, hop));
        id
    }

    fn orphans(&self, actual: &Actual) -> Vec<u32> {
        let ours = actual.nexthops.iter().filter(|object| object.protocol == ROUTE_PROTOCOL);
        ours.map(|object| object.id).filter(|id| !self.used.contains(id)).collect()
    }
}

/// flanneld's own route for the same peer: equal but for its maker, so it may be replaced in place.
fn is_adoptable(route: &Route, hop: Hop) -> bool {
    route.protocol == PROTOCOL_BOOT
        && route.has_usual_metric()
        && route.nexthop.is_none()
        && (route.gateway, route.oif) == (hop.gateway, Some(hop.oif))
}

fn description(route: &Route) -> String {
    let via = route.gateway.map_or_else(|| "connected".to_owned(), |gateway| format!("via {gateway}"));
    let link = route.oif.map_or_else(String::new, |oif| format!(", interface {oif}"));
    format!("{via}{link}, protocol {}, metric {}", route.protocol, route.metric)
}

#[cfg(test)]
mod tests;
