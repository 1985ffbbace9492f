//! Keeping the lease: renewing it in time, putting it back when it is gone, and standing by when another node took it.
//!
//! The data path outlives the lease. Pods hold addresses of this subnet, so a lost lease is never a reason to take
//! another subnet, to remove routes or to end: the same subnet is put back as soon as it is free.

use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use overlay::Snapshot;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::eyes::{Eyes, Renewal};
use crate::settle::{Input, Removals};
use crate::store::{Backoff, ConfigKey, Held, LEASE_TTL, LeaseStore, Store, StoreError, StoreState, View};

/// How long peers get to put their leases back after the store lost data, before their routes may go.
const GRACE: Duration = Duration::from_secs(15);

/// How often a stolen lease is looked at again, and complained about.
const STANDBY: Duration = Duration::from_mins(1);

/// The lease as the rest of the daemon sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It is ours.
    Held,
    /// It is not in the store at present; it is being put back.
    Missing,
    /// Another node has it.
    Stolen(String),
}

/// The lease's keeper.
pub struct Tenure {
    store: Store,
    held: Held,
    margin: Duration,
    due: Instant,
    retry: Backoff,
    grace: Grace,
    told: Told,
    standing: watch::Sender<Standing>,
    eyes: Eyes,
}

impl Tenure {
    /// Takes over a lease that was just acquired.
    pub fn new(
        store: Store,
        held: Held,
        (margin, eyes): (Duration, Eyes),
    ) -> (Self, watch::Receiver<Standing>) {
        let (standing, seen) = watch::channel(Standing::Held);
        let due = held.renew_at(margin);
        let retry = Backoff::new(Duration::from_secs(1), Duration::from_mins(1));
        (
            Tenure {
                store,
                held,
                margin,
                due,
                retry,
                grace: Grace::default(),
                told: Told::default(),
                standing,
                eyes,
            },
            seen,
        )
    }

    /// Keeps it until the watcher or the settling loop is gone.
    pub async fn keep(mut self, mut views: watch::Receiver<View>, settle: Sender<Input>) {
        let mut reachable = true;
        loop {
            match timeout(self.due.saturating_duration_since(Instant::now()), views.changed()).await {
                Err(_) => self.renew().await,
                Ok(Err(_)) => return,
                Ok(Ok(())) => {
                    let view = views.borrow_and_update().clone();
                    report_outage(&view, &mut reachable);
                    if !self.look(&view, &settle).await {
                        return;
                    }
                }
            }
        }
    }

    /// Passes a view on, and looks for the own lease in it. False when nobody settles any more.
    async fn look(&mut self, view: &View, settle: &Sender<Input>) -> bool {
        let Some(snapshot) = &view.snapshot else { return true };
        let own = self.held.check(snapshot);
        if self.told.is_news(view, (&own).into()) {
            let removals = self.grace.judge(view.config, (&own).into(), Instant::now());
            if settle.send(Input::Snapshot(snapshot.clone(), removals)).is_err() {
                return false;
            }
        }
        match own {
            Ok(()) if *self.standing.borrow() != Standing::Held && has(snapshot, &self.held) => {
                self.regained();
            }
            Ok(()) => {}
            Err(lost) => self.lost(lost).await,
        }
        true
    }

    async fn renew(&mut self) {
        match self.store.renew(&self.held).await {
            Ok(held) => {
                self.due = held.renew_at(self.margin);
                self.held = held;
                self.retry.reset();
                self.eyes.renewed(Renewal::Renewed, &self.held);
                self.regained();
                tracing::debug!(lease = %self.held.lease.subnets, "lease renewed");
            }
            Err(lost) => self.lost(lost).await,
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "two causes end the lease, whatever else can go wrong with a store"
    )]
    async fn lost(&mut self, why: StoreError) {
        match why {
            StoreError::Gone { .. } => self.put_back().await,
            StoreError::Stolen { by, .. } => self.stand_by(by),
            other => {
                self.due = Instant::now() + self.retry.pause();
                self.eyes.failed(&other);
                let left =
                    self.held.expires.map(|end| end.saturating_duration_since(Instant::now()).as_secs());
                tracing::warn!(error = %other, seconds_left = left, "the lease could not be renewed, will try again");
            }
        }
    }

    /// The key is not there. The very same subnet is created again, never another one.
    async fn put_back(&mut self) {
        self.standing.send_replace(Standing::Missing);
        let subnets = self.held.lease.subnets;
        match self.store.create(&subnets, &self.held.lease.attributes, LEASE_TTL).await {
            Ok(held) => {
                tracing::warn!(%subnets, "the lease was gone from the store: put back");
                self.due = held.renew_at(self.margin);
                self.held = held;
                self.retry.reset();
                self.eyes.renewed(Renewal::PutBack, &self.held);
                self.standing.send_replace(Standing::Held);
            }
            Err(error) => {
                // Taken, too, is judged anew: the renewal looks who has it.
                self.due = Instant::now() + self.retry.pause();
                self.eyes.failed(&error);
                tracing::warn!(%subnets, %error, "the lease is gone from the store and could not be put back, will try again");
            }
        }
    }

