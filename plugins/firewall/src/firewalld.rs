//! Backend `firewalld`: an address is accepted by being a source of a zone, over D-Bus.
//!
//! Zones know no owners: whose an address is stands in our own table.

use std::net::IpAddr;

use attach::Error;
use cni::Cidr;

use crate::bus::{Answer, Bus};
use crate::table::missing;

/// Whether the daemon answers on the system bus. Without a bus this costs one look at a path.
#[must_use]
pub fn is_running() -> bool {
    Bus::open().and_then(|mut bus| bus.has_owner()).unwrap_or(false)
}

/// Puts the addresses into `zone`; one that is there already stays.
pub fn add(zone: &str, addresses: &[IpAddr]) -> Result<(), Error> {
    each(addresses, |bus, source| match bus.zone_call("addSource", zone, source)? {
        Answer::Refused { name, text } if !text.contains("ZONE_ALREADY_SET") => Err(refused(&name, &text)),
        Answer::Refused { .. } | Answer::Done | Answer::Bool(_) => Ok(()),
    })
}

/// Takes the addresses out of `zone`; absent is success, and so is a daemon that does not run: it forgets runtime sources.
/// Says whether it runs.
pub fn remove(zone: &str, addresses: &[IpAddr]) -> Result<bool, Error> {
    if addresses.is_empty() || !is_running() {
        return Ok(false);
    }
    each(addresses, |bus, source| match bus.zone_call("removeSource", zone, source)? {
        Answer::Refused { name, text }
            if !["UNKNOWN_SOURCE", "NOT_ENABLED", "INVALID_ZONE", "ZONE_CONFLICT"]
                .iter()
                .any(|code| text.contains(code)) =>
        {
            Err(refused(&name, &text))
        }
        Answer::Refused { .. } | Answer::Done | Answer::Bool(_) => Ok(()),
    })?;
    Ok(true)
}

/// Whether every address is in `zone`: a false answer is a mismatch (weakness 55).
pub fn holds(zone: &str, addresses: &[IpAddr]) -> Result<(), Error> {
    each(addresses, |bus, source| match bus.zone_call("querySource", zone, source)? {
        Answer::Bool(true) => Ok(()),
        Answer::Bool(false) | Answer::Done => {
            Err(missing(format!("firewalld zone \"{zone}\""), format!("source {source}")))
        }
        Answer::Refused { name, text } => Err(refused(&name, &text)),
    })
}

/// Whether the daemon runs and knows `zone`.
pub fn serves(zone: &str) -> Result<(), Error> {
    let mut bus = Bus::open()?;
    if !bus.has_owner()? {
        return Err(refused("no owner", "firewalld does not run; start it, or choose another backend"));
    }
    match bus.zone_call("querySource", zone, "192.0.2.1/32")? {
        Answer::Refused { name, text } => Err(refused(&name, &text)),
        Answer::Done | Answer::Bool(_) => Ok(()),
    }
}

fn each(addresses: &[IpAddr], mut act: impl FnMut(&mut Bus, &str) -> Result<(), Error>) -> Result<(), Error> {
    let mut bus = Bus::open()?;
    addresses.iter().try_for_each(|address| act(&mut bus, &Cidr::host(*address).to_string()))
}

/// An error of the daemon or of the bus.
pub(crate) fn refused(name: &str, text: &str) -> Error {
    Error::Program { program: "firewalld (D-Bus)".into(), reason: format!("{name}: {text}") }
}
