//! The result of ADD in memory: always the newest layout, whatever version a request speaks.

use std::net::IpAddr;

use serde::Deserialize;

use crate::cidr::Cidr;
use crate::encode;
use crate::error::Error;
use crate::folded::{self, opt_ip};
use crate::node::Node;
use crate::print;
use crate::refusal::Refusal;
use crate::version::{Layout, Version};

/// What an attachment got: interfaces, addresses, routes and DNS (specification, "ADD Success").
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddResult {
    /// links that were made or used, host side included
    pub interfaces: Vec<Interface>,
    /// addresses, each with the position of its interface
    pub ips: Vec<Ip>,
    /// routes in the sandbox
    pub routes: Vec<Route>,
    /// what the runtime may write into `resolv.conf`
    pub dns: Dns,
}

/// A link of the attachment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Interface {
    /// name of the link
    pub name: String,
    /// link-layer address
    pub mac: Option<String>,
    /// in bytes; from 1.0.0 on
    pub mtu: Option<u32>,
    /// `CNI_NETNS` as given; None for a link of the host
    pub sandbox: Option<String>,
    /// path of a socket that is the other end; from 1.0.0 on
    #[serde(rename = "socketPath")]
    pub socket_path: Option<String>,
    /// PCI address of the device; from 1.0.0 on
    #[serde(rename = "pciID")]
    pub pci_id: Option<String>,
}

/// An address of the attachment.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Ip {
    /// the address with the prefix length of its network
    pub address: Cidr,
    /// the sandbox's router in that network
    #[serde(default, deserialize_with = "opt_ip")]
    pub gateway: Option<IpAddr>,
    /// position in [`AddResult::interfaces`]; None from an IPAM plugin
    #[serde(default)]
    pub interface: Option<usize>,
}

/// A route in the sandbox, in results and in configurations.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Route {
    /// destination; host bits stay as given
    pub dst: Cidr,
    /// next hop; None means the gateway of the address of the same family
    #[serde(default, deserialize_with = "opt_ip")]
    pub gw: Option<IpAddr>,
    /// in bytes
    #[serde(default)]
    pub mtu: Option<u32>,
    /// TCP maximal segment size to advertise, in bytes
    #[serde(default)]
    pub advmss: Option<u32>,
    /// metric
    #[serde(default)]
    pub priority: Option<u32>,
    /// routing table; an explicit 0 is kept
    #[serde(default)]
    pub table: Option<u32>,
    /// route scope (`rtnetlink(7)`); an explicit 0 is kept
    #[serde(default)]
    pub scope: Option<u8>,
}

impl Route {
    /// A route to a destination, everything else unset.
    #[must_use]
    pub fn to(dst: Cidr) -> Self {
        Self { dst, gw: None, mtu: None, advmss: None, priority: None, table: None, scope: None }
    }
}

/// Settings of the resolver, in results and in configurations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Dns {
    /// addresses of name servers
    pub nameservers: Vec<String>,
    /// local domain
    pub domain: String,
    /// search list
    pub search: Vec<String>,
    /// resolver options
    pub options: Vec<String>,
}

impl Dns {
    /// Whether nothing is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nameservers.is_empty()
            && self.domain.is_empty()
            && self.search.is_empty()
            && self.options.is_empty()
    }
}

/// Lists of every layout from 0.3.0 on; what an older layout lacks is dropped afterwards.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Lists {
    interfaces: Vec<Interface>,
    ips: Vec<Ip>,
    routes: Vec<Route>,
    dns: Dns,
}

/// The layout of 0.1.0 and 0.2.0.
#[derive(Default, Deserialize)]
#[serde(default)]
struct PerFamily {
    ip4: Option<Single>,
    ip6: Option<Single>,
    dns: Dns,
}

#[derive(Deserialize)]
struct Single {
    ip: Cidr,
    #[serde(default, deserialize_with = "opt_ip")]
    gateway: Option<IpAddr>,
    #[serde(default)]
    routes: Vec<Route>,
}

impl AddResult {
    /// The result in the layout of a version: four spaces, no newline at the end.
    ///
    /// Before 0.3.0 a result needs an address: without one this is an error of code 7.
    pub fn encode(&self, version: Version) -> Result<String, Error> {
        Ok(print::pretty(&encode::document(&self.seen_at(version)?, version)))
    }

    /// Reads a result of any layout; `assumed` is the version when the text has none or an empty one.
    pub fn decode(text: &[u8], assumed: Version) -> Result<Self, Error> {
        let node = Node::parse(text).map_err(|cause| Refusal::ResultNotJson { cause: cause.to_string() })?;
        let text = version_text(&node)?.filter(|text| !text.is_empty());
        let version = match text {
            None => assumed,
            Some(text) => {
                Version::parse(text).ok_or_else(|| Refusal::ResultVersion { version: text.to_owned() })?
            }
        };
        Ok(Self::from_node(&node, version)?)
    }

    /// Reads `prevResult`: without a version it has the configuration's, with one it must be of the same
    /// layout (the Go library has one decoder a layout and picks it by the configuration).
    pub(crate) fn previous(node: &Node, config: Version) -> Result<Self, Refusal> {
        let version = match version_text(node)? {
            None => config,
            Some(text) => Version::parse(text)
                .filter(|version| version.layout() == config.layout())
                .ok_or_else(|| Refusal::PrevResultVersion { version: text.to_owned(), config })?,
        };
        Self::from_node(node, version)
    }

    fn from_node(node: &Node, version: Version) -> Result<Self, Refusal> {
        let misfit = |cause: folded::Mismatch| Refusal::ResultMisfit { version, cause: cause.to_string() };
        if version.layout() == Layout::PerFamily {
            return Ok(folded::from_node::<PerFamily>(node).map_err(misfit)?.into());
        }
        let Lists { mut interfaces, ips, routes, dns } = folded::from_node(node).map_err(misfit)?;
        if version.layout() == Layout::Versioned {
            interfaces.iter_mut().for_each(Interface::forget_newer_fields);
        }
        Ok(Self { interfaces, ips, routes, dns })
    }
}

impl Interface {
    /// Leaves what results of 0.3.0 to 0.4.0 can say.
    pub(crate) fn forget_newer_fields(&mut self) {
        self.mtu = None;
        self.socket_path = None;
        self.pci_id = None;
    }
}

impl From<PerFamily> for AddResult {
    fn from(PerFamily { ip4, ip6, dns }: PerFamily) -> Self {
        let mut result = Self { dns, ..Self::default() };
        for Single { ip, gateway, routes } in ip4.into_iter().chain(ip6) {
            result.ips.push(Ip { address: ip, gateway, interface: None });
            result.routes.extend(routes);
        }
        result
    }
}

fn version_text(node: &Node) -> Result<Option<&str>, Refusal> {
    match node.field("cniVersion") {
        None => Ok(None),
        Some(Node::String(text)) => Ok(Some(text)),
        Some(_) => Err(Refusal::ResultNotJson { cause: "cniVersion: expected a string".to_owned() }),
    }
}

#[cfg(test)]
#[path = "result_tests.rs"]
mod tests;
