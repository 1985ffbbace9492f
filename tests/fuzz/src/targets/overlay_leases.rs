//! The daemon's decisions over any leases: which subnet, which routes, which changes.
//!
//! The input is a network configuration, a line `---`, and one line each for leases, the node, its uplink and the kernel.

use ::overlay::{
    Actual, BackendConfig, Change, Claim, Desired, End, Ends, Forwarding, FoundPeer, Ground, Junk, Lease,
    LeaseAttributes, Neighbour, NetworkConfig, Nexthop, Node, Reach, Route, Snapshot, Subnets, Uplink, claim,
    conflicts, desired, diff,
};

use crate::random::Random;
use crate::targets::overlay::leased;
use crate::verdict::{Broken, Reached, Verdict, hold, same};

/// Most lines.
const LINES: usize = 400;

/// The target.
pub fn leases(data: &[u8]) -> Verdict {
    let text = String::from_utf8_lossy(data);
    let (config, lines) = text.split_once("\n---\n").unwrap_or((text.as_ref(), ""));
    let config = match NetworkConfig::parse(config.as_bytes()) {
        Err(error) => return Ok(Reached::at(&error.to_string())),
        Ok(config) => config,
    };
    let mut world = World::default();
    lines.lines().take(LINES).for_each(|line| world.read(line));
    let own = match world.claim(&config, data)? {
        Ok(own) => own,
        Err(why) => return Ok(Reached::at(&why)),
    };
    let (ends, reach) = (ends(), Reach::default());
    let ground = Ground { uplink: &world.uplink, ends: &ends, reach: &reach };
    let wanted = desired(&config, &world.snapshot, &own, ground);
    ways(&config, (&world, &own), &wanted)?;
    let changes = diff(&wanted, &world.actual);
    same("the same question", &diff(&wanted, &world.actual), &changes)?;
    for change in &changes {
        world.allowed(change)?;
    }
    settled(&wanted)?;
    let problems = conflicts(&wanted, &world.actual);
    Ok(Reached::at(&format!("{own:?} {changes:?} {:?} {problems:?}", wanted.problems)))
}

/// Where the routes lead, and what the daemon carries itself.
fn ways(config: &NetworkConfig, (world, own): (&World, &Subnets), wanted: &Desired) -> Result<(), Broken> {
    for (destination, hop) in &wanted.routes {
        if let BackendConfig::Udp(_) = config.backend {
            same("the only route", &Some(*destination), &config.v4.map(|family| family.network))?;
            continue;
        }
        let is_v4 = destination.is_ipv4();
        let (v4, v6) = (Some(*destination).filter(|_| is_v4), Some(*destination).filter(|_| !is_v4));
        leads_to_a_peer(world, own, &Subnets { v4, v6 })?;
        let gateway = hop.gateway.unwrap_or(destination.ip());
        let leads = match config.backend {
            BackendConfig::HostGw => world.uplink.reaches(gateway),
            BackendConfig::Vxlan(_) => wanted.neighbours.contains_key(&(hop.oif, gateway)),
            BackendConfig::Ipip(_) => hop.onlink && hop.oif == 21,
            BackendConfig::Wireguard(_) => wanted.peers.keys().any(|(index, _)| *index == hop.oif),
            BackendConfig::Alloc | BackendConfig::Extension(_) | BackendConfig::Udp(_) => false,
        };
        hold(leads, || format!("{destination} through {hop:?}"))?;
    }
    for (subnet, node) in &wanted.carried {
        leads_to_a_peer(world, own, &Subnets { v4: Some(*subnet), v6: None })?;
        hold(!world.uplink.owns((*node.ip()).into()), || format!("{subnet} is carried to ourselves"))?;
    }
    Ok(())
}

/// What leads away from this node is the subnet of somebody's lease, and nothing of this node's own.
fn leads_to_a_peer(world: &World, own: &Subnets, subnets: &Subnets) -> Result<(), Broken> {
    let leases = &world.snapshot.leases;
    let has = |lease: &Lease| subnets.iter().all(|subnet| lease.subnets.iter().any(|one| one == subnet));
    let is_leased = leases.iter().any(|lease| has(lease));
    hold(is_leased, || format!("{subnets} is nobody's"))?;
    hold(!own.overlaps(subnets), || format!("{subnets} is led away from {own}"))
}

