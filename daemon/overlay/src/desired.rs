//! From all leases to the routes that this node should have.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddrV4};

use ipnetwork::IpNetwork;

use crate::config::{BackendConfig, NetworkConfig};
use crate::device::Device;
use crate::ground::Ground;
use crate::key::Key;
use crate::lease::{Lease, LeaseAttributes, Snapshot, Subnets};
use crate::mac::Mac;
use crate::problem::Problem;
use crate::range;
use crate::route::Hop;
use crate::uplink::Uplink;
use crate::vxlan::{Passage, Through};
use crate::wireguard::Peer;
use crate::{host_gw, ipip, udp, vxlan, wireguard};

/// The state that the kernel should be in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Desired {
    /// One route for each subnet of each peer; with the udp backend one for the whole network.
    pub routes: BTreeMap<IpNetwork, Hop>,
    /// The permanent neighbour entries of tunnel devices, by link and address.
    pub neighbours: BTreeMap<(u32, IpAddr), Mac>,
    /// The forwarding entries of tunnel devices: which host has the hardware address behind which link.
    pub forwardings: BTreeMap<(u32, Mac), IpAddr>,
    /// The peers of `WireGuard` devices, by device and public key.
    pub peers: BTreeMap<(u32, Key), Peer>,
    /// The subnets whose packets the daemon carries itself, each with the node that gets them.
    pub carried: BTreeMap<IpNetwork, SocketAddrV4>,
    /// How many subnets of peers are reached.
    pub reached: usize,
    /// How many leases belong to nodes with another backend.
    pub other_backends: usize,
    /// Leases that could not become a route, or that contradict one another.
    pub problems: Vec<Problem>,
}

/// The devices that this node's backend needs, for a lease with these subnets and attributes.
#[must_use]
pub fn devices(
    config: &NetworkConfig,
    own: &Subnets,
    published: &LeaseAttributes,
    uplink: &Uplink,
) -> Vec<Device> {
    match &config.backend {
        BackendConfig::HostGw | BackendConfig::Alloc | BackendConfig::Extension(_) => Vec::new(),
        BackendConfig::Vxlan(vxlan) => vxlan::devices((config, vxlan), own, published, uplink),
        BackendConfig::Wireguard(wireguard) => wireguard::devices((config, wireguard), own, uplink),
        BackendConfig::Ipip(_) => ipip::device(config, own, published, uplink).into_iter().collect(),
        BackendConfig::Udp(udp) => udp::device((config, *udp), own, published, uplink).into_iter().collect(),
    }
}

/// Decides by one complete snapshot. The lease with our `own` subnets is never routed.
#[must_use]
pub fn desired(config: &NetworkConfig, snapshot: &Snapshot, own: &Subnets, ground: Ground) -> Desired {
    let mut wanted = Desired::default();
    let mut routed: HashMap<IpNetwork, &Lease> = HashMap::new();
    let view = View { config, own, ground };
    wanted.routes.extend(udp::route(config, ground));
    for lease in snapshot.iter().filter(|lease| lease.subnets != *own) {
        let backend = &lease.attributes.backend_type;
        if backend != config.backend.lease_type() {
            wanted.other_backends += 1;
            wanted.problems.push(other_backend(lease, config));
            continue;
        }
        if !config.backend.is_routed() {
            continue;
        }
        for subnet in view.served(&lease.subnets) {
            match (view.passage(lease, subnet), routed.get(&subnet)) {
                (Ok(_), Some(kept)) => wanted.problems.push(shared_subnet(subnet, kept, lease)),
                (Ok(passage), None) => match wanted.take(lease, subnet, passage) {
                    Ok(()) => drop(routed.insert(subnet, lease)),
                    Err(problem) => wanted.problems.push(problem),
                },
                (Err(problem), _) => wanted.problems.push(problem),
            }
        }
    }
    wanted.problems.extend(shared_addresses(snapshot));
    wanted
        .problems
        .extend(snapshot.junk.iter().map(|j| Problem::Junk { key: j.key.clone(), reason: j.reason.clone() }));
    wanted
}

impl Desired {
    /// The addresses of the peers' tunnel ends.
    pub fn tunnel_ends(&self) -> impl Iterator<Item = IpAddr> {
        let framed = self.carried.keys().map(IpNetwork::network);
        self.neighbours.keys().map(|(_, address)| *address).chain(framed)
    }

