//! `WireGuard` devices: made as links, configured over generic netlink.

use crate::{
    Error, Rtnl,
    abi::{af, ifla},
    error::During,
    genetlink::{FIXED, Genetlink},
    link::create_message,
    wire::{Attribute, Message, Received, attributes},
};
use ipnetwork::IpNetwork;
use std::net::{IpAddr, SocketAddr};

/// `WG_CMD_GET_DEVICE`, `WG_CMD_SET_DEVICE` of `linux/wireguard.h`.
const GET: u8 = 0;
const SET: u8 = 1;

/// `WGDEVICE_A_*`
mod device {
    pub(super) const IFINDEX: u16 = 1;
    pub(super) const PRIVATE_KEY: u16 = 3;
    pub(super) const PUBLIC_KEY: u16 = 4;
    pub(super) const LISTEN_PORT: u16 = 6;
    pub(super) const PEERS: u16 = 8;
}

/// `WGPEER_A_*`, `WGPEER_F_*`
mod peer {
    pub(super) const PUBLIC_KEY: u16 = 1;
    pub(super) const PRESHARED_KEY: u16 = 2;
    pub(super) const FLAGS: u16 = 3;
    pub(super) const ENDPOINT: u16 = 4;
    pub(super) const KEEPALIVE: u16 = 5;
    pub(super) const LAST_HANDSHAKE: u16 = 6;
    pub(super) const ALLOWED: u16 = 9;
    pub(super) const REMOVE_ME: u32 = 1;
    pub(super) const REPLACE_ALLOWED: u32 = 2;
}

/// `WGALLOWEDIP_A_*`
mod allowed {
    pub(super) const FAMILY: u16 = 1;
    pub(super) const ADDRESS: u16 = 2;
    pub(super) const LENGTH: u16 = 3;
}

/// Peers in one request, which must fit 64 KiB.
const PEERS: usize = 100;

/// A key of 256 bits, private, public or shared.
pub type Key = [u8; 32];

/// A device as it is configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WireguardDevice {
    /// Its private key; all zero when it has none.
    pub private_key: Key,
    /// The public key that belongs to it.
    pub public_key: Key,
    /// Its UDP port.
    pub port: u16,
    /// Its peers.
    pub peers: Vec<WireguardPeer>,
}

/// A peer of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WireguardPeer {
    /// Its public key.
    pub public_key: Key,
    /// The key shared with it; all zero when there is none.
    pub preshared_key: Key,
    /// Where it was last heard, or is to be found.
    pub endpoint: Option<SocketAddr>,
    /// Seconds between packets that keep a translator's mapping; 0 is never.
    pub keepalive: u16,
    /// When the last handshake was, in seconds of the system's clock; 0 is never.
    pub last_handshake: u64,
    /// What it may send, and what is sent to it.
    pub allowed: Vec<IpNetwork>,
}

/// A change of a device's peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerChange {
    /// Adds a peer, or sets all that is said of it.
    Set(WireguardPeer),
    /// Removes the peer with that key.
    Remove(Key),
}

/// A client of the kernel's `WireGuard`.
#[derive(Debug)]
pub struct Wireguard(Genetlink);

impl Rtnl {
    /// Makes a `WireGuard` device that is up.
    ///
    /// # Errors
    /// `EEXIST` if the name is taken; `EOPNOTSUPP` if the kernel has no such devices.
    pub fn create_wireguard(&mut self, name: &str, mtu: u32) -> Result<(), Error> {
        let fill = |message: &mut Message| {
            message.put_text(ifla::IFNAME, name);
            message.put_u32(ifla::MTU, mtu);
        };
        self.change(create_message("wireguard", fill, |_| ()), || format!("creating WireGuard device {name}"))
    }
}

impl Wireguard {
    /// Opens a client in the namespace of the calling thread.
    pub fn open() -> Result<Self, Error> {
        Genetlink::open("wireguard").map(Self)
    }

    /// A device with all its peers.
    pub fn device(&mut self, index: u32) -> Result<WireguardDevice, Error> {
        let mut message = self.0.request(GET);
        message.put_u32(device::IFINDEX, index);
        let parts = self.0.channel.dump(message, |received, parts: &mut Vec<WireguardDevice>| {
            parts.push(read_device(received));
        });
        let mut whole = WireguardDevice::default();
        for part in parts.during(|| format!("reading WireGuard device {index}"))? {
            // Further parts repeat the device's own keys or leave them out.
            if part.port != 0 || part.public_key != Key::default() {
                (whole.private_key, whole.public_key, whole.port) =
                    (part.private_key, part.public_key, part.port);
            }
            for peer in part.peers {
                match whole.peers.last_mut().filter(|last| last.public_key == peer.public_key) {
                    Some(last) => last.allowed.extend(peer.allowed),
                    None => whole.peers.push(peer),
                }
            }
        }
        Ok(whole)
    }

    /// Gives a device its private key and its port.
    pub fn set_device(&mut self, index: u32, private_key: &Key, port: u16) -> Result<(), Error> {
        let mut message = self.0.request(SET);
        message.put_u32(device::IFINDEX, index);
        message.put(device::PRIVATE_KEY, private_key);
        message.put(device::LISTEN_PORT, &port.to_ne_bytes());
        self.0.channel.ack(message).during(|| format!("setting key and port of WireGuard device {index}"))
    }