/// Where everything is as desired, there is nothing to change.
fn settled(wanted: &Desired) -> Result<(), Broken> {
    let route = |(destination, hop): (&_, &::overlay::Hop)| Route {
        destination: *destination,
        gateway: hop.gateway,
        oif: Some(hop.oif),
        onlink: hop.onlink,
        metric: if destination.is_ipv4() { 0 } else { 1024 },
        nexthop: None,
        protocol: ::overlay::ROUTE_PROTOCOL,
    };
    let permanent = true;
    let neighbours = wanted.neighbours.iter().map(|(&(index, address), &mac)| Neighbour {
        index,
        address,
        mac: Some(mac),
        permanent,
    });
    let forwardings = wanted.forwardings.iter().map(|(&(index, mac), &host)| Forwarding {
        index,
        mac,
        host: Some(host),
        permanent,
    });
    let peers = wanted.peers.iter().map(|(&(index, key), peer)| FoundPeer {
        index,
        key,
        endpoint: Some(peer.endpoint),
        allowed: peer.allowed.clone(),
        shared: peer.shared,
        keepalive: peer.keepalive,
        is_heard: false,
    });
    let there = Actual {
        routes: wanted.routes.iter().map(route).collect(),
        nexthops: Vec::new(),
        neighbours: neighbours.collect(),
        forwardings: forwardings.collect(),
        peers: peers.collect(),
        carried: wanted.carried.clone(),
    };
    same("changes where all is as desired", &diff(wanted, &there), &Vec::new())
}

/// Tunnel devices of both families.
fn ends() -> Ends {
    let end = |index| Some(End { index, mac: None, mtu: 1450 });
    Ends { v4: end(21), v6: end(22) }
}

struct World {
    snapshot: Snapshot,
    node: Node,
    uplink: Uplink,
    actual: Actual,
}

impl Default for World {
    fn default() -> Self {
        let node = Node {
            public_ip: [192, 168, 1, 1].into(),
            public_ipv6: None,
            name: None,
            previous: None,
            pods: None,
        };
        let uplink = Uplink { index: 2, name: "eth0".to_owned(), mtu: 1500, ..Uplink::default() };
        Self { snapshot: Snapshot::default(), node, uplink, actual: Actual::default() }
    }
}

impl World {
    /// One line; one that says nothing is passed over.
    fn read(&mut self, line: &str) {
        let mut words = line.splitn(3, ' ');
        let mut word = || words.next().unwrap_or_default();
        let (what, first, rest) = (word(), word(), word());
        match what {
            "lease" | "reserved" => match self.lease(first, rest) {
                Ok(lease) => {
                    self.snapshot.leases.push(Lease { reserved: what == "reserved", ..lease }.into());
                }
                Err(reason) => self.snapshot.junk.push(Junk { key: first.to_owned(), reason }),
            },
            "node" => self.node.name = Some(first.to_owned()).filter(|name| !name.is_empty()),
            "previous" => self.node.previous = Subnets::parse_key(first).ok(),
            "public" => {
                self.node.public_ip = first.parse().unwrap_or(self.node.public_ip);
                self.node.public_ipv6 = rest.parse().ok();
            }
            "uplink" => self.address(first),
            "route" => self.actual.routes.extend(route(first, rest)),
            "nexthop" => self.actual.nexthops.extend(nexthop(first, rest)),
            _ => {}
        }
    }

    fn address(&mut self, text: &str) {
        let list = if text.contains(':') { &mut self.uplink.v6 } else { &mut self.uplink.v4 };
        if let Ok(address) = text.parse() {
            list.push(address);
        }
    }

    fn lease(&self, key: &str, value: &str) -> Result<Lease, String> {
        let revision = i64::try_from(self.snapshot.leases.len()).unwrap_or(0);
        let subnets = Subnets::parse_key(key).map_err(|error| error.to_string())?;
        let attributes = LeaseAttributes::parse(value.as_bytes()).map_err(|error| error.to_string())?;
        Ok(Lease { subnets, attributes, reserved: false, revision })
    }

