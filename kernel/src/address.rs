//! IP addresses of links.

use crate::{
    Error, Rtnl,
    abi::{af, ifa, nlm, rtm},
    error::During,
    wire::{Message, Received, attributes, u32_at},
};
use ipnetwork::IpNetwork;
use std::net::IpAddr;

/// Length of `struct ifaddrmsg`.
const FIXED: usize = 8;

/// An address of a link as the kernel shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "four independent flags of the kernel, only read")]
pub struct Address {
    /// The address with its prefix length; host bits are kept.
    pub network: IpNetwork,
    /// The link that has it.
    pub index: u32,
    /// The address of the other side, where it is a point-to-point address.
    pub peer: Option<IpAddr>,
    /// `RT_SCOPE_*`: 0 global, 253 link, 254 host.
    pub scope: u8,
    /// Not usable yet: duplicate address detection runs.
    pub tentative: bool,
    /// Not usable: another host has it.
    pub dad_failed: bool,
    /// Has no lifetime.
    pub permanent: bool,
    /// IPv4: further address of its network; IPv6: temporary.
    pub secondary: bool,
}

/// Whether duplicate address detection runs for an IPv6 address. IPv4 has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dad {
    /// The address is usable at once.
    Skip,
    /// The address is tentative for about a second.
    Run,
}

impl Rtnl {
    /// Gives a link an address. IPv4 prefixes shorter than 31 bits get their broadcast address.
    ///
    /// # Errors
    /// `EEXIST` if the link has the address with this prefix length.
    pub fn add_address(&mut self, index: u32, network: IpNetwork, dad: Dad) -> Result<(), Error> {
        self.change(add_message(index, network, dad), || format!("adding address {network} to link {index}"))
    }

    /// Takes an address from a link.
    ///
    /// # Errors
    /// `EADDRNOTAVAIL` if the link does not have the address with this prefix length.
    pub fn delete_address(&mut self, index: u32, network: IpNetwork) -> Result<(), Error> {
        let mut message = Message::new(rtm::DELADDR, 0, fixed(index, Some(network)).as_flattened());
        message.put_ip(ifa::LOCAL, network.ip());
        message.put_ip(ifa::ADDRESS, network.ip());
        self.change(message, || format!("deleting address {network} from link {index}"))
    }

    /// The addresses of one link, both families, filtered by the kernel. Complete in one piece up to some 400
    /// addresses; beyond, the kernel (seen with 6.18) does not tell when a change interrupts the listing of one link.
    ///
    /// # Errors
    /// `ENODEV` if there is no such link.
    pub fn addresses(&mut self, index: u32) -> Result<Vec<Address>, Error> {
        let message = Message::new(rtm::GETADDR, 0, fixed(index, None).as_flattened());
        self.channel.dump(message, collect).during(|| format!("listing the addresses of link {index}"))
    }

    /// The addresses of all links.
    pub fn all_addresses(&mut self) -> Result<Vec<Address>, Error> {
        let message = Message::new(rtm::GETADDR, 0, fixed(0, None).as_flattened());
        self.channel.dump(message, collect).during(|| "listing all addresses".into())
    }
}

/// `struct ifaddrmsg`: family, prefix length, flags, scope; index.
fn fixed(index: u32, network: Option<IpNetwork>) -> [[u8; 4]; 2] {
    let (family, prefix) = match network {
        Some(network) if network.is_ipv4() => (af::INET, network.prefix()),
        Some(network) => (af::INET6, network.prefix()),
        None => (af::UNSPEC, 0),
    };
    [[family, prefix, 0, 0], index.to_ne_bytes()]
}

pub(crate) fn add_message(index: u32, network: IpNetwork, dad: Dad) -> Message {
    let fixed = fixed(index, Some(network));
    let mut message = Message::new(rtm::NEWADDR, nlm::CREATE | nlm::EXCL, fixed.as_flattened());
    message.put_ip(ifa::LOCAL, network.ip());
    message.put_ip(ifa::ADDRESS, network.ip());
    match network {
        IpNetwork::V4(v4) if v4.prefix() < 31 => message.put_ip(ifa::BROADCAST, v4.broadcast().into()),
        IpNetwork::V6(_) if dad == Dad::Skip => message.put_u32(ifa::FLAGS, ifa::F_NODAD),
        IpNetwork::V4(_) | IpNetwork::V6(_) => {}
    }
    message
}

fn collect(received: &Received<'_>, addresses: &mut Vec<Address>) {
    addresses.extend(read_address(received));
}

/// Reads an `RTM_NEWADDR` or `RTM_DELADDR`.
pub(crate) fn read_address(received: &Received<'_>) -> Option<Address> {
    if !matches!(received.kind, rtm::NEWADDR | rtm::DELADDR) {
        return None;
    }
    let [_, prefix, flags, scope] = *received.payload.first_chunk()?;
    let (mut local, mut address, mut flags) = (None, None, u32::from(flags));
    for attribute in attributes(received.payload, FIXED) {
        match attribute.kind {
            ifa::LOCAL => local = attribute.ip(),
            ifa::ADDRESS => address = attribute.ip(),
            ifa::FLAGS => flags = attribute.u32().unwrap_or(flags),
            _ => {}
        }
    }
    // IPv4 always has both, IPv6 has IFA_LOCAL only where there is a peer (`man 7 rtnetlink`).
    let own = local.or(address)?;
    Some(Address {
        network: IpNetwork::new(own, prefix).ok()?,
        index: u32_at(received.payload, 4)?,
        peer: address.filter(|peer| *peer != own),
        scope,
        tentative: flags & ifa::F_TENTATIVE != 0,
        dad_failed: flags & ifa::F_DADFAILED != 0,
        permanent: flags & ifa::F_PERMANENT != 0,
        secondary: flags & ifa::F_SECONDARY != 0,
    })
}
