//! What one pass did, kind by kind, for those who ask.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::time::Instant;

use ipnetwork::IpNetwork;
use overlay::{Change, Desired};

use super::kernel_state::Refusal;
use crate::eyes::{Account, Cause, Eyes, Outcome};

/// Subnets, each with the node that gets its packets.
type Carried = BTreeMap<IpNetwork, SocketAddrV4>;

/// The accounts of the present pass.
#[derive(Debug)]
pub struct Ledger {
    eyes: Eyes,
    cause: Cause,
    accounts: Vec<Account>,
}

impl Ledger {
    /// The first pass puts everything in place: none of it is a repair.
    pub fn new(eyes: Eyes) -> Self {
        Ledger { eyes, cause: Cause::News, accounts: Vec::new() }
    }

    /// A snapshot arrived: what the next pass sets is what the leases ask for.
    pub fn news(&mut self) {
        self.cause = Cause::News;
    }

    /// Of `all` rules so many were put in place; `None` when that failed.
    pub fn rules(&mut self, all: usize, put: Option<usize>) {
        let missing = put.map_or(all, |_| 0);
        let set = put.unwrap_or(0);
        self.accounts.push(Account { kind: "rule", desired: all, missing, set, removed: 0 });
    }

    /// The objects of `desired` were set by `changes`, of which the kernel refused some; others' routes were `blocking`.
    pub fn objects(
        &mut self,
        desired: &Desired,
        changes: &[Change],
        (refused, blocking): (&[Refusal<'_>], usize),
    ) {
        let count = |what: Option<(&str, Act)>| changes.iter().filter(|change| act(change) == what).count();
        for (kind, desired, blocking) in [
            ("route", desired.routes.len(), blocking),
            ("neighbour", desired.neighbours.len(), 0),
            ("forwarding", desired.forwardings.len(), 0),
            ("peer", desired.peers.len(), 0),
        ] {
            let put = Some((kind, Act::Set));
            let failed = refused.iter().filter(|refusal| refusal.change.and_then(act) == put).count();
            let set = count(put) - failed;
            let removed = count(Some((kind, Act::Removed)));
            self.accounts.push(Account { kind, desired, missing: failed + blocking, set, removed });
        }
        self.eyes.refused(refused.len());
        self.eyes.wants(&desired.routes);
    }

    /// What the daemon should carry itself, what it does carry, and what was changed.
    pub fn carriage(&mut self, desired: &Desired, actual: &Carried, changes: &[Change]) {
        let number = |is_it: fn(&Change) -> bool| changes.iter().filter(|change| is_it(change)).count();
        let wrong = |(subnet, node): &(&IpNetwork, &SocketAddrV4)| actual.get(subnet) != Some(*node);
        self.accounts.push(Account {
            kind: "carried",
            desired: desired.carried.len(),
            missing: desired.carried.iter().filter(wrong).count(),
            set: number(|change| matches!(change, Change::PutCarried { .. })),
            removed: number(|change| matches!(change, Change::DeleteCarried { .. })),
        });
        self.eyes.carries([&desired.carried, actual]);
    }

    /// What carries the pods' packets has this MTU.
    pub fn carrier(&self, mtu: u32) {
        self.eyes.carrier(mtu);
    }

    /// The pass is over.
    pub fn close(&mut self, began: Instant, failed: &[String]) {
        let outcome = if failed.is_empty() { Outcome::Done } else { Outcome::Failed };
        self.eyes.passed(began, self.cause, (outcome, &self.accounts));
        self.accounts.clear();
        // What could not be done yet is still news when it is tried again.
        if outcome == Outcome::Done {
            self.cause = Cause::Drift;
        }
    }
}

/// What a change does to an object of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Set,
    Removed,
}

/// The kind of object that a change is about. Nexthop objects are a part of their routes; what the daemon carries itself
/// has an account of its own.
fn act(change: &Change) -> Option<(&'static str, Act)> {
    Some(match change {
        Change::PutRoute { .. } => ("route", Act::Set),
        Change::DeleteRoute(_) => ("route", Act::Removed),
        Change::PutNeighbour(_) => ("neighbour", Act::Set),
        Change::DeleteNeighbour(_) => ("neighbour", Act::Removed),
        Change::PutForwarding(_) => ("forwarding", Act::Set),
        Change::DeleteForwarding(_) => ("forwarding", Act::Removed),
        Change::PutPeer { .. } => ("peer", Act::Set),
        Change::DeletePeer { .. } => ("peer", Act::Removed),
        Change::AddNexthop { .. }
        | Change::DeleteNexthop { .. }
        | Change::PutCarried { .. }
        | Change::DeleteCarried { .. } => return None,
    })
}