    /// The subnets that the node gets, or why it gets none.
    fn claim(&self, config: &NetworkConfig, seed: &[u8]) -> Result<Result<Subnets, String>, Broken> {
        let mut random = Random::new(crate::verdict::fnv1a(seed));
        let mut asked_for_nothing = false;
        let claimed = claim(config, &self.snapshot, &self.node, &mut |bound| {
            asked_for_nothing |= bound == 0;
            random.below(bound)
        });
        hold(!asked_for_nothing, || "a number below 0 was asked for".to_owned())?;
        let free = |subnets: &Subnets, but: Option<&Lease>| {
            let mut others = self.snapshot.iter().filter(|lease| Some(*lease) != but);
            let taken = others.find(|lease| lease.subnets.overlaps(subnets));
            same("a lease in the way", &taken, &None)
        };
        let own = match claimed {
            Err(error) => return Ok(Err(error.to_string())),
            Ok(Claim::Retake(lease)) => {
                hold(self.snapshot.iter().any(|known| *known == lease), || {
                    format!("no such lease: {lease}")
                })?;
                lease.subnets
            }
            Ok(Claim::Create(subnets)) => {
                free(&subnets, None)?;
                subnets
            }
            Ok(Claim::Replace { delete, create }) => {
                hold(self.snapshot.iter().any(|known| *known == delete) && !delete.reserved, || {
                    format!("{delete}")
                })?;
                free(&create, Some(&delete))?;
                create
            }
        };
        leased(config, &own)?;
        Ok(Ok(own))
    }

    /// Only what carries our number is taken away.
    fn allowed(&self, change: &Change) -> Result<(), Broken> {
        match change {
            Change::DeleteRoute(route) => {
                hold(route.is_ours() && self.actual.routes.contains(route), || format!("deletes {route:?}"))
            }
            Change::DeleteNexthop { id } => {
                let ours = |one: &&Nexthop| one.id == *id && one.protocol == ::overlay::ROUTE_PROTOCOL;
                hold(self.actual.nexthops.iter().any(|one| ours(&one)), || format!("deletes nexthop {id}"))
            }
            Change::AddNexthop { id, .. } => {
                let taken = self.actual.nexthops.iter().any(|one| one.id == *id);
                hold(!taken, || format!("nexthop {id} is there already"))
            }
            Change::DeleteNeighbour(entry) => {
                hold(self.actual.neighbours.contains(entry), || format!("deletes {entry:?}"))
            }
            Change::DeleteForwarding(entry) => {
                hold(self.actual.forwardings.contains(entry), || format!("deletes {entry:?}"))
            }
            Change::DeletePeer { index, key } => {
                let known = self.actual.peers.iter().any(|peer| (peer.index, peer.key) == (*index, *key));
                hold(known, || format!("deletes {key:?}"))
            }
            Change::DeleteCarried { subnet } => {
                hold(self.actual.carried.contains_key(subnet), || format!("forgets {subnet}"))
            }
            Change::PutPeer { .. }
            | Change::PutCarried { .. }
            | Change::PutRoute { .. }
            | Change::PutNeighbour(_)
            | Change::PutForwarding(_) => Ok(()),
        }
    }
}

/// `DESTINATION GATEWAY PROTOCOL METRIC NEXTHOP`, as many as there are.
fn route(destination: &str, rest: &str) -> Option<Route> {
    let mut words = rest.split(' ');
    Some(Route {
        destination: destination.parse().ok()?,
        gateway: words.next().and_then(|word| word.parse().ok()),
        oif: Some(2),
        onlink: false,
        protocol: words.next().and_then(|word| word.parse().ok()).unwrap_or(::overlay::ROUTE_PROTOCOL),
        metric: words.next().and_then(|word| word.parse().ok()).unwrap_or(0),
        nexthop: words.next().and_then(|word| word.parse().ok()),
    })
}

/// `ID GATEWAY PROTOCOL`.
fn nexthop(id: &str, rest: &str) -> Option<Nexthop> {
    let mut words = rest.split(' ');
    let gateway = words.next().and_then(|word| word.parse().ok());
    Some(Nexthop {
        id: id.parse().ok()?,
        hop: gateway.map(|gateway| ::overlay::Hop { gateway: Some(gateway), oif: 2, onlink: false }),
        protocol: words.next().and_then(|word| word.parse().ok()).unwrap_or(::overlay::ROUTE_PROTOCOL),
    })
}
