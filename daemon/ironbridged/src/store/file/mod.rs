//! Leases in files on this machine: the embedded default for one machine, for the demo, and for a small fixed cluster.
//!
//! `file:PATH` is one of two things.
//!
//! **A directory** (made when absent), with the same lease semantics as etcd:
//!
//! | file | holds |
//! | --- | --- |
//! | `config` | the network configuration, as at etcd's `<prefix>/config` |
//! | `subnets/<key>` | one lease's value, the bytes that etcd would hold; its modification time is its revision |
//! | `expiry/<key>` | when that lease ends, in seconds since 1970; a lease without this file is a reservation |
//! | `clock` | when this boot of the machine was, by the first who looked: ends are counted from it, so that setting the clock ends no lease |
//! | `lock` | nothing: whoever reads or writes the others holds `flock(2)` on it |
//!
//! An administrator makes a reservation by writing the file under `subnets`, and turns a lease into one by removing its
//! file under `expiry`. Ended leases are removed by whoever reads next. All nodes need the same clock, which they have:
//! this store is for nodes on one machine.
//!
//! **A JSON file**, `{"config":{…},"leases":{"10.5.1.0-24":{"PublicIP":"192.0.2.1","BackendType":"host-gw"}}}`, with
//! leases that are fixed: each node takes the one with its public address, and none is ever written. The file may
//! be changed at any time, best by renaming a new one into place; one that does not parse changes nothing.

mod clock;
mod count;
mod directory;
mod fixed;
mod lease;
mod lock;
mod notice;
mod watch;

use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use overlay::{Lease, LeaseAttributes, NetworkConfig, Snapshot, Subnets};
use tokio::sync::watch as channel;

pub use clock::{Clock, Moment};

use self::directory::Locked;
use self::lock::Root;
use super::{ConfigKey, Held, LeaseStore, StoreError, View};

/// Leases in a directory or a JSON file.
#[derive(Debug, Clone)]
pub struct FileStore {
    place: Place,
    clock: Clock,
}

#[derive(Debug, Clone)]
enum Place {
    Directory(Root),
    Fixed(PathBuf),
}

/// A full read.
struct Reading {
    snapshot: Snapshot,
    config: ConfigKey,
    /// How long until the next lease ends.
    next_end: Option<Duration>,
}

impl FileStore {
    /// The store at a path: a JSON file if that is what is there or what the name says, else a directory, which the
    /// first use makes if it is absent.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        FileStore::with_clock(path, Clock::system())
    }

    /// The same with a clock of one's own.
    #[must_use]
    pub fn with_clock(path: &Path, clock: Clock) -> Self {
        let is_json = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("json"));
        let place = if path.is_file() || (is_json && !path.is_dir()) {
            Place::Fixed(path.to_owned())
        } else {
            Place::Directory(Root::new(path))
        };
        FileStore { place, clock }
    }

    /// How long each lease still lasts, by its key.
    pub(super) async fn ends(&self) -> Result<BTreeMap<String, Duration>, StoreError> {
        match &self.place {
            Place::Fixed(_) => Ok(BTreeMap::new()),
            Place::Directory(root) => root.locked(&self.clock, Locked::ends).await,
        }
    }

    async fn read(&self) -> Result<Reading, StoreError> {
        match &self.place {
            Place::Fixed(path) => fixed::read(path, self.clock.now().day).await,
            Place::Directory(root) => root.locked(&self.clock, Locked::read_all).await,
        }
    }
}

impl LeaseStore for FileStore {
    async fn config(&mut self) -> Result<NetworkConfig, StoreError> {
        let (text, key) = match &self.place {
            Place::Fixed(path) => (fixed::config(path).await?, format!("\"config\" in {}", path.display())),
            Place::Directory(root) => {
                let text = root.locked(&self.clock, |locked, _| locked.config()).await?;
                (text, root.path().join(directory::CONFIG).display().to_string())
            }
        };
        match text {
            None => Err(StoreError::NoConfig { key }),
            Some(text) => NetworkConfig::parse(&text).map_err(|source| StoreError::BadConfig { key, source }),
        }
    }

    async fn snapshot(&mut self) -> Result<Snapshot, StoreError> {
        Ok(self.read().await?.snapshot)
    }

    async fn snapshot_at(&mut self, _: i64) -> Result<Snapshot, StoreError> {
        self.snapshot().await
    }

    async fn create(
        &mut self,
        subnets: &Subnets,
        attributes: &LeaseAttributes,
        ttl: Duration,
    ) -> Result<Held, StoreError> {
        match &self.place {
            Place::Fixed(path) => Err(StoreError::Fixed { path: path.clone(), subnets: *subnets }),
            Place::Directory(root) => {
                let wish = lease::Wish::new(subnets, attributes, ttl);
                root.locked(&self.clock, move |locked, now| wish.create(locked, now)).await
            }
        }
    }

    async fn retake(
        &mut self,
        lease: &Lease,
        attributes: &LeaseAttributes,
        ttl: Duration,
    ) -> Result<Held, StoreError> {
        match &self.place {
            Place::Fixed(path) => fixed::retake(path, lease, ttl).await,
            Place::Directory(root) => {
                let wish = lease::Wish::new(&lease.subnets, attributes, ttl);
                let revision = lease.revision;
                root.locked(&self.clock, move |locked, now| wish.retake(locked, revision, now)).await
            }
        }
    }

    async fn renew(&mut self, held: &Held) -> Result<Held, StoreError> {
        match &self.place {
            Place::Fixed(path) => fixed::renew(path, held).await,
            Place::Directory(root) => {
                let held = held.clone();
                root.locked(&self.clock, move |locked, now| lease::renew(locked, &held, now)).await
            }
        }
    }

    async fn delete(&mut self, lease: &Lease) -> Result<(), StoreError> {
        match &self.place {
            Place::Fixed(path) => Err(StoreError::Fixed { path: path.clone(), subnets: lease.subnets }),
            Place::Directory(root) => {
                let lease = lease.clone();
                root.locked(&self.clock, move |locked, now| lease::delete(locked, &lease, now)).await
            }
        }
    }

    fn watch(&mut self, views: channel::Sender<View>) -> impl Future<Output = ()> + Send + 'static {
        watch::run(self.clone(), views)
    }
}
