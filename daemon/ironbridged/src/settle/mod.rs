//! The settling loop: one plain thread that compares the state that should be with the state that is, and mends the difference.
//!
//! It settles on a new snapshot, when the kernel reports a change that may be ours, and at a slow audit. It never adds
//! up events: each pass reads the kernel anew.

mod blackhole;
mod kernel_state;
mod leaving;
mod ledger;
mod news;
mod notifications;
mod pace;
mod problems;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Instant;

use ipnetwork::IpNetwork;
use kernel::Rtnl;
use overlay::{Change, Desired, NetworkConfig, Snapshot, Subnets};
use tokio::sync::{oneshot, watch};

use crate::eyes::Eyes;
use crate::forwarding;
use crate::rules::Rules;
use crate::uplink::{self, Chosen};

pub use blackhole::Blackhole;
use leaving::Leaving;
use ledger::Ledger;
pub use notifications::Ears;
use pace::Pace;
use problems::Problems;

/// What the loop is told.
#[derive(Debug)]
pub enum Input {
    /// A complete snapshot of the store, and whether routes of leases that it lacks may go.
    Snapshot(Arc<Snapshot>, Removals),
    /// Something changed in the kernel that may concern us.
    Kernel,
    /// This node has another public address.
    Moved(Box<Chosen>),
    /// Somebody wants to know whether the loop still turns.
    Asked(oneshot::Sender<()>),
}

/// Whether routes may be removed. A store that lost its data says that everybody left: until the nodes have put their
/// leases back, what is in the kernel is worth more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removals {
    /// Yes.
    Allowed,
    /// Not before that moment.
    HeldUntil(Instant),
    /// Not until a later snapshot says so.
    Held,
}

/// What the last pass found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Whether the peers of a complete snapshot were programmed.
    pub settled: bool,
    /// Routes to peers that should be there.
    pub routes: usize,
    /// What could not be put right.
    pub problems: Vec<String>,
}

/// What the loop works on, fixed for the daemon's life.
#[derive(Debug)]
pub struct Assignment {
    /// The network.
    pub config: NetworkConfig,
    /// This node's subnets.
    pub own: Subnets,
    /// Routes outside these networks are none of our business, even with our mark: another daemon may serve another
    /// network on this node.
    pub scope: Vec<IpNetwork>,
    /// The uplink's name at the start.
    pub uplink: String,
    /// The addresses that peers use.
    pub published: Vec<IpAddr>,
}

impl Assignment {
    fn moved(&mut self, chosen: &Chosen) {
        self.uplink.clone_from(&chosen.uplink.name);
        self.published = chosen.published();
    }
}

/// Why a pass could not be made.
#[derive(Debug, thiserror::Error)]
enum PassError {
    #[error("uplink {0} is gone, down or without its address: routes wait until it is back")]
    NoUplink(String),
    #[error("the kernel's state cannot be read or written: {0}")]
    Kernel(#[from] kernel::Error),
}

/// The loop's own state.
pub struct Settler {
    assignment: Assignment,
    rtnl: Rtnl,
    rules: Rules,
    blackhole: Blackhole,
    snapshot: Option<Arc<Snapshot>>,
    removals: Removals,
    leaving: Leaving,
    /// When what the last pass did not remove yet may go.
    due: Option<Instant>,
    problems: Problems,
    reports: watch::Sender<Report>,
    at: UplinkIndex,
    ledger: Ledger,
}

/// The interface index of the uplink at the last pass, which the thread that listens to the kernel looks at.
pub type UplinkIndex = Arc<AtomicU32>;

impl Settler {
    /// Opens its sockets in the namespace of the calling thread.
    pub fn new(
        assignment: Assignment,
        rules: Rules,
        reports: watch::Sender<Report>,
        eyes: Eyes,
    ) -> Result<Self, kernel::Error> {
        let rtnl = Rtnl::open()?;
        Ok(Settler {
            assignment,
            rtnl,
            rules,
            blackhole: Blackhole::default(),
            snapshot: None,
            removals: Removals::Allowed,
            leaving: Leaving::default(),
            due: None,
            problems: Problems::default(),
            reports,
            at: UplinkIndex::default(),
            ledger: Ledger::new(eyes),
        })
    }

    /// Keeps this too.
    pub fn with(self, blackhole: Blackhole) -> Self {
        Settler { blackhole, ..self }
    }

    /// What to listen to on the loop's behalf.
    pub fn ears(&mut self) -> Result<Ears, kernel::Error> {
        Ok(Ears::new(&self.assignment, self.at.clone(), self.rtnl.port()?))
    }

