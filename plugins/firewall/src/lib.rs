//! The `firewall` plugin: forwarded packets of an attachment are accepted, and its bridge's `ingressPolicy` is enforced.

pub mod choose;
pub mod conf;
pub mod ruleset;
pub mod script;
pub mod shape;

#[cfg(feature = "firewalld")]
mod bus;
#[cfg(not(feature = "firewalld"))]
#[path = "no_bus.rs"]
mod bus;
mod chains;
mod firewalld;
pub mod handback;
mod owners;
mod removal;
mod table;

use std::net::IpAddr;

use attach::Error;
use attach::identity::Mark;
use attach::program;
use cni::{AddResult, Added, Call, Code, Plugin, Version};
use kernel::nft::Nft;
use kernel::{Rtnl, linger};

use choose::{Choice, choose};
use conf::{Backend, Conf, Policed, Policy, Wanted};
use owners::Owner;
use removal::Scope;
use table::Enforcer;

/// The plugin.
#[derive(Clone, Copy, Debug)]
pub struct Firewall;

/// The versions that a `prevResult` on DEL and a CHECK came with, as in the reference.
const VERSIONS: [Version; 3] = [Version::V0_4_0, Version::V1_0_0, Version::V1_1_0];

impl Plugin for Firewall {
    fn name(&self) -> &'static str {
        "firewall"
    }

    fn about(&self) -> &'static str {
        concat!("CNI firewall plugin ironbridge v", env!("CARGO_PKG_VERSION"))
    }

    fn versions(&self) -> &'static [Version] {
        &VERSIONS
    }

    fn add(&self, call: &Call) -> Result<Added, cni::Error> {
        Ok(Added::Result(add(call)?))
    }

    fn del(&self, call: &Call) -> Result<(), cni::Error> {
        let attachment = call.attachment();
        Ok(remove(call, &|comment| Mark::is_on(comment, &attachment))?)
    }

    fn check(&self, call: &Call) -> Result<(), cni::Error> {
        Ok(check(call)?)
    }

    fn gc(&self, call: &Call) -> Result<(), cni::Error> {
        let Some(valid) = &call.valid_attachments else { return Ok(()) };
        Ok(remove(call, &|comment| Mark::is_stale(comment, &call.network, valid))?)
    }

    fn status(&self, call: &Call) -> Result<(), cni::Error> {
        Ok(status(call)?)
    }
}

fn add(call: &Call) -> Result<AddResult, Error> {
    let conf = Conf::of(call)?;
    let previous = attach::previous(call, "firewall")?;
    let wanted = wanted(call, &conf, previous)?;
    if wanted.addresses.is_empty() {
        return Ok(previous.clone());
    }
    let mut nft = Nft::open()?;
    let choice = choose(&mut nft, &conf)?;
    apply(&mut nft, &conf, &choice, &wanted).map_err(|cause| undone(&mut nft, &conf, &wanted, cause))?;
    Ok(previous.clone())
}

fn apply(nft: &mut Nft, conf: &Conf, choice: &Choice, wanted: &Wanted) -> Result<(), Error> {
    // The mark comes first: whatever happens after it, a DEL finds the rest by it.
    table::claim(nft, wanted, enforcer(choice.backend))?;
    match choice.backend {
        Backend::Iptables => chains::add(nft, wanted, &conf.admin_chain),
        Backend::Firewalld => firewalld::add(&conf.zone, &wanted.addresses),
        Backend::Nftables | Backend::Auto => Ok(()),
    }
}

fn undone(nft: &mut Nft, conf: &Conf, wanted: &Wanted, cause: Error) -> Error {
    let ours = |comment: &str| Mark::is_on(comment, &wanted.attachment);
    let removed = removal::remove(nft, &Scope { ours: &ours, hints: &[], behind: &[] });
    let undone = removed.and_then(|addresses| firewalld::remove(&conf.zone, &addresses));
    cause.after_undoing(undone.err())
}

/// iptables has chains of its own for a policy; beside firewalld our table does it: a drop wins wherever it is.
fn enforcer(backend: Backend) -> Enforcer {
    if backend == Backend::Iptables { Enforcer::Chains } else { Enforcer::Us }
}

fn wanted(call: &Call, conf: &Conf, previous: &AddResult) -> Result<Wanted, Error> {
    let addresses = conf::addresses(Some(previous));
    let policed = match conf.policy {
        policy @ (Policy::SameBridge | Policy::Isolated) if !addresses.is_empty() => {
            let bridge = bridge(call, previous)?;
            let ports = conf::host_interfaces(previous).filter(|name| *name != bridge);
            Some(Policed { ports: ports.map(str::to_owned).collect(), bridge, policy })
        }
        Policy::Open | Policy::SameBridge | Policy::Isolated => None,
    };
    Ok(Wanted { attachment: call.attachment(), addresses, policed })
}

/// The bridge among the result's interfaces; without one the first on the host (with `ptp`, the veth's end).
fn bridge(call: &Call, previous: &AddResult) -> Result<String, Error> {
    let mut rtnl = Rtnl::open()?;
    for name in conf::host_interfaces(previous) {
        if rtnl.link(name)?.is_some_and(|link| link.kind.as_deref() == Some("bridge")) {
            return Ok(name.to_owned());
        }
    }
    conf::host_interfaces(previous).next().map(str::to_owned).ok_or_else(|| Error::Conf {
        network: call.network.clone(),
        reason: "ingressPolicy needs the bridge, and prevResult has no interface on the host".into(),
    })
}

