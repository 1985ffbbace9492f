//! The `bandwidth` plugin: limits what goes into and comes out of a sandbox, by token buckets on its host end.
#![forbid(unsafe_code)]

pub mod bucket;
pub mod conf;
pub mod names;
pub mod plan;

mod error;
mod holds;
mod site;
mod teardown;

use attach::Error;
pub use error::Cause;

use cni::{AddResult, Added, Call, Interface, Plugin, Version};

use conf::Conf;
use site::Site;

/// Results before 0.3.0 have no interfaces, which the host end is looked up in.
const VERSIONS: [Version; 5] =
    [Version::V0_3_0, Version::V0_3_1, Version::V0_4_0, Version::V1_0_0, Version::V1_1_0];

/// The plugin.
#[derive(Clone, Copy, Debug)]
pub struct Bandwidth;

impl Plugin for Bandwidth {
    fn name(&self) -> &'static str {
        "bandwidth"
    }

    fn about(&self) -> &'static str {
        concat!("CNI bandwidth plugin ironbridge v", env!("CARGO_PKG_VERSION"))
    }

    fn versions(&self) -> &'static [Version] {
        &VERSIONS
    }

    fn add(&self, call: &Call) -> Result<Added, cni::Error> {
        Ok(Added::Result(add(call)?))
    }

    fn del(&self, call: &Call) -> Result<(), cni::Error> {
        Ok(teardown::remove(call)?)
    }

    fn check(&self, call: &Call) -> Result<(), cni::Error> {
        Ok(check(call)?)
    }

    fn gc(&self, call: &Call) -> Result<(), cni::Error> {
        match &call.valid_attachments {
            Some(valid) => Ok(teardown::collect(&call.network, valid)?),
            None => Ok(()),
        }
    }

    fn status(&self, call: &Call) -> Result<(), cni::Error> {
        Conf::of(call)?;
        Ok(())
    }
}

fn add(call: &Call) -> Result<AddResult, Error> {
    let conf = Conf::of(call)?;
    let mut result = attach::previous(call, "bandwidth")?.clone();
    if conf.is_empty() {
        return Ok(result);
    }
    let mut site = Site::open(call, &result)?;
    for step in plan::steps(&conf) {
        if let Err(cause) = site.apply(&step) {
            return Err(cause.after_undoing(site.undo()));
        }
    }
    if let Some(ifb) = site.ifb {
        let mac = ifb.mac.map(|mac| mac.to_string());
        result.interfaces.push(Interface { name: ifb.name, mac, ..Interface::default() });
    }
    Ok(result)
}

fn check(call: &Call) -> Result<(), Error> {
    let conf = Conf::of(call)?;
    let previous = attach::previous(call, "bandwidth")?;
    if conf.is_empty() {
        return Ok(());
    }
    let mut site = Site::open(call, previous)?;
    plan::steps(&conf).iter().try_for_each(|step| site.holds(step))
}
