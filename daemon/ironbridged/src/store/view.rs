//! What a watcher of a store sees: the last complete snapshot, and whether it is still fresh.

use std::sync::Arc;
use std::time::Instant;

use overlay::{Lease, Snapshot};
use tokio::sync::watch;

/// The store as last seen, complete.
#[derive(Debug, Clone)]
pub struct View {
    /// The leases; `None` until the first complete read, so that nobody takes "not read yet" for "nobody there".
    pub snapshot: Option<Arc<Snapshot>>,
    /// Whether changes are arriving.
    pub state: StoreState,
    /// Whether the network configuration is still there.
    pub config: ConfigKey,
}

/// Whether a view follows its store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreState {
    /// Changes arrive as they happen.
    Live,
    /// The store is out of reach; the snapshot is what it last held.
    Stale {
        /// When the store stopped answering, or when the watch began.
        since: Instant,
        /// The last attempt's error.
        why: String,
    },
}

/// Whether the key of the network configuration was there at the last full read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigKey {
    /// Not read yet.
    Unknown,
    /// It was there.
    Present,
    /// It was not.
    Absent,
}

impl View {
    /// A channel whose view says that nothing was read yet.
    #[must_use]
    pub fn channel() -> (watch::Sender<View>, watch::Receiver<View>) {
        let state = StoreState::Stale { since: Instant::now(), why: "not read yet".to_owned() };
        watch::channel(View { snapshot: None, state, config: ConfigKey::Unknown })
    }

    /// No lease and no network configuration, read as such: the store lost its data, or never had any.
    #[must_use]
    pub fn is_wiped(&self) -> bool {
        self.config == ConfigKey::Absent
            && self.snapshot.as_ref().is_some_and(|s| s.leases.is_empty() && s.junk.is_empty())
    }

    /// Whether both have the same leases with the same words, whatever their revisions: then there is nothing to compare
    /// with the kernel.
    #[must_use]
    pub fn says_the_same(&self, other: &View) -> bool {
        let same = match (&self.snapshot, &other.snapshot) {
            (Some(a), Some(b)) => says_the_same(a, b),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        same && self.config == other.config
    }

    /// A complete read arrived. Receivers are woken by a new revision even if nothing else is different from before: a
    /// lease that was put back and deleted again between two views looks like one that was never put back, and only the
    /// revision tells its owner.
    pub(super) fn publish(views: &watch::Sender<View>, snapshot: Snapshot, config: ConfigKey) {
        views.send_if_modified(|view| {
            let same = view.snapshot.as_deref().is_some_and(|old| *old == snapshot);
            if same && view.state == StoreState::Live && view.config == config {
                return false;
            }
            *view = View { snapshot: Some(Arc::new(snapshot)), state: StoreState::Live, config };
            true
        });
    }

    /// The store does not answer: the snapshot stays, and so does the moment when this began.
    pub(super) fn publish_outage(views: &watch::Sender<View>, why: &str) {
        views.send_if_modified(|view| {
            let since = match &view.state {
                StoreState::Stale { why: known, .. } if known == why => return false,
                StoreState::Stale { since, .. } => *since,
                StoreState::Live => Instant::now(),
            };
            view.state = StoreState::Stale { since, why: why.to_owned() };
            true
        });
    }
}

fn says_the_same(old: &Snapshot, new: &Snapshot) -> bool {
    let same = |(a, b): (&Arc<Lease>, &Arc<Lease>)| {
        Arc::ptr_eq(a, b)
            || (a.subnets == b.subnets && a.reserved == b.reserved && a.attributes == b.attributes)
    };
    old.leases.len() == new.leases.len()
        && old.leases.iter().zip(&new.leases).all(same)
        && old.junk == new.junk
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(revision: i64) -> Snapshot {
        let subnets = overlay::Subnets::parse_key("10.5.1.0-24").unwrap();
        let attributes = overlay::LeaseAttributes::parse(br#"{"PublicIP":"192.0.2.1"}"#).unwrap();
        let lease = Lease { subnets, attributes, reserved: false, revision };
        Snapshot { revision, leases: vec![lease.into()], junk: vec![] }
    }

    #[test]
    fn an_outage_keeps_the_snapshot_and_the_moment_it_began() {
        let (views, seen) = View::channel();
        assert!(seen.borrow().snapshot.is_none());
        View::publish(&views, snapshot(1), ConfigKey::Present);
        View::publish_outage(&views, "first");
        let StoreState::Stale { since, .. } = seen.borrow().state.clone() else { panic!("still live") };
        View::publish_outage(&views, "second");
        assert_eq!(seen.borrow().state, StoreState::Stale { since, why: "second".to_owned() });
        assert_eq!(seen.borrow().snapshot.as_deref(), Some(&snapshot(1)));
    }

    #[test]
    fn a_later_state_that_looks_like_the_last_one_is_news_to_the_owner_of_a_lease_and_to_nobody_else() {
        let (views, mut seen) = View::channel();
        View::publish(&views, snapshot(1), ConfigKey::Present);
        let before = seen.borrow_and_update().clone();
        View::publish(&views, snapshot(1), ConfigKey::Present);
        assert!(!seen.has_changed().unwrap());
        View::publish(&views, snapshot(2), ConfigKey::Present);
        assert!(seen.has_changed().unwrap());
        assert!(seen.borrow_and_update().says_the_same(&before));
        View::publish(&views, Snapshot::default(), ConfigKey::Present);
        assert!(!seen.borrow_and_update().says_the_same(&before));
        View::publish(&views, snapshot(3), ConfigKey::Absent);
        assert!(!seen.borrow().says_the_same(&before), "the configuration is gone");
    }

    #[test]
    fn only_an_empty_store_without_configuration_is_wiped() {
        let (views, seen) = View::channel();
        assert!(!seen.borrow().is_wiped(), "nothing was read yet");
        View::publish(&views, Snapshot::default(), ConfigKey::Present);
        assert!(!seen.borrow().is_wiped());
        View::publish(&views, Snapshot::default(), ConfigKey::Absent);
        assert!(seen.borrow().is_wiped());
    }
}
