//! What one pass did, kind by kind, for those who ask.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::time::Instant;

use ipnetwork::IpNetwork;
use overlay::{Change, Desired};

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

    /// The routes of `desired` were set by `changes`, of which the kernel refused some; others' routes were `blocking`.
    pub fn routes(&mut self, desired: &Desired, changes: &[Change], (refused, blocking): (usize, usize)) {
        let number = |is_it: fn(&Change) -> bool| changes.iter().filter(|change| is_it(change)).count();
        let put = number(|change| matches!(change, Change::PutRoute { .. }));
        let failed = put.min(refused);
        self.accounts.push(Account {
            kind: "route",
            desired: desired.routes.len(),
            missing: failed + blocking,
            set: put - failed,
            removed: number(|change| matches!(change, Change::DeleteRoute(_))),
        });
        self.eyes.refused(refused);
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
