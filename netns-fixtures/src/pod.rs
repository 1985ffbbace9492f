//! A pod: an empty nameless namespace that a runtime hands to plugins.

use std::path::Path;

use kernel::Netns;

use crate::snapshot::json;
use crate::space::Space;

/// A sandbox as a runtime makes it: a namespace in which not even `lo` is up.
pub struct Pod {
    netns: Netns,
}

impl Pod {
    /// A new empty sandbox.
    #[must_use]
    pub fn new() -> Self {
        Self { netns: Netns::new_nameless().expect("a new namespace (the tests need root)") }
    }

    /// A sandbox that a runtime outside the test has made.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self { netns: Netns::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())) }
    }

    /// A path where no namespace is, as left in a runtime's state after the sandbox is gone.
    #[must_use]
    pub fn missing_path() -> String {
        "/var/run/netns/ironbridge-test-gone".to_owned()
    }

    /// The addresses on a link of the pod, as `ip/prefix`, sorted, without the kernel's own link-local ones.
    #[must_use]
    pub fn addresses(&self, link: &str) -> Vec<String> {
        let mut found = Vec::new();
        for entry in json(self, &format!("ip -j addr show dev {link}")) {
            for address in entry["addr_info"].as_array().into_iter().flatten() {
                let (Some(ip), Some(prefix)) = (address["local"].as_str(), address["prefixlen"].as_u64())
                else {
                    continue;
                };
                if address["family"] == "inet" || address["scope"] != "link" {
                    found.push(format!("{ip}/{prefix}"));
                }
            }
        }
        found.sort();
        found
    }
}

impl Default for Pod {
    fn default() -> Self {
        Self::new()
    }
}

impl Space for Pod {
    fn netns(&self) -> &Netns {
        &self.netns
    }
}
