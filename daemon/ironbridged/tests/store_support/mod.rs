//! What the tests of both lease stores share: the world they act in, and the semantic suite.

pub mod nodes;
pub mod suite;

use std::time::{Duration, Instant};

use ironbridged::store::{LeaseStore, StoreState, View};
use tokio::sync::watch;

/// A store from outside, as an administrator or a flanneld sees it.
pub trait World {
    type Store: LeaseStore;

    /// One more daemon's way to the store.
    fn store(&self) -> Self::Store;
    /// Writes the network configuration.
    async fn put_config(&self, json: &str);
    /// Writes a key under `subnets` without a time to live.
    async fn put(&self, key: &str, value: &str);
    /// Replaces a lease's value and leaves its time to live, as a flanneld that takes it does.
    async fn overwrite(&self, key: &str, value: &str);
    /// Deletes a key under `subnets`.
    async fn remove(&self, key: &str);
    /// A key's value, and whether it has a time to live.
    async fn raw(&self, key: &str) -> Option<(String, bool)>;
    /// Removes everything.
    async fn wipe(&self);
    /// Lets more than this time pass for the store.
    async fn pass(&self, time: Duration);
}

pub const NETWORK: &str = r#"{"Network":"10.5.0.0/16","Backend":{"Type":"host-gw"}}"#;

/// Follows a store in a task that ends with the receiver.
pub fn follow<S: LeaseStore>(store: &mut S) -> watch::Receiver<View> {
    let (views, seen) = View::channel();
    tokio::spawn(store.watch(views));
    seen
}

/// Waits for a view that fits, and tells the last one if none comes.
pub async fn until(seen: &mut watch::Receiver<View>, what: &str, fits: impl Fn(&View) -> bool) -> View {
    within(Duration::from_secs(6), seen, (what, fits)).await
}

/// As [`until`], with a time of one's own.
pub async fn within(
    time: Duration,
    seen: &mut watch::Receiver<View>,
    (what, fits): (&str, impl Fn(&View) -> bool),
) -> View {
    let began = Instant::now();
    let found = tokio::time::timeout(time, seen.wait_for(|view| fits(view))).await.is_ok();
    let view = seen.borrow().clone();
    assert!(found, "not within {:?}: {what}; last seen: {view:#?}", began.elapsed());
    view
}

/// The leases' keys of a view, in order.
pub fn keys(view: &View) -> Vec<String> {
    let leases = view.snapshot.iter().flat_map(|s| &s.leases);
    leases.map(|lease| lease.subnets.to_key()).collect()
}

/// Whether changes are arriving.
pub fn is_live(view: &View) -> bool {
    view.state == StoreState::Live
}
