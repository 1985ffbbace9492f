//! The settling loop: one plain thread that compares the state that should be with the state that is, and mends the difference.
//!
//! It settles on a new snapshot, when the kernel reports a change that may be ours, and at a slow audit. It never adds
//! up events: each pass reads the kernel anew.

mod ahead;
mod assignment;
mod blackhole;
mod carriage;
mod crypto;
mod devices;
mod exchange;
mod extension;
mod kernel_state;
mod leaving;
mod ledger;
mod news;
mod notifications;
mod pace;
mod problems;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::Instant;

use kernel::Rtnl;
use overlay::{BackendConfig, Change, Desired, Device, Ground, Snapshot};
use tokio::sync::watch;

use crate::eyes::Eyes;
use crate::forwarding;
use crate::rules::Rules;
use crate::uplink;

pub use assignment::{Assignment, Places};
pub use blackhole::Blackhole;
use carriage::Carriage;
use crypto::{Crypto, Turn};
pub use exchange::{Input, Removals, Report};
use extension::{Extension, MayRemove};
use leaving::Leaving;
use ledger::Ledger;
use notifications::Ears;
use pace::Pace;
use problems::Problems;

/// Why a pass could not be made.
#[derive(Debug, thiserror::Error)]
enum PassError {
    #[error("uplink {0} is gone, down or without its address: routes wait until it is back")]
    NoUplink(String),
    #[error("the kernel's state cannot be read or written: {0}")]
    Kernel(#[from] kernel::Error),
    #[error(transparent)]
    Device(#[from] devices::DeviceError),
}

/// What a pass found and made.
struct Settled {
    desired: Desired,
    mtu: u32,
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
    extension: Extension,
    crypto: Crypto,
    carriage: Carriage,
    /// Whether the devices of an earlier backend are gone.
    is_retired: bool,
    reports: watch::Sender<Report>,
    places: Arc<Places>,
    ledger: Ledger,
    /// Whom notifications of the kernel shall wake, until somebody listens to them.
    deaf: Option<Sender<Input>>,
}

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
            extension: Extension::default(),
            crypto: Crypto::default(),
            carriage: Carriage::new(eyes.tally()),
            is_retired: false,
            reports,
            places: Arc::default(),
            ledger: Ledger::new(eyes),
            deaf: None,
        })
    }

    /// Keeps this too.
    pub fn with(self, blackhole: Blackhole) -> Self {
        Settler { blackhole, ..self }
    }

    /// Listens to the kernel on the loop's behalf, from the first pass with peers on: to tell of each of thousands of
    /// changes costs the kernel a third of the time that it takes to make them.
    pub fn listening(self, inputs: Sender<Input>) -> Self {
        Settler { deaf: Some(inputs), ..self }
    }

    /// Begins to listen. What happened before is found by one more pass.
    fn listen(&mut self, inputs: Sender<Input>, pace: &mut Pace) {
        let own = self.rtnl.port();
        let heard = own.and_then(|own| Ears::new(&self.assignment, self.places.clone(), own).listen(inputs));
        if let Err(error) = heard {
            tracing::error!(%error, "no notifications from the kernel: only the audit mends");
        }
        pace.not_after(Instant::now());
    }

    /// Runs until nobody can tell it anything any more. Nothing is undone then.
    pub fn run(mut self, inputs: &Receiver<Input>) {
        let mut pace = Pace::new(Instant::now());
        loop {
            match inputs.recv_timeout(pace.until_next(Instant::now())) {
                Ok(Input::Snapshot(snapshot, removals)) => {
                    let is_first = self.snapshot.replace(snapshot).is_none();
                    self.removals = removals;
                    self.ledger.news();
                    if is_first {
                        // What a pass without peers did is nothing to rest from.
                        pace = Pace::new(Instant::now());
                    }
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
            failed.push(format!("the traffic rules cannot be put in place: {error}"));
        }
        failed.extend(forwarding::ensure(&self.assignment.config, &self.assignment.uplink));
        if let Err(error) = self.blackhole.ensure(&mut self.rtnl) {
            failed.push(format!("the blackhole route cannot be put in place: {error}"));
        }
        let settled = match self.snapshot.clone().map(|snapshot| self.settle(&snapshot, &mut failed)) {
            Some(Ok(settled)) => Some(settled),
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
        if self.snapshot.is_some()
            && let Some(inputs) = self.deaf.take()
        {
            self.listen(inputs, pace);
        }
    }

    /// Brings devices, entries and routes to what the snapshot says. `failed` gets what the kernel refused.
    fn settle(&mut self, snapshot: &Snapshot, failed: &mut Vec<String>) -> Result<Settled, PassError> {
        let Assignment { config, own, scope, uplink, published, attributes, .. } = &self.assignment;
        let found = uplink::find(&mut self.rtnl, uplink, published)?;
        let uplink = found.ok_or_else(|| PassError::NoUplink(uplink.clone()))?;
        let devices = overlay::devices(config, own, attributes, &uplink);
        let ends = devices::ensure(&mut self.rtnl, &mut self.carriage, &devices)?;
        self.places.keep(&uplink, &ends);
        let (mut actual, reach) = kernel_state::read(&mut self.rtnl, scope, &ends)?;
        actual.peers = self.crypto.ensure(&self.assignment, &ends)?;
        actual.carried = self.carriage.carried();
        let ground = Ground { uplink: &uplink, ends: &ends, reach: &reach };
        let is_carrying = matches!(config.backend, BackendConfig::Udp(_));
        let mut desired = overlay::desired(config, snapshot, own, ground);
        let mut changes = overlay::diff(&desired, &actual);
        self.due = self.withhold(&mut changes, &desired, Instant::now());
        news::log(&changes);
        self.crypto.write(&changes, Turn::BeforeRoutes)?;
        self.carriage.write(&changes);
        let refused = kernel_state::write(&mut self.rtnl, &changes)?;
        self.crypto.write(&changes, Turn::AfterRoutes)?;
        failed.extend(refused.iter().map(|refusal| refusal.error.to_string()));
        let conflicts = overlay::conflicts(&desired, &actual);
        self.ledger.objects(&desired, &changes, (&refused, conflicts.len()));
        if is_carrying {
            self.ledger.carriage(&desired, &self.carriage.carried(), &changes);
        }
        desired.problems.extend(conflicts);
        self.retire(&devices)?;
        let may_remove = if self.removals == Removals::Allowed { MayRemove::Yes } else { MayRemove::No };
        let unrun = self.extension.ensure(&self.assignment, snapshot, may_remove);
        failed.extend(unrun.failed.iter().map(ToString::to_string));
        if unrun.waiting > 0 {
            self.due = Some(Instant::now());
        }
        let mtu = ends.iter().map(|end| end.mtu).min().unwrap_or(uplink.mtu);
        self.ledger.carrier(mtu);
        Ok(Settled { desired, mtu })
    }

    /// Removes the devices of an earlier backend, once: their routes are ours by now, or went with them, and what is
    /// missing comes with one more pass.
    fn retire(&mut self, devices: &[Device]) -> Result<(), kernel::Error> {
        if !self.is_retired {
            let retired = devices::retire(&mut self.rtnl, devices, &self.assignment.scope)?;
            self.due = if retired > 0 { Some(Instant::now()) } else { self.due };
            self.is_retired = true;
        }
        Ok(())
    }

    /// Takes out the removals that are not to be made yet; the answer is when to come back for them.
    fn withhold(&mut self, changes: &mut Vec<Change>, desired: &Desired, now: Instant) -> Option<Instant> {
        self.leaving.update(changes.iter().filter_map(|change| change.removal(desired)), now);
        if let Removals::HeldUntil(moment) = self.removals
            && moment <= now
        {
            self.removals = Removals::Allowed;
        }
        let allowed = self.removals == Removals::Allowed;
        let next = self.leaving.next(now);
        let all = changes.len();
        changes.retain(|change| match change.removal(desired) {
            Some(what) => allowed && self.leaving.may_go(&what, now),
            // An object may carry a route that stays.
            None => !matches!(change, Change::DeleteNexthop { .. }) || (allowed && next.is_none()),
        });
        match self.removals {
            Removals::Allowed => next,
            Removals::HeldUntil(moment) => Some(moment).filter(|_| changes.len() < all),
            Removals::Held => None,
        }
    }

    fn report(&mut self, settled: Option<Settled>, failed: Vec<String>) {
        let found = settled.iter().flat_map(|settled| &settled.desired.problems).map(ToString::to_string);
        self.problems.update(found.chain(failed));
        let problems = self.problems.texts();
        self.reports.send_if_modified(|report| {
            let before = report.clone();
            if let Some(Settled { desired, mtu }) = settled {
                report.settled = true;
                report.routes = desired.reached;
                report.other_backends = desired.other_backends;
                report.mtu = Some(mtu);
                report.ends = desired.tunnel_ends().take(PROBED).collect();
            }
            report.problems = problems;
            *report != before
        });
    }
}

/// So many tunnel ends are reported, for the self-test.
const PROBED: usize = 3;
