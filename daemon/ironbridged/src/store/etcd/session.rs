//! A connection that is made when needed and dropped when it failed, with the reads that everything else is built on.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use etcd_client::{GetOptions, Txn, TxnOp, TxnOpResponse};

use super::connect::{Connection, bounded, connect};
use super::failure;
use super::fold::{Entry, Fold};
use super::options::EtcdOptions;
use crate::store::{ConfigKey, StoreError};

/// The way to the cluster.
pub(super) struct Session {
    options: Arc<EtcdOptions>,
    position: usize,
    connection: Option<Box<Connection>>,
}

/// One key with what etcd knows about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) value: Vec<u8>,
    pub(super) revision: i64,
    /// The etcd lease that keeps the key; `None` for a reservation.
    pub(super) lease: Option<i64>,
}

/// All leases, and whether the network configuration is there, at one revision.
pub(super) struct Listing {
    pub(super) fold: Fold,
    pub(super) config: ConfigKey,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Session").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Session {
    pub(super) fn new(options: EtcdOptions) -> Self {
        Session { options: Arc::new(options), position: 0, connection: None }
    }

    /// A session of its own that begins with the present connection.
    pub(super) fn another(&self) -> Self {
        Session {
            options: self.options.clone(),
            position: self.position,
            connection: self.connection.clone(),
        }
    }

    pub(super) fn options(&self) -> &EtcdOptions {
        &self.options
    }

    /// The present connection, or a new one.
    pub(super) async fn connection(&mut self) -> Result<Connection, StoreError> {
        if let Some(connection) = &self.connection {
            return Ok(Connection::clone(connection));
        }
        let connection = Box::pin(connect(&self.options, &mut self.position)).await?;
        self.connection = Some(Box::new(connection.clone()));
        Ok(connection)
    }

    /// Waits for an answer, at most as long as a request may take. After a failure of the way the next request takes
    /// a new connection to the next endpoint.
    pub(super) async fn ask<T>(
        &mut self,
        doing: &str,
        question: impl Future<Output = Result<T, etcd_client::Error>>,
    ) -> Result<T, StoreError> {
        let answer = bounded(&self.options.name(), doing, self.options.timing.request, question).await;
        if let Err(error) = &answer {
            self.note(error);
        }
        answer
    }

    /// Drops the connection if this error says that it is of no more use.
    pub(super) fn note(&mut self, error: &StoreError) {
        if error.is_outage() || matches!(error, StoreError::Credentials { .. }) {
            self.connection = None;
            self.position = self.position.wrapping_add(1);
        }
    }

    /// Takes a new connection for the next request.
    pub(super) fn reconnect(&mut self) {
        self.connection = None;
    }

    /// The client's error as ours.
    pub(super) fn classify(&self, doing: &str, error: &etcd_client::Error) -> StoreError {
        failure::classify(&self.options.name(), doing, error)
    }

    /// An outage that the server told in words rather than by an error.
    pub(super) fn outage(&self, doing: &str, why: &str) -> StoreError {
        StoreError::Unavailable { store: self.options.name(), doing: doing.to_owned(), why: why.to_owned() }
    }

    /// A missing permission that the server told in words rather than by an error.
    pub(super) fn denial(&self, doing: &str, why: &str) -> StoreError {
        StoreError::Denied { store: self.options.name(), doing: doing.to_owned(), why: why.to_owned() }
    }

    /// One key.
    pub(super) async fn read(&mut self, key: &str) -> Result<Option<Found>, StoreError> {
        match self.read_once(key).await {
            // A connection that broke while nobody used it shows only now; a read may safely be asked again.
            Err(error) if error.is_outage() => self.read_once(key).await,
            answer => answer,
        }
    }

    async fn read_once(&mut self, key: &str) -> Result<Option<Found>, StoreError> {
        let mut kv = self.connection().await?.kv;
        let doing = format!("read {key}");
        let answer = self.ask(&doing, kv.get(key, None)).await?;
        Ok(answer.kvs().first().map(|kv| Found {
            value: kv.value().to_vec(),
            revision: kv.mod_revision(),
            lease: Some(kv.lease()).filter(|id| *id != 0),
        }))
    }

    /// Every lease by one request.
    pub(super) async fn list(&mut self) -> Result<Listing, StoreError> {
        match self.list_once().await {
            Err(error) if error.is_outage() => self.list_once().await,
            answer => answer,
        }
    }

    async fn list_once(&mut self) -> Result<Listing, StoreError> {
        let mut kv = self.connection().await?.kv;
        let prefix = self.options.leases_prefix();
        let both = Txn::new().and_then([
            TxnOp::get(prefix.as_str(), Some(GetOptions::new().with_prefix())),
            TxnOp::get(self.options.config_key(), Some(GetOptions::new().with_count_only())),
        ]);
        let doing = format!("read all leases under {prefix}");
        let answer = self.ask(&doing, kv.txn(both)).await?;
        let incomplete = || self.outage(&doing, "the answer is incomplete");
        let revision = answer.header().ok_or_else(incomplete)?.revision();
        let mut parts = answer.op_responses().into_iter();
        let (Some(TxnOpResponse::Get(leases)), Some(TxnOpResponse::Get(config))) =
            (parts.next(), parts.next())
        else {
            return Err(incomplete());
        };
        let mut fold = Fold::new(&prefix, revision);
        for kv in leases.kvs() {
            fold.put(&Entry {
                key: kv.key(),
                value: kv.value(),
                revision: kv.mod_revision(),
                lease: kv.lease(),
            });
        }
        let config = if config.count() > 0 { ConfigKey::Present } else { ConfigKey::Absent };
        Ok(Listing { fold, config })
    }
}
