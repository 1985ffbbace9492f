//! What the daemon can be asked: one shared value that its parts tell of their work, read by `/readyz`, `/metrics`, the
//! status socket and the supervisor.
//!
//! Telling costs a lock that is held for an assignment, and some atomic additions; everything else is worked out when
//! somebody asks.

mod describe;
mod metrics;
mod place;
mod revisions;
mod sight;
pub mod socket;
mod tally;

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ipnetwork::IpNetwork;
use overlay::Hop;
use tokio::sync::watch;

use crate::store::{Held, StoreError, View};
use crate::tenure::Standing;
use crate::uplink::Chosen;

pub use metrics::CONTENT_TYPE;
use metrics::Metrics;
pub use place::Place;
use revisions::Revisions;
pub use sight::Sight;
pub use tally::{Direction, Lost, Tally};

/// The shared value.
#[derive(Debug, Clone, Default)]
pub struct Eyes(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    metrics: Metrics,
    seen: Mutex<Seen>,
}

/// What was told last.
#[derive(Debug, Default)]
struct Seen {
    place: Option<Place>,
    held: Option<Held>,
    desired: Arc<BTreeMap<IpNetwork, Hop>>,
    /// What the daemon carries itself: how it should be, and how it is.
    carried: Arc<[BTreeMap<IpNetwork, SocketAddrV4>; 2]>,
    pass: Option<(Instant, Duration, Outcome)>,
    revisions: Revisions,
    channels: Option<(watch::Receiver<View>, watch::Receiver<Standing>)>,
    /// Why the lease could not be kept at the last attempt.
    trouble: Option<String>,
}

/// How a pass ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Everything is as it should be.
    Done,
    /// Something failed; it will be tried again.
    Failed,
}

/// What made a pass necessary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The store or the start: what is set now was not there before.
    News,
    /// Nothing that the daemon was told: what is set now was altered by somebody.
    Drift,
}

/// The objects of one kind in one pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// Its name in the metrics.
    pub kind: &'static str,
    /// How many should be there.
    pub desired: usize,
    /// How many of them are not there after the pass.
    pub missing: usize,
    /// How many the pass set.
    pub set: usize,
    /// How many it removed.
    pub removed: usize,
}

/// What became of an attempt to keep the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// Renewed in time.
    Renewed,
    /// Rewritten with another address of this node.
    Moved,
    /// It was gone and was created again.
    PutBack,
    /// Another node has it.
    Stolen,
}

impl Eyes {
    /// The lease is had and the data path begins.
    pub fn placed(&self, place: Place, held: &Held) {
        let mut seen = self.seen();
        seen.place = Some(place);
        seen.held = Some(held.clone());
    }

    /// What the node holds now.
    pub fn held(&self) -> Option<Held> {
        self.seen().held.clone()
    }

    /// The uplink was chosen anew.
    pub fn moved(&self, chosen: &Chosen) {
        if let Some(place) = &mut self.seen().place {
            place.moved(chosen);
        }
    }

    /// What carries the pods' packets has this MTU.
    pub fn carrier(&self, mtu: u32) {
        if let Some(place) = &mut self.seen().place {
            place.mtu = mtu;
        }
    }

    /// Follows the store and the lease's standing from now on, as long as there are any.
    pub fn follow(&self, views: &watch::Receiver<View>, standing: watch::Receiver<Standing>) {
        self.seen().channels = Some((views.clone(), standing));
        let (eyes, mut views) = (self.clone(), views.clone());
        tokio::spawn(async move {
            loop {
                let revision = views.borrow_and_update().snapshot.as_ref().map(|snapshot| snapshot.revision);
                if let Some(revision) = revision {
                    eyes.seen().revisions.saw(revision, Instant::now());
                }
                if views.changed().await.is_err() {
                    return;
                }
            }
        });
    }

    /// A pass is over.
    pub fn passed(&self, began: Instant, cause: Cause, (outcome, accounts): (Outcome, &[Account])) {
        let metrics = &self.0.metrics;
        let took = began.elapsed();
        metrics.settle.observe(took.as_secs_f64());
        let name = match outcome {
            Outcome::Done => "done",
            Outcome::Failed => "failed",
        };
        metrics.passes.get_or_create(&[("outcome", name)]).inc();
        metrics.last_pass.set(unix(SystemTime::now()));
        for account in accounts {
            self.count(cause, account);
        }
        self.seen().pass = Some((Instant::now(), took, outcome));
    }

