//! What the attachments of a network share: the bridge, its address, and what the host remembers of neighbours.

use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use kernel::{Absent, Creation, Dad, Link, Mac, Rtnl, sysctl};

use crate::error::{Error, On};
use crate::step::{Bridge, Conflict, Promiscuity};
use crate::world::{Place, World};

/// `BR_MAX_PORTS` of `net/bridge/br_private.h`, less number 0.
const MOST_PORTS: usize = 1023;

/// The alias of a bridge whose MAC address we have set, so that it is its own.
const KEEPS_ADDRESS: &str = "ironbridge";

/// `NET_ADDR_SET` of `include/linux/netdevice.h`: somebody chose the address, so the bridge keeps it.
const CHOSEN: &str = "3";

/// Makes the bridge unless it is there; either way it ends up up, and with a MAC address that never follows its ports
/// (`br_stp_recalculate_bridge_id`).
pub(crate) fn ensure_bridge(world: &mut World, wanted: &Bridge) -> Result<(), Error> {
    let name = &wanted.name;
    let link = match world.look(Place::Host, name)? {
        Some(link) => link,
        None => make(world, wanted)?,
    };
    match link.kind.as_deref() {
        Some("bridge") => {}
        kind => {
            let kind = kind.unwrap_or("physical device").to_owned();
            return Err(Error::NotABridge { name: name.clone(), kind });
        }
    }
    let rtnl = world.rtnl(Place::Host);
    if wanted.promiscuity == Promiscuity::On && !link.promiscuous {
        rtnl.set_link_promiscuous(link.index, kernel::Promiscuity::On).on(name)?;
    }
    if !link.up {
        rtnl.set_link_up(link.index).on(name)?;
    }
    match link.mac {
        Some(mac) if !keeps_its_address(&link) => {
            rtnl.set_link_mac(link.index, mac).on(name)?;
            note(rtnl, &link)
        }
        Some(_) | None => Ok(()),
    }
}

/// Remembers on the bridge that its address is its own, unless somebody else has something to say there.
fn note(rtnl: &mut Rtnl, bridge: &Link) -> Result<(), Error> {
    if bridge.alias.is_some() {
        return Ok(());
    }
    rtnl.set_link_alias(bridge.index, KEEPS_ADDRESS).on(&bridge.name)
}

fn make(world: &mut World, wanted: &Bridge) -> Result<Link, Error> {
    let name = &wanted.name;
    let made = kernel::Bridge { name, mac: Some(random_mac()), mtu: wanted.mtu };
    // Somebody else may win the race: then the bridge is theirs, and just as good.
    let creation = world.rtnl(Place::Host).create_bridge(&made)?;
    sysctl::write(&format!("net/ipv6/conf/{name}/accept_ra"), "0").ok(); // absent without IPv6
    let link = world.look(Place::Host, name)?.ok_or_else(|| Error::BridgeGone { name: name.clone() })?;
    if creation == Creation::Made {
        note(world.rtnl(Place::Host), &link)?;
        return Ok(Link { alias: Some(KEEPS_ADDRESS.to_owned()), ..link });
    }
    Ok(link)
}

/// A random, locally administered unicast address.
fn random_mac() -> Mac {
    let [first, rest @ .., _, _] = RandomState::new().build_hasher().finish().to_ne_bytes();
    let [second, third, fourth, fifth, sixth] = rest;
    Mac([(first & 0xfc) | 0x02, second, third, fourth, fifth, sixth])
}

/// Whether the bridge's address was set and not merely taken from a port. Netlink does not tell; sysfs does, where it is
/// mounted for this namespace.
fn keeps_its_address(link: &Link) -> bool {
    link.alias.as_deref() == Some(KEEPS_ADDRESS)
        || fs::read_to_string(format!("/sys/class/net/{}/addr_assign_type", link.name))
            .is_ok_and(|kind| kind.trim() == CHOSEN)
}

/// Whether the bridge, if it is there, has a free port: what STATUS asks.
///
/// # Errors
/// [`Error::BridgeFull`].
pub fn bridge_has_room(name: &str) -> Result<(), Error> {
    let mut host = Rtnl::open()?;
    match host.link(name)? {
        Some(bridge) if host.ports(bridge.index)?.len() >= MOST_PORTS => {
            Err(Error::BridgeFull { name: name.to_owned() })
        }
        Some(_) | None => Ok(()),
    }
}

/// Puts the gateway's address on the bridge.
pub(crate) fn ensure_address(
    world: &mut World,
    bridge: &str,
    wanted: IpNetwork,
    conflict: Conflict,
) -> Result<(), Error> {
    let index = world.index(Place::Host, bridge)?;
    let rtnl = world.rtnl(Place::Host);
    let present = rtnl.addresses(index).on(bridge)?;
    if present.iter().any(|address| address.network == wanted) {
        return Ok(());
    }
    for other in present.iter().filter(|other| conflicts(other.network, wanted)) {
        if conflict == Conflict::Refuse {
            return Err(Error::AddressConflict {
                name: bridge.to_owned(),
                present: other.network.to_string(),
                wanted: wanted.to_string(),
            });
        }
        // Secondary addresses go with the first of their subnet (`inet_del_ifa`).
        rtnl.delete_address(index, other.network).absent_is_fine().on(bridge)?;
    }
    match rtnl.add_address(index, wanted, Dad::Skip) {
        Err(refusal) if refusal.is_present() => Ok(()), // another ADD was first
        outcome => outcome.on(bridge),
    }
}

/// The reference's rule: any other IPv4 address is in the way; an IPv6 one only if the networks overlap.
fn conflicts(present: IpNetwork, wanted: IpNetwork) -> bool {
    match (present, wanted) {
        (IpNetwork::V4(_), IpNetwork::V4(_)) => true,
        (IpNetwork::V6(present), IpNetwork::V6(wanted)) => {
            present.contains(wanted.ip()) || wanted.contains(present.ip())
        }
        (IpNetwork::V4(_), IpNetwork::V6(_)) | (IpNetwork::V6(_), IpNetwork::V4(_)) => false,
    }
}

/// Deletes what the host knows of the addresses' former owners.
pub(crate) fn forget_neighbours(world: &mut World, bridge: &str, addresses: &[IpAddr]) -> Result<(), Error> {
    let index = world.index(Place::Host, bridge)?;
    let rtnl = world.rtnl(Place::Host);
    addresses
        .iter()
        .try_for_each(|address| rtnl.delete_neighbour(index, *address).absent_is_fine())
        .on(bridge)
}