    fn stand_by(&mut self, by: String) {
        self.due = Instant::now() + STANDBY;
        self.eyes.renewed(Renewal::Stolen, &self.held);
        tracing::error!(
            subnets = %self.held.lease.subnets, thief = by,
            "this node's lease was taken: pods here are cut off from other nodes. Routes and rules stay; the lease comes \
             back when the other node gives it up (delete its key), or restart this daemon to get another subnet"
        );
        self.standing.send_replace(Standing::Stolen(by));
    }

    fn regained(&mut self) {
        let lost = self.standing.send_replace(Standing::Held) != Standing::Held;
        if lost {
            tracing::warn!(subnets = %self.held.lease.subnets, "the lease is this node's again");
        }
    }
}

/// Whether the snapshot is so new that the lease must be in it, and it is.
fn has(snapshot: &Snapshot, held: &Held) -> bool {
    snapshot.revision >= held.lease.revision
}

fn report_outage(view: &View, reachable: &mut bool) {
    match (&view.state, *reachable) {
        (StoreState::Stale { why, .. }, true) => {
            tracing::warn!(%why, "the store is out of reach: everything stays as it is");
            *reachable = false;
        }
        (StoreState::Live, false) => {
            tracing::info!("the store is live");
            *reachable = true;
        }
        (StoreState::Stale { .. }, false) | (StoreState::Live, true) => {}
    }
}

/// Decides whether a store that lacks leases is believed.
#[derive(Debug, Default)]
struct Grace {
    until: Option<Instant>,
    config_was_gone: bool,
}

impl Grace {
    /// A store without its network configuration, or without this node's own lease, lost more than one node's lease by
    /// that node's leaving. The others put theirs back as this node does; their routes wait for it.
    fn judge(&mut self, config: ConfigKey, own: Own, now: Instant) -> Removals {
        if config == ConfigKey::Absent {
            self.config_was_gone = true;
            return Removals::Held;
        }
        if own == Own::Missing || std::mem::take(&mut self.config_was_gone) {
            self.until = Some(now + GRACE);
        }
        self.until.filter(|until| *until > now).map_or(Removals::Allowed, Removals::HeldUntil)
    }
}

/// What the settling loop was told last. A renewal of some peer, which changes nothing but a revision, is no reason to compare
/// all routes.
#[derive(Debug, Default)]
struct Told(Option<View>);

impl Told {
    /// Whether the view is to be passed on. Each loss of the own lease puts removals off anew.
    fn is_news(&mut self, view: &View, own: Own) -> bool {
        let is_news = own == Own::Missing || self.0.as_ref().is_none_or(|last| !last.says_the_same(view));
        // The later one of two that say the same, so that the earlier one's memory is free.
        self.0 = Some(view.clone());
        is_news
    }
}

/// Whether a snapshot has this node's lease, whoever it names as its holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Own {
    Present,
    Missing,
}

impl From<&Result<(), StoreError>> for Own {
    fn from(checked: &Result<(), StoreError>) -> Self {
        if matches!(checked, Err(StoreError::Gone { .. })) { Own::Missing } else { Own::Present }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_outlive_a_store_that_lost_its_data_until_the_nodes_are_back() {
        let start = Instant::now();
        let mut grace = Grace::default();
        assert_eq!(grace.judge(ConfigKey::Present, Own::Present, start), Removals::Allowed);
        assert_eq!(grace.judge(ConfigKey::Absent, Own::Missing, start), Removals::Held);
        assert_eq!(grace.judge(ConfigKey::Absent, Own::Present, start + GRACE * 9), Removals::Held);
        let back = start + GRACE * 10;
        let until = Removals::HeldUntil(back + GRACE);
        assert_eq!(grace.judge(ConfigKey::Present, Own::Present, back), until);
        assert_eq!(grace.judge(ConfigKey::Present, Own::Present, back + GRACE / 2), until);
        assert_eq!(grace.judge(ConfigKey::Present, Own::Present, back + GRACE), Removals::Allowed);
    }

    #[test]
    fn a_renewal_of_some_peer_makes_no_comparison_of_all_routes() {
        let view = |revision, config| {
            let snapshot = Some(Snapshot { revision, ..Snapshot::default() }.into());
            View { snapshot, state: StoreState::Live, config }
        };
        let mut told = Told::default();
        assert!(told.is_news(&view(1, ConfigKey::Present), Own::Present));
        assert!(!told.is_news(&view(2, ConfigKey::Present), Own::Present));
        assert!(told.is_news(&view(3, ConfigKey::Present), Own::Missing), "removals wait anew");
        assert!(told.is_news(&view(4, ConfigKey::Absent), Own::Present));
    }

    #[test]
    fn leases_deleted_together_with_ours_get_time_to_come_back() {
        let start = Instant::now();
        let mut grace = Grace::default();
        let held = Removals::HeldUntil(start + GRACE);
        assert_eq!(grace.judge(ConfigKey::Present, Own::Missing, start), held);
        assert_eq!(grace.judge(ConfigKey::Present, Own::Present, start + GRACE / 2), held);
    }
}
