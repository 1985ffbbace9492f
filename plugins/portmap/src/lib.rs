//! The `portmap` plugin: ports of the host that lead to ports of a sandbox.

pub mod chains;
pub mod condition;
pub mod conf;
mod error;
mod flows;
mod foreign;
pub mod handback;
mod hostport;
mod iptables;
pub mod listing;
mod localnet;
pub mod mapping;
pub mod matches;
pub mod owner;
pub mod plan;
pub mod policy;
mod program;
mod publish;
mod table;
mod withdraw;

use cni::{AddResult, Added, Call, Code, Plugin};
use kernel::nft::Nft;
use kernel::{Conntrack, linger};

use attach::Error;
use conf::{Backend, Conf, Scope};
pub use error::Cause;
use localnet::State;
use plan::Plan;
use policy::Policy;
use publish::Claim;

/// The plugin.
#[derive(Clone, Copy, Debug)]
pub struct Portmap;

impl Plugin for Portmap {
    fn name(&self) -> &'static str {
        "portmap"
    }

    fn about(&self) -> &'static str {
        concat!("CNI portmap plugin ironbridge v", env!("CARGO_PKG_VERSION"))
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
        Ok(gc(call)?)
    }

    fn status(&self, call: &Call) -> Result<(), cni::Error> {
        Ok(status(call)?)
    }
}

fn add(call: &Call) -> Result<AddResult, Error> {
    let conf = Conf::of(call)?;
    let plan = Plan::of(&conf, call)?;
    if !plan.publications.is_empty() {
        let mut nft = Nft::open()?;
        if let Err(cause) = make(&mut nft, &conf, &plan) {
            return Err(undo(&mut nft, &plan, cause));
        }
    }
    Ok(call.prev_result.clone().unwrap_or_default())
}

/// Rules first, so that a connection that begins now meets them; then the connections that met others.
fn make(nft: &mut Nft, conf: &Conf, plan: &Plan) -> Result<(), Error> {
    let loopback = localnet::needed(conf, plan)?;
    match conf.backend {
        Backend::Nftables { .. } => {
            let policies = Policy::all(conf, plan);
            let claim = Claim { plan, policies: &policies, localnet: loopback.as_ref() };
            publish::publish(nft, &claim)?;
        }
        Backend::Iptables { .. } => {
            // The layout knows no owner but the container: what an earlier ADD left goes first.
            foreign::remove(nft, &plan.attachment, &[])?;
            iptables::add(nft, conf, plan)?;
        }
    }
    if let Some(closed) = loopback.filter(|loopback| loopback.state == State::Closed) {
        localnet::open(&closed.interface)?;
    }
    flows::redirect(&plan.publications)
}

fn undo(nft: &mut Nft, plan: &Plan, cause: Error) -> Error {
    // Refused before anything was made; and what is there under our name may be of an ADD that succeeded.
    if cause.code() == Code::PORT_TAKEN {
        return cause;
    }
    let undone = remove_rules(nft, plan);
    cause.after_undoing(undone.err())
}

fn remove_rules(nft: &mut Nft, plan: &Plan) -> Result<(), Error> {
    let hints: Vec<_> = plan.publications.iter().map(|publication| publication.key).collect();
    withdraw::withdraw(nft, &plan.attachment, &hints)?;
    foreign::remove(nft, &plan.attachment, &[])?;
    iptables::remove_legacy(&foreign::container_chain(&plan.attachment))
}

/// By identity; each failure is kept, none stops the rest.
fn del(call: &Call) -> Result<(), Error> {
    let attachment = call.attachment();
    let mut nft = Nft::open()?;
    let mut failures = Vec::new();
    let mut cut =
        withdraw::withdraw(&mut nft, &attachment, &Scope::of(call).hints).unwrap_or_else(|failure| {
            failures.push(failure);
            Vec::new()
        });
    let addresses: Vec<_> = call.prev_result.iter().flat_map(plan::networks).collect();
    failures.extend(foreign::remove(&mut nft, &attachment, &addresses).err());
    failures.extend(iptables::remove_legacy(&foreign::container_chain(&attachment)).err());
    if cut.is_empty() {
        // Of rules of the reference, the request alone tells where they led.
        let told = Conf::of(call).and_then(|conf| Plan::of(&conf, call));
        cut = told.map(|plan| plan.publications).unwrap_or_default();
    }
    let mut conntrack = Conntrack::from(nft);
    failures.extend(flows::cut(&mut conntrack, &cut).err());
    // Closing a socket takes the kernel a grace period where rules were deleted just now, by this DEL or by another.
    linger::outlive(conntrack);
    Error::join(failures)
}

fn check(call: &Call) -> Result<(), Error> {
    let conf = Conf::of(call)?;
    let plan = Plan::of(&conf, call)?;
    if plan.publications.is_empty() {
        return Ok(());
    }
    let mut nft = Nft::open()?;
    let policies = Policy::all(&conf, &plan);
    let ours = match conf.backend {
        Backend::Nftables { .. } => {
            publish::holds(&mut nft, &Claim { plan: &plan, policies: &policies, localnet: None })
        }
        Backend::Iptables { .. } if iptables::holds(&mut nft, &plan)? => Ok(()),
        Backend::Iptables { .. } => Err(Error::Mismatch {
            what: "port mappings (iptables, table nat)".to_owned(),
            expected: format!(
                "chain {} and rules that lead there",
                foreign::container_chain(&plan.attachment)
            ),
            found: "not all of them".to_owned(),
        }),
    };
    match ours {
        // The reference made it, and may have been told another backend.
        Err(mismatch) if !foreign::holds(&mut nft, &plan)? => Err(mismatch),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn gc(call: &Call) -> Result<(), Error> {
    let Some(valid) = &call.valid_attachments else { return Ok(()) };
    let mut nft = Nft::open()?;
    let mut failures = Vec::new();
    let gone = withdraw::collect(&mut nft, &call.network, valid).unwrap_or_else(|failure| {
        failures.push(failure);
        Vec::new()
    });
    failures.extend(foreign::collect(&mut nft, &call.network, valid).err());
    failures.extend(flows::cut(&mut Conntrack::from(nft), &gone).err());
    Error::join(failures)
}

/// Whether the chosen backend can work here.
fn status(call: &Call) -> Result<(), Error> {
    let available = match Conf::of(call)?.backend {
        Backend::Nftables { .. } => {
            Nft::open().and_then(|mut nft| nft.generation()).map(|_| ()).map_err(Error::from)
        }
        Backend::Iptables { .. } => program::probe(kernel::Family::V4),
    };
    available.map_err(|error| Cause::NotAvailable { reason: error.to_string() }.into())
}
