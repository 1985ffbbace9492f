//! From all leases to the routes that this node should have.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use crate::config::{BackendConfig, NetworkConfig};
use crate::host_gw;
use crate::lease::{Lease, LeaseAttributes, Snapshot, Subnets};
use crate::problem::Problem;
use crate::range;
use crate::route::Hop;
use crate::uplink::Uplink;

/// The state that the kernel should be in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Desired {
    /// One route for each subnet of each peer.
    pub routes: BTreeMap<IpNetwork, Hop>,
    /// Leases that could not become a route, or that contradict one another.
    pub problems: Vec<Problem>,
}

/// Decides by one complete snapshot. The lease with our `own` subnets is never routed.
#[must_use]
pub fn desired(config: &NetworkConfig, snapshot: &Snapshot, own: &Subnets, uplink: &Uplink) -> Desired {
    let mut wanted = Desired::default();
    let mut routed: BTreeMap<IpNetwork, &Lease> = BTreeMap::new();
    let view = View { config, own, uplink };
    for lease in snapshot.leases.iter().filter(|lease| lease.subnets != *own) {
        let backend = &lease.attributes.backend_type;
        if backend != config.backend.type_name() {
            wanted.problems.push(other_backend(lease, config));
            continue;
        }
        for subnet in view.served(&lease.subnets) {
            match (view.route(lease, subnet), routed.get(&subnet)) {
                (Ok(_), Some(kept)) => wanted.problems.push(shared_subnet(subnet, kept, lease)),
                (Ok(hop), None) => {
                    wanted.routes.insert(subnet, hop);
                    routed.insert(subnet, lease);
                }
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

/// What one lease is judged by.
struct View<'a> {
    config: &'a NetworkConfig,
    own: &'a Subnets,
    uplink: &'a Uplink,
}

impl View<'_> {
    /// The subnets of the families that the network uses.
    fn served(&self, subnets: &Subnets) -> impl Iterator<Item = IpNetwork> {
        let v4 = subnets.v4.filter(|_| self.config.v4.is_some());
        let v6 = subnets.v6.filter(|_| self.config.v6.is_some());
        v4.into_iter().chain(v6)
    }

    fn route(&self, lease: &Lease, subnet: IpNetwork) -> Result<Hop, Problem> {
        let family = if subnet.is_ipv4() { self.config.v4 } else { self.config.v6 };
        if let Some(network) = family.map(|f| f.network).filter(|n| !range::covers(*n, subnet)) {
            return Err(Problem::Outside { subnet, network, lease: lease.to_string() });
        }
        if self.own.iter().any(|own| range::overlap(own, subnet)) {
            return Err(Problem::OverlapsOwn { subnet, lease: lease.to_string() });
        }
        match self.config.backend {
            BackendConfig::HostGw => host_gw::hop(lease, subnet, self.uplink),
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
        .leases
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
