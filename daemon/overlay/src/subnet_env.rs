//! The file that tells the CNI plugin its subnet: flannel's `subnet.env`, to the byte.

use std::fmt;
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use crate::config::NetworkConfig;
use crate::lease::Subnets;
use crate::range;

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubnetEnv {
    /// The cluster's IPv4 network and this node's subnet in it.
    pub v4: Option<(IpNetwork, IpNetwork)>,
    /// The same for IPv6.
    pub v6: Option<(IpNetwork, IpNetwork)>,
    /// The MTU for pods, in bytes.
    pub mtu: u32,
    /// Whether the daemon masquerades, so that the plugin does not.
    pub masquerade: Masquerade,
}

/// `FLANNEL_IPMASQ`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Masquerade {
    /// The daemon's nftables table does it.
    ByDaemon,
    /// The CNI plugin may do it.
    ByPlugin,
}

impl SubnetEnv {
    /// The file for a lease of that network.
    #[must_use]
    pub fn new(config: &NetworkConfig, own: &Subnets, mtu: u32, masquerade: Masquerade) -> Self {
        SubnetEnv {
            v4: config.v4.map(|family| family.network).zip(own.v4),
            v6: config.v6.map(|family| family.network).zip(own.v6),
            mtu,
            masquerade,
        }
    }
}

/// The file's text, in flannel's order.
impl fmt::Display for SubnetEnv {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        for (family, pair) in [("", self.v4), ("IPV6_", self.v6)] {
            if let Some((network, subnet)) = pair {
                writeln!(f, "FLANNEL_{family}NETWORK={network}")?;
                writeln!(f, "FLANNEL_{family}SUBNET={}/{}", first_usable(subnet), subnet.prefix())?;
            }
        }
        writeln!(f, "FLANNEL_MTU={}", self.mtu)?;
        writeln!(f, "FLANNEL_IPMASQ={}", self.masquerade == Masquerade::ByDaemon)
    }
}

fn first_usable(subnet: IpNetwork) -> IpAddr {
    range::address(subnet.network(), range::number(subnet.network()).saturating_add(1))
        .unwrap_or(subnet.network())
}

/// What an earlier run left in the file. Networks have their host bits cleared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Previous {
    /// The cluster networks.
    pub networks: Subnets,
    /// This node's subnets.
    pub subnets: Subnets,
}

impl Previous {
    /// Reads what can be read, as flannel does: dotenv lines, the last of a name wins, a bad network or a list of several counts as none.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let value =
            |name: &str| text.lines().rev().find_map(|line| assignment(line).filter(|(n, _)| *n == name));
        let network = |name: &str, is_family: fn(&IpNetwork) -> bool| {
            value(name).and_then(|(_, text)| range::parse_cidr(text)).filter(is_family).map(range::masked)
        };
        let pair = |v4: &str, v6: &str| Subnets {
            v4: network(v4, IpNetwork::is_ipv4),
            v6: network(v6, IpNetwork::is_ipv6),
        };
        Previous {
            networks: pair("FLANNEL_NETWORK", "FLANNEL_IPV6_NETWORK"),
            subnets: pair("FLANNEL_SUBNET", "FLANNEL_IPV6_SUBNET"),
        }
    }
}

fn assignment(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    let (name, value) = line.strip_prefix("export ").unwrap_or(line).split_once('=')?;
    Some((name.trim(), value.trim().trim_matches(|quote| quote == '"' || quote == '\'')))
}

#[cfg(test)]
mod tests;