    /// Runs until nobody can tell it anything any more. Nothing is undone then.
    pub fn run(mut self, inputs: &Receiver<Input>) {
        let mut pace = Pace::new(Instant::now());
        loop {
            match inputs.recv_timeout(pace.until_next(Instant::now())) {
                Ok(Input::Snapshot(snapshot, removals)) => {
                    self.snapshot = Some(snapshot);
                    self.removals = removals;
                    self.ledger.news();
                    pace.told(Instant::now());
                }
                Ok(Input::Kernel) => pace.woken(Instant::now()),
                Ok(Input::Moved(chosen)) => {
                    self.assignment.moved(&chosen);
                    pace.told(Instant::now());
                }
                // Who asked may have gone meanwhile.
                Ok(Input::Asked(answer)) => answer.send(()).unwrap_or(()),
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => self.pass(&mut pace),
            }
        }
    }

    fn pass(&mut self, pace: &mut Pace) {
        let began = Instant::now();
        let mut failed = Vec::new();
        // A pass that fails before it comes to removals has its own pause until the next one.
        self.due = None;
        let put = self.rules.ensure();
        self.ledger.rules(self.rules.count(), put.as_ref().ok().copied());
        if let Err(error) = put {
            failed.push(format!("the nftables rules cannot be put in place: {error}"));
        }
        failed.extend(forwarding::ensure(&self.assignment.config, &self.assignment.uplink));
        if let Err(error) = self.blackhole.ensure(&mut self.rtnl) {
            failed.push(format!("the blackhole route cannot be put in place: {error}"));
        }
        let settled = match self.snapshot.clone().map(|snapshot| self.settle(&snapshot, &mut failed)) {
            Some(Ok(desired)) => Some(desired),
            Some(Err(error)) => {
                failed.push(error.to_string());
                None
            }
            None => None,
        };
        match failed.as_slice() {
            [] => pace.done(began, Instant::now()),
            [..] => pace.failed(began, Instant::now()),
        }
        if let Some(moment) = self.due {
            pace.not_after(moment.max(Instant::now()));
        }
        self.ledger.close(began, &failed);
        self.report(settled, failed);
    }

    /// Brings the routes to what the snapshot says. `failed` gets what the kernel refused.
    fn settle(&mut self, snapshot: &Snapshot, failed: &mut Vec<String>) -> Result<Desired, PassError> {
        let Assignment { config, own, scope, uplink, published } = &self.assignment;
        let found = uplink::find(&mut self.rtnl, uplink, published)?;
        let uplink = found.ok_or_else(|| PassError::NoUplink(uplink.clone()))?;
        self.at.store(uplink.index, Ordering::Relaxed);
        let mut desired = overlay::desired(config, snapshot, own, &uplink);
        let actual = kernel_state::read(&mut self.rtnl, scope)?;
        let mut changes = overlay::diff(&desired, &actual);
        self.due = self.withhold(&mut changes, &desired, Instant::now());
        news::log(&changes);
        let refused = kernel_state::write(&mut self.rtnl, &changes)?;
        failed.extend(refused.iter().map(ToString::to_string));
        let conflicts = overlay::conflicts(&desired, &actual);
        self.ledger.routes(&desired, &changes, (refused.len(), conflicts.len()));
        desired.problems.extend(conflicts);
        Ok(desired)
    }

    /// Takes out the removals that are not to be made yet; the answer is when to come back for them.
    fn withhold(&mut self, changes: &mut Vec<Change>, desired: &Desired, now: Instant) -> Option<Instant> {
        self.leaving.update(changes.iter().filter_map(|change| unwanted(change, desired)), now);
        if let Removals::HeldUntil(moment) = self.removals
            && moment <= now
        {
            self.removals = Removals::Allowed;
        }
        let allowed = self.removals == Removals::Allowed;
        let next = self.leaving.next(now);
        let all = changes.len();
        changes.retain(|change| match unwanted(change, desired) {
            Some(to) => allowed && self.leaving.may_go(&to, now),
            // An object may carry a route that stays.
            None => !matches!(change, Change::DeleteNexthop { .. }) || (allowed && next.is_none()),
        });
        match self.removals {
            Removals::Allowed => next,
            Removals::HeldUntil(moment) => Some(moment).filter(|_| changes.len() < all),
            Removals::Held => None,
        }
    }

    fn report(&mut self, settled: Option<Desired>, failed: Vec<String>) {
        let found = settled.iter().flat_map(|desired| &desired.problems).map(ToString::to_string);
        self.problems.update(found.chain(failed));
        let problems = self.problems.texts();
        self.reports.send_if_modified(|report| {
            let before = report.clone();
            if let Some(desired) = settled {
                report.settled = true;
                report.routes = desired.routes.len();
            }
            report.problems = problems;
            *report != before
        });
    }
}

/// The destination of a route that this change removes because no lease asks for it any more.
fn unwanted(change: &Change, desired: &Desired) -> Option<IpNetwork> {
    match change {
        Change::DeleteRoute(route) => Some(route.destination).filter(|to| !desired.routes.contains_key(to)),
        Change::DeleteNexthop { .. } | Change::AddNexthop { .. } | Change::PutRoute { .. } => None,
    }
}
