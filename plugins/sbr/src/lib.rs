//! The `sbr` plugin: what comes from an interface's address is routed by a table of its own.
#![forbid(unsafe_code)]

pub mod conf;
pub mod lock;
pub mod plan;

mod error;
mod sandbox;

pub use error::Cause;

use attach::{Error, Sandbox};
use cni::{AddResult, Added, Call, Plugin};

use conf::Conf;
use lock::Lock;

/// The plugin.
#[derive(Clone, Copy, Debug)]
pub struct Sbr;

impl Plugin for Sbr {
    fn name(&self) -> &'static str {
        "sbr"
    }

    fn about(&self) -> &'static str {
        concat!("CNI sbr plugin ironbridge v", env!("CARGO_PKG_VERSION"))
    }

    fn add(&self, call: &Call) -> Result<Added, cni::Error> {
        Ok(Added::Result(add(call)?))
    }

    fn del(&self, call: &Call) -> Result<(), cni::Error> {
        Ok(del(call)?)
    }

    fn check(&self, call: &Call) -> Result<(), cni::Error> {
        Ok(check(call)?)
    }

    /// Rules and tables end with their sandbox: there is nothing on the host to collect.
    fn gc(&self, _call: &Call) -> Result<(), cni::Error> {
        Ok(())
    }

    fn status(&self, call: &Call) -> Result<(), cni::Error> {
        Conf::of(call)?;
        Ok(())
    }
}

fn add(call: &Call) -> Result<AddResult, Error> {
    let conf = Conf::of(call)?;
    let previous = attach::previous(call, "sbr")?;
    let inside = Sandbox::open(call)?;
    let _lock = Lock::take(inside.path())?;
    let (mut rtnl, observed) = sandbox::observe(call, &inside)?;
    let addresses = plan::addresses(previous, &call.ifname);
    let plan = plan::plan(&conf, (&call.ifname, &addresses), &observed);
    sandbox::apply(&mut rtnl, &plan, &observed)?;
    Ok(previous.clone())
}

/// A sandbox that is gone took rules and routes with it.
fn del(call: &Call) -> Result<(), Error> {
    let Some(inside) = Sandbox::open_if_there(call) else { return Ok(()) };
    let _lock = Lock::take(inside.path())?;
    let told = call.prev_result.as_ref().map(|previous| plan::addresses(previous, &call.ifname));
    sandbox::remove(&inside, &call.ifname, &told.unwrap_or_default())
}

/// The plan of an ADD that finds its own rules asks for the same tables again, and for nothing that is not there.
fn check(call: &Call) -> Result<(), Error> {
    let conf = Conf::of(call)?;
    let previous = attach::previous(call, "sbr")?;
    let inside = Sandbox::open(call)?;
    let (_, observed) = sandbox::observe(call, &inside)?;
    let addresses = plan::addresses(previous, &call.ifname);
    let observed = observed.adopting(&call.ifname, &addresses);
    sandbox::hold(&plan::plan(&conf, (&call.ifname, &addresses), &observed), &observed)
}
