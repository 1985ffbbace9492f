//! What a reader has: the shared value, the daemon's verdict, and a way to the store; and `/metrics` out of them.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use overlay::NetworkConfig;
use tokio::sync::watch;

use super::metrics::Metrics;
use super::{Eyes, Seen, unix, whole};
use crate::health::Status;
use crate::store::{Store, StoreState, View};
use crate::tenure::Standing;

/// What a reader needs: the shared value and the daemon's own verdict.
#[derive(Debug, Clone)]
pub struct Sight {
    /// What the parts told.
    pub eyes: Eyes,
    /// Whether it is ready, and why not.
    pub status: watch::Receiver<Status>,
    /// A way to the store of its own, for those who ask: it connects when the first one does.
    pub store: Arc<tokio::sync::Mutex<Store>>,
}

impl Sight {
    /// The text of `/metrics`.
    pub fn metrics(&self) -> String {
        let metrics = &self.eyes.0.metrics;
        let status = self.status.borrow().clone();
        metrics.ready.set(i64::from(status.ready));
        metrics.problems.set(whole(status.problems.len()));
        let seen = self.eyes.seen();
        let end = seen.held.as_ref().and_then(|held| held.expires);
        metrics.lease_expiry.set(end.map_or(0.0, in_unix_time));
        if let Some((views, standing)) = &seen.channels {
            metrics.lease_held.set(i64::from(*standing.borrow() == Standing::Held));
            show_store(metrics, &views.borrow(), &seen);
        }
        metrics.text()
    }
}

fn show_store(metrics: &Metrics, view: &View, seen: &Seen) {
    let stale = match &view.state {
        StoreState::Live => None,
        StoreState::Stale { since, .. } => Some(since.elapsed()),
    };
    metrics.store_up.set(i64::from(stale.is_none()));
    metrics.store_stale.set(stale.unwrap_or_default().as_secs_f64());
    let Some(snapshot) = &view.snapshot else { return };
    metrics.store_revision.set(snapshot.revision);
    metrics.leases.set(whole(snapshot.leases.len()));
    metrics.junk.set(whole(snapshot.junk.len()));
    let own = seen.held.as_ref().map(|held| held.lease.subnets);
    metrics.peers.set(whole(snapshot.leases.iter().filter(|lease| Some(lease.subnets) != own).count()));
    for (family, range) in seen.place.iter().flat_map(|place| families(&place.config)) {
        let (all, free) = overlay::free_subnets(&range, snapshot);
        metrics.subnets.get_or_create(&[("family", family)]).set(i64::try_from(all).unwrap_or(i64::MAX));
        metrics
            .subnets_free
            .get_or_create(&[("family", family)])
            .set(i64::try_from(free).unwrap_or(i64::MAX));
    }
}

/// The families of a network, with their names in the metrics.
pub fn families(config: &NetworkConfig) -> impl Iterator<Item = (&'static str, overlay::FamilyConfig)> {
    config.v4.map(|family| ("ipv4", family)).into_iter().chain(config.v6.map(|family| ("ipv6", family)))
}

/// A moment that is to come, as seconds since 1970.
fn in_unix_time(moment: Instant) -> f64 {
    unix(SystemTime::now() + moment.saturating_duration_since(Instant::now()))
}
