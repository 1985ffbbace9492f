//! Which hosts are in the same layer-2 network, by the routes of the main table.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use crate::range;

/// The main table's routes to the outside, for lookups as the kernel makes them: the longest prefix, then the lowest metric.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach(BTreeMap<Length, BTreeMap<IpAddr, Best>>);

/// Family and prefix length; the longest of a family is the last.
type Length = (bool, u8);

/// The route that wins for one prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Best {
    metric: u32,
    /// The link of a route without gateway; `None` behind a router, or for a route that drops.
    on_link: Option<u32>,
}

impl Reach {
    /// Takes one route; `on_link` is its link when it has no gateway.
    pub fn learn(&mut self, destination: IpNetwork, metric: u32, on_link: Option<u32>) {
        let new = Best { metric, on_link };
        let same_length = self.0.entry((destination.is_ipv4(), destination.prefix())).or_default();
        same_length
            .entry(destination.network())
            .and_modify(|best| {
                if new.metric < best.metric {
                    *best = new;
                }
            })
            .or_insert(new);
    }

    /// The link on which that host is a neighbour; `None` when a router is between, or nothing leads there.
    #[must_use]
    pub fn on_link(&self, host: IpAddr) -> Option<u32> {
        let family = host.is_ipv4();
        self.0.range((family, 0)..=(family, range::width(host))).rev().find_map(
            |((_, length), same_length)| {
                let network = IpNetwork::new(host, *length).ok()?.network();
                same_length.get(&network).map(|best| best.on_link)
            },
        )?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(routes: &[(&str, u32, Option<u32>)]) -> Reach {
        let mut reach = Reach::default();
        for (destination, metric, on_link) in routes {
            reach.learn(destination.parse().unwrap(), *metric, *on_link);
        }
        reach
    }

    fn on_link(reach: &Reach, host: &str) -> Option<u32> {
        reach.on_link(host.parse().unwrap())
    }

    #[test]
    fn the_longest_prefix_decides_and_then_the_metric() {
        let reach = reach(&[
            ("0.0.0.0/0", 0, None),
            ("192.0.2.0/24", 100, Some(9)),
            ("192.0.2.0/24", 0, Some(2)),
            ("192.0.2.128/25", 0, None),
            ("192.0.2.200/32", 0, Some(3)),
            ("fd00::/64", 256, Some(4)),
        ]);
        assert_eq!(on_link(&reach, "192.0.2.7"), Some(2));
        assert_eq!(on_link(&reach, "192.0.2.129"), None, "a router is between");
        assert_eq!(on_link(&reach, "192.0.2.200"), Some(3));
        assert_eq!(on_link(&reach, "198.51.100.1"), None);
        assert_eq!(on_link(&reach, "fd00::9"), Some(4));
        assert_eq!(on_link(&reach, "fd01::9"), None);
    }

    #[test]
    fn a_point_to_point_default_route_is_on_link_as_the_kernel_sees_it() {
        assert_eq!(on_link(&reach(&[("0.0.0.0/0", 0, Some(5))]), "203.0.113.1"), Some(5));
    }
}
