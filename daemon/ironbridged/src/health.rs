//! `/healthz`, `/readyz` and `/metrics`: whether the daemon runs, whether it has done what the plugins wait for, and figures.

use std::io;
use std::net::SocketAddr;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use serde::Serialize;
use tokio::net::TcpListener;

use crate::eyes::{self, Sight};

use crate::selftest::SelfTest;

/// What `/readyz` tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// `subnet.env` is written and the peers of the first snapshot are programmed.
    pub ready: bool,
    /// What is being waited for, when it is not ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<String>,
    /// The lease, when there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease: Option<String>,
    /// Why the store does not answer at present.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<String>,
    /// Routes to peers.
    pub routes: usize,
    /// Leases of nodes with another backend, which are ignored.
    pub other_backends: usize,
    /// What a probe through the tunnel found, when there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub self_test: Option<SelfTest>,
    /// What could not be put right.
    pub problems: Vec<String>,
}

impl Status {
    /// Not ready, and why.
    pub fn waiting(for_what: impl Into<String>) -> Self {
        Status {
            ready: false,
            waiting: Some(for_what.into()),
            lease: None,
            store: None,
            routes: 0,
            other_backends: 0,
            self_test: None,
            problems: Vec::new(),
        }
    }

    /// One line for people.
    pub fn line(&self) -> String {
        let lease = self.lease.as_deref().unwrap_or("no lease yet");
        let verdict = match &self.waiting {
            None => format!("ready: {lease}, {} routes to peers", self.routes),
            Some(waiting) => format!("not ready: {waiting}"),
        };
        let store = self.store.iter().map(|why| format!("; store out of reach: {why}"));
        let number = self.problems.len();
        let first = self.problems.first().map(|first| format!("; {number} to mend, first: {first}"));
        let line: String = [verdict].into_iter().chain(store).chain(first).collect();
        // A line ends the assignment in sd_notify's protocol.
        line.replace('\n', " ")
    }
}

/// The address of the health server is not to be had.
#[derive(Debug, thiserror::Error)]
#[error("the health server cannot listen on {address} (--healthz-ip, --healthz-port): {source}")]
pub struct HealthError {
    address: SocketAddr,
    source: io::Error,
}

/// Binds the address, then serves as long as the runtime lives.
pub async fn serve(address: SocketAddr, sight: Sight) -> Result<(), HealthError> {
    let listener = TcpListener::bind(address).await.map_err(|source| HealthError { address, source })?;
    let app = axum::Router::new()
        .route("/healthz", get(async || "flanneld is running"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(sight);
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(())
}

async fn readyz(State(sight): State<Sight>) -> impl IntoResponse {
    let status = sight.status.borrow().clone();
    let code = if status.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    // Text, a number and a flag: nothing that JSON cannot say.
    let body = serde_json::to_string(&status).unwrap_or_default();
    (code, [(header::CONTENT_TYPE, "application/json")], body)
}

async fn metrics(State(sight): State<Sight>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, eyes::CONTENT_TYPE)], sight.metrics())
}
