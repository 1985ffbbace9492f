//! Steps as acts: what each does to the kernel when an attachment is made.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant};

use cni::Cidr;
use ipnetwork::IpNetwork;
use kernel::{
    Address, BridgePort, Cause, Dad, Group, Link, Mac, Monitor, Operstate, PortState, Route, sysctl,
};

use crate::error::Error;
use crate::guard;
use crate::masquerade;
use crate::step::{Bridge, Conflict, Family, Need, Promiscuity, Step, Sysctl, Veth};
use crate::world::{Place, World};

/// How long a port may take to come up. The kernel needs some 0.1 ms; the reference gives up after 2.55 s.
const PORT_DEADLINE: Duration = Duration::from_millis(2_550);

/// How long duplicate address detection may take, as in the reference (`SettleAddresses`).
const DAD_DEADLINE: Duration = Duration::from_secs(5);

/// `EXFULL`: the bridge has `BR_MAX_PORTS` ports.
const EXCHANGE_FULL: i32 = 54;

impl Step {
    /// Does what the step says.
    ///
    /// # Errors
    /// When the kernel refuses, or what is there contradicts the step. A failed step may have been done in part;
    /// its inverse takes that into account.
    pub fn apply(&self, world: &mut World) -> Result<(), Error> {
        match self {
            Self::EnsureBridge(bridge) => ensure_bridge(world, bridge),
            Self::CreateVeth(veth) => create_veth(world, veth),
            Self::SetPort { host, port, mark } => {
                let index = world.index(Place::Host, host)?;
                let rtnl = world.rtnl(Place::Host)?;
                if *port != BridgePort::default() {
                    rtnl.set_bridge_port(index, *port)?;
                }
                Ok(rtnl.set_link_alias(index, mark)?)
            }
            Self::Sysctls(Place::Host, list) => Ok(write_sysctls(list)?),
            Self::Sysctls(Place::Sandbox, list) => world.visit(|| write_sysctls(list)),
            Self::AddAddress { ifname, address, dad } => add_address(world, ifname, *address, *dad),
            Self::RaiseLink { ifname } => {
                let index = world.index(Place::Sandbox, ifname)?;
                Ok(world.rtnl(Place::Sandbox)?.set_link_up(index)?)
            }
            Self::AwaitAddresses { ifname } => await_addresses(world, ifname),
            Self::AddRoute { ifname, route } => {
                let oif = Some(world.index(Place::Sandbox, ifname)?);
                Ok(world.rtnl(Place::Sandbox)?.append_route(&Route { oif, ..route.clone() })?)
            }
            Self::EnsureAddress { bridge, address, conflict } => {
                ensure_address(world, bridge, *address, *conflict)
            }
            Self::EnsureForwarding(family) => Ok(sysctl::ensure(family.forwarding(), "1")?),
            Self::Masquerade { attachment, addresses, backend } => {
                masquerade::add(*backend, attachment, addresses)
            }
            Self::GuardPort(wanted) => guard::add(world, wanted),
            Self::AwaitPort { host } => await_port(world, host),
            Self::Announce { ifname } => announce(world, ifname),
        }
    }
}

fn ensure_bridge(world: &mut World, wanted: &Bridge) -> Result<(), Error> {
    let name = &wanted.name;
    let link = if let Some(link) = world.look(Place::Host, name)? {
        link
    } else {
        let made = kernel::Bridge { name, mac: Some(fixed_mac()), mtu: wanted.mtu };
        // Somebody else may win the race: then the bridge is theirs, and just as good.
        world.rtnl(Place::Host)?.create_bridge(&made)?;
        sysctl::write(&format!("net/ipv6/conf/{name}/accept_ra"), "0").ok(); // absent without IPv6
        world.look(Place::Host, name)?.ok_or_else(|| Error::BridgeGone { name: name.clone() })?
    };
    match link.kind.as_deref() {
        Some("bridge") => {}
        kind => {
            let kind = kind.unwrap_or("physical device").to_owned();
            return Err(Error::NotABridge { name: name.clone(), kind });
        }
    }
    let rtnl = world.rtnl(Place::Host)?;
    if wanted.promiscuity == Promiscuity::On && link.promiscuity == 0 {
        rtnl.set_link_promiscuous(link.index, kernel::Promiscuity::On)?;
    }
    if !link.up {
        rtnl.set_link_up(link.index)?;
    }
    Ok(())
}

/// A random, locally administered unicast address. Set at creation, it is the bridge's own for ever; otherwise the
/// bridge would take the lowest of its ports' and change it as they come and go (`br_stp_recalculate_bridge_id`).
fn fixed_mac() -> Mac {
    let [first, rest @ .., _, _] = RandomState::new().build_hasher().finish().to_ne_bytes();
    let [second, third, fourth, fifth, sixth] = rest;
    Mac([(first & 0xfc) | 0x02, second, third, fourth, fifth, sixth])
}

fn create_veth(world: &mut World, veth: &Veth) -> Result<(), Error> {
    let controller = world.index(Place::Host, &veth.bridge)?;
    let (rtnl, peer_netns) = world.across();
    let made = rtnl.create_veth(&kernel::Veth {
        host_name: &veth.host,
        host_mac: None,
        peer_name: &veth.ifname,
        peer_mac: veth.mac,
        peer_netns,
        mtu: veth.mtu,
        controller: Some(controller),
    });
    match made {
        Ok(()) => Ok(()),
        Err(refusal) if refusal.is_present() => Err(already_there(world, veth)?),
        Err(refusal) if refusal.errno() == Some(EXCHANGE_FULL) => {
            Err(Error::BridgeFull { name: veth.bridge.clone() })
        }
        Err(refusal) => Err(refusal.into()),
    }
}

