//! A connection to one endpoint of the cluster, proved by a question, and the next endpoint when that fails.

use std::future::Future;
use std::time::Duration;

use etcd_client::{Client, ConnectOptions, GetOptions, KvClient, LeaseClient, WatchClient};

use super::failure::{classify, is_auth_off};
use super::options::EtcdOptions;
use super::tls;
use crate::store::StoreError;

/// 100,000 leases in one answer are about 30 MB; the client's own limit of 4 MB would end at some 15,000.
const LARGEST_ANSWER: usize = 256 << 20;

/// The parts of a connected client that a store uses. Cheap to clone.
#[derive(Clone)]
pub(super) struct Connection {
    pub(super) kv: KvClient,
    pub(super) lease: LeaseClient,
    pub(super) watch: WatchClient,
}

/// Connects to the first endpoint that answers, beginning with the one at `position`, and leaves `position` there.
pub(super) async fn connect(options: &EtcdOptions, position: &mut usize) -> Result<Connection, StoreError> {
    let settings = settings(options)?;
    let mut reasons = Vec::new();
    for _ in 0..options.endpoints.len() {
        let Some(endpoint) = options.endpoints.get(*position % options.endpoints.len()) else { break };
        match try_endpoint(options, &settings, endpoint).await {
            Ok(connection) => return Ok(connection),
            Err(error) if error.is_outage() => reasons.push(error),
            Err(error) => return Err(error),
        }
        *position = position.wrapping_add(1);
    }
    match reasons.pop() {
        Some(only) if reasons.is_empty() => Err(only),
        last => {
            reasons.extend(last);
            let why: Vec<String> = reasons.iter().map(ToString::to_string).collect();
            Err(StoreError::Unavailable {
                store: options.name(),
                doing: "connect".to_owned(),
                why: why.join("; "),
            })
        }
    }
}

fn settings(options: &EtcdOptions) -> Result<ConnectOptions, StoreError> {
    let timing = &options.timing;
    let mut settings = ConnectOptions::new()
        .with_connect_timeout(timing.request)
        .with_keep_alive(timing.probe, timing.probe_answer)
        .with_keep_alive_while_idle(true)
        // A member that lost its quorum answers watches with silence unless it is asked to have a leader.
        .with_require_leader(true)
        // etcd's simple tokens end after 5 minutes and with every restart of the server.
        .with_auto_token_refresh(true);
    if options.is_encrypted() {
        settings = settings.with_tls(tls::load(&options.tls)?);
    }
    Ok(settings)
}

async fn try_endpoint(
    options: &EtcdOptions,
    settings: &ConnectOptions,
    endpoint: &str,
) -> Result<Connection, StoreError> {
    let store = format!("etcd at {endpoint}");
    let after = options.timing.request;
    let expired = || StoreError::TimedOut { store: store.clone(), doing: "connect".to_owned(), after };
    let login = tokio::time::timeout(after, log_in(options, settings, endpoint)).await;
    let client = login.map_err(|_| expired())?.map_err(|e| classify(&store, "connect", &e))?;
    let connection = Connection {
        kv: client.kv_client().max_decoding_message_size(LARGEST_ANSWER),
        lease: client.lease_client(),
        watch: client.watch_client().max_decoding_message_size(LARGEST_ANSWER),
    };
    let mut kv = connection.kv.clone();
    // The channel connects lazily. A question through the quorum also finds the member that is cut off from the others.
    let question = kv.get(options.config_key(), Some(GetOptions::new().with_count_only()));
    match bounded(&store, "connect", after, question).await {
        Err(error) if error.is_outage() || matches!(error, StoreError::Credentials { .. }) => Err(error),
        // Any other refusal is an answer; the request that follows reports it in its own words.
        Ok(_) | Err(_) => Ok(connection),
    }
}

async fn log_in(
    options: &EtcdOptions,
    settings: &ConnectOptions,
    endpoint: &str,
) -> Result<Client, etcd_client::Error> {
    let Some(user) = &options.user else {
        return Client::connect([endpoint], Some(settings.clone())).await;
    };
    let with_user = settings.clone().with_user(&user.name, user.password.reveal());
    match Client::connect([endpoint], Some(with_user)).await {
        Err(error) if is_auth_off(&error) => {
            tracing::warn!(
                endpoint,
                user = user.name,
                "etcd has authentication switched off: going on without a login"
            );
            Client::connect([endpoint], Some(settings.clone())).await
        }
        answer => answer,
    }
}

/// An answer within `after`, its error classified.
pub(super) async fn bounded<T>(
    store: &str,
    doing: &str,
    after: Duration,
    question: impl Future<Output = Result<T, etcd_client::Error>>,
) -> Result<T, StoreError> {
    match tokio::time::timeout(after, question).await {
        Ok(answer) => answer.map_err(|e| classify(store, doing, &e)),
        Err(_) => Err(StoreError::TimedOut { store: store.to_owned(), doing: doing.to_owned(), after }),
    }
}
