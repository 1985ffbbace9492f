//! `/healthz` and `/readyz`: whether the daemon runs, and whether it has done what the plugins wait for.

use std::io;
use std::net::SocketAddr;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::watch;

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
}

/// The address of the health server is not to be had.
#[derive(Debug, thiserror::Error)]
#[error("the health server cannot listen on {address} (--healthz-ip, --healthz-port): {source}")]
pub struct HealthError {
    address: SocketAddr,
    source: io::Error,
}

/// Binds the address, then serves as long as the runtime lives.
pub async fn serve(address: SocketAddr, status: watch::Receiver<Status>) -> Result<(), HealthError> {
    let listener = TcpListener::bind(address).await.map_err(|source| HealthError { address, source })?;
    let app = axum::Router::new()
        .route("/healthz", get(async || "flanneld is running"))
        .route("/readyz", get(readyz))
        .with_state(status);
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(())
}

async fn readyz(State(status): State<watch::Receiver<Status>>) -> impl IntoResponse {
    let status = status.borrow().clone();
    let code = if status.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    // Text, a number and a flag: nothing that JSON cannot say.
    let body = serde_json::to_string(&status).unwrap_or_default();
    (code, [(header::CONTENT_TYPE, "application/json")], body)
}