/// DEL and GC: everything that `ours` marks, and for a DEL what the reference made without a mark.
fn remove(call: &Call, ours: &dyn Fn(&str) -> bool) -> Result<(), Error> {
    let hints = conf::addresses(call.prev_result.as_ref());
    let previous = call.prev_result.iter();
    let behind: Vec<String> = previous.flat_map(conf::host_interfaces).map(str::to_owned).collect();
    let mut nft = Nft::open()?;
    let removed = removal::remove(&mut nft, &Scope { ours, hints: &hints, behind: &behind });
    let outcome = removed.and_then(|addresses| leave(call, &mut nft, &addresses));
    // Closing a socket takes the kernel a grace period where rules were deleted just now, by this DEL or by another.
    linger::outlive(nft);
    outcome
}

/// Takes the addresses that were removed out of the zone of firewalld, where that may have them.
fn leave(call: &Call, nft: &mut Nft, addresses: &[IpAddr]) -> Result<(), Error> {
    if addresses.is_empty() {
        return Ok(());
    }
    // What ADD once accepted must not keep a DEL from removing: a refused value means the default zone.
    match Conf::of(call) {
        Ok(conf) if matches!(conf.backend, Backend::Nftables | Backend::Iptables) => Ok(()),
        Ok(conf) => leave_zone(nft, &conf.zone, addresses),
        Err(_) => leave_zone(nft, "trusted", addresses),
    }
}

/// Takes addresses out of the zone, and puts back those that a new attachment has claimed in between.
fn leave_zone(nft: &mut Nft, zone: &str, addresses: &[IpAddr]) -> Result<(), Error> {
    if !firewalld::remove(zone, addresses)? {
        return Ok(());
    }
    for address in addresses {
        if owners::owner(nft, *address, |_| false)? == Owner::Another {
            firewalld::add(zone, &[*address])?;
        }
    }
    Ok(())
}

fn check(call: &Call) -> Result<(), Error> {
    let conf = Conf::of(call)?;
    let previous = attach::previous(call, "firewall")?;
    let wanted = wanted(call, &conf, previous)?;
    if wanted.addresses.is_empty() {
        return Ok(());
    }
    let mut nft = Nft::open()?;
    let choice = choose(&mut nft, &conf)?;
    let ours = owned(&mut nft, &wanted, choice.backend)?;
    match choice.backend {
        Backend::Iptables => chains::holds(&mut nft, &wanted, &conf.admin_chain)?,
        Backend::Firewalld => firewalld::holds(&conf.zone, &wanted.addresses)?,
        Backend::Nftables | Backend::Auto => {}
    }
    if ours { table::holds(&mut nft, &wanted, enforcer(choice.backend)) } else { Ok(()) }
}

/// Whether the addresses have our marks. Those of the reference's making have none: then its rules are looked for.
fn owned(nft: &mut Nft, wanted: &Wanted, backend: Backend) -> Result<bool, Error> {
    let mut marked = true;
    for address in &wanted.addresses {
        let found = match owners::owner(nft, *address, |comment| Mark::is_on(comment, &wanted.attachment))? {
            Owner::Ours => continue,
            Owner::Another => "another attachment",
            // These backends are asked for their rules in any case.
            Owner::Nobody if matches!(backend, Backend::Iptables | Backend::Firewalld) => "",
            Owner::Nobody if chains::accept(nft, *address)? => "",
            Owner::Nobody => "nobody",
        };
        if !found.is_empty() {
            return Err(Error::Mismatch {
                what: format!("owner of {address} in nftables table inet ironbridge_firewall"),
                expected: format!("container \"{}\"", wanted.attachment.container_id),
                found: found.into(),
            });
        }
        marked = false;
    }
    Ok(marked)
}

/// Whether an ADD could be served: by which backend, why that one, and what it lacks.
fn status(call: &Call) -> Result<(), Error> {
    let conf = Conf::of(call)?;
    let unavailable = |cause: &dyn std::fmt::Display, choice: Option<&Choice>| {
        let choice = choice.map(|choice| {
            let name = match choice.backend {
                Backend::Auto | Backend::Nftables => "nftables",
                Backend::Iptables => "iptables",
                Backend::Firewalld => "firewalld",
            };
            format!("backend \"{name}\" was chosen because {}: ", choice.why)
        });
        let text = format!("{}{cause}", choice.unwrap_or_default());
        Error::Cni(cni::Error::new(Code::NOT_AVAILABLE, text))
    };
    let mut nft = Nft::open().map_err(|cause| unavailable(&cause, None))?;
    nft.tables(kernel::nft::Family::Inet).map_err(|cause| unavailable(&cause, None))?;
    let choice = choose(&mut nft, &conf).map_err(|cause| unavailable(&cause, None))?;
    match choice.backend {
        Backend::Iptables => match program::find("iptables-restore") {
            Some(_) => Ok(()),
            None => Err(unavailable(&format!("iptables-restore {}", program::not_found()), Some(&choice))),
        },
        Backend::Firewalld => {
            firewalld::serves(&conf.zone).map_err(|cause| unavailable(&cause, Some(&choice)))
        }
        Backend::Nftables | Backend::Auto => Ok(()),
    }
}
