//! Where leases live: one trait over an etcd cluster that flannel may share and over files, handing out whole snapshots.
//!
//! What the daemon may rely on:
//! - A read that fails is an error. It is never an empty snapshot.
//! - A watcher's [`View`] keeps the last complete snapshot while the store is out of reach, and says since when and why.
//! - An empty snapshot is what the store really holds: it is read again before it is handed out. When even the network
//!   configuration is gone ([`View::is_wiped`]) somebody lost the store's data rather than removed every node: keep the
//!   data path, put the own lease back with [`acquire()`], and let peers reappear as they do the same.
//! - The own lease is told apart by [`Held::check`] on every snapshot and by [`LeaseStore::renew`]: `Gone` (expired or
//!   deleted: acquire again, with the present subnets as the previous ones) or `Stolen` (another node answers for the
//!   subnet now: stop announcing it).

mod acquire;
mod backoff;
mod error;
pub mod etcd;
pub mod file;
mod held;
mod view;

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use overlay::{Lease, LeaseAttributes, NetworkConfig, Snapshot, Subnets};
use tokio::sync::watch;

pub use acquire::{Application, acquire, same_address};
pub use backoff::{Backoff, random_below};
pub use error::StoreError;
pub use etcd::{EtcdOptions, EtcdStore, Secret, Timing, TlsFiles, User};
pub use file::{Clock, FileStore, Moment};
pub use held::Held;
pub use view::{ConfigKey, StoreState, View};

/// How long a lease lasts without renewal: flannel's 24 hours, which it does not let anybody configure.
pub const LEASE_TTL: Duration = Duration::from_hours(24);

/// A place that holds the network configuration and one lease a node.
pub trait LeaseStore: Send + 'static {
    /// The network configuration as it is now.
    fn config(&mut self) -> impl Future<Output = Result<NetworkConfig, StoreError>> + Send;

    /// Every lease at one moment, in one read.
    fn snapshot(&mut self) -> impl Future<Output = Result<Snapshot, StoreError>> + Send;

    /// Every lease at the moment of that revision, or of a later one, after a [`LeaseStore::snapshot`]: of a store that
    /// can be followed it costs no further read.
    fn snapshot_at(&mut self, revision: i64) -> impl Future<Output = Result<Snapshot, StoreError>> + Send;

    /// Writes a lease that must not exist yet; [`StoreError::Taken`] when somebody was faster.
    fn create(
        &mut self,
        subnets: &Subnets,
        attributes: &LeaseAttributes,
        ttl: Duration,
    ) -> impl Future<Output = Result<Held, StoreError>> + Send;

    /// Takes over a lease of a snapshot with these attributes, if it is still as the snapshot had it
    /// ([`StoreError::Changed`], [`StoreError::Gone`]). A reservation stays without a time to live.
    fn retake(
        &mut self,
        lease: &Lease,
        attributes: &LeaseAttributes,
        ttl: Duration,
    ) -> impl Future<Output = Result<Held, StoreError>> + Send;

    /// Extends a lease after looking whether it is still this node's; [`StoreError::Stolen`] or [`StoreError::Gone`] if not.
    fn renew(&mut self, held: &Held) -> impl Future<Output = Result<Held, StoreError>> + Send;

    /// Deletes a lease of a snapshot if it is still as the snapshot had it. One that is gone already is deleted.
    fn delete(&mut self, lease: &Lease) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Keeps `views` at the newest complete snapshot until every receiver is dropped. Reconnects by itself, for ever. Goes
    /// on from the last snapshot, where the store can.
    fn watch(&mut self, views: watch::Sender<View>) -> impl Future<Output = ()> + Send + 'static;
}

/// The stores that there are.
#[derive(Debug)]
pub enum Store {
    /// An etcd cluster by its v3 interface.
    Etcd(EtcdStore),
    /// A directory or a JSON file on this machine.
    File(FileStore),
}

impl Store {
    /// This node has another address: what was connected from the former one is of no more use.
    pub fn reconnect(&mut self) {
        match self {
            Store::Etcd(store) => store.reconnect(),
            Store::File(_) => {}
        }
    }

    /// How long each lease still lasts, by the last part of its key: for people who ask. Nothing is kept of it.
    pub async fn ends(&mut self) -> Result<BTreeMap<String, Duration>, StoreError> {
        match self {
            Store::Etcd(store) => store.ends().await,
            Store::File(store) => store.ends().await,
        }
    }
}

impl LeaseStore for Store {
    async fn config(&mut self) -> Result<NetworkConfig, StoreError> {
        match self {
            Store::Etcd(store) => store.config().await,
            Store::File(store) => store.config().await,
        }
    }

    async fn snapshot(&mut self) -> Result<Snapshot, StoreError> {
        match self {
            Store::Etcd(store) => store.snapshot().await,
            Store::File(store) => store.snapshot().await,
        }
    }

    async fn snapshot_at(&mut self, revision: i64) -> Result<Snapshot, StoreError> {
        match self {
            Store::Etcd(store) => store.snapshot_at(revision).await,
            Store::File(store) => store.snapshot_at(revision).await,
        }
    }

    async fn create(
        &mut self,
        subnets: &Subnets,
        attributes: &LeaseAttributes,
        ttl: Duration,
    ) -> Result<Held, StoreError> {
        match self {
            Store::Etcd(store) => store.create(subnets, attributes, ttl).await,
            Store::File(store) => store.create(subnets, attributes, ttl).await,
        }
    }

    async fn retake(
        &mut self,
        lease: &Lease,
        attributes: &LeaseAttributes,
        ttl: Duration,
    ) -> Result<Held, StoreError> {
        match self {
            Store::Etcd(store) => store.retake(lease, attributes, ttl).await,
            Store::File(store) => store.retake(lease, attributes, ttl).await,
        }
    }

    async fn renew(&mut self, held: &Held) -> Result<Held, StoreError> {
        match self {
            Store::Etcd(store) => store.renew(held).await,
            Store::File(store) => store.renew(held).await,
        }
    }

    async fn delete(&mut self, lease: &Lease) -> Result<(), StoreError> {
        match self {
            Store::Etcd(store) => store.delete(lease).await,
            Store::File(store) => store.delete(lease).await,
        }
    }

    fn watch(&mut self, views: watch::Sender<View>) -> impl Future<Output = ()> + Send + 'static {
        let watching = match self {
            Store::Etcd(store) => (Some(store.watch(views)), None),
            Store::File(store) => (None, Some(store.watch(views))),
        };
        async move {
            match watching {
                (Some(etcd), _) => etcd.await,
                (None, Some(file)) => file.await,
                (None, None) => {}
            }
        }
    }
}
