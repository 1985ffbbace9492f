//! The findings: each a pure function of the gathered node.

mod cluster;
mod forwarding;
mod managers;
mod owners;

pub use owners::suspects;

use super::finding::Finding;
use super::node::Node;

/// Every check, in the order in which a packet meets what it looks at.
const ALL: [fn(&Node) -> Vec<Finding>; 17] = [
    cluster::not_ready,
    forwarding::switched_off,
    forwarding::dropped,
    forwarding::strict_reverse_path,
    forwarding::bridge_netfilter,
    cluster::duplicate_address,
    cluster::stale_routes,
    cluster::black_holes,
    cluster::eaten_port,
    cluster::nearly_full,
    managers::foreign_routes,
    managers::managed_links,
    owners::full_ranges,
    owners::leaked_reservations,
    owners::leaked_rules,
    owners::leaked_links,
    owners::contested_ports,
];

/// What is wrong with this node.
pub fn all(node: &Node) -> Vec<Finding> {
    ALL.iter().flat_map(|check| check(node)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_wrong_with_a_node_that_has_nothing() {
        assert_eq!(all(&Node::default()), []);
    }
}
