//! The backend's own devices: how they should be, and what turns one that is there into that.

use std::net::{IpAddr, SocketAddrV4};

use ipnetwork::{IpNetwork, Ipv4Network};

use crate::mac::Mac;
use crate::uplink::Uplink;

/// A device that should be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its name, flannel's.
    pub name: String,
    /// What it does.
    pub tunnel: Tunnel,
    /// Its hardware address, for a kind that has one.
    pub mac: Option<Mac>,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Its addresses, one for each family that it carries.
    pub homes: Vec<Home>,
}

/// A device's only address inside a cluster network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Home {
    /// The base of this node's subnet, as a host's address, so that it brings no route of its own.
    pub address: IpNetwork,
    /// The cluster network.
    pub network: IpNetwork,
}

/// The parameters that can only be given at a device's creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tunnel {
    /// VXLAN.
    Vxlan(VxlanLink),
    /// IPv4 in IPv4.
    Ipip(IpipLink),
    /// `WireGuard`: keys and peers are no parameters of the device.
    Wireguard,
    /// A tun device that this process holds, beside a UDP socket.
    Udp(UdpLink),
}

/// What a tun device of ours is tied to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UdpLink {
    /// Where the socket listens and sends from.
    pub local: SocketAddrV4,
    /// The subnet whose packets it takes.
    pub subnet: Ipv4Network,
}

/// Parameters of an IP-in-IP device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IpipLink {
    /// Source address.
    pub local: Option<IpAddr>,
    /// The only remote host: none, each route names its own.
    pub remote: Option<IpAddr>,
}

/// Parameters of a VXLAN device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VxlanLink {
    /// The network identifier.
    pub vni: u32,
    /// The UDP port.
    pub port: u16,
    /// Index of the link below.
    pub parent: Option<u32>,
    /// Source address.
    pub local: Option<IpAddr>,
    /// Default remote host or group: none.
    pub group: Option<IpAddr>,
    /// Entries are learnt from traffic.
    pub learning: bool,
    /// Group policy extension.
    pub gbp: bool,
    /// Misses are reported.
    pub l2miss: bool,
}

/// A device of that name that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundDevice {
    /// Its interface index.
    pub index: u32,
    /// What it does; `None` for a kind that we do not make.
    pub tunnel: Option<Tunnel>,
    /// Its hardware address.
    pub mac: Option<Mac>,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Whether it is switched on.
    pub up: bool,
    /// Its addresses of both families.
    pub addresses: Vec<IpNetwork>,
}

/// One step towards the device that should be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceChange {
    /// There is none of that name.
    Create,
    /// The one of that name belongs to another process, in whose hands its packets are: it stays.
    Spare,
    /// What is there cannot be turned into it: `why` names each parameter with both values.
    Recreate {
        /// What disagrees.
        why: String,
    },
    /// Give it its hardware address.
    SetMac(Mac),
    /// Give it its MTU.
    SetMtu(u32),
    /// Switch it on.
    Raise,
    /// Give it its address.
    AddAddress(IpNetwork),
    /// Take an address of the cluster network that is not its own: an earlier subnet's.
    DeleteAddress(IpNetwork),
}

impl Device {
    /// What is to be done, in order; nothing when it is as it should be. A device that somebody else made, flanneld,
    /// stays when its parameters agree.
    #[must_use]
    pub fn remedy(&self, found: Option<&FoundDevice>) -> Vec<DeviceChange> {
        let Some(found) = found else { return vec![DeviceChange::Create] };
        if let (Tunnel::Udp(_), None) = (&self.tunnel, &found.tunnel) {
            return vec![DeviceChange::Spare];
        }
        if let Some(why) = self.disagreement(found) {
            return vec![DeviceChange::Recreate { why }];
        }
        let mac = self.mac.filter(|mac| found.mac != Some(*mac)).map(DeviceChange::SetMac);
        let mtu = (self.mtu != found.mtu).then_some(DeviceChange::SetMtu(self.mtu));
        let raise = (!found.up).then_some(DeviceChange::Raise);
        let missing = self.homes.iter().filter(|home| !found.addresses.contains(&home.address));
        let add = missing.map(|home| DeviceChange::AddAddress(home.address));
        let surplus = found.addresses.iter().filter(|address| self.is_surplus(**address));
        let deletes = surplus.map(|address| DeviceChange::DeleteAddress(*address));
        mac.into_iter().chain(mtu).chain(raise).chain(add).chain(deletes).collect()
    }