    /// Changes peers, in as few requests as they fit in. A network that another peer had moves.
    pub fn change_peers(&mut self, index: u32, changes: &[PeerChange]) -> Result<(), Error> {
        for part in changes.chunks(PEERS) {
            let mut message = self.0.request(SET);
            message.put_u32(device::IFINDEX, index);
            message.nest(device::PEERS, |peers| {
                for (at, change) in part.iter().enumerate() {
                    peers.nest(u16::try_from(at).unwrap_or(0), |peer| change.put(peer));
                }
            });
            let doing = || format!("changing {} peers of WireGuard device {index}", part.len());
            self.0.channel.ack(message).during(doing)?;
        }
        Ok(())
    }
}

impl PeerChange {
    fn put(&self, message: &mut Message) {
        match self {
            Self::Remove(key) => {
                message.put(peer::PUBLIC_KEY, key);
                message.put_u32(peer::FLAGS, peer::REMOVE_ME);
            }
            Self::Set(wanted) => {
                message.put(peer::PUBLIC_KEY, &wanted.public_key);
                message.put(peer::PRESHARED_KEY, &wanted.preshared_key);
                message.put_u32(peer::FLAGS, peer::REPLACE_ALLOWED);
                if let Some(endpoint) = wanted.endpoint {
                    message.put(peer::ENDPOINT, &sockaddr(endpoint));
                }
                message.put(peer::KEEPALIVE, &wanted.keepalive.to_ne_bytes());
                message.nest(peer::ALLOWED, |list| {
                    for network in &wanted.allowed {
                        list.nest(0, |entry| put_allowed(entry, *network));
                    }
                });
            }
        }
    }
}

fn put_allowed(entry: &mut Message, network: IpNetwork) {
    let family = if network.is_ipv4() { af::INET } else { af::INET6 };
    entry.put(allowed::FAMILY, &u16::from(family).to_ne_bytes());
    entry.put_ip(allowed::ADDRESS, network.ip());
    entry.put(allowed::LENGTH, &[network.prefix()]);
}

/// `struct sockaddr_in`, `struct sockaddr_in6`
fn sockaddr(endpoint: SocketAddr) -> Vec<u8> {
    let family = if endpoint.is_ipv4() { af::INET } else { af::INET6 };
    let mut bytes = u16::from(family).to_ne_bytes().to_vec();
    bytes.extend(endpoint.port().to_be_bytes());
    match endpoint.ip() {
        IpAddr::V4(ip) => {
            bytes.extend(ip.octets());
            bytes.extend([0; 8]);
        }
        IpAddr::V6(ip) => {
            bytes.extend([0; 4]);
            bytes.extend(ip.octets());
            bytes.extend([0; 4]);
        }
    }
    bytes
}

fn read_sockaddr(bytes: &[u8]) -> Option<SocketAddr> {
    let port = u16::from_be_bytes(bytes.get(2..)?.first_chunk().copied()?);
    let ip = match bytes.len() {
        16 => crate::wire::ip(bytes.get(4..8)?)?,
        28 => crate::wire::ip(bytes.get(8..24)?)?,
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

fn key(attribute: &Attribute<'_>) -> Key {
    attribute.value.try_into().unwrap_or_default()
}

fn short(attribute: &Attribute<'_>) -> u16 {
    attribute.value.first_chunk().copied().map(u16::from_ne_bytes).unwrap_or_default()
}

fn read_device(received: &Received<'_>) -> WireguardDevice {
    let mut found = WireguardDevice::default();
    for attribute in attributes(received.payload, FIXED) {
        match attribute.kind {
            device::PRIVATE_KEY => found.private_key = key(&attribute),
            device::PUBLIC_KEY => found.public_key = key(&attribute),
            device::LISTEN_PORT => found.port = short(&attribute),
            device::PEERS => found.peers = attribute.nested().map(|peer| read_peer(&peer)).collect(),
            _ => {}
        }
    }
    found
}

fn read_peer(data: &Attribute<'_>) -> WireguardPeer {
    let mut found = WireguardPeer::default();
    for attribute in data.nested() {
        match attribute.kind {
            peer::PUBLIC_KEY => found.public_key = key(&attribute),
            peer::PRESHARED_KEY => found.preshared_key = key(&attribute),
            peer::ENDPOINT => found.endpoint = read_sockaddr(attribute.value),
            peer::KEEPALIVE => found.keepalive = short(&attribute),
            peer::LAST_HANDSHAKE => {
                let seconds = attribute.value.first_chunk().copied().map(u64::from_ne_bytes);
                found.last_handshake = seconds.unwrap_or_default();
            }
            peer::ALLOWED => {
                found.allowed = attribute.nested().filter_map(|entry| read_allowed(&entry)).collect();
            }
            _ => {}
        }
    }
    found
}

fn read_allowed(data: &Attribute<'_>) -> Option<IpNetwork> {
    let find = |kind| data.nested().find(|attribute| attribute.kind == kind);
    IpNetwork::new(find(allowed::ADDRESS)?.ip()?, find(allowed::LENGTH)?.u8()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_is_written_is_read_back() {
        for endpoint in ["192.0.2.7:51820", "[fd00::7]:51821"] {
            let wanted = WireguardPeer {
                public_key: [7; 32],
                preshared_key: [9; 32],
                endpoint: endpoint.parse().ok(),
                keepalive: 25,
                last_handshake: 0,
                allowed: vec!["10.3.2.0/24".parse().unwrap(), "fd03::/64".parse().unwrap()],
            };
            let mut message = Message::new(0, 0, &[0; FIXED]);
            message.nest(device::PEERS, |peers| {
                peers.nest(0, |peer| PeerChange::Set(wanted.clone()).put(peer));
            });
            let bytes = message.seal(1).unwrap().to_vec();
            let received = crate::wire::Messages(&bytes).next().unwrap().unwrap();
            assert_eq!(read_device(&received).peers, [wanted]);
        }
    }
}
