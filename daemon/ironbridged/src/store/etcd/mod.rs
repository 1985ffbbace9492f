//! The etcd v3 store: flannel's keys, values and time to live, so that flanneld and this daemon share a cluster.
//!
//! - `<prefix>/config` is the network configuration, `<prefix>/subnets/<key>` one lease, kept by an etcd lease of 24 h.
//! - A key without an etcd lease is a reservation; that is known from the key itself, with no call for it.
//! - A renewal reads the key, compares its owner and keeps the key's etcd lease alive: nothing is written, so no
//!   watcher in the cluster wakes up, and no etcd lease is left over. flannel grants a new one for each renewal and
//!   each start and leaves the old one to expire (flannel-behaviour §5.3); here one is left over only by a crash in the one
//!   round trip between grant and transaction, because a restart takes the key over together with its etcd lease.
//! - Endpoints are used one at a time, the next one after a failure: a balanced channel sends a part of all requests
//!   to an endpoint that is down.

mod connect;
mod ends;
mod failure;
mod fold;
mod lease;
mod options;
mod session;
mod tls;
mod watch;

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use overlay::{Lease, LeaseAttributes, NetworkConfig, Snapshot, Subnets};
use tokio::sync::watch as channel;

pub use options::{EtcdOptions, Secret, Timing, TlsFiles, User};

use self::session::Session;
use self::watch::Followed;
use super::{Held, LeaseStore, StoreError, View};

/// Leases in an etcd cluster.
#[derive(Debug)]
pub struct EtcdStore {
    session: Session,
    /// The last snapshot with what happens after it, for the watcher to go on from.
    followed: Option<Box<Followed>>,
}

impl EtcdStore {
    /// A store that connects at its first use.
    #[must_use]
    pub fn new(options: EtcdOptions) -> Self {
        if !options.is_encrypted() && options.tls != TlsFiles::default() {
            tracing::warn!(endpoints = ?options.endpoints, "certificates are given but the endpoints are http: not encrypted");
        }
        EtcdStore { session: Session::new(options), followed: None }
    }

    /// Takes a new connection for the next request: one from an address that this node lost would hang.
    pub fn reconnect(&mut self) {
        self.session.reconnect();
    }

    /// How long each lease still lasts, by the last part of its key; see [`ends::ends`].
    pub(super) async fn ends(&mut self) -> Result<BTreeMap<String, Duration>, StoreError> {
        Box::pin(ends::ends(&mut self.session)).await
    }
}

// The client's futures are large: boxed here, so that no caller's future grows by them.
impl LeaseStore for EtcdStore {
    async fn config(&mut self) -> Result<NetworkConfig, StoreError> {
        let key = self.session.options().config_key();
        match Box::pin(self.session.read(&key)).await? {
            None => Err(StoreError::NoConfig { key }),
            Some(found) => {
                NetworkConfig::parse(&found.value).map_err(|source| StoreError::BadConfig { key, source })
            }
        }
    }

    async fn snapshot(&mut self) -> Result<Snapshot, StoreError> {
        self.followed = None;
        let followed = Box::new(Box::pin(Followed::begin(&mut self.session)).await?);
        Ok(self.followed.insert(followed).snapshot())
    }

    async fn snapshot_at(&mut self, revision: i64) -> Result<Snapshot, StoreError> {
        if let Some(followed) = &mut self.followed
            && Box::pin(followed.reach(&mut self.session, revision)).await.is_ok()
        {
            return Ok(followed.snapshot());
        }
        self.snapshot().await
    }

    async fn create(
        &mut self,
        subnets: &Subnets,
        attributes: &LeaseAttributes,
        ttl: Duration,
    ) -> Result<Held, StoreError> {
        Box::pin(lease::create(&mut self.session, subnets, attributes, ttl)).await
    }

    async fn retake(
        &mut self,
        lease: &Lease,
        attributes: &LeaseAttributes,
        ttl: Duration,
    ) -> Result<Held, StoreError> {
        Box::pin(lease::retake(&mut self.session, lease, attributes, ttl)).await
    }

    async fn renew(&mut self, held: &Held) -> Result<Held, StoreError> {
        Box::pin(lease::renew(&mut self.session, held)).await
    }

    async fn delete(&mut self, lease: &Lease) -> Result<(), StoreError> {
        Box::pin(lease::delete(&mut self.session, lease)).await
    }

    fn watch(&mut self, views: channel::Sender<View>) -> impl Future<Output = ()> + Send + 'static {
        Box::pin(watch::run(self.session.another(), self.followed.take().map(|followed| *followed), views))
    }
}
