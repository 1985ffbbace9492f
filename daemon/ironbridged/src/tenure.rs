//! Keeping the lease: renewing it in time, putting it back when it is gone, and standing by when another node took it.
//!
//! The data path outlives the lease. Pods hold addresses of this subnet, so a lost lease is never a reason to take
//! another subnet, to remove routes or to end: the same subnet is put back as soon as it is free.

mod grace;

use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use overlay::{Lease, LeaseAttributes, Snapshot};
use tokio::sync::watch;
use tokio::time::sleep_until;

use crate::eyes::{Eyes, Renewal};
use crate::settle::Input;
use crate::store::{Backoff, Held, LEASE_TTL, LeaseStore, Store, StoreError, StoreState, View, same_address};
use crate::uplink::Chosen;

use grace::{Grace, Own};

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
    /// Addresses that the lease does not tell yet.
    moved: Option<Chosen>,
    standing: watch::Sender<Standing>,
    eyes: Eyes,
}

impl Tenure {
    /// Takes over a lease that was just acquired.
    pub fn new(store: Store, held: Held, margin: Duration, eyes: Eyes) -> (Self, watch::Receiver<Standing>) {
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
                moved: None,
                standing,
                eyes,
            },
            seen,
        )
    }

    /// Keeps it until the watcher or the settling loop is gone.
    pub async fn keep(
        mut self,
        mut views: watch::Receiver<View>,
        mut moves: watch::Receiver<Chosen>,
        settle: Sender<Input>,
    ) {
        let mut reachable = true;
        loop {
            tokio::select! {
                () = sleep_until(self.due.into()) => self.attend().await,
                Ok(()) = moves.changed() => {
                    let chosen = moves.borrow_and_update().clone();
                    self.eyes.moved(&chosen);
                    self.moved = Some(chosen);
                    self.store.reconnect();
                    self.attend().await;
                }
                changed = views.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let view = views.borrow_and_update().clone();
                    report_outage(&view, &mut reachable);
                    if !self.look(&view, &settle).await {
                        return;
                    }
                }
            }
        }
    }

    /// What is due: telling the peers of a new address, else the renewal.
    async fn attend(&mut self) {
        match self.moved.take() {
            None => self.renew().await,
            Some(chosen) => self.publish(chosen).await,
        }
    }

    /// Writes the new address into the lease, under its own key and if it is still as it was read: the peers replace one
    /// next hop by the other.
    async fn publish(&mut self, chosen: Chosen) {
        let attributes = chosen.publish(&self.held.lease.attributes);
        let lease = self.newest(&attributes);
        let known = self.told.snapshot().and_then(|snapshot| holder(snapshot, &self.held, &attributes));
        let written = match known.map(ToString::to_string) {
            Some(lease) => Err(StoreError::AddressInUse { lease }),
            None => self.store.retake(&lease, &attributes, self.held.ttl).await,
        };
        match written {
            Ok(held) => {
                tracing::info!(lease = %held.lease, "the new address is published");
                self.due = held.renew_at(self.margin);
                self.held = held;
                self.retry.reset();
                self.eyes.renewed(Renewal::Moved, &self.held);
                self.regained();
            }
            Err(error) => {
                self.eyes.failed(&error);
                tracing::warn!(%error, "the new address cannot be published, will try again");
                if error.is_race() {
                    // Finds out what was written meanwhile, and whether it is theft.
                    self.renew().await;
                }
                self.moved = Some(chosen);
                self.due = Instant::now() + self.retry.pause();
            }
        }
    }

    /// The lease as it was last seen, also after a write whose answer did not arrive.
    fn newest(&self, attributes: &LeaseAttributes) -> Lease {
        let held = &self.held.lease;
        let is_ours = |seen: &&Lease| {
            let written = [&held.attributes, attributes].contains(&&seen.attributes);
            seen.subnets == held.subnets && seen.revision > held.revision && written
        };
        let seen = self.told.snapshot().and_then(|snapshot| snapshot.iter().find(is_ours));
        seen.unwrap_or(held).clone()
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

/// Whoever else publishes what these attributes publish.
fn holder<'a>(snapshot: &'a Snapshot, held: &Held, attributes: &LeaseAttributes) -> Option<&'a Lease> {
    let others = snapshot.iter().filter(|lease| lease.subnets != held.lease.subnets);
    others.into_iter().find(|lease| same_address(&lease.attributes, attributes))
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

/// What the settling loop was told last. A renewal of some peer, which changes nothing but a revision, is no reason to compare
/// all routes.
#[derive(Debug, Default)]
struct Told(Option<View>);

impl Told {
    fn snapshot(&self) -> Option<&Snapshot> {
        self.0.as_ref()?.snapshot.as_deref()
    }

    /// Whether the view is to be passed on. Each loss of the own lease puts removals off anew.
    fn is_news(&mut self, view: &View, own: Own) -> bool {
        let is_news = own == Own::Missing || self.0.as_ref().is_none_or(|last| !last.says_the_same(view));
        // The later one of two that say the same, so that the earlier one's memory is free.
        self.0 = Some(view.clone());
        is_news
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::ConfigKey;

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
}
