//! Kernel parameters as a configuration names them, and where they are below `/proc/sys`.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

/// Stands for the interface's name in a key.
const IFNAME: &str = "IFNAME";
/// The only folder whose parameters belong to a network namespace.
const OWN: &str = "net/";

/// The entries of a `sysctl` object in their order, duplicates included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entries(pub Vec<(String, String)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;

        impl<'de> Visitor<'de> for Pairs {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with a text for each parameter")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Entries(pairs))
            }
        }

        deserializer.deserialize_map(Pairs)
    }
}

/// A parameter to be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// As written; what the allow-list speaks about.
    pub key: String,
    /// Where it is, relative to `/proc/sys`.
    pub path: String,
    /// Its value.
    pub value: String,
}

/// Where the parameter `key` is, relative to `/proc/sys`. Dots separate, and slashes do. In a key whose first separator is a
/// slash dots are part of names (`man 8 sysctl`): there is an interface `eth0.5`. None for a key that leads out of `net/`.
#[must_use]
pub fn path(key: &str, ifname: &str) -> Option<String> {
    let first = key.find(['.', '/'])?;
    let slashed = if key.get(first..)?.starts_with('/') { key.to_owned() } else { key.replace('.', "/") };
    let named = slashed.replacen(IFNAME, ifname, 1);
    let parts: Vec<&str> = named.split('/').filter(|part| !part.is_empty()).collect();
    let path = parts.join("/");
    let inside = path.starts_with(OWN) && !parts.iter().any(|part| matches!(*part, "." | ".."));
    (inside && !path.contains('\0')).then_some(path)
}

/// Whether the kernel shows `found` where `wanted` was written: it puts tabs between numbers.
#[must_use]
pub fn is_same(wanted: &str, found: &str) -> bool {
    wanted.split_whitespace().eq(found.split_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_and_slashes_both_lead_to_the_file() {
        for (key, expected) in [
            ("net.core.somaxconn", "net/core/somaxconn"),
            ("net/core/somaxconn", "net/core/somaxconn"),
            ("net.ipv4.conf.IFNAME.arp_filter", "net/ipv4/conf/eth0.5/arp_filter"),
            ("net/ipv4/conf/IFNAME/arp_filter", "net/ipv4/conf/eth0.5/arp_filter"),
            ("net/ipv4/conf/eth1.7/arp_filter", "net/ipv4/conf/eth1.7/arp_filter"),
            ("net..core.somaxconn", "net/core/somaxconn"),
        ] {
            assert_eq!(path(key, "eth0.5").as_deref(), Some(expected), "{key}");
        }
    }

    #[test]
    fn no_trick_leads_out_of_the_namespaces_own_parameters() {
        for key in [
            "kernel.hostname",
            "/proc/sys/net/core/somaxconn",
            "net/../kernel/hostname",
            "net/ipv4/../../kernel/hostname",
            "net/./../kernel/hostname",
            "net",
            "net/",
            "",
            "...",
            "network.core",
            "net/core/a\0b",
            "fs/net/core",
        ] {
            assert_eq!(path(key, "eth0"), None, "{key}");
        }
        assert_eq!(path("net/ipv4/conf/IFNAME/x", ".."), None);
        assert_eq!(path("net/IFNAME", "../kernel/hostname"), None);
    }

    #[test]
    fn a_list_of_numbers_is_itself_however_it_is_spaced() {
        assert!(is_same("4096 87380  6291456", "4096\t87380\t6291456"));
        assert!(!is_same("1", "11"));
        assert!(is_same("1", "1\n"));
    }
}