    /// Adds what a subnet needs, unless two hosts claim one tunnel end.
    fn take(&mut self, lease: &Lease, subnet: IpNetwork, passage: Passage) -> Result<(), Problem> {
        let Passage { hop, through } = passage;
        match through {
            Some(Through::Vtep(mac, host)) => {
                let end = self.forwardings.entry((hop.oif, mac)).or_insert(host);
                if *end != host {
                    let (other, lease) = (*end, lease.to_string());
                    return Err(Problem::SharedMac { subnet, mac, host, other, lease });
                }
                self.neighbours.extend(hop.gateway.map(|gateway| ((hop.oif, gateway), mac)));
            }
            Some(Through::Peer(key, peer)) => {
                let there = self.peers.entry((hop.oif, key)).or_insert_with(|| peer.clone());
                if there.endpoint != peer.endpoint {
                    let (other, lease) = (there.endpoint.ip(), lease.to_string());
                    return Err(Problem::SharedKey { subnet, key, host: peer.endpoint.ip(), other, lease });
                }
                there.allowed.extend(peer.allowed);
            }
            Some(Through::Frames(node)) => {
                self.carried.insert(subnet, node);
                self.reached += 1;
                return Ok(());
            }
            None => {}
        }
        self.routes.insert(subnet, hop);
        self.reached += 1;
        Ok(())
    }
}

/// What one lease is judged by.
struct View<'a> {
    config: &'a NetworkConfig,
    own: &'a Subnets,
    ground: Ground<'a>,
}

impl View<'_> {
    /// The subnets of the families that the network uses.
    fn served(&self, subnets: &Subnets) -> impl Iterator<Item = IpNetwork> {
        let v4 = subnets.v4.filter(|_| self.config.v4.is_some());
        let v6 = subnets.v6.filter(|_| self.config.v6.is_some());
        v4.into_iter().chain(v6)
    }

    fn passage(&self, lease: &Lease, subnet: IpNetwork) -> Result<Passage, Problem> {
        let family = if subnet.is_ipv4() { self.config.v4 } else { self.config.v6 };
        if let Some(network) = family.map(|f| f.network).filter(|n| !range::covers(*n, subnet)) {
            return Err(Problem::Outside { subnet, network, lease: lease.to_string() });
        }
        if self.own.iter().any(|own| range::overlap(own, subnet)) {
            return Err(Problem::OverlapsOwn { subnet, lease: lease.to_string() });
        }
        let plain = |hop| Passage { hop, through: None };
        match &self.config.backend {
            BackendConfig::Vxlan(vxlan) => vxlan::passage(lease, subnet, vxlan, self.ground),
            BackendConfig::Wireguard(wireguard) => {
                let (hop, key, peer) = wireguard::passage(lease, subnet, wireguard, self.ground)?;
                Ok(Passage { hop, through: Some(Through::Peer(key, peer)) })
            }
            BackendConfig::Ipip(ipip) => ipip::hop(lease, subnet, *ipip, self.ground).map(plain),
            BackendConfig::Udp(udp) => udp::passage(lease, subnet, *udp, self.ground),
            BackendConfig::HostGw | BackendConfig::Alloc | BackendConfig::Extension(_) => {
                host_gw::hop(lease, subnet, self.ground.uplink).map(plain)
            }
        }
    }
}

fn other_backend(lease: &Lease, config: &NetworkConfig) -> Problem {
    Problem::OtherBackend {
        lease: lease.to_string(),
        backend: lease.attributes.backend_type.clone(),
        expected: config.backend.type_name(),
    }
}

fn shared_subnet(subnet: IpNetwork, kept: &Lease, ignored: &Lease) -> Problem {
    Problem::SharedSubnet { subnet, kept: kept.to_string(), ignored: ignored.to_string() }
}

/// Two leases with one address: two nodes with equal addresses (Vagrant's 10.0.2.15), or a node that left a lease behind.
fn shared_addresses(snapshot: &Snapshot) -> Vec<Problem> {
    let addresses = |lease: &LeaseAttributes| {
        lease.public_v4().map(IpAddr::from).into_iter().chain(lease.public_ipv6.map(IpAddr::from))
    };
    let mut all: Vec<(IpAddr, &Lease)> = snapshot
        .iter()
        .flat_map(|lease| addresses(&lease.attributes).map(move |address| (address, lease)))
        .collect();
    // Stable, so that the first of several is the first in the order of keys.
    all.sort_by_key(|(address, _)| *address);
    let mut problems = Vec::new();
    for same in all.chunk_by(|(a, _), (b, _)| a == b) {
        let Some(((address, first), others)) = same.split_first() else { continue };
        problems.extend(others.iter().map(|(_, second)| Problem::SharedAddress {
            address: *address,
            first: first.to_string(),
            second: second.to_string(),
        }));
    }
    problems
}

#[cfg(test)]
mod tests;
