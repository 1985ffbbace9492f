//! The wireguard backend: each peer is a public key with an endpoint and the subnets that it may use, and a route to the device.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use ipnetwork::IpNetwork;
use serde_json::json;

use crate::backend_data::BackendData;
use crate::config::{Mode, NetworkConfig, WireguardConfig};
use crate::device::{Device, Home, Tunnel, base_address};
use crate::folded::Picked;
use crate::ground::Ground;
use crate::key::{Key, Secret};
use crate::lease::{Lease, LeaseAttributes, Subnets};
use crate::problem::Problem;
use crate::route::Hop;
use crate::uplink::Uplink;

/// What the tunnel adds to a packet over IPv6; flannel takes it for both families.
const OVERHEAD: u32 = 80;

/// A peer of a device, by its public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Where it listens.
    pub endpoint: SocketAddr,
    /// Its subnets.
    pub allowed: BTreeSet<IpNetwork>,
    /// The key that the whole cluster shares.
    pub shared: Option<Secret>,
    /// Seconds between packets that keep a translator's mapping; 0 is never.
    pub keepalive: u16,
}

/// A peer that a device has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundPeer {
    /// The device.
    pub index: u32,
    /// Its public key.
    pub key: Key,
    /// Where it was last heard.
    pub endpoint: Option<SocketAddr>,
    /// Its networks.
    pub allowed: BTreeSet<IpNetwork>,
    /// Its shared key.
    pub shared: Option<Secret>,
    /// Seconds between packets.
    pub keepalive: u16,
    /// A handshake was lately: where it was heard is then better than what its lease says (a translator in between).
    pub is_heard: bool,
}

impl Peer {
    /// Whether a peer that is there needs no change.
    #[must_use]
    pub fn is(&self, found: &FoundPeer) -> bool {
        (&self.allowed, &self.shared, self.keepalive) == (&found.allowed, &found.shared, found.keepalive)
            && (found.is_heard || found.endpoint == Some(self.endpoint))
    }
}

/// What a lease tells of its node's device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announced {
    /// The public key.
    pub key: Key,
    /// The UDP port; without, this node's own is taken, as in flannel.
    pub port: Option<u16>,
}

impl Announced {
    /// `{"PublicKey":"…","Port":51820}`
    #[must_use]
    pub fn to_data(&self) -> BackendData {
        json!({"PublicKey": self.key.to_string(), "Port": self.port}).into()
    }

    /// Reads a lease's data; the error says what is wrong with it.
    pub fn parse(data: Option<&BackendData>) -> Result<Announced, String> {
        let data = data.ok_or("there is none")?.as_json();
        let members = Picked::parse(data.as_bytes(), ["PublicKey", "Port"])
            .map_err(|_| format!("{data} is no JSON object"))?;
        let text: String = members
            .decode("PublicKey")
            .map_err(|e| format!("PublicKey: {e}"))?
            .ok_or("PublicKey is missing")?;
        let key = text.parse().map_err(|()| format!("PublicKey {text:?} is no key"))?;
        let port = members.decode::<u16>("Port").map_err(|e| format!("Port: {e}"))?.filter(|port| *port != 0);
        Ok(Announced { key, port })
    }
}

/// The devices that this node needs: one for each family or, in the other modes, one for both.
#[must_use]
pub fn devices(
    (config, wireguard): (&NetworkConfig, &WireguardConfig),
    own: &Subnets,
    uplink: &Uplink,
) -> Vec<Device> {
    let home = |family: Option<crate::config::FamilyConfig>, subnet: Option<IpNetwork>| {
        Some(Home { address: base_address(subnet?)?, network: family?.network })
    };
    let (v4, v6) = (home(config.v4, own.v4), home(config.v6, own.v6));
    let homes = match wireguard.mode {
        Mode::Separate => vec![v4.into_iter().collect(), v6.into_iter().collect()],
        Mode::Auto | Mode::Ipv4 | Mode::Ipv6 => vec![v4.into_iter().chain(v6).collect::<Vec<_>>()],
    };
    let mtu = wireguard.mtu.map_or(uplink.mtu, |mtu| mtu.min(uplink.mtu)).saturating_sub(OVERHEAD);
    let named = wireguard.names().into_iter().zip(homes).filter(|(_, homes)| !homes.is_empty());
    named.map(|(name, homes)| Device { name, tunnel: Tunnel::Wireguard, mac: None, mtu, homes }).collect()
}

/// How to reach one subnet of a peer's lease: the route, the peer's key, and the peer with that subnet alone.
pub fn passage(
    lease: &Lease,
    subnet: IpNetwork,
    wireguard: &WireguardConfig,
    ground: Ground,
) -> Result<(Hop, Key, Peer), Problem> {
    let end = if subnet.is_ipv4() { ground.ends.v4 } else { ground.ends.v6 };
    let broken = |why: String| Problem::BackendData { subnet, why, lease: lease.to_string() };
    let end = end.ok_or_else(|| broken("this node has no tunnel end of that family".to_owned()))?;
    let over_v4 = carrier_is_v4(&lease.attributes, subnet, wireguard.mode);
    let attributes = &lease.attributes;
    let (host, data, own_port) = if over_v4 {
        let host = attributes.public_v4().map(IpAddr::from);
        (host, attributes.backend_data.as_ref().or(attributes.backend_v6_data.as_ref()), wireguard.port)
    } else {
        let host = attributes.public_ipv6.map(IpAddr::from);
        (host, attributes.backend_v6_data.as_ref().or(attributes.backend_data.as_ref()), wireguard.port_v6)
    };
    let host = host.ok_or_else(|| Problem::NoGateway { subnet, lease: lease.to_string() })?;
    if ground.uplink.owns(host) {
        return Err(Problem::OwnAddress { subnet, address: host, lease: lease.to_string() });
    }
    let announced = Announced::parse(data).map_err(broken)?;
    let endpoint = SocketAddr::new(host, announced.port.unwrap_or(own_port));
    let hop = Hop { gateway: None, oif: end.index, onlink: false };
    let (shared, keepalive) = (wireguard.shared, wireguard.keepalive);
    Ok((hop, announced.key, Peer { endpoint, allowed: [subnet].into(), shared, keepalive }))
}

/// Which family carries the packets to a peer. In `auto` mode IPv4, unless only IPv6 is public (flannel's choice).
fn carrier_is_v4(attributes: &LeaseAttributes, subnet: IpNetwork, mode: Mode) -> bool {
    match mode {
        Mode::Separate => subnet.is_ipv4(),
        Mode::Ipv4 => true,
        Mode::Ipv6 => false,
        Mode::Auto => match (attributes.public_v4(), attributes.public_ipv6) {
            (Some(v4), Some(v6)) => {
                !(v4.is_private() && !v6.is_unique_local() && !v6.is_unicast_link_local())
            }
            (v4, _) => v4.is_some(),
        },
    }
}

#[cfg(test)]
mod tests;
