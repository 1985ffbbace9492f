//! The plan of an attachment's source routing: pure, from the result, and from the routes and rules that are there.

use std::net::IpAddr;

use attach::identity::digest;
use cni::{AddResult, Cidr, Ip};
use ipnetwork::IpNetwork;
use kernel::{Family, Route, Rule};

use crate::conf::{Conf, Main, Own};

/// The first table that the reference takes.
const FIRST_TABLE: u32 = 100;
/// Tables that are the kernel's own (`RT_TABLE_DEFAULT`, `_MAIN`, `_LOCAL`).
const KERNELS: std::ops::RangeInclusive<u32> = 253..=255;
/// Who our rules say made them; the same number as that of our routes elsewhere.
pub const PROTOCOL: u8 = 73;
/// Our rules are asked between these: before the main table's (32766), after a VRF's (1000).
const FIRST_PRIORITY: u32 = 20_000;
const PRIORITIES: u32 = 10_000;
/// `RT_SCOPE_LINK`
const ON_LINK: u8 = 253;
/// `RT_TABLE_MAIN`
pub const MAIN: u32 = 254;

/// The priority of the rules of an interface. Within a sandbox the interface is the attachment.
#[must_use]
pub fn priority(ifname: &str) -> u32 {
    FIRST_PRIORITY + u32::from_str_radix(&digest(ifname, 7), 16).unwrap_or(0) % PRIORITIES
}

/// The addresses of the result that are the interface's: those that name it, or no interface that there is.
#[must_use]
pub fn addresses(result: &AddResult, ifname: &str) -> Vec<Ip> {
    let is_ours = |ip: &&Ip| match ip.interface.and_then(|at| result.interfaces.get(at)) {
        Some(interface) => interface.name == ifname,
        None => true,
    };
    result.ips.iter().filter(is_ours).cloned().collect()
}

/// What is there before: in the sandbox, all tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Rules of both families.
    pub rules: Vec<Rule>,
    /// Routes of both families, all tables and interfaces.
    pub routes: Vec<Route>,
    /// Index of the interface.
    pub index: u32,
}

impl Observed {
    /// The same as if the rules by the addresses alone were ours: what the reference made is as good to CHECK.
    #[must_use]
    pub fn adopting(mut self, ifname: &str, addresses: &[Ip]) -> Self {
        for ip in
            addresses.iter().filter(|ip| own_rule(&self, ifname, ip.address).is_none()).collect::<Vec<_>>()
        {
            let source = Some(IpNetwork::from(ip.address.ip()));
            let theirs = self.rules.iter().find(|there| there.source == source && !there.is_special);
            if let Some(table) = theirs.map(|there| there.table) {
                self.rules.push(rule(ifname, ip.address, table));
            }
        }
        self
    }
}

/// What is to be done, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Rules to be there.
    pub rules: Vec<Rule>,
    /// Routes to be there, in the place of others to the same destination with the same metric.
    pub routes: Vec<Route>,
    /// Routes of the main table to be taken away.
    pub removals: Vec<Route>,
}

/// The plan for `addresses` on the interface `ifname`.
#[must_use]
pub fn plan(conf: &Conf, (ifname, addresses): (&str, &[Ip]), observed: &Observed) -> Plan {
    let mut plan = Plan::default();
    let mut taken = Vec::new();
    for ip in addresses {
        let known = own_rule(observed, ifname, ip.address).map(|rule| rule.table);
        let table = match conf {
            Conf::Table(table) => *table,
            Conf::Own(_) => known.unwrap_or_else(|| free_table(observed, &taken)),
        };
        taken.push(table);
        plan.rules.push(rule(ifname, ip.address, table));
        if let Conf::Own(own) = conf {
            plan.routes.extend(filling(own, ip, (table, observed)));
        }
    }
    if let Conf::Own(own) = conf {
        let hints: Vec<Route> = match own.main {
            Main::Emptied => Vec::new(),
            Main::Hints => addresses.iter().filter_map(|ip| hint(ip, observed)).collect(),
        };
        plan.removals = removals(observed, &hints);
        plan.routes.extend(hints);
    }
    plan
}

