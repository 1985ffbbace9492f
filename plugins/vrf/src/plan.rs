//! What moves into a VRF with an interface, and which table a new VRF takes: pure.

use ipnetwork::IpNetwork;
use kernel::{Address, Link, Route, Rule};

/// `RT_TABLE_MAIN`, and the tables that are the kernel's own.
const MAIN: u32 = 254;
const KERNELS: std::ops::RangeInclusive<u32> = 253..=255;

/// The lowest table that nobody uses: no VRF, no rule, no route, and not the kernel.
#[must_use]
pub fn free_table(links: &[Link], rules: &[Rule], routes: &[Route]) -> u32 {
    let is_used = |table: u32| {
        KERNELS.contains(&table)
            || links.iter().any(|link| link.vrf_table == Some(table))
            || rules.iter().any(|rule| rule.table == table)
            || routes.iter().any(|route| route.table == table)
    };
    (1..=u32::MAX).find(|table| !is_used(*table)).unwrap_or(1)
}

/// The global IPv6 addresses: the kernel takes them from a link that changes its controller (it goes down and up).
#[must_use]
pub fn kept_addresses(addresses: &[Address]) -> Vec<IpNetwork> {
    let is_kept = |address: &&Address| address.network.is_ipv6() && address.scope == 0;
    addresses.iter().filter(is_kept).map(|address| address.network).collect()
}

/// The routes of the main table that are to be in the VRF's: all of global scope. Those on the link come first: the others
/// lead through them.
#[must_use]
pub fn moved_routes(routes: &[Route], index: u32, table: u32) -> Vec<Route> {
    let is_moved = |route: &&Route| {
        route.table == MAIN && route.oif == Some(index) && route.scope == 0 && !is_link_local(route)
    };
    let mut moved: Vec<Route> =
        routes.iter().filter(is_moved).map(|route| Route { table, ..route.clone() }).collect();
    moved.sort_by_key(|route| route.gateway.is_some());
    moved
}

/// The kernel makes these itself, in the VRF's table.
fn is_link_local(route: &Route) -> bool {
    match route.destination {
        IpNetwork::V4(_) => false,
        IpNetwork::V6(network) => network.ip().is_unicast_link_local() || network.ip().is_multicast(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::Family;

    fn route(destination: &str, table: u32) -> Route {
        Route { table, oif: Some(7), ..Route::to(destination.parse().unwrap()) }
    }

    #[test]
    fn weakness_57_a_new_table_is_nobodys() {
        let vrf = Link { vrf_table: Some(1), ..Link::default() };
        let rule = Rule {
            family: Family::V4,
            source: None,
            table: 2,
            priority: None,
            protocol: 0,
            is_special: true,
        };
        assert_eq!(free_table(&[vrf], &[rule], &[route("10.0.0.0/8", 3)]), 4);
        let full: Vec<Route> = (1..253).map(|table| route("10.0.0.0/8", table)).collect();
        assert_eq!(free_table(&[], &[], &full), 256, "never the kernel's own");
    }

    #[test]
    fn what_is_on_the_link_moves_before_what_leads_through_it() {
        let through = Route { gateway: "10.0.0.1".parse().ok(), ..route("0.0.0.0/0", 254) };
        let local = Route { scope: 253, ..route("10.0.0.0/8", 254) };
        let other = Route { oif: Some(8), ..route("192.0.2.0/24", 254) };
        let all =
            [through, local, other, route("fd00::/64", 254), route("fe80::/64", 254), route("fd01::/64", 9)];
        let moved: Vec<_> =
            moved_routes(&all, 7, 100).iter().map(|r| (r.destination.to_string(), r.table)).collect();
        assert_eq!(moved, [("fd00::/64".to_owned(), 100), ("0.0.0.0/0".to_owned(), 100)]);
    }
}
