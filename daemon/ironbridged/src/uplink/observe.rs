//! Reading the node's links and addresses from the kernel, once at the start and again whenever the uplink changed.

use std::cmp::Reverse;
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use kernel::{Address, Family, Link, RouteFilter, Rtnl};
use overlay::Uplink;

use super::{Candidate, Node};
use crate::options::{UplinkChoice, Wish};

/// `RT_TABLE_MAIN`.
const MAIN: u32 = 254;

/// Reads what [`super::choose`] needs.
pub fn observe(rtnl: &mut Rtnl, choice: &UplinkChoice) -> Result<Node, kernel::Error> {
    let addresses = rtnl.all_addresses()?;
    let links = rtnl.links()?;
    let mut routes = Vec::new();
    for wish in &choice.wishes {
        if let Wish::Reach(address) = wish
            && let Some(index) = rtnl.route_to(*address)?.and_then(|route| route.oif)
        {
            routes.push((*address, index));
        }
    }
    Ok(Node {
        links: links.iter().map(|link| candidate(link, &addresses)).collect(),
        default_v4: default_link(rtnl, Family::V4)?,
        default_v6: default_link(rtnl, Family::V6)?,
        routes,
    })
}

/// The uplink as it is now: the link of that name or, when it lost the published addresses, the link that has one now;
/// when none has, the link of that name with other addresses, which will be published soon. `None` when there is none
/// that is up.
pub fn find(rtnl: &mut Rtnl, name: &str, published: &[IpAddr]) -> Result<Option<Uplink>, kernel::Error> {
    let mut renumbered = None;
    if let Some(link) = rtnl.link(name)? {
        let uplink = candidate(&link, &addresses_of(rtnl, link.index)?).uplink;
        if published.iter().any(|address| uplink.owns(*address)) {
            return Ok(link.up.then_some(uplink));
        }
        renumbered = Some(uplink).filter(|uplink| link.up && serves(uplink, published));
    }
    let all = rtnl.all_addresses()?;
    let Some(owner) = all.iter().find(|address| published.contains(&address.network.ip())) else {
        return Ok(renumbered);
    };
    let link = rtnl.link_at(owner.index)?;
    Ok(link.filter(|link| link.up).map(|link| candidate(&link, &all).uplink))
}

/// Whether it has an address of each family that is published.
fn serves(uplink: &Uplink, published: &[IpAddr]) -> bool {
    let is_global =
        |network: &IpNetwork| !matches!(network.ip(), IpAddr::V6(ip) if ip.is_unicast_link_local());
    published.iter().all(|address| match address {
        IpAddr::V4(_) => !uplink.v4.is_empty(),
        IpAddr::V6(_) => uplink.v6.iter().any(is_global),
    })
}

/// A link that vanished since has no addresses.
fn addresses_of(rtnl: &mut Rtnl, index: u32) -> Result<Vec<Address>, kernel::Error> {
    match rtnl.addresses(index) {
        Err(error) if error.is_absent() => Ok(Vec::new()),
        read => read,
    }
}

fn default_link(rtnl: &mut Rtnl, family: Family) -> Result<Option<u32>, kernel::Error> {
    let filter = RouteFilter { family: Some(family), table: Some(MAIN), ..RouteFilter::default() };
    let routes = rtnl.routes(filter)?;
    let defaults = routes.iter().filter(|route| route.destination.prefix() == 0 && route.oif.is_some());
    Ok(defaults.min_by_key(|route| route.metric).and_then(|route| route.oif))
}

fn candidate(link: &Link, addresses: &[Address]) -> Candidate {
    let mut own: Vec<&Address> = addresses.iter().filter(|address| address.index == link.index).collect();
    let networks =
        |is_family: fn(&IpNetwork) -> bool| own.iter().map(|a| a.network).filter(is_family).collect();
    let (v4, v6) = (networks(IpNetwork::is_ipv4), networks(IpNetwork::is_ipv6));
    own.retain(|address| is_usable(address));
    own.sort_by_key(|address| Reverse(merit(address)));
    let mut found = Candidate {
        uplink: Uplink { index: link.index, name: link.name.clone(), v4, v6, mtu: link.mtu },
        ..Candidate::default()
    };
    for address in own {
        match address.network.ip() {
            IpAddr::V4(ip) => found.usable_v4.push(ip),
            IpAddr::V6(ip) => found.usable_v6.push(ip),
        }
    }
    found
}

fn is_usable(address: &Address) -> bool {
    let ip = address.network.ip();
    !address.dad_failed && !ip.is_loopback() && !ip.is_multicast() && !ip.is_unspecified()
}

/// Global before link-local, then permanent before dynamic, then lasting before temporary (flannel-behaviour §3).
fn merit(address: &Address) -> (bool, bool, bool) {
    let link_local = match address.network.ip() {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    (!link_local, address.permanent, !address.secondary)
}
