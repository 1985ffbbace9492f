//! The network configuration that all nodes share, read by flannel's rules.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde::de::DeserializeOwned;

use crate::folded::Members;
use crate::range;

mod backend;
mod wireguard;

pub use backend::{
    BackendConfig, ExtensionConfig, IPIP_DEVICE, IpipConfig, UDP_DEVICE, UdpConfig, VxlanConfig,
};
pub use wireguard::{Mode, WireguardConfig};

/// A checked network configuration: at least one family, and subnets that fit in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkConfig {
    /// IPv4, unless `EnableIPv4` is false.
    pub v4: Option<FamilyConfig>,
    /// IPv6, when `EnableIPv6` is true.
    pub v6: Option<FamilyConfig>,
    /// `EnableNFTables`: where masquerade and forward rules are kept.
    pub firewall: Firewall,
    /// How nodes reach each other.
    pub backend: BackendConfig,
}

/// Where masquerade and forward rules are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Firewall {
    /// In a table of our own: `EnableNFTables` is true, or not said (flannel then takes iptables).
    Nftables,
    /// In flannel's iptables chains, beside those of other programs: `EnableNFTables` is false.
    Iptables,
}

/// The cluster network of one family and how it is cut into subnets for nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FamilyConfig {
    /// The whole cluster network, host bits cleared.
    pub network: IpNetwork,
    /// Prefix length of a node's subnet.
    pub subnet_len: u8,
    /// Base address of the first subnet that may be leased.
    pub min: IpAddr,
    /// Base address of the last subnet that may be leased.
    pub max: IpAddr,
}

