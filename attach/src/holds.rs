//! Steps as questions: whether what each made is still there, for CHECK.

use cni::Cidr;
use kernel::{BridgePort, Link, Route, RouteFilter, sysctl};

use crate::apply;
use crate::error::Error;
use crate::guard;
use crate::masquerade;
use crate::step::{Bridge, Family, Promiscuity, Step, Veth};
use crate::world::{Place, World};

impl Step {
    /// Whether the kernel still is as the step makes it.
    ///
    /// Settings that steer only how the attachment comes up are not asked about: announcements, waits, and what a
    /// chained plugin or the workload may rightly change.
    ///
    /// # Errors
    /// [`Error::Mismatch`] naming the object, what it should be and what it is.
    pub fn holds(&self, world: &mut World) -> Result<(), Error> {
        match self {
            Self::EnsureBridge(bridge) => bridge_holds(world, bridge),
            Self::CreateVeth(veth) => pair(world, veth).map(|_| ()),
            Self::SetPort { host, port, .. } => port_holds(world, host, *port),
            Self::AddAddress { ifname, address, .. } => address_holds(world, ifname, *address),
            Self::RaiseLink { ifname } => link_up(world, ifname),
            Self::AddRoute { ifname, route } => route_holds(world, ifname, route),
            Self::EnsureAddress { bridge, address, .. } => gateway_holds(world, bridge, *address),
            Self::EnsureForwarding(family) => forwarding_holds(*family),
            Self::Masquerade { attachment, addresses, backend } => {
                masquerade::holds(*backend, attachment, addresses)
            }
            Self::GuardPort(wanted) => guard::holds(world, wanted),
            Self::Sysctls(..)
            | Self::AwaitAddresses { .. }
            | Self::OpenPort { .. }
            | Self::ForgetNeighbours { .. }
            | Self::Announce { .. } => Ok(()),
        }
    }
}

fn mismatch(what: impl Into<String>, expected: impl Into<String>, found: impl Into<String>) -> Error {
    Error::Mismatch { what: what.into(), expected: expected.into(), found: found.into() }
}

fn bridge_holds(world: &mut World, wanted: &Bridge) -> Result<(), Error> {
    let name = &wanted.name;
    let what = || format!("bridge {name}");
    let link = world.look(Place::Host, name)?.ok_or_else(|| mismatch(what(), "to exist", "nothing"))?;
    match link.kind.as_deref() {
        Some("bridge") => {}
        kind => return Err(mismatch(what(), "a bridge", kind.unwrap_or("a physical device"))),
    }
    if wanted.promiscuity == Promiscuity::On && !link.promiscuous {
        return Err(mismatch(what(), "promiscuous", "not promiscuous"));
    }
    if link.up { Ok(()) } else { Err(mismatch(what(), "up", "down")) }
}

/// The host end of the sandbox's interface, which must be a port of the bridge. It is found through the pair, not by
/// name: another implementation may have made it.
fn pair(world: &mut World, veth: &Veth) -> Result<Link, Error> {
    let inside = inside(world, &veth.ifname)?;
    let what = format!("interface {} in the sandbox", veth.ifname);
    if inside.kind.as_deref() != Some("veth") {
        return Err(mismatch(what, "a veth", inside.kind.as_deref().unwrap_or("another device")));
    }
    if let Some(wanted) = veth.mac.filter(|wanted| inside.mac != Some(*wanted)) {
        let found = inside.mac.map_or_else(|| "none".to_owned(), |mac| mac.to_string());
        return Err(mismatch(format!("MAC address of {what}"), wanted.to_string(), found));
    }
    let bridge = world.index(Place::Host, &veth.bridge)?;
    let peer = inside.peer_index.unwrap_or(0);
    let host = world.rtnl(Place::Host).link_at(peer)?;
    let host = host.ok_or_else(|| mismatch(format!("host end of {what}"), "to exist", "nothing"))?;
    if host.controller != Some(bridge) {
        return Err(mismatch(
            format!("host end {}", host.name),
            format!("a port of {}", veth.bridge),
            host.controller
                .map_or_else(|| "no bridge".to_owned(), |other| format!("interface number {other}")),
        ));
    }
    if !host.up {
        return Err(mismatch(format!("host end {}", host.name), "up", "down"));
    }
    // The port is asked for under the name that we would have given it.
    world.remember(Place::Host, Link { name: veth.host.clone(), ..host.clone() });
    Ok(host)
}

fn inside(world: &mut World, ifname: &str) -> Result<Link, Error> {
    let found = world.look(Place::Sandbox, ifname)?;
    found.ok_or_else(|| mismatch(format!("interface {ifname} in the sandbox"), "to exist", "nothing"))
}

fn port_holds(world: &mut World, host: &str, wanted: BridgePort) -> Result<(), Error> {
    let found = world.known(Place::Host, host)?.and_then(|link| link.port);
    if found == Some(wanted) {
        return Ok(());
    }
    let found = found.map_or_else(|| "no bridge port".to_owned(), |port| format!("{port:?}"));
    Err(mismatch(format!("bridge port {host}"), format!("{wanted:?}"), found))
}

fn address_holds(world: &mut World, ifname: &str, wanted: Cidr) -> Result<(), Error> {
    let index = inside(world, ifname)?.index;
    let present = world.rtnl(Place::Sandbox).addresses(index)?;
    if present.iter().any(|address| address.network == wanted.into()) {
        return Ok(());
    }
    let found: Vec<String> = present.iter().map(|address| address.network.to_string()).collect();
    Err(mismatch(format!("addresses of {ifname}"), wanted.to_string(), found.join(", ")))
}

fn link_up(world: &mut World, ifname: &str) -> Result<(), Error> {
    if inside(world, ifname)?.up {
        Ok(())
    } else {
        Err(mismatch(format!("interface {ifname}"), "up", "down"))
    }
}

/// A route counts in whatever table it is: a chained plugin (sbr, vrf) may have moved it.
fn route_holds(world: &mut World, ifname: &str, wanted: &Route) -> Result<(), Error> {
    let index = inside(world, ifname)?.index;
    let family = if wanted.destination.is_ipv4() { kernel::Family::V4 } else { kernel::Family::V6 };
    let filter = RouteFilter { family: Some(family), oif: Some(index), ..RouteFilter::default() };
    let present = world.rtnl(Place::Sandbox).routes(filter)?;
    let same = |route: &Route| {
        route.destination.network() == wanted.destination.network()
            && route.destination.prefix() == wanted.destination.prefix()
            && (wanted.gateway.is_none() || route.gateway == wanted.gateway)
    };
    if present.iter().any(same) {
        return Ok(());
    }
    let via = wanted.gateway.map(|gateway| format!(" via {gateway}")).unwrap_or_default();
    Err(mismatch(format!("routes of {ifname}"), format!("{}{via}", wanted.destination), "no such route"))
}

fn gateway_holds(world: &mut World, bridge: &str, wanted: ipnetwork::IpNetwork) -> Result<(), Error> {
    let index = world.index(Place::Host, bridge)?;
    let present = world.rtnl(Place::Host).addresses(index)?;
    if present.iter().any(|address| address.network == wanted) {
        return Ok(());
    }
    let found: Vec<String> = present.iter().map(|address| address.network.to_string()).collect();
    Err(mismatch(format!("addresses of bridge {bridge}"), wanted.to_string(), found.join(", ")))
}

fn forwarding_holds(family: Family) -> Result<(), Error> {
    if apply::forwards(family)? {
        Ok(())
    } else {
        Err(mismatch(family.forwarding(), "1", sysctl::read(family.forwarding())?))
    }
}
