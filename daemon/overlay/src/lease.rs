//! Leases as flannel stores them: the key that names a node's subnets, the value that says how to reach the node.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnetwork::IpNetwork;
use serde::Serialize;

use crate::backend_data::BackendData;
use crate::folded::Picked;
use crate::range;

/// The subnets of one node: the identity of its lease. Networks have their host bits cleared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subnets {
    /// The IPv4 subnet.
    pub v4: Option<IpNetwork>,
    /// The IPv6 subnet.
    pub v6: Option<IpNetwork>,
}

/// Why the last part of a key is not a lease's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the message of each variant is its documentation")]
pub enum KeyError {
    #[error("not of the form ADDRESS-LENGTH or ADDRESS-LENGTH&IPV6ADDRESS-LENGTH")]
    Form,
    #[error("{0:?} is not an address with a prefix length")]
    Subnet(String),
    #[error("{0} has host bits set")]
    HostBits(IpNetwork),
    #[error("it names every address")]
    Everything,
}

impl Subnets {
    /// The key under `<prefix>/subnets/`. An IPv6-only lease is written with flannel's empty IPv4 half, `0.0.0.0-0&…`,
    /// because flannel's own parser accepts no key without an IPv4 part.
    #[must_use]
    pub fn to_key(&self) -> String {
        let half = |n: IpNetwork| format!("{}-{}", n.ip(), n.prefix());
        match (self.v4, self.v6) {
            (Some(v4), None) => half(v4),
            (Some(v4), Some(v6)) => format!("{}&{}", half(v4), half(v6)),
            (None, Some(v6)) => format!("{NO_V4}&{}", half(v6)),
            (None, None) => NO_V4.to_owned(),
        }
    }

    /// Reads the last part of a lease's key (flannel-behaviour §5.1).
    pub fn parse_key(key: &str) -> Result<Self, KeyError> {
        let (v4, v6) = match key.split_once('&') {
            Some((v4, v6)) => (v4, Some(v6)),
            None => (key, None),
        };
        let v6 = v6.map(|text| parse_half(text, IpNetwork::is_ipv6)).transpose()?;
        let v4 = if v4 == NO_V4 { None } else { Some(parse_half(v4, IpNetwork::is_ipv4)?) };
        match (v4, v6) {
            (None, None) => Err(KeyError::Everything),
            (v4, v6) => Ok(Subnets { v4, v6 }),
        }
    }

    /// The subnets of both families that there are.
    pub fn iter(&self) -> impl Iterator<Item = IpNetwork> {
        self.v4.into_iter().chain(self.v6)
    }

    /// Whether the two share an address in either family.
    #[must_use]
    pub fn overlaps(&self, other: &Subnets) -> bool {
        self.iter().any(|a| other.iter().any(|b| range::overlap(a, b)))
    }
}

impl fmt::Display for Subnets {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match (self.v4, self.v6) {
            (Some(v4), Some(v6)) => write!(f, "{v4} and {v6}"),
            (Some(one), None) | (None, Some(one)) => write!(f, "{one}"),
            (None, None) => f.write_str("no subnet"),
        }
    }
}

const NO_V4: &str = "0.0.0.0-0";

fn parse_half(text: &str, is_family: fn(&IpNetwork) -> bool) -> Result<IpNetwork, KeyError> {
    let (address, prefix) = text.rsplit_once('-').ok_or(KeyError::Form)?;
    let subnet = address
        .parse::<IpAddr>()
        .ok()
        .zip(range::parse_prefix(prefix))
        // flannel reads lengths of five and seven bits, so its /32 and /128 do not exist; a lease for one address is of no use here either.
        .filter(|(address, prefix)| *prefix < range::width(*address))
        .and_then(|(address, prefix)| IpNetwork::new(address, prefix).ok())
        .filter(is_family)
        .ok_or_else(|| KeyError::Subnet(text.to_owned()))?;
    match subnet {
        n if n.ip() != n.network() => Err(KeyError::HostBits(n)),
        n if n.prefix() == 0 => Err(KeyError::Everything),
        n => Ok(n),
    }
}

/// What a node publishes about itself: the value of its lease's key.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LeaseAttributes {
    /// The IPv4 address that peers use; 0.0.0.0 when the node has none.
    #[serde(rename = "PublicIP")]
    pub public_ip: Ipv4Addr,
    /// The IPv6 address that peers use.
    #[serde(rename = "PublicIPv6")]
    pub public_ipv6: Option<Ipv6Addr>,
    /// The backend's name; empty for flannel's udp and alloc.
    #[serde(rename = "BackendType", skip_serializing_if = "String::is_empty")]
    pub backend_type: String,
    /// What the backend publishes for IPv4.
    #[serde(rename = "BackendData", skip_serializing_if = "Option::is_none")]
    pub backend_data: Option<BackendData>,
    /// What the backend publishes for IPv6.
    #[serde(rename = "BackendV6Data", skip_serializing_if = "Option::is_none")]
    pub backend_v6_data: Option<BackendData>,
    /// The node's name: our own member, which Go's decoder ignores. See [`same_name`].
    #[serde(rename = "Node", skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
}