    fn count(&self, cause: Cause, account: &Account) {
        let metrics = &self.0.metrics;
        let kind = [("kind", account.kind)];
        metrics.desired.get_or_create(&kind).set(whole(account.desired));
        metrics.missing.get_or_create(&kind).set(whole(account.missing));
        metrics.changes.get_or_create(&kind).inc_by(count(account.set + account.removed));
        let repaired = match cause {
            Cause::News => 0,
            Cause::Drift => account.set,
        };
        metrics.repairs.get_or_create(&kind).inc_by(count(repaired));
    }

    /// The kernel refused so many changes.
    pub fn refused(&self, changes: usize) {
        self.0.metrics.refusals.inc_by(count(changes));
    }

    /// The routes that should be there.
    pub fn wants(&self, routes: &BTreeMap<IpNetwork, Hop>) {
        let known = self.seen().desired.clone();
        if *known != *routes {
            self.seen().desired = Arc::new(routes.clone());
        }
    }

    /// What the daemon should carry itself, and what it does.
    pub fn carries(&self, [desired, actual]: [&BTreeMap<IpNetwork, SocketAddrV4>; 2]) {
        let known = self.seen().carried.clone();
        let [known_desired, known_actual] = &*known;
        if (known_desired, known_actual) != (desired, actual) {
            self.seen().carried = Arc::new([desired.clone(), actual.clone()]);
        }
    }

    /// The counters of the daemon's own data path.
    pub fn tally(&self) -> Tally {
        Tally::new(&self.0.metrics)
    }

    /// The lease could not be kept this time.
    pub fn failed(&self, why: &StoreError) {
        self.count_renewal("failed");
        self.seen().trouble = Some(format!("the lease could not be renewed, it is tried again: {why}"));
    }

    /// The lease was looked after; `held` is what the node holds now.
    pub fn renewed(&self, renewal: Renewal, held: &Held) {
        let outcome = match renewal {
            Renewal::Renewed => "renewed",
            Renewal::Moved => "moved",
            Renewal::PutBack => "put_back",
            Renewal::Stolen => "stolen",
        };
        self.count_renewal(outcome);
        let mut seen = self.seen();
        seen.held = Some(held.clone());
        seen.trouble = None;
    }

    fn count_renewal(&self, outcome: &'static str) {
        self.0.metrics.renewals.get_or_create(&[("outcome", outcome)]).inc();
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        // Every change is one assignment: what a thread left that panicked is whole.
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn whole(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn unix(moment: SystemTime) -> f64 {
    moment.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Status;
    use crate::store::Store;

    #[test]
    fn only_what_nobody_asked_for_is_a_repair() {
        let eyes = Eyes::default();
        let account = |set, removed| Account { kind: "route", desired: 9, missing: 1, set, removed };
        let store = Store::File(crate::store::FileStore::new(std::path::Path::new("/nowhere")));
        let status = watch::channel(Status::waiting("x")).1;
        let sight = Sight { eyes: eyes.clone(), status, store: Arc::new(tokio::sync::Mutex::new(store)) };
        let value = |name: &str| {
            let text = sight.metrics();
            let line = text.lines().find(|line| line.starts_with(&format!("ironbridged_{name} "))).unwrap();
            line.rsplit(' ').next().unwrap().to_owned()
        };
        let route = |name: &str| value(&format!("{name}{{kind=\"route\"}}"));
        eyes.passed(Instant::now(), Cause::News, (Outcome::Done, &[account(5, 1)]));
        assert_eq!([route("changes_total"), route("repairs_total")], ["6", "0"]);
        eyes.passed(Instant::now(), Cause::Drift, (Outcome::Failed, &[account(2, 3)]));
        assert_eq!([route("changes_total"), route("repairs_total")], ["11", "2"]);
        assert_eq!([route("objects_missing"), value("settle_seconds_count")], ["1", "2"]);
        assert_eq!(value("passes_total{outcome=\"failed\"}"), "1");
    }
}
