//! What can go wrong with a store, by cause, so that a caller can tell an outage from a lost race and both from theft.

use std::path::PathBuf;
use std::time::Duration;

use overlay::{AcquireError, ConfigError, Subnets};

/// A store's refusal or failure. No text ever holds a password.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the message of each variant is its documentation")]
pub enum StoreError {
    #[error("{store}: cannot {doing}: {why}")]
    Unavailable { store: String, doing: String, why: String },
    #[error("{store}: no answer within {after:?} to {doing}")]
    TimedOut { store: String, doing: String, after: Duration },
    #[error("{store}: the login is refused: {why}; check --etcd-username and --etcd-password")]
    Credentials { store: String, why: String },
    #[error(
        "{store}: not allowed to {doing}: {why}; the etcd user needs read and write on the whole --etcd-prefix"
    )]
    Denied { store: String, doing: String, why: String },
    #[error("{store}: refuses to {doing}: {why} (gRPC status {code})")]
    Refused { store: String, doing: String, why: String, code: i32 },
    #[error("{0}")]
    Options(String),
    #[error("cannot {doing} {}: {source}", path.display())]
    File { doing: &'static str, path: PathBuf, source: std::io::Error },
    #[error("{}: {why}", path.display())]
    Unreadable { path: PathBuf, why: String },
    #[error("{}: locked by another process for more than {after:?}", path.display())]
    Locked { path: PathBuf, after: Duration },
    #[error(
        "there is no network configuration at {key}; put one there, as {{\"Network\":\"10.5.0.0/16\",\"Backend\":{{\"Type\":\"host-gw\"}}}}"
    )]
    NoConfig { key: String },
    #[error("the network configuration at {key} is refused: {source}")]
    BadConfig { key: String, source: ConfigError },
    #[error("the lease for {subnets} exists already: another node was faster")]
    Taken { subnets: Subnets },
    #[error("the lease for {subnets} was changed since it was read")]
    Changed { subnets: Subnets },
    #[error("the lease for {subnets} is gone: it expired or somebody deleted it")]
    Gone { subnets: Subnets },
    #[error("the lease for {subnets} now belongs to {by}")]
    Stolen { subnets: Subnets, by: String },
    #[error(
        "the lease {lease} publishes the same address; give each node its own, or delete that lease's key if its node is gone"
    )]
    AddressInUse { lease: String },
    #[error(
        "{} holds fixed leases and none of them is for {subnets}; add one with this node's public address",
        path.display()
    )]
    Fixed { path: PathBuf, subnets: Subnets },
    #[error(transparent)]
    Acquire(#[from] AcquireError),
    #[error("{attempts} attempts to get a lease were all lost to other nodes; the last one: {last}")]
    Contended { attempts: usize, last: Box<StoreError> },
}

impl StoreError {
    /// Whether the same request may well succeed later without anybody's doing: keep what there is and try again.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        matches!(
            self,
            StoreError::Unavailable { .. }
                | StoreError::TimedOut { .. }
                | StoreError::File { .. }
                | StoreError::Unreadable { .. }
                | StoreError::Locked { .. }
                | StoreError::Contended { .. }
        )
    }

    /// Whether another node's write came between a read and ours: read again and decide anew.
    #[must_use]
    pub fn is_race(&self) -> bool {
        matches!(self, StoreError::Taken { .. } | StoreError::Changed { .. } | StoreError::Gone { .. })
    }
}
