//! The spoof check of a bridge port: what leaves the sandbox carries the sandbox's own source addresses, or is dropped.

mod foreign;
pub mod handback;
mod native;

use std::net::{IpAddr, Ipv6Addr};

use cni::Attachment;
use kernel::Mac;
use kernel::nft::Nft;

use crate::error::Error;
use crate::identity::host_veth;
use crate::ruleset::Rules;
use crate::world::{Place, World};

/// What a port lets in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// Whose port it is.
    pub attachment: Attachment,
    /// The sandbox's MAC address; `None` for the one that the kernel gave it.
    pub mac: Option<Mac>,
    /// Which addresses.
    pub sources: Sources,
}

/// Which IP addresses a port lets in as a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sources {
    /// Any: only MAC addresses are checked.
    Any,
    /// These, the link-local ones of the interface, and the unspecified one where protocols need it.
    Only(Vec<IpAddr>),
}

/// The addresses of one port, as the kernel is told.
struct Allowed {
    port: String,
    mac: Mac,
    addresses: Option<Vec<IpAddr>>,
}

/// Guards the port.
pub(crate) fn add(world: &mut World, guard: &Guard) -> Result<(), Error> {
    let allowed = allowed(world, guard)?;
    native::add(&mut Nft::open()?, &guard.attachment, &allowed)
}

/// Whether the port is guarded, by us or by the reference.
pub(crate) fn holds(world: &mut World, guard: &Guard) -> Result<(), Error> {
    let mut nft = Nft::open()?;
    if foreign::holds(&mut nft, &guard.attachment)? {
        return Ok(());
    }
    let allowed = allowed(world, guard)?;
    native::holds(&mut nft, &guard.attachment, &allowed)
}

/// Removes the attachment's check, whoever made it: us, or the reference. No program is started.
pub(crate) fn remove(rules: &mut Option<Rules>, attachment: &Attachment) -> Result<(), Error> {
    let Some(rules) = rules else { return Ok(()) };
    native::remove(rules, attachment)?;
    foreign::remove(rules, attachment)
}

/// Removes the checks of a network's attachments that are not in `valid`. (The reference's do not say whose network they
/// are of.)
pub(crate) fn collect(rules: &mut Option<Rules>, network: &str, valid: &[Attachment]) -> Result<(), Error> {
    match rules {
        Some(rules) => native::collect(&mut rules.nft, network, valid),
        None => Ok(()),
    }
}

fn allowed(world: &mut World, guard: &Guard) -> Result<Allowed, Error> {
    let ifname = &guard.attachment.ifname;
    let link = world.known(Place::Sandbox, ifname)?;
    let link = link.ok_or_else(|| Error::LinkGone { name: ifname.clone() })?;
    let mac = guard.mac.or(link.mac).unwrap_or(Mac([0; 6]));
    let addresses = match &guard.sources {
        Sources::Any => None,
        Sources::Only(addresses) => {
            let mut all = addresses.clone();
            add_new(&mut all, link_local(mac).into());
            for present in world.rtnl(Place::Sandbox).addresses(link.index)? {
                let ip = present.network.ip();
                if matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local()) {
                    add_new(&mut all, ip);
                }
            }
            Some(all)
        }
    };
    Ok(Allowed { port: host_veth(&guard.attachment), mac, addresses })
}

fn add_new(all: &mut Vec<IpAddr>, ip: IpAddr) {
    if !all.contains(&ip) {
        all.push(ip);
    }
}

/// The link-local address that the kernel derives from a MAC address (RFC 4291, appendix A).
fn link_local(Mac([first, rest @ ..]): Mac) -> Ipv6Addr {
    let [second, third, fourth, fifth, sixth] = rest;
    let (vendor, device) = ([first ^ 2, second, third, 0xff], [0xfe, fourth, fifth, sixth]);
    let low = u64::from(u32::from_be_bytes(vendor)) << 32 | u64::from(u32::from_be_bytes(device));
    Ipv6Addr::from(0xfe80_u128 << 112 | u128::from(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_local_address_is_the_kernels() {
        assert_eq!(link_local(Mac([2, 0, 0x5e, 0x10, 0x20, 0x30])).to_string(), "fe80::5eff:fe10:2030");
    }
}
