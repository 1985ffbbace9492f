//! The `flannel` plugin: turns the node's subnet, as the daemon wrote it, into a configuration for another plugin, and calls that.
#![forbid(unsafe_code)]

mod collect;
mod conf;
mod delegate;
mod error;
pub mod handback;
mod state;
mod subnet_env;

pub use conf::NetConf;
pub use error::Error;
pub use subnet_env::SubnetEnv;

use cni::{Added, Call, Code, Plugin};
use delegate::Delegation;
use state::Store;

/// The plugin.
#[derive(Debug, Clone, Copy)]
pub struct Flannel;

impl Plugin for Flannel {
    fn name(&self) -> &'static str {
        "flannel"
    }

    fn about(&self) -> &'static str {
        concat!("CNI flannel plugin ironbridge v", env!("CARGO_PKG_VERSION"))
    }

    fn add(&self, call: &Call) -> Result<Added, cni::Error> {
        Ok(Added::Verbatim(add(call)?))
    }

    fn del(&self, call: &Call) -> Result<(), cni::Error> {
        Ok(del(call)?)
    }

    fn check(&self, call: &Call) -> Result<(), cni::Error> {
        Ok(check(call)?)
    }

    fn gc(&self, call: &Call) -> Result<(), cni::Error> {
        Ok(collect::collect(call)?)
    }

    fn status(&self, call: &Call) -> Result<(), cni::Error> {
        Ok(status(call)?)
    }
}

/// The configuration is on disk before the delegate acts, so that a kill at any moment leaves nothing that DEL cannot find.
fn add(call: &Call) -> Result<String, Error> {
    let conf: NetConf = call.conf()?;
    let env = SubnetEnv::read(conf.subnet_file())?;
    let built = Delegation::build(&conf, &env)?;
    let delegate =
        call.delegate(&built.plugin)?.with_stdin(built.clone().with_previous(&conf).text().into_bytes());
    let (store, attachment) = (Store::new(conf.data_dir()), call.attachment());
    // An attachment that is there already keeps its file until the delegate has had its say: it should refuse a second ADD.
    let fresh = match store.find(&attachment)? {
        None => Some(store.save(&attachment, &built)?),
        Some(_) => None,
    };
    match (delegate.raw_add(), fresh) {
        (Ok(result), Some(_)) => Ok(result),
        (Ok(result), None) => store.save(&attachment, &built).map(|_| result),
        (Err(error), fresh) => {
            if let Some(saved) = fresh.filter(|_| took_all_back(error.code)) {
                // What stays is removed by the DEL that a runtime owes to every failed ADD; the cause matters more.
                saved.forget().ok();
            }
            Err(error.into())
        }
    }
}

/// Whether a delegate that failed with this code has surely left nothing: not after a failed rollback, an answer that
/// cannot be read, or 999, which is all that the Go plugins know.
fn took_all_back(code: Code) -> bool {
    ![Code::ROLLBACK_FAILED, Code::DECODE, Code::INTERNAL].contains(&code) && code.0 != 0
}

fn del(call: &Call) -> Result<(), Error> {
    let conf: NetConf = call.conf()?;
    let (store, attachment) = (Store::new(conf.data_dir()), call.attachment());
    let saved = store.find(&attachment)?;
    match saved.as_ref().and_then(|s| s.delegation.clone()) {
        Some(delegation) => {
            let stdin = delegation.clone().with_previous(&conf).text();
            call.delegate(&delegation.plugin)?.with_stdin(stdin.into_bytes()).del()?;
        }
        None => del_by_identity(call, &conf)?,
    }
    store.sweep(&attachment)?;
    saved.map_or(Ok(()), |s| s.forget())
}

/// Nothing is kept of this attachment: it never was, or the directory was wiped. The delegate finds what belongs to it by
/// name, if the node still knows enough to call it. Where it does not, an ADD could not have been served either.
fn del_by_identity(call: &Call, conf: &NetConf) -> Result<(), Error> {
    let Ok(env) = SubnetEnv::read(conf.subnet_file()) else { return Ok(()) };
    let Ok(built) = Delegation::build(conf, &env) else { return Ok(()) };
    let Ok(delegate) = call.delegate(&built.plugin) else { return Ok(()) };
    Ok(delegate.with_stdin(built.with_previous(conf).text().into_bytes()).del()?)
}

/// The delegate checks what ADD told it, against the result of then.
fn check(call: &Call) -> Result<(), Error> {
    let conf: NetConf = call.conf()?;
    let saved = Store::new(conf.data_dir()).find(&call.attachment())?;
    let delegation = match saved.and_then(|s| s.delegation) {
        Some(delegation) => delegation,
        None => Delegation::build(&conf, &SubnetEnv::read(conf.subnet_file())?)?,
    };
    let delegation = delegation.with_version(&conf).with_previous(&conf);
    Ok(call.delegate(&delegation.plugin)?.with_stdin(delegation.text().into_bytes()).check()?)
}

/// An ADD needs the daemon's file, a delegate, and whatever that needs.
fn status(call: &Call) -> Result<(), Error> {
    let conf: NetConf = call.conf()?;
    let unavailable =
        |cause: Error| Error::NotAvailable { network: conf.name.clone(), cause: Box::new(cause) };
    let env = SubnetEnv::read(conf.subnet_file()).map_err(unavailable)?;
    let built = Delegation::build(&conf, &env)?;
    let delegate = call.delegate(&built.plugin).map_err(|e| unavailable(e.into()))?;
    Ok(delegate.with_stdin(built.text().into_bytes()).status()?)
}
