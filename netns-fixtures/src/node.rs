//! A node: a nameless namespace that plays a host.

use kernel::Netns;

use crate::space::Space;

/// A namespace that plays a host, with `lo` up. It is gone when this value and every process in it are.
pub struct Node {
    name: String,
    netns: Netns,
}

impl Node {
    /// A new host with nothing but `lo`.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let netns = Netns::new_nameless().expect("a new namespace (the tests need root)");
        let node = Self { name: name.to_owned(), netns };
        node.run("ip link set lo up");
        node
    }

    /// What the test calls it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Space for Node {
    fn netns(&self) -> &Netns {
        &self.netns
    }
}