/// Which of the two ends was there before.
fn already_there(world: &mut World, veth: &Veth) -> Result<Error, Error> {
    if world.look(Place::Host, &veth.host)?.is_none() {
        let sandbox = world.sandbox().path().to_owned();
        return Ok(Error::InterfaceExists { ifname: veth.ifname.clone(), sandbox });
    }
    Ok(Error::AlreadyAttached {
        container: veth.attachment.container_id.clone(),
        network: veth.attachment.network.clone(),
        ifname: veth.ifname.clone(),
        host: veth.host.clone(),
    })
}

fn write_sysctls(list: &[Sysctl]) -> Result<(), kernel::Error> {
    for setting in list {
        // Where nothing can be written (a read-only /proc/sys), what is right already will do.
        let written = sysctl::write(&setting.path, setting.value)
            .or_else(|_| sysctl::ensure(&setting.path, setting.value));
        if setting.need == Need::Required {
            written?;
        }
    }
    Ok(())
}

fn add_address(world: &mut World, ifname: &str, address: Cidr, dad: Dad) -> Result<(), Error> {
    let index = world.index(Place::Sandbox, ifname)?;
    Ok(world.rtnl(Place::Sandbox)?.add_address(index, address.into(), dad)?)
}

fn await_addresses(world: &mut World, ifname: &str) -> Result<(), Error> {
    let index = world.index(Place::Sandbox, ifname)?;
    let until = (index, Instant::now() + DAD_DEADLINE);
    let mut monitor = world.sandbox().netns().visit(|| Monitor::open(&[Group::Ipv6Address]))??;
    let settled = |present: &[Address]| {
        present.iter().any(|address| address.dad_failed) || !present.iter().any(|address| address.tentative)
    };
    let present = match world.rtnl(Place::Sandbox)?.wait_addresses(&mut monitor, until, settled) {
        // As in the reference, time running out is no error: the kernel goes on testing.
        Err(kernel::Error::Failed { cause: Cause::DeadlinePassed, .. }) => return Ok(()),
        outcome => outcome?,
    };
    match present.iter().find(|address| address.dad_failed) {
        None => Ok(()),
        Some(address) => {
            let address = address.network.to_string();
            Err(Error::Duplicate { address, ifname: ifname.to_owned() })
        }
    }
}

fn announce(world: &mut World, ifname: &str) -> Result<(), Error> {
    let link = world.known(Place::Sandbox, ifname)?;
    let link = link.ok_or_else(|| Error::LinkGone { name: ifname.to_owned() })?;
    Ok(world.rtnl(Place::Sandbox)?.announce(&link)?)
}

fn ensure_address(
    world: &mut World,
    bridge: &str,
    wanted: IpNetwork,
    conflict: Conflict,
) -> Result<(), Error> {
    let link =
        world.known(Place::Host, bridge)?.ok_or_else(|| Error::BridgeGone { name: bridge.to_owned() })?;
    let rtnl = world.rtnl(Place::Host)?;
    let present = rtnl.addresses(link.index)?;
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
        rtnl.delete_address(link.index, other.network)?;
    }
    match rtnl.add_address(link.index, wanted, Dad::Skip) {
        Err(refusal) if !refusal.is_present() => return Err(refusal.into()),
        Err(_) | Ok(()) => {}
    }
    // A bridge that somebody else made may follow its ports' addresses until one is set: set what it has.
    Ok(link.mac.map_or(Ok(()), |mac| rtnl.set_link_mac(link.index, mac))?)
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

fn await_port(world: &mut World, host: &str) -> Result<(), Error> {
    let started = Instant::now();
    let index = world.index(Place::Host, host)?;
    let rtnl = world.rtnl(Place::Host)?;
    let mut last = rtnl.link_at(index)?;
    if !last.as_ref().is_some_and(passes_frames) {
        let mut monitor = Monitor::open(&[Group::Link])?;
        let until = (index, started + PORT_DEADLINE);
        match rtnl.wait_link(&mut monitor, until, |link| link.is_none_or(passes_frames)) {
            Ok(link) => last = link,
            Err(kernel::Error::Failed { cause: Cause::DeadlinePassed, .. }) => {}
            Err(failure) => return Err(failure.into()),
        }
    }
    match last {
        Some(link) if passes_frames(&link) => {
            world.remember(Place::Host, link);
            Ok(())
        }
        last => Err(Error::PortStayedDown {
            name: host.to_owned(),
            waited_ms: started.elapsed().as_millis(),
            state: last
                .map_or_else(|| "gone".to_owned(), |link| format!("{:?}", link.running).to_lowercase()),
        }),
    }
}

/// Whether the port has carrier and the bridge uses it. With STP it may still listen, for longer than a caller waits.
fn passes_frames(link: &Link) -> bool {
    link.running == Operstate::Up && link.port_state != Some(PortState::Disabled)
}

/// Whether forwarding is on for `family`.
pub(crate) fn forwards(family: Family) -> Result<bool, Error> {
    Ok(sysctl::read(family.forwarding())?.trim() != "0")
}
