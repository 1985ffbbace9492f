//! The host-local IPAM plugin: gives out addresses of configured ranges, and remembers on this node's disk to whom.
//!
//! It keeps the reference's files, so that either can take over from the other in place; what it adds stands beside them (see
//! [`index`]). The order of reading: [`conf`] and [`range`] say what is asked for, [`pick`] which address is next,
//! [`grant`] how one is had, [`store`] and [`settle`] how that is kept on disk.
pub mod boot;
pub mod check;
pub mod conf;
pub mod cursor;
pub mod draft;
pub mod error;
pub mod grant;
pub mod index;
pub mod lock;
pub mod owner;
pub mod pick;
pub mod range;
mod report;
pub mod resolv;
pub mod scan;
pub mod seal;
pub mod settle;
pub mod slot;
pub mod store;
pub mod table;
#[cfg(test)]
mod world;

pub use crate::error::Error;
pub use crate::owner::Owner;
pub use crate::scan::{Holder, Reservation, reservations};

use crate::boot::Host;
use crate::conf::{Conf, Scope};
use crate::pick::Candidate;
use crate::store::Store;
use cni::{AddResult, Added, Call, Cidr, Dns, Ip};
use std::collections::HashSet;
use std::fs;
use std::path::Path;

/// The plugin.
#[derive(Debug, Clone, Copy, Default)]
pub struct HostLocal;

/// The plugin, for a registry.
pub static PLUGIN: HostLocal = HostLocal;

impl cni::Plugin for HostLocal {
    fn name(&self) -> &'static str {
        "host-local"
    }

    fn about(&self) -> &'static str {
        concat!("CNI host-local plugin ironbridge v", env!("CARGO_PKG_VERSION"))
    }

    fn add(&self, call: &Call) -> Result<Added, cni::Error> {
        let conf = Conf::read(call)?;
        let dns = conf.resolv_conf.as_deref().map_or(Ok(Dns::default()), read_dns)?;
        let store = Store::new(&conf.scope, &Host::default());
        let granted = grant::grant(&conf.slots, &mut store.lock()?, &owner(call))?;
        let ips = granted.into_iter().filter_map(ip).collect();
        Ok(AddResult { ips, routes: conf.routes, dns, ..AddResult::default() }.into())
    }

    fn del(&self, call: &Call) -> Result<(), cni::Error> {
        let store = Store::new(&Scope::read(call)?, &Host::default());
        match store.lock_existing()? {
            Some(mut held) => Ok(held.release(&owner(call))?),
            None => Ok(()),
        }
    }

    fn check(&self, call: &Call) -> Result<(), cni::Error> {
        let conf = Conf::read(call)?;
        let store = Store::new(&conf.scope, &Host::default());
        let nothing = || Error::NothingHeld { network: call.network.clone(), owner: owner(call) };
        let held = store.lock_existing()?.ok_or_else(nothing)?;
        let previous = call.prev_result.iter().flat_map(|result| &result.ips);
        let expected: Vec<_> = previous.map(|ip| ip.address.ip()).collect();
        Ok(check::check(&conf.slots, &held, &owner(call), &expected)?)
    }

    fn gc(&self, call: &Call) -> Result<(), cni::Error> {
        let Some(valid) = &call.valid_attachments else { return Ok(()) };
        let store = Store::new(&Scope::read(call)?, &Host::default());
        let Some(mut held) = store.lock_existing()? else { return Ok(()) };
        let valid: HashSet<Owner> = valid
            .iter()
            .map(|one| Owner::new(&one.container_id, &one.ifname))
            .flat_map(|one| [one.without_ifname(), one])
            .collect();
        held.retain(|owner| valid.contains(owner))?;
        Ok(())
    }

    fn status(&self, call: &Call) -> Result<(), cni::Error> {
        let conf = Conf::read(call)?;
        let store = Store::new(&conf.scope, &Host::default());
        let Some(mut held) = store.lock_existing()? else { return Ok(()) };
        match grant::exhausted(&conf.slots, &mut held)? {
            None => Ok(()),
            Some(slot) => Err(slot.not_available(&call.network).into()),
        }
    }
}

fn owner(call: &Call) -> Owner {
    Owner::new(&call.container_id, &call.ifname)
}

fn ip(granted: Candidate) -> Option<Ip> {
    let address = Cidr::new(granted.address, granted.prefix)?;
    Some(Ip { address, gateway: Some(granted.gateway), interface: None })
}

fn read_dns(path: &Path) -> Result<Dns, Error> {
    Ok(resolv::parse(&fs::read_to_string(path).map_err(Error::io("read resolvConf", path))?))
}
