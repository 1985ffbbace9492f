//! ADD and DEL of one attachment on a node without others.

use serde_json::{Value, json};

use super::{bridge as bridge_network, ipam, with};
use crate::contender::Contender;
use crate::contest::{Cycles, interleave};
use crate::error::Error;
use crate::figure::{Figure, Measure};
use crate::options::Effort;
use crate::programs::{Programs, Side};
use crate::series::Series;
use crate::site::Site;

const ROUNDS: usize = 90;

/// The three sides' series of one verb.
pub(super) struct Sides {
    /// Reference, ours, floor, as [`Side::ALL`].
    cycles: [Cycles; 3],
}

impl Sides {
    /// Of the cycles of the three, in that order.
    pub(super) fn of(cycles: Vec<Cycles>) -> Self {
        let mut cycles = cycles.into_iter();
        Self { cycles: [(); 3].map(|()| cycles.next().unwrap_or_default()) }
    }

    /// The reference's.
    pub(super) fn reference(&self) -> &Cycles {
        let [reference, ..] = &self.cycles;
        reference
    }

    /// A line from one of the verbs, with the limits of the issue.
    pub(super) fn figure(&self, work: &str, of: fn(&Cycles) -> &Series, limits: (f64, f64)) -> Figure {
        let [reference, ours, floor] = &self.cycles;
        Figure::new(work, Measure::Milliseconds, of(ours))
            .reference(of(reference), Some(limits.0))
            .floor(of(floor), limits.1)
    }
}

/// Interleaves the three sides with the configuration that each has.
pub(super) fn sides(
    site: &Site,
    rounds: usize,
    contender: impl Fn(Side) -> Contender,
) -> Result<Sides, Error> {
    Ok(Sides::of(interleave(site, &Side::ALL.map(contender), rounds)?))
}

/// `loopback` ADD.
pub fn loopback(programs: &Programs, effort: Effort) -> Result<Vec<Figure>, Error> {
    let config = json!({"cniVersion": "1.0.0", "name": "pflo", "type": "loopback"});
    let sides = sides(&Site::new(), effort.rounds(ROUNDS), |side| {
        Contender::new(programs, side, "loopback", &config).ifname("lo")
    })?;
    Ok(vec![sides.figure("loopback ADD", |cycles| &cycles.add, (0.25, 1.5))])
}

/// `bridge` with `host-local`: ADD and DEL.
pub fn bridge(programs: &Programs, effort: Effort) -> Result<Vec<Figure>, Error> {
    let sides =
        attach(programs, effort, |side| bridge_network(&ipam(programs, side, "bridge", &["10.77.0.0/16"])))?;
    Ok(vec![
        sides.figure("bridge + host-local ADD", |cycles| &cycles.add, (0.19, 1.4)),
        sides.figure("bridge + host-local DEL", |cycles| &cycles.del, (0.12, 1.9)),
    ])
}

/// The same with an address of each family.
pub fn dual_stack(programs: &Programs, effort: Effort) -> Result<Vec<Figure>, Error> {
    let sides = attach(programs, effort, |side| {
        bridge_network(&ipam(programs, side, "dual", &["10.77.0.0/16", "fd00:77::/64"]))
    })?;
    Ok(vec![sides.figure("the same ADD, dual stack", |cycles| &cycles.add, (0.2, 1.6))])
}

/// The same with masquerade: the reference's by iptables, ours and the floor's by nftables over netlink.
pub fn masquerade(programs: &Programs, effort: Effort) -> Result<Vec<Figure>, Error> {
    let sides = attach(programs, effort, |side| {
        let network = bridge_network(&ipam(programs, side, "masquerade", &["10.77.0.0/16"]));
        with(network, &json!({"ipMasq": true}))
    })?;
    Ok(vec![sides.figure("the same ADD with ipMasq", |cycles| &cycles.add, (0.08, 1.5))])
}

fn attach(programs: &Programs, effort: Effort, network: impl Fn(Side) -> Value) -> Result<Sides, Error> {
    sides(&Site::new(), effort.rounds(ROUNDS), |side| {
        Contender::new(programs, side, "bridge", &network(side))
    })
}
