//! What the daemon's mind must know of the node's uplink.

use std::net::IpAddr;

use ipnetwork::IpNetwork;

/// The link that leads to the other nodes, as it is now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Uplink {
    /// Its interface index; another one after it was deleted and made again.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its IPv4 addresses with their prefixes.
    pub v4: Vec<IpNetwork>,
    /// Its IPv6 addresses with their prefixes.
    pub v6: Vec<IpNetwork>,
    /// Its MTU in bytes.
    pub mtu: u32,
}

impl Uplink {
    /// Whether the kernel would accept that gateway without `onlink`: it lies in a connected prefix.
    #[must_use]
    pub fn reaches(&self, gateway: IpAddr) -> bool {
        self.of_family(gateway).iter().any(|network| network.contains(gateway))
    }

    /// Whether that address is the uplink's own.
    #[must_use]
    pub fn owns(&self, address: IpAddr) -> bool {
        self.of_family(address).iter().any(|network| network.ip() == address)
    }

    fn of_family(&self, address: IpAddr) -> &[IpNetwork] {
        if address.is_ipv4() { &self.v4 } else { &self.v6 }
    }
}
