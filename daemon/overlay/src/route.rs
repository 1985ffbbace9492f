//! Routes and nexthop objects as the kernel shows them, and the part of them that is decided here.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddrV4};

use ipnetwork::IpNetwork;

use crate::ROUTE_PROTOCOL;
use crate::tunnel::{Forwarding, Neighbour};
use crate::wireguard::FoundPeer;

/// Where packets for a peer's subnet go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hop {
    /// The peer's address, or that of its tunnel end; `None` where the link itself leads to the peer.
    pub gateway: Option<IpAddr>,
    /// The interface index of the uplink or tunnel.
    pub oif: u32,
    /// The gateway is there though no address of the link says so: a tunnel.
    pub onlink: bool,
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.gateway {
            Some(gateway) => write!(f, "{gateway}"),
            None => write!(f, "interface {}", self.oif),
        }
    }
}

/// One unicast route of the main table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// What it leads to.
    pub destination: IpNetwork,
    /// Its next hop; `None` for a connected route.
    pub gateway: Option<IpAddr>,
    /// Its output interface.
    pub oif: Option<u32>,
    /// Its metric: 0 for IPv4 and 1024 for IPv6 unless somebody asked for another.
    pub metric: u32,
    /// The gateway counts as reachable on the link.
    pub onlink: bool,
    /// The nexthop object that it uses.
    pub nexthop: Option<u32>,
    /// Who made it (`RTPROT_*`).
    pub protocol: u8,
}

/// One nexthop object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nexthop {
    /// Its id.
    pub id: u32,
    /// Where it leads; `None` for a group, a blackhole or one without gateway.
    pub hop: Option<Hop>,
    /// Who made it (`RTPROT_*`).
    pub protocol: u8,
}

/// What the kernel has, whoever made it: ours and others are told apart here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Actual {
    /// The unicast routes of the main table.
    pub routes: Vec<Route>,
    /// All nexthop objects.
    pub nexthops: Vec<Nexthop>,
    /// The neighbour entries of our tunnel devices.
    pub neighbours: Vec<Neighbour>,
    /// The forwarding entries of our tunnel devices.
    pub forwardings: Vec<Forwarding>,
    /// The peers of our `WireGuard` devices.
    pub peers: Vec<FoundPeer>,
    /// The subnets that the daemon carries itself, each with the node that gets their packets.
    pub carried: BTreeMap<IpNetwork, SocketAddrV4>,
}

impl Route {
    /// Whether the daemon made it.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.protocol == ROUTE_PROTOCOL
    }

    /// Its next hop, when it has an interface.
    #[must_use]
    pub fn hop(&self) -> Option<Hop> {
        self.oif.map(|oif| Hop { gateway: self.gateway, oif, onlink: self.onlink })
    }

    /// Whether it has the metric that a route gets when none is asked for (`IP6_RT_PRIO_USER` for IPv6).
    #[must_use]
    pub fn has_usual_metric(&self) -> bool {
        self.metric == if self.destination.is_ipv4() { 0 } else { 1024 }
    }
}
