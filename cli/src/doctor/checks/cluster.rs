//! What is wrong between this node and its peers.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use overlay::ROUTE_PROTOCOL;

use super::super::finding::Finding;
use super::super::node::{Node, covers};

/// `RTPROT_KERNEL`: the kernel's own routes to what is connected.
const BY_KERNEL: u8 = 2;
/// `RTN_UNICAST`.
const UNICAST: u8 = 1;
/// One part in so many that is left is nearly nothing.
const LAST: u64 = 10;

/// The daemon runs and waits for something.
pub fn not_ready(node: &Node) -> Vec<Finding> {
    let waiting = node.overview.iter().filter(|overview| !overview.ready);
    waiting
        .map(|overview| {
            let what = overview.waiting.as_deref().unwrap_or("it does not say for what");
            Finding::new(
                "daemon-not-ready",
                format!("the daemon is not ready: {what}"),
                "its log has the whole error; `ironbridge status` has the rest of what it knows",
            )
        })
        .collect()
}

/// Two leases with one public address: Vagrant's 10.0.2.15, or an image that was cloned with its address.
pub fn duplicate_address(node: &Node) -> Vec<Finding> {
    let mut holders: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for lease in node.overview.iter().flat_map(|overview| &overview.leases) {
        let name = lease.node.as_deref().map(|name| format!(" of node {name}")).unwrap_or_default();
        let label = format!("{}{name}", lease.subnets.join(" and "));
        for address in lease.public_ip.iter().chain(&lease.public_ipv6) {
            holders.entry(address).or_default().push(label.clone());
        }
    }
    let shared = holders.into_iter().filter(|(_, leases)| leases.len() > 1);
    shared
        .map(|(address, leases)| {
            Finding::new(
                "duplicate-address",
                format!("the leases {} have the same public address {address}: packets reach one of the two nodes only", leases.join(" and ")),
                "give each node its own --public-ip or --iface; delete the key of a node that is gone",
            )
        })
        .collect()
}

/// A route of somebody else into the cluster network, past the daemon's: more specific ones win, others wait for their day.
pub fn stale_routes(node: &Node) -> Vec<Finding> {
    let Some(overview) = &node.overview else { return Vec::new() };
    let networks: Vec<IpNetwork> =
        overview.network.ranges.iter().filter_map(|range| range.network.parse().ok()).collect();
    let own: Vec<IpNetwork> = overview.node.subnets.iter().filter_map(|subnet| subnet.parse().ok()).collect();
    let foreign = node.routes.iter().filter(|route| {
        let to = route.destination;
        ![BY_KERNEL, ROUTE_PROTOCOL].contains(&route.protocol)
            && route.kind == UNICAST
            && networks.iter().any(|network| covers(*network, to))
            && !own.iter().any(|subnet| covers(*subnet, to))
    });
    foreign
        .map(|route| {
            let to = route.destination;
            let link = node.links.iter().find(|link| Some(link.index) == route.oif);
            let by = link.map(|link| format!(" dev {}", link.name)).unwrap_or_default();
            let via = route.gateway.map(|gateway| format!(" via {gateway}")).unwrap_or_default();
            Finding::new(
                "stale-route",
                format!(
                    "the route {to}{via}{by} (protocol {}) lies in the cluster network and is not the daemon's: packets to those pods go where it says",
                    route.protocol
                ),
                format!("if nobody needs it: ip route delete {to}{via}{by}; it is often left by an earlier flanneld or backend"),
            )
        })
        .collect()
}

/// Small packets are answered and large ones vanish without a word.
pub fn black_holes(node: &Node) -> Vec<Finding> {
    let lost = node.paths.iter().filter(|path| path.small && !path.large);
    lost.map(|path| {
        Finding::new(
            "mtu-black-hole",
            format!(
                "packets of {} bytes to {} (peer {}) vanish without an answer, small ones pass: connections open and then hang",
                path.size, path.target, path.peer
            ),
            "raise the MTU of the switches between, let ICMP \"fragmentation needed\" pass, or lower the MTU of the uplink on all nodes and restart the daemon",
        )
    })
    .collect()
}

/// The peer answers, and its end of the overlay does not.
pub fn eaten_port(node: &Node) -> Vec<Finding> {
    let answers =
        |peer: IpAddr| node.paths.iter().any(|path| path.peer == peer && !path.overlay && path.small);
    let silent = node.paths.iter().filter(|path| path.overlay && !path.small && answers(path.peer));
    silent
        .map(|path| {
            Finding::new(
                "overlay-blocked",
                format!(
                    "peer {} answers, its end of the overlay {} does not: what lies between the nodes drops the overlay's packets, or the peer has no overlay",
                    path.peer, path.target
                ),
                "let the overlay's UDP port (vxlan: 8472, udp: 8285) pass between all nodes in both directions; some clouds and hypervisors \
                 take 8472 or 4789 for themselves, then set another Port in the network configuration",
            )
        })
        .collect()
}

/// The next nodes will wait for a subnet in vain.
pub fn nearly_full(node: &Node) -> Vec<Finding> {
    let ranges = node.overview.iter().flat_map(|overview| &overview.network.ranges);
    let full = ranges.filter(|range| range.free.saturating_mul(LAST) < range.subnets);
    full.map(|range| {
        Finding::new(
            "subnets-nearly-gone",
            format!(
                "{} of {} subnets of {} are free: a node that finds none waits for ever",
                range.free, range.subnets, range.network
            ),
            "delete the keys of nodes that left, or widen SubnetMin and SubnetMax",
        )
    })
    .collect()
}
