//! Tracked connections that would keep traffic on another target than the rules say now: they are forgotten.

use std::collections::BTreeMap;
use std::net::IpAddr;

use kernel::{Conntrack, Family, Flow, FlowFilter, Rtnl};

use crate::error::Error;
use crate::mapping::{Key, Protocol};
use crate::plan::Publication;

/// Up to so many tracked connections, all are listed in one go instead of those of each port.
const FEW: usize = 512;
/// `RTN_LOCAL`.
const LOCAL: u8 = 2;

/// After an ADD: forgets what asked for one of the keys and is answered by somebody else. That is a translation to an
/// earlier target; for UDP, which has no new beginning, also what came before there was any. Connections that only
/// pass through this host stay, and so do those to a TCP or SCTP service of its own.
pub fn redirect(publications: &[Publication]) -> Result<(), Error> {
    let mut locals = Locals::default();
    forget(publications, |publication, flow| {
        let stale = flow.answering != publication.target
            && (flow.is_translated() || publication.key.protocol == Protocol::Udp);
        Ok(stale && locals.has(flow.destination.ip())?)
    })
}

/// After a DEL: forgets what was led to a target that is gone.
pub fn cut(publications: &[Publication]) -> Result<(), Error> {
    forget(publications, |publication, flow| Ok(flow.answering == publication.target))
}

fn forget(
    publications: &[Publication],
    mut is_stale: impl FnMut(&Publication, &Flow) -> Result<bool, Error>,
) -> Result<(), Error> {
    let count = if publications.is_empty() { 0 } else { Conntrack::count()? };
    if count == 0 {
        return Ok(());
    }
    let mut conntrack = Conntrack::open()?;
    for (filter, asked) in questions(publications, count) {
        for flow in conntrack.flows(&filter)? {
            let met = asked.iter().filter(|publication| meets(&publication.key, &flow));
            // As the rules do: a key with an address goes before one without.
            if let Some(publication) = met.max_by_key(|publication| publication.key.address.is_some())
                && is_stale(publication, &flow)?
            {
                conntrack.delete(&flow)?;
            }
        }
    }
    Ok(())
}

/// What to ask the kernel for, and about which publications that is. It goes through its whole table for each question.
fn questions(publications: &[Publication], count: usize) -> Vec<(FlowFilter, Vec<&Publication>)> {
    let mut questions: Vec<(FlowFilter, Vec<&Publication>)> = Vec::new();
    for publication in publications {
        let key = publication.key;
        let filter = FlowFilter {
            family: Some(key.family),
            protocol: Some(key.protocol.number()),
            port: Some(key.port),
            address: key.address,
        };
        let filter = if count > FEW { filter } else { FlowFilter::default() };
        match questions.iter_mut().find(|(known, _)| *known == filter) {
            Some((_, asked)) => asked.push(publication),
            None => questions.push((filter, vec![publication])),
        }
    }
    questions
}

fn meets(key: &Key, flow: &Flow) -> bool {
    let ip = flow.destination.ip();
    key.port == flow.destination.port()
        && key.protocol.number() == flow.protocol
        && key.family == Family::from(ip)
        && key.address.is_none_or(|address| address == ip)
}

/// Which addresses are this host's own, asked for once each, and only where a connection makes it matter.
#[derive(Default)]
struct Locals {
    rtnl: Option<Rtnl>,
    known: BTreeMap<IpAddr, bool>,
}

impl Locals {
    fn has(&mut self, address: IpAddr) -> Result<bool, Error> {
        if let Some(known) = self.known.get(&address) {
            return Ok(*known);
        }
        let rtnl = match &mut self.rtnl {
            Some(rtnl) => rtnl,
            none => none.insert(Rtnl::open()?),
        };
        let local = match rtnl.route_to(address) {
            Err(refusal) if !refusal.is_transient() => false,
            route => route?.is_some_and(|route| route.kind == LOCAL),
        };
        self.known.insert(address, local);
        Ok(local)
    }
}
