//! Links, addresses, routes and parameters.

use std::net::IpAddr;

use kernel::{RouteFilter, Rtnl, sysctl};

use super::super::node::Node;

/// `RT_TABLE_MAIN`.
const MAIN: u32 = 254;
/// As many peers are asked for at most.
const PEERS: usize = 1000;
const PARAMETERS: [&str; 4] = [
    "net/ipv4/ip_forward",
    "net/ipv6/conf/all/forwarding",
    "net/bridge/bridge-nf-call-iptables",
    "net/ipv4/conf/all/rp_filter",
];

/// Reads them into the node.
pub fn read(node: &mut Node) -> Result<(), kernel::Error> {
    let mut rtnl = Rtnl::open()?;
    node.links = rtnl.links()?;
    node.addresses = rtnl.all_addresses()?;
    node.routes = rtnl.routes(RouteFilter { table: Some(MAIN), ..RouteFilter::default() })?;
    let uplink = node.overview.iter().map(|o| format!("net/ipv4/conf/{}/rp_filter", o.node.uplink));
    let paths: Vec<String> = PARAMETERS.iter().map(|path| (*path).to_owned()).chain(uplink).collect();
    // A parameter that is not there (IPv6 switched off, a module not loaded) is itself an answer.
    let values = paths.into_iter().filter_map(|path| Some((path.clone(), sysctl::read(&path).ok()?)));
    node.parameters = values.collect();
    let peers: Vec<IpAddr> = peers(node).into_iter().take(PEERS).collect();
    for peer in peers {
        // No route to a peer is the daemon's finding.
        if let Ok(Some(index)) = rtnl.route_to(peer).map(|route| route.and_then(|route| route.oif)) {
            node.ways.push((peer, index));
        }
    }
    Ok(())
}

/// The peers' IPv4 addresses.
pub fn peers(node: &Node) -> Vec<IpAddr> {
    let leases = node.overview.iter().flat_map(|overview| &overview.leases);
    let own = node.overview.as_ref().and_then(|overview| overview.node.public_ip.clone());
    let others = leases.filter(|lease| !lease.own && lease.public_ip != own);
    others.filter_map(|lease| lease.public_ip.as_ref()?.parse().ok()).collect()
}
