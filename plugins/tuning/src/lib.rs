//! The `tuning` plugin: kernel parameters of a sandbox and settings of its interface, put back at the end.
#![forbid(unsafe_code)]

pub mod allowlist;
pub mod backup;
pub mod conf;
pub mod keys;

mod error;
mod sandbox;

pub use error::Cause;

use attach::{Error, Sandbox};
use cni::{AddResult, Added, Call, Plugin};
use kernel::{Link, Rtnl};

use backup::{Backup, Store};
use conf::{Conf, Scope, Wanted};

/// The plugin.
#[derive(Clone, Copy, Debug)]
pub struct Tuning;

impl Plugin for Tuning {
    fn name(&self) -> &'static str {
        "tuning"
    }

    fn about(&self) -> &'static str {
        concat!("CNI tuning plugin ironbridge v", env!("CARGO_PKG_VERSION"))
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

    fn gc(&self, call: &Call) -> Result<(), cni::Error> {
        let scope = Scope::of(call)?;
        match &call.valid_attachments {
            Some(valid) => Ok(backup::collect(&scope.data_dir, &call.network, valid)?),
            None => Ok(()),
        }
    }

    fn status(&self, call: &Call) -> Result<(), cni::Error> {
        Ok(allowlist::permit(&Conf::of(call)?.parameters)?)
    }
}

fn add(call: &Call) -> Result<AddResult, Error> {
    let conf = Conf::of(call)?;
    allowlist::permit(&conf.parameters)?;
    let mut result = attach::previous(call, "tuning")?.clone();
    if conf.parameters.is_empty() && conf.link == Wanted::default() {
        return Ok(result);
    }
    let sandbox = Sandbox::open(call)?;
    let store = Store::of(&conf.data_dir, &call.attachment());
    let earlier = store.load()?;
    let (mut rtnl, link) = interface(call, &sandbox, &conf)?;
    let mut found = link.as_ref().map(|link| Backup::of(link, &conf.link)).unwrap_or_default();
    found.sysctl = sandbox::read(&sandbox, &conf.parameters)?;
    found.network.clone_from(&call.network);
    // Kept before anything is changed: a kill in between leaves nothing that DEL cannot put back.
    store.save(&found.clone().under(earlier.clone().unwrap_or_default()))?;
    let index = link.map(|link| link.index);
    if let Err(cause) = apply(&sandbox, &conf, (&mut rtnl, index)) {
        return Err(rolled_back(call, (&sandbox, &store), (&found, earlier.as_ref()), cause));
    }
    tell(&mut result, &call.ifname, &conf.link);
    Ok(result)
}

fn apply(sandbox: &Sandbox, conf: &Conf, (rtnl, index): (&mut Rtnl, Option<u32>)) -> Result<(), Error> {
    sandbox::write(sandbox, &conf.parameters)?;
    match index {
        Some(index) => Ok(sandbox::set(rtnl, index, &conf.link)?),
        None => Ok(()),
    }
}

/// Everything is as this ADD found it, the file too.
fn rolled_back(
    call: &Call,
    (sandbox, store): (&Sandbox, &Store),
    (found, earlier): (&Backup, Option<&Backup>),
    cause: Error,
) -> Error {
    let restored = sandbox::restore(sandbox, &call.ifname, found).and_then(|()| match earlier {
        Some(earlier) => store.save(earlier),
        None => store.remove(),
    });
    cause.after_undoing(restored.err())
}

/// The interface, which must be there if anything is asked of it.
fn interface(call: &Call, sandbox: &Sandbox, conf: &Conf) -> Result<(Rtnl, Option<Link>), Error> {
    let mut rtnl = sandbox.netns().visit(Rtnl::open)??;
    if conf.link == Wanted::default() {
        return Ok((rtnl, None));
    }
    match rtnl.link(&call.ifname)? {
        Some(link) => Ok((rtnl, Some(link))),
        None => Err(Error::gone(call, sandbox)),
    }
}

/// The result says what the sandbox's interface now is. One of the host that happens to have the same name is another.
fn tell(result: &mut AddResult, ifname: &str, wanted: &Wanted) {
    for interface in &mut result.interfaces {
        let inside = interface.sandbox.as_deref().is_some_and(|path| !path.is_empty());
        if inside && interface.name == ifname {
            interface.mac = wanted.mac.map(|mac| mac.to_string()).or_else(|| interface.mac.take());
            interface.mtu = interface.mtu.map(|mtu| wanted.mtu.unwrap_or(mtu));
        }
    }
}

/// A sandbox that is gone took everything with it but the file.
fn del(call: &Call) -> Result<(), Error> {
    let scope = Scope::of(call)?;
    let store = Store::of(&scope.data_dir, &call.attachment());
    if let (Some(backup), Some(sandbox)) = (store.load()?, Sandbox::open_if_there(call)) {
        sandbox::restore(&sandbox, &call.ifname, &backup)?;
    }
    store.remove()
}

fn check(call: &Call) -> Result<(), Error> {
    let conf = Conf::of(call)?;
    allowlist::permit(&conf.parameters)?;
    attach::previous(call, "tuning")?;
    let sandbox = Sandbox::open(call)?;
    sandbox::parameters_hold(&sandbox, &conf.parameters)?;
    match interface(call, &sandbox, &conf)? {
        (_, Some(link)) => sandbox::link_holds(&link, &conf.link),
        (_, None) => Ok(()),
    }
}
