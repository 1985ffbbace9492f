//! The vxlan backend: each peer is one neighbour, one forwarding entry and one route behind a device of our own, or,
//! with `DirectRouting` and a peer on the same layer-2 network, a plain route.

use std::net::{IpAddr, SocketAddrV4};

use ipnetwork::IpNetwork;

use crate::config::{FamilyConfig, NetworkConfig, VxlanConfig};
use crate::device::{Device, Home, Tunnel, VxlanLink, base_address, local_address};
use crate::ground::{End, Ground};
use crate::key::Key;
use crate::lease::{Lease, LeaseAttributes, Subnets};
use crate::mac::Mac;
use crate::problem::Problem;
use crate::route::Hop;
use crate::uplink::Uplink;
use crate::vtep::Vtep;
use crate::wireguard::Peer;

/// The kernel's UDP port for VXLAN when none is asked for.
const KERNEL_PORT: u16 = 8472;

/// What the tunnel adds to a packet: outer IP header, UDP, VXLAN and the inner Ethernet header.
const OVERHEAD_V4: u32 = 20 + 8 + 8 + 14;
const OVERHEAD_V6: u32 = 40 + 8 + 8 + 14;

/// How a peer's subnet is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passage {
    /// The route's next hop.
    pub hop: Hop,
    /// Through the tunnel: the peer's end.
    pub through: Option<Through>,
}

/// A peer's end of the tunnel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Through {
    /// A VXLAN device: its hardware address and its host. Its neighbour entry has the hop's gateway as its address.
    Vtep(Mac, IpAddr),
    /// A `WireGuard` device: its public key, and the peer with this subnet.
    Peer(Key, Peer),
    /// Our own frames: where they go. The network as a whole is routed to the tun device.
    Frames(SocketAddrV4),
}

/// The devices that this node needs, with the hardware addresses that its lease publishes.
#[must_use]
pub fn devices(
    (config, vxlan): (&NetworkConfig, &VxlanConfig),
    own: &Subnets,
    published: &LeaseAttributes,
    uplink: &Uplink,
) -> Vec<Device> {
    let [name_v4, name_v6] = vxlan.names();
    let v4 = published.public_v4().map(IpAddr::from);
    let v6 = published.public_ipv6.map(IpAddr::from);
    let families = [
        (name_v4, config.v4, own.v4, (v4, published.backend_data.as_ref())),
        (name_v6, config.v6, own.v6, (v6, published.backend_v6_data.as_ref())),
    ];
    let device = |(name, family, subnet, (address, data)): (String, Option<FamilyConfig>, _, _)| {
        let (network, base) = (family?.network, base_address(subnet?)?);
        let mac = Vtep::parse(data).ok()?.mac;
        let local = local_address(uplink, address)?;
        let tunnel = Tunnel::Vxlan(link(vxlan, uplink, local));
        let mtu = vxlan.device_mtu(uplink, local);
        Some(Device { name, tunnel, mac: Some(mac), mtu, homes: vec![Home { address: base, network }] })
    };
    families.into_iter().filter_map(device).collect()
}

impl VxlanConfig {
    /// The configured MTU is the underlay's, as flannel's; the uplink's own bounds it, as in the kernel.
    fn device_mtu(&self, uplink: &Uplink, local: IpAddr) -> u32 {
        let overhead = if local.is_ipv4() { OVERHEAD_V4 } else { OVERHEAD_V6 };
        let below = self.mtu.map_or(uplink.mtu, |mtu| mtu.min(uplink.mtu));
        below.saturating_sub(overhead)
    }
}

fn link(vxlan: &VxlanConfig, uplink: &Uplink, local: IpAddr) -> VxlanLink {
    VxlanLink {
        vni: vxlan.vni,
        port: vxlan.port.unwrap_or(KERNEL_PORT),
        parent: Some(uplink.index),
        local: Some(local),
        group: None,
        learning: vxlan.learning,
        gbp: vxlan.gbp,
        l2miss: false,
    }
}

/// How to reach one subnet of a peer's lease.
pub fn passage(
    lease: &Lease,
    subnet: IpNetwork,
    vxlan: &VxlanConfig,
    ground: Ground,
) -> Result<Passage, Problem> {
    let attributes = &lease.attributes;
    let (host, data, end) = if subnet.is_ipv4() {
        let host = attributes.public_v4().map(IpAddr::from);
        (host, attributes.backend_data.as_ref(), ground.ends.v4)
    } else {
        let host = attributes.public_ipv6.map(IpAddr::from);
        (host, attributes.backend_v6_data.as_ref(), ground.ends.v6)
    };
    let host = host.ok_or_else(|| Problem::NoGateway { subnet, lease: lease.to_string() })?;
    if ground.uplink.owns(host) {
        return Err(Problem::OwnAddress { subnet, address: host, lease: lease.to_string() });
    }
    let broken = |why| Problem::BackendData { subnet, why, lease: lease.to_string() };
    let vtep = Vtep::parse(data).map_err(broken)?;
    if vxlan.direct_routing
        && let Some(oif) = ground.reach.on_link(host)
    {
        return Ok(Passage { hop: Hop { gateway: Some(host), oif, onlink: false }, through: None });
    }
    let end = end.ok_or_else(|| broken("this node has no tunnel end of that family".to_owned()))?;
    through_tunnel(vtep, (vxlan, end), host, subnet).map_err(broken)
}

fn through_tunnel(
    vtep: Vtep,
    (vxlan, end): (&VxlanConfig, End),
    host: IpAddr,
    subnet: IpNetwork,
) -> Result<Passage, String> {
    if vtep.vni != vxlan.vni {
        return Err(format!("its VNI is {}, this network's is {}", vtep.vni, vxlan.vni));
    }
    if end.mac == Some(vtep.mac) {
        return Err(format!(
            "its VtepMAC {} is also this node's own; one of the two must get another (delete its device and its lease)",
            vtep.mac
        ));
    }
    let hop = Hop { gateway: Some(subnet.network()), oif: end.index, onlink: true };
    Ok(Passage { hop, through: Some(Through::Vtep(vtep.mac, host)) })
}

#[cfg(test)]
mod tests;