/// Whether two names mean one node. A name that was made of the host's has the machine behind a slash, `host/3f9a01c2`,
/// since hosts that are copies of one image share the first part; a name that an operator gave has no such part.
#[must_use]
pub fn same_name(a: &str, b: &str) -> bool {
    match (a.split_once('/'), b.split_once('/')) {
        (Some((host, _)), None) => host == b,
        (None, Some((host, _))) => host == a,
        (Some(_), Some(_)) | (None, None) => a == b,
    }
}

/// Why a lease's value cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the message of each variant is its documentation")]
pub enum ValueError {
    #[error("the value is not a JSON object: {0}")]
    Json(String),
    #[error("{key}: {why}")]
    Member { key: &'static str, why: String },
}

/// What a lease's value has.
const MEMBERS: [&str; 6] = ["PublicIP", "PublicIPv6", "BackendType", "BackendData", "BackendV6Data", "Node"];

type Members<'a> = Picked<'a, { MEMBERS.len() }>;

impl LeaseAttributes {
    /// The value's text, byte for byte as flannel writes it (flannel-behaviour §5.2).
    #[must_use]
    pub fn to_json(&self) -> String {
        // Only a map with keys that are not strings, or a float that is not a number, can fail: there is neither.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads a value with members in any order and letter case.
    pub fn parse(text: &[u8]) -> Result<Self, ValueError> {
        let members = Picked::parse(text, MEMBERS).map_err(|e| ValueError::Json(e.to_string()))?;
        Ok(LeaseAttributes {
            public_ip: read(&members, "PublicIP")?.unwrap_or(Ipv4Addr::UNSPECIFIED),
            public_ipv6: read(&members, "PublicIPv6")?,
            backend_type: read_word(&members, "BackendType")?.unwrap_or_default(),
            backend_data: read(&members, "BackendData")?,
            backend_v6_data: read(&members, "BackendV6Data")?,
            node: read_word(&members, "Node")?,
        })
    }

    /// The node's IPv4 address; `None` where flannel writes 0.0.0.0.
    #[must_use]
    pub fn public_v4(&self) -> Option<Ipv4Addr> {
        Some(self.public_ip).filter(|ip| !ip.is_unspecified())
    }
}

/// A name as long as a host's may be: it stands in log lines, which it must not forge.
fn read_word(members: &Members, key: &'static str) -> Result<Option<String>, ValueError> {
    let is_word =
        |text: &str| text.len() <= LONGEST_NAME && !text.contains(|c: char| c.is_control() || c == ' ');
    match read::<String>(members, key)? {
        Some(text) if !is_word(&text) => {
            Err(ValueError::Member { key, why: format!("{:?} is no name", shortened(&text)) })
        }
        word => Ok(word),
    }
}

/// `HOST_NAME_MAX` and the longest name of the DNS are both below.
const LONGEST_NAME: usize = 255;

fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST_NAME) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

fn read<'a, T: serde::Deserialize<'a>>(
    members: &Members<'a>,
    key: &'static str,
) -> Result<Option<T>, ValueError> {
    members.decode(key).map_err(|e| ValueError::Member { key, why: e.to_string() })
}

/// One node's lease as the store holds it.
#[derive(Debug, Clone, PartialEq)]
pub struct Lease {
    /// The key.
    pub subnets: Subnets,
    /// The value.
    pub attributes: LeaseAttributes,
    /// A key that somebody put without a time to live: it stays without one.
    pub reserved: bool,
    /// The store's revision of this key (etcd's `mod_revision`), to compare before writing.
    pub revision: i64,
}

impl fmt::Display for Lease {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} of ", self.subnets)?;
        if let Some(node) = &self.attributes.node {
            write!(f, "node {node} at ")?;
        }
        match (self.attributes.public_v4(), self.attributes.public_ipv6) {
            (Some(ip), _) => write!(f, "{ip}"),
            (None, Some(ip)) => write!(f, "{ip}"),
            (None, None) => f.write_str("no address"),
        }
    }
}

/// Every lease at one moment of the store.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Snapshot {
    /// The store's revision that this is the state of.
    pub revision: i64,
    /// The leases, in the order of their keys: shared with the snapshots before and after, which differ in a few.
    pub leases: Vec<Arc<Lease>>,
    /// What lies beside them and is no lease: skipped and named, never taken for "everyone left".
    pub junk: Vec<Junk>,
}

impl Snapshot {
    /// The leases, one by one.
    pub fn iter(&self) -> impl Iterator<Item = &Lease> {
        self.leases.iter().map(Arc::as_ref)
    }
}

impl Junk {
    /// What is too long for a log line is cut.
    #[must_use]
    pub fn new(key: &str, reason: &str) -> Self {
        Junk { key: shortened(key), reason: shortened(reason) }
    }
}

/// A key under `subnets` that is not a lease.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Junk {
    /// The key as the store has it.
    pub key: String,
    /// What is wrong with the key or its value.
    pub reason: String,
}

#[cfg(test)]
mod tests;