/// The rule that sends what comes from an address to a table.
fn rule(ifname: &str, address: Cidr, table: u32) -> Rule {
    Rule {
        family: if address.is_ipv4() { Family::V4 } else { Family::V6 },
        source: Some(IpNetwork::from(address.ip())),
        table,
        priority: Some(priority(ifname)),
        protocol: PROTOCOL,
        is_special: false,
    }
}

/// The rule of an earlier ADD of the same interface.
fn own_rule<'a>(observed: &'a Observed, ifname: &str, address: Cidr) -> Option<&'a Rule> {
    observed.rules.iter().find(|there| **there == rule(ifname, address, there.table))
}

/// The first table of at least 100 that nobody uses: neither a rule nor a route.
fn free_table(observed: &Observed, taken: &[u32]) -> u32 {
    let is_used = |table: u32| {
        KERNELS.contains(&table)
            || taken.contains(&table)
            || observed.rules.iter().any(|rule| rule.table == table)
            || observed.routes.iter().any(|route| route.table == table)
    };
    (FIRST_TABLE..=u32::MAX).find(|table| !is_used(*table)).unwrap_or(FIRST_TABLE)
}

/// The routes of an address's own table: the interface's that lead from the address or through its network, or anywhere
/// at all, and a default route. A gateway must be reachable before it is used: routes on the link come first.
fn filling(own: &Own, ip: &Ip, (table, observed): (u32, &Observed)) -> Vec<Route> {
    let (address, network) = (ip.address, ip.address.network());
    let belongs = |route: &&Route| {
        let near = [route.prefsrc, route.gateway].into_iter().flatten();
        let mut near = near.peekable();
        near.peek().is_none() || near.any(|other| network.contains(other))
    };
    let of_family = |route: &&Route| route.destination.is_ipv4() == address.is_ipv4();
    let mut routes: Vec<Route> = mains(observed)
        .filter(of_family)
        .filter(belongs)
        .map(|route| Route { table, nexthop_id: None, ..route.clone() })
        .collect();
    let gateway = own.gateway(address.ip()).or(ip.gateway);
    if let Some(default) = gateway.and_then(|gateway| default_by(gateway, (table, observed.index))) {
        // A copied one with another metric stays beside ours, which has none and comes first.
        routes.retain(|route| route.destination != default.destination || !is_plain(route.metric));
        routes.push(default);
    }
    routes.sort_by_key(|route| route.gateway.is_some());
    routes
}

/// The interface's routes in the main table.
fn mains(observed: &Observed) -> impl Iterator<Item = &Route> {
    observed.routes.iter().filter(|route| route.table == MAIN && route.oif == Some(observed.index))
}

fn default_by(gateway: IpAddr, (table, index): (u32, u32)) -> Option<Route> {
    let anywhere: IpAddr = if gateway.is_ipv4() { [0; 4].into() } else { [0_u16; 8].into() };
    let anywhere = Cidr::new(anywhere, 0)?;
    Some(Route { gateway: Some(gateway), oif: Some(index), table, ..Route::to(anywhere.into()) })
}

/// Whether the kernel takes this metric where none is given.
fn is_plain(metric: Option<u32>) -> bool {
    matches!(metric, None | Some(0 | 1024))
}

/// The route to an address's network that names the address as source.
fn hint(ip: &Ip, observed: &Observed) -> Option<Route> {
    let network = IpNetwork::from(ip.address.network());
    let there = mains(observed).find(|route| route.destination == network && route.gateway.is_none())?;
    let scope = if ip.address.is_ipv4() { ON_LINK } else { 0 };
    Some(Route { prefsrc: Some(ip.address.ip()), scope, ..there.clone() })
}

/// All of the interface's routes in the main table but the hints', and but the link-local ones: neighbour discovery
/// and multicast need those, and they say nothing about a source.
fn removals(observed: &Observed, hints: &[Route]) -> Vec<Route> {
    let stays = |route: &Route| {
        let link_local = match route.destination {
            IpNetwork::V4(_) => false,
            IpNetwork::V6(network) => network.ip().is_unicast_link_local() || network.ip().is_multicast(),
        };
        link_local
            || hints.iter().any(|hint| (hint.destination, hint.metric) == (route.destination, route.metric))
    };
    let mut removals: Vec<Route> = mains(observed).filter(|route| !stays(route)).cloned().collect();
    // What leads through a gateway goes before what leads to it.
    removals.sort_by_key(|route| route.gateway.is_none());
    removals
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