/// Why a network configuration is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the message of each variant is its documentation")]
pub enum ConfigError {
    #[error("the network configuration is not a JSON object: {0}")]
    Json(String),
    #[error("{key} in the network configuration: {why}")]
    Value { key: &'static str, why: String },
    #[error("EnableIPv4 and EnableIPv6 are both false: the network has no address family")]
    NoFamily,
    #[error(
        "{0} is missing: the network configuration must name the cluster network, such as \"10.244.0.0/16\""
    )]
    NoNetwork(&'static str),
    #[error("{key} {len} is too long: a node needs a subnet of /{longest} or larger")]
    SubnetTooSmall { key: &'static str, len: u64, longest: u8 },
    #[error(
        "{key} {len} does not cut {network} into at least four subnets: /{shortest} is the shortest that does"
    )]
    TooFewSubnets { key: &'static str, len: u64, network: IpNetwork, shortest: u8 },
    #[error("{network} is too small: /{longest} is the longest useful network")]
    NetworkTooSmall { network: IpNetwork, longest: u8 },
    #[error("{key} {address} is not inside {network}")]
    Outside { key: &'static str, address: IpAddr, network: IpNetwork },
    #[error("{key} {address} is not the first address of a /{subnet_len} subnet")]
    Unaligned { key: &'static str, address: IpAddr, subnet_len: u8 },
    #[error("SubnetMin {min} is above SubnetMax {max}: no subnet could ever be leased")]
    Inverted { min: IpAddr, max: IpAddr },
    #[error("backend type {name:?} is not supported in this version (supported: {supported})")]
    UnsupportedBackend { name: String, supported: &'static str },
}

impl NetworkConfig {
    /// Reads the text under `<prefix>/config`: flannel's keys, defaults and limits (flannel `subnet/config.go`), and beyond
    /// them a range with `SubnetMin` above `SubnetMax` is refused.
    pub fn parse(json: &[u8]) -> Result<Self, ConfigError> {
        let members = Members::parse(json).map_err(|e| ConfigError::Json(e.to_string()))?;
        let v4 = read::<bool>(&members, "EnableIPv4")?.unwrap_or(true);
        let v6 = read::<bool>(&members, "EnableIPv6")?.unwrap_or(false);
        if !v4 && !v6 {
            return Err(ConfigError::NoFamily);
        }
        let backend = backend::read(&members)?;
        backend::check(&backend, [v4, v6])?;
        Ok(NetworkConfig {
            v4: v4.then(|| family(&members, &V4)).transpose()?,
            v6: v6.then(|| family(&members, &V6)).transpose()?,
            firewall: match read(&members, "EnableNFTables")? {
                Some(false) => Firewall::Iptables,
                Some(true) | None => Firewall::Nftables,
            },
            backend,
        })
    }
}

impl FamilyConfig {
    /// Whether a lease may have this subnet: right length, aligned, between the limits.
    #[must_use]
    pub fn admits(&self, subnet: IpNetwork) -> bool {
        subnet.is_ipv4() == self.network.is_ipv4()
            && subnet.prefix() == self.subnet_len
            && subnet.ip() == subnet.network()
            && (self.min..=self.max).contains(&subnet.ip())
    }
}

/// The key names and limits in which the two families differ.
struct Keys {
    network: &'static str,
    len: &'static str,
    min: &'static str,
    max: &'static str,
    usual_len: u8,
    longest_len: u8,
    is_family: fn(&IpNetwork) -> bool,
}

const V4: Keys = Keys {
    network: "Network",
    len: "SubnetLen",
    min: "SubnetMin",
    max: "SubnetMax",
    usual_len: 24,
    longest_len: 30,
    is_family: IpNetwork::is_ipv4,
};

const V6: Keys = Keys {
    network: "IPv6Network",
    len: "IPv6SubnetLen",
    min: "IPv6SubnetMin",
    max: "IPv6SubnetMax",
    usual_len: 64,
    longest_len: 126,
    is_family: IpNetwork::is_ipv6,
};

fn family(members: &Members, keys: &Keys) -> Result<FamilyConfig, ConfigError> {
    let network = network(members, keys)?;
    let subnet_len = subnet_len(read(members, keys.len)?.unwrap_or(0), network, keys)?;
    let (first, last) = range::bounds(network);
    let size = range::last_offset(network.ip(), subnet_len) + 1;
    let limit = |key, default: u128| -> Result<IpAddr, ConfigError> {
        match unspecified_is_none(read::<IpAddr>(members, key)?) {
            Some(address) => within(key, address, network, subnet_len),
            None => range::address(network.ip(), default).ok_or(ConfigError::NoNetwork(keys.network)),
        }
    };
    // The first subnet is left out: its base address is the network's old-style broadcast address.
    let (min, max) = (limit(keys.min, first + size)?, limit(keys.max, last - (size - 1))?);
    if min > max {
        return Err(ConfigError::Inverted { min, max });
    }
    Ok(FamilyConfig { network, subnet_len, min, max })
}

fn network(members: &Members, keys: &Keys) -> Result<IpNetwork, ConfigError> {
    let text: String = read(members, keys.network)?.ok_or(ConfigError::NoNetwork(keys.network))?;
    range::parse_cidr(&text).filter(keys.is_family).map(range::masked).ok_or_else(|| ConfigError::Value {
        key: keys.network,
        why: format!("{text:?} is not a network of that family"),
    })
}

fn subnet_len(len: u64, network: IpNetwork, keys: &Keys) -> Result<u8, ConfigError> {
    // Four subnets at least: the first is not leased, so two would serve a single node.
    let shortest = network.prefix().saturating_add(2);
    let key = keys.len;
    match u8::try_from(len) {
        Ok(0) if shortest > keys.longest_len => {
            Err(ConfigError::NetworkTooSmall { network, longest: keys.longest_len - 2 })
        }
        Ok(0) => Ok(keys.usual_len.max(shortest)),
        Ok(len) if len > keys.longest_len => {
            Err(ConfigError::SubnetTooSmall { key, len: len.into(), longest: keys.longest_len })
        }
        Ok(len) if len < shortest => {
            Err(ConfigError::TooFewSubnets { key, len: len.into(), network, shortest })
        }
        Ok(len) => Ok(len),
        Err(_) => Err(ConfigError::SubnetTooSmall { key, len, longest: keys.longest_len }),
    }
}

fn within(
    key: &'static str,
    address: IpAddr,
    network: IpNetwork,
    subnet_len: u8,
) -> Result<IpAddr, ConfigError> {
    if !network.contains(address) {
        return Err(ConfigError::Outside { key, address, network });
    }
    if range::number(address) & range::last_offset(address, subnet_len) != 0 {
        return Err(ConfigError::Unaligned { key, address, subnet_len });
    }
    Ok(address)
}

/// flannel takes 0.0.0.0 for "not given".
fn unspecified_is_none(address: Option<IpAddr>) -> Option<IpAddr> {
    address.filter(|a| *a != IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED))
}

fn read<T: DeserializeOwned>(members: &Members, key: &'static str) -> Result<Option<T>, ConfigError> {
    members.read(key).map_err(|e| ConfigError::Value { key, why: e.to_string() })
}

#[cfg(test)]
mod tests;