    fn is_surplus(&self, address: IpNetwork) -> bool {
        self.homes.iter().any(|home| {
            address != home.address
                && address.is_ipv4() == home.network.is_ipv4()
                && home.network.contains(address.ip())
        })
    }

    fn disagreement(&self, found: &FoundDevice) -> Option<String> {
        match (&self.tunnel, &found.tunnel) {
            (_, None) => Some("it is a device of another kind".to_owned()),
            (Tunnel::Vxlan(want), Some(Tunnel::Vxlan(there))) => want.disagreement(there),
            (Tunnel::Ipip(want), Some(Tunnel::Ipip(there))) => want.disagreement(there),
            (Tunnel::Wireguard, Some(Tunnel::Wireguard)) => None,
            (Tunnel::Udp(want), Some(Tunnel::Udp(there))) => joined([
                named("local address", &there.local.to_string(), &want.local.to_string()),
                named("subnet", &there.subnet.to_string(), &want.subnet.to_string()),
            ]),
            (Tunnel::Vxlan(_) | Tunnel::Ipip(_) | Tunnel::Wireguard | Tunnel::Udp(_), Some(_)) => {
                Some("it is a device of another kind".to_owned())
            }
        }
    }
}

/// The values of one parameter that disagree, by name.
fn named(what: &str, there: &str, want: &str) -> Option<String> {
    (there != want).then(|| format!("its {what} is {there}, not {want}"))
}

fn host(address: Option<IpAddr>) -> String {
    address.map_or_else(|| "none".to_owned(), |address| address.to_string())
}

fn joined(differences: impl IntoIterator<Item = Option<String>>) -> Option<String> {
    let differences: Vec<String> = differences.into_iter().flatten().collect();
    (!differences.is_empty()).then(|| differences.join("; "))
}

impl IpipLink {
    fn disagreement(&self, there: &IpipLink) -> Option<String> {
        joined([
            named("local address", &host(there.local), &host(self.local)),
            named("remote address", &host(there.remote), &host(self.remote)),
        ])
    }
}

impl VxlanLink {
    fn disagreement(&self, there: &VxlanLink) -> Option<String> {
        let link = |index: Option<u32>| index.map_or_else(|| "none".to_owned(), |i| format!("interface {i}"));
        let switch = |on: bool| if on { "on" } else { "off" }.to_owned();
        joined([
            named("VNI", &there.vni.to_string(), &self.vni.to_string()),
            named("port", &there.port.to_string(), &self.port.to_string()),
            named("lower link", &link(there.parent), &link(self.parent)),
            named("local address", &host(there.local), &host(self.local)),
            named("group", &host(there.group), &host(self.group)),
            named("learning", &switch(there.learning), &switch(self.learning)),
            named("group policy", &switch(there.gbp), &switch(self.gbp)),
            named("report of misses", &switch(there.l2miss), &switch(self.l2miss)),
        ])
    }
}

/// The base of a subnet as the address of one host.
#[must_use]
pub fn base_address(subnet: IpNetwork) -> Option<IpNetwork> {
    let length = if subnet.is_ipv4() { 32 } else { 128 };
    IpNetwork::new(subnet.network(), length).ok()
}

/// The uplink's own address of a family that carries a tunnel: the published one, or the first that is not link-local
/// where what is published belongs to a translator in between.
#[must_use]
pub fn local_address(uplink: &Uplink, published: Option<IpAddr>) -> Option<IpAddr> {
    let published = published?;
    if uplink.owns(published) {
        return Some(published);
    }
    let own = if published.is_ipv4() { &uplink.v4 } else { &uplink.v6 };
    let is_global = |ip: &IpAddr| match ip {
        IpAddr::V4(v4) => !v4.is_link_local(),
        IpAddr::V6(v6) => !v6.is_unicast_link_local(),
    };
    own.iter().map(IpNetwork::ip).find(is_global)
}

#[cfg(test)]
mod tests;
