//! The node on which plugins are measured: a namespace with the bench's bridge and the table that the floor needs.

use std::path::PathBuf;

use netns_fixtures::{Node, Pod, Space};

/// The bridge that all sides attach to.
pub const BRIDGE: &str = "pfbr0";

/// A node with `pfbr0`, 10.77.0.1/16 and `fd00:77::1/64` on it.
pub struct Site {
    node: Node,
}

impl Site {
    /// A new one.
    pub fn new() -> Self {
        let node = Node::new("bench");
        node.run(&format!("ip link add {BRIDGE} type bridge"));
        node.run(&format!("ip address add 10.77.0.1/16 dev {BRIDGE}"));
        node.run(&format!("ip address add fd00:77::1/64 dev {BRIDGE} nodad"));
        node.run(&format!("ip link set {BRIDGE} up"));
        let table = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("floor/rules.nft");
        node.run(&format!("nft -f {}", table.display()));
        Self { node }
    }

    /// The namespace.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Sandboxes, made before anything is timed and gone after it: the kernel tears namespaces down in the background,
    /// and would do so in the middle of a measurement.
    pub fn pods(count: usize) -> Vec<Pod> {
        (0..count).map(|_| Pod::new()).collect()
    }
}
