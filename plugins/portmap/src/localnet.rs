//! 127.0.0.1 as an address to reach a published port by: the kernel routes such packets out of an interface only where
//! `route_localnet` says so.

use std::net::IpAddr;

use kernel::{Family, Rtnl, sysctl};

use crate::conf::{Conf, Masquerade};
use crate::error::Error;
use crate::plan::{Plan, Publication};

/// The interface that leads to the sandbox, and whether packets of loopback may leave by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Localnet {
    /// Its name.
    pub interface: String,
    /// Whether they may.
    pub state: State,
}

/// Whether `route_localnet` is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is.
    Open,
    /// Not yet.
    Closed,
}

/// The interface that `route_localnet` must be on for, where a port is published on loopback too and what comes from
/// there is masqueraded.
pub fn needed(conf: &Conf, plan: &Plan) -> Result<Option<Localnet>, Error> {
    if conf.masquerade == Masquerade::Off || !plan.publications.iter().any(is_on_loopback) {
        return Ok(None);
    }
    let Some(address) = plan.address(Family::V4) else { return Ok(None) };
    // Mostly an earlier attachment to the bridge has opened it. To ask for the route takes the rtnl lock, for which one
    // may wait behind every change of any link on the machine.
    for link in &plan.links {
        if read(link)? == Some(State::Open) {
            return Ok(Some(Localnet { interface: link.clone(), state: State::Open }));
        }
    }
    let mut rtnl = Rtnl::open()?;
    let Some(index) = rtnl.route_to(address.ip())?.and_then(|route| route.oif) else { return Ok(None) };
    let Some(link) = rtnl.link_at(index)? else { return Ok(None) };
    let state = read(&link.name)?;
    Ok(state.map(|state| Localnet { interface: link.name, state }))
}

/// The state of a link; nothing if there is no such link.
fn read(link: &str) -> Result<Option<State>, Error> {
    match sysctl::read(&parameter(link)) {
        Ok(value) if value == "1" => Ok(Some(State::Open)),
        Ok(_) => Ok(Some(State::Closed)),
        Err(error) if error.is_absent() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Switches it on. It stays on, for other attachments share the interface; packets from outside to 127.0.0.0/8 are
/// dropped there by the chain `guard`.
pub fn open(interface: &str) -> Result<(), Error> {
    Ok(sysctl::write(&parameter(interface), "1")?)
}

fn is_on_loopback(publication: &Publication) -> bool {
    publication.key.family == Family::V4 && publication.key.address.as_ref().is_none_or(IpAddr::is_loopback)
}

/// With slashes, so that a name with dots is one part.
fn parameter(interface: &str) -> String {
    format!("net/ipv4/conf/{interface}/route_localnet")
}
