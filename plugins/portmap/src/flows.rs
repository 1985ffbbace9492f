//! Tracked connections that would keep traffic on another target than the rules say now: they are forgotten.

use std::collections::BTreeMap;
use std::net::IpAddr;

use kernel::{Conntrack, Course, Family, FlowFilter, Led, Rtnl};

use crate::error::Error;
use crate::mapping::{Key, Protocol};
use crate::plan::Publication;

/// Up to so many tracked connections, all are looked at in one go instead of those of each port.
const FEW: usize = 512;
/// `RTN_LOCAL`.
const LOCAL: u8 = 2;

/// After an ADD: forgets what asked for one of the keys and is answered by somebody else. That is a translation to an
/// earlier target; for UDP, which has no new beginning, also what came before there was any. Connections that only
/// pass through this host stay, and so do those to a TCP or SCTP service of its own.
pub fn redirect(publications: &[Publication]) -> Result<(), Error> {
    let count = if publications.is_empty() { 0 } else { Conntrack::count()? };
    if count == 0 {
        return Ok(());
    }
    let mut locals = Locals::default();
    // Mostly there is none, and a look at few is cheap.
    if let Some(courses) = if count > FEW { None } else { Course::listed()? }
        && !any(&courses, |course| is_stale(&mut locals, publications, course))?
    {
        return Ok(());
    }
    let mut conntrack = Conntrack::open()?;
    for (filter, asked) in questions(publications, count) {
        for flow in conntrack.flows(&filter)? {
            if is_stale(&mut locals, &asked, &flow.course)? {
                conntrack.delete(&flow)?;
            }
        }
    }
    Ok(())
}

/// After a DEL: forgets what was led to a target that is gone.
pub fn cut(conntrack: &mut Conntrack, publications: &[Publication]) -> Result<(), Error> {
    let count = if publications.is_empty() { 0 } else { Conntrack::count()? };
    if count == 0 {
        return Ok(());
    }
    let mut led: Vec<Led> = publications.iter().map(led).collect();
    // Those of IPv6 would be listed one by one.
    if led.iter().any(|led| led.answering.is_ipv6())
        && let Some(courses) = if count > FEW { None } else { Course::listed()? }
    {
        led.retain(|led| courses.iter().any(|course| course.answering == led.answering));
    }
    if led.is_empty() { Ok(()) } else { Ok(conntrack.forget(&led)?) }
}

fn led(publication: &Publication) -> Led {
    let Key { protocol, address, port, .. } = publication.key;
    Led { protocol: protocol.number(), address, port, answering: publication.target }
}

fn any(courses: &[Course], mut is_wanted: impl FnMut(&Course) -> Result<bool, Error>) -> Result<bool, Error> {
    for course in courses {
        if is_wanted(course)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a connection asked for one of the keys and is answered by somebody else than its target.
fn is_stale(locals: &mut Locals, publications: &[Publication], course: &Course) -> Result<bool, Error> {
    let met = publications.iter().filter(|publication| meets(&publication.key, course));
    // As the rules do: a key with an address goes before one without.
    let Some(publication) = met.max_by_key(|publication| publication.key.address.is_some()) else {
        return Ok(false);
    };
    let stale = course.answering != publication.target
        && (course.is_translated() || publication.key.protocol == Protocol::Udp);
    Ok(stale && locals.has(course.destination.ip())?)
}

/// What to ask the kernel for, and about which publications that is. It goes through its whole table for each question.
fn questions(publications: &[Publication], count: usize) -> Vec<(FlowFilter, Vec<Publication>)> {
    let mut questions: Vec<(FlowFilter, Vec<Publication>)> = Vec::new();
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
            Some((_, asked)) => asked.push(*publication),
            None => questions.push((filter, vec![*publication])),
        }
    }
    questions
}

fn meets(key: &Key, course: &Course) -> bool {
    let ip = course.destination.ip();
    key.port == course.destination.port()
        && key.protocol.number() == course.protocol
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
