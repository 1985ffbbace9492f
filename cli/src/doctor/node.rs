//! One node as it was gathered: plain values, on which every finding is decided without touching anything.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use attach::identity::Mark;
use host_local::Owner;
use ipnetwork::IpNetwork;
use kernel::{Address, Link, Route};
use overlay::{Overview, Previous};
use portmap::mapping::Key;

/// The node.
#[derive(Debug, Default)]
pub struct Node {
    /// What the daemon says, when one answers.
    pub overview: Option<Overview>,
    /// What `subnet.env` says; nothing without the file.
    pub env: Previous,
    /// All links.
    pub links: Vec<Link>,
    /// All addresses.
    pub addresses: Vec<Address>,
    /// The unicast routes of the main table.
    pub routes: Vec<Route>,
    /// Parameters by their path under `/proc/sys`; those that there are not are absent.
    pub parameters: BTreeMap<String, String>,
    /// By which link the kernel would send to each peer's public address.
    pub ways: Vec<(IpAddr, u32)>,
    /// Who decides on forwarded packets.
    pub forward: Vec<ForwardChain>,
    /// kube-proxy's rules are there.
    pub kube_proxy: bool,
    /// Addresses that host-local has given out.
    pub reservations: Vec<Reserved>,
    /// How many addresses each network of host-local can give out.
    pub capacities: Vec<(String, u64)>,
    /// Every address in every namespace that can be found, when somebody had to look.
    pub lived: BTreeSet<IpAddr>,
    /// Elements of our tables, by whose they are.
    pub elements: Vec<OwnedElement>,
    /// Ports published by our portmap.
    pub published: Vec<Published>,
    /// Ports that iptables' rules lead elsewhere.
    pub diverted: Vec<Diverted>,
    /// Ports on which a process of this node listens.
    pub listeners: Vec<Listener>,
    /// Network managers that run here.
    pub managers: Vec<Manager>,
    /// Peers that were probed.
    pub paths: Vec<Path>,
}

/// A chain on the way of forwarded packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardChain {
    /// Whose and where, as its own program calls it.
    pub name: String,
    /// The families whose packets pass it.
    pub families: Vec<kernel::Family>,
    /// What happens to a packet that no rule decides on is that it is dropped.
    pub drops: bool,
    /// The networks and links for which it has a rule that accepts.
    pub accepts: Vec<Accept>,
}

/// What a rule accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accept {
    /// Packets from or to a network.
    Network(IpNetwork),
    /// Packets that come from or go to a link.
    Link(String),
    /// All.
    Everything,
}

/// A reservation of host-local.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reserved {
    /// The network.
    pub network: String,
    /// The address.
    pub address: IpAddr,
    /// Whose it is; `None` where the file is blank.
    pub owner: Option<Owner>,
    /// How old it is.
    pub age: Duration,
}

/// An element that carries an attachment's mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedElement {
    /// Table and set.
    pub place: String,
    /// Its comment.
    pub comment: String,
}

/// A published port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// What a packet asks for.
    pub key: Key,
    /// Whose it is, for people.
    pub owner: String,
}

/// A port that a DNAT rule of iptables leads elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diverted {
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
    /// The port.
    pub port: u16,
    /// The rule.
    pub rule: String,
}

/// A socket that waits for packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// `tcp` or `udp`.
    pub protocol: &'static str,
    /// Its address, unspecified for all.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
}

/// A program that configures networks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manager {
    /// Which.
    pub kind: ManagerKind,
    /// Its process.
    pub pid: u32,
    /// Links of ours that it is not told to leave alone.
    pub manages: Vec<String>,
    /// Whether it deletes routes that it did not make.
    pub deletes_routes: bool,
}

/// The managers that are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ManagerKind {
    /// systemd-networkd.
    Networkd,
    /// `NetworkManager`.
    NetworkManager,
}

/// The way to one peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// The peer's public address.
    pub peer: IpAddr,
    /// The address that was asked: the peer's own, or its end of the overlay.
    pub target: IpAddr,
    /// Whether the target is behind the overlay.
    pub overlay: bool,
    /// The largest packet, in bytes, that pods would send.
    pub size: u32,
    /// Whether a small packet was answered.
    pub small: bool,
    /// Whether one of that size was answered.
    pub large: bool,
}

impl Node {
    /// The networks that pods have their addresses from, as far as they are known.
    pub fn pod_networks(&self) -> Vec<IpNetwork> {
        let told = self.overview.iter().flat_map(|overview| &overview.network.ranges);
        let told = told.filter_map(|range| range.network.parse().ok());
        let mut networks: Vec<IpNetwork> = told.chain(self.env.networks.iter()).collect();
        let bridges: BTreeSet<u32> = self.own_links().filter_map(|link| link.controller).collect();
        for address in self.addresses.iter().filter(|a| bridges.contains(&a.index) && a.scope == 0) {
            let network = IpNetwork::new(address.network.network(), address.network.prefix());
            networks.extend(network.ok().filter(|n| !networks.iter().any(|known| covers(*known, *n))));
        }
        networks.sort();
        networks.dedup();
        networks
    }

    /// The host's ends of attachments of ours.
    pub fn own_links(&self) -> impl Iterator<Item = &Link> {
        self.links.iter().filter(|link| link.alias.as_deref().is_some_and(Mark::is_any))
    }

    /// The bridges that attachments of ours are ports of, by name.
    pub fn bridges(&self) -> Vec<&str> {
        let indices: BTreeSet<u32> = self.own_links().filter_map(|link| link.controller).collect();
        let named = self.links.iter().filter(|link| indices.contains(&link.index));
        named.map(|link| link.name.as_str()).collect()
    }

    /// Whether packets of pods are forwarded here.
    pub fn forwards(&self) -> bool {
        self.overview.is_some()
            || self.env.networks.iter().next().is_some()
            || self.own_links().next().is_some()
    }

    /// A parameter that is a number.
    pub fn parameter(&self, path: &str) -> Option<i64> {
        self.parameters.get(path)?.trim().parse().ok()
    }
}

/// Whether one network has every address of another.
pub fn covers(outer: IpNetwork, inner: IpNetwork) -> bool {
    outer.is_ipv4() == inner.is_ipv4() && outer.prefix() <= inner.prefix() && outer.contains(inner.network())
}
