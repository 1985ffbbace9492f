//! The `loopback` plugin: brings `lo` of a sandbox up, and says which addresses it then has.
#![forbid(unsafe_code)]

mod error;
mod lo;

pub use error::Error;

use std::path::Path;

use cni::{AddResult, Added, Call, Interface, Ip, Plugin};
use lo::Lo;

/// MAC of every loopback device (`drivers/net/loopback.c` leaves it zero).
const NO_MAC: &str = "00:00:00:00:00:00";

/// The plugin. It owns nothing on the host and looks at `lo` only, whatever `CNI_IFNAME` says.
#[derive(Debug, Clone, Copy)]
pub struct Loopback;

impl Plugin for Loopback {
    fn name(&self) -> &'static str {
        "loopback"
    }

    fn about(&self) -> &'static str {
        concat!("CNI loopback plugin ironbridge v", env!("CARGO_PKG_VERSION"))
    }

    fn add(&self, call: &Call) -> Result<Added, cni::Error> {
        Ok(add(call)?.into())
    }

    fn del(&self, call: &Call) -> Result<(), cni::Error> {
        Ok(del(call)?)
    }

    fn check(&self, call: &Call) -> Result<(), cni::Error> {
        Ok(check(call)?)
    }

    /// `lo` ends with its sandbox: there is nothing to collect.
    fn gc(&self, _call: &Call) -> Result<(), cni::Error> {
        Ok(())
    }

    /// Needs nothing of the node, so an ADD can always be served.
    fn status(&self, _call: &Call) -> Result<(), cni::Error> {
        Ok(())
    }
}

/// Runtimes attach `lo` beside the pod network, in parallel in one sandbox: nothing but the state of `lo` is touched, and
/// one that is up already (runtimes do that themselves, too) is left as it is.
fn add(call: &Call) -> Result<AddResult, Error> {
    let sandbox = call.netns.clone().unwrap_or_default();
    let mut lo = Lo::open(Path::new(&sandbox))?;
    let raised = lo.raise()?;
    let addresses = lo.addresses()?;
    if let Some(foreign) = addresses.iter().find(|a| !a.ip().is_loopback()) {
        if raised == lo::Raised::JustNow {
            // The refusal is the answer; that `lo` stays up would be no reason for another.
            lo.lower().ok();
        }
        return Err(Error::ForeignAddress { address: *foreign, sandbox });
    }
    if let Some(previous) = &call.prev_result {
        return Ok(previous.clone());
    }
    let first = |v4: bool| addresses.iter().copied().find(|a| a.is_ipv4() == v4);
    let ips = [first(true), first(false)].into_iter().flatten();
    Ok(AddResult {
        interfaces: vec![Interface {
            name: lo::NAME.to_owned(),
            mac: Some(NO_MAC.to_owned()),
            sandbox: Some(sandbox),
            ..Interface::default()
        }],
        ips: ips.map(|address| Ip { address, gateway: None, interface: Some(0) }).collect(),
        ..AddResult::default()
    })
}

/// A sandbox that is not there (any more) has no `lo`: that is success.
fn del(call: &Call) -> Result<(), Error> {
    let Some(sandbox) = &call.netns else { return Ok(()) };
    match Lo::open(Path::new(sandbox)) {
        Ok(mut lo) => lo.lower(),
        Err(Error::Sandbox(_)) => Ok(()),
        Err(other) => Err(other),
    }
}

/// `lo` is up, and has every address that `prevResult` gives to it.
fn check(call: &Call) -> Result<(), Error> {
    let sandbox = call.netns.clone().unwrap_or_default();
    let mut lo = match Lo::open(Path::new(&sandbox)) {
        Err(Error::Sandbox(source)) => {
            return Err(Error::Gone { container: call.container_id.clone(), source });
        }
        other => other?,
    };
    if !lo.is_up()? {
        return Err(Error::Down { sandbox });
    }
    let Some(previous) = &call.prev_result else { return Ok(()) };
    let present = lo.addresses()?;
    for ip in &previous.ips {
        let interface = ip.interface.and_then(|index| previous.interfaces.get(index));
        let ours = interface.is_some_and(|i| i.name == lo::NAME && i.sandbox.is_some());
        if ours && !present.contains(&ip.address) {
            return Err(Error::AddressGone { address: ip.address, sandbox });
        }
    }
    Ok(())
}
