//! The steps before the data path: waiting for the configuration, choosing the uplink, getting the lease.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use kernel::Rtnl;
use overlay::{BackendConfig, Lease, NetworkConfig, Node, Previous, Secret, Subnets};
use tokio::sync::watch;

use crate::error::Error;
use crate::forwarding;
use crate::health::Status;
use crate::key_file::{self, KeyError};
use crate::options::{Options, StoreChoice};
use crate::pods;
use crate::publish::Publisher;
use crate::store::{
    Application, Backoff, EtcdStore, FileStore, Held, LEASE_TTL, LeaseStore, Store, StoreError, acquire,
};
use crate::uplink::{self, Chosen, UplinkError};

/// The first and the longest pause between two attempts at the store.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// This node as a part of the network.
#[derive(Debug)]
pub struct Joined {
    /// The network.
    pub config: NetworkConfig,
    /// The link to the other nodes.
    pub chosen: Chosen,
    /// The private key, where the backend has one.
    pub secret: Option<Secret>,
    /// The lease.
    pub held: Held,
}

/// All steps, up to the lease.
pub async fn join(
    store: &mut Store,
    options: &Options,
    previous: &Previous,
    status: &watch::Sender<Status>,
) -> Result<Joined, Error> {
    let config = config(store, options, status).await;
    let chosen = uplink(options, &config)?;
    for problem in forwarding::ensure(&config, &chosen.uplink.name) {
        tracing::warn!("{problem}");
    }
    let node = identity(options, &chosen, previous.subnets);
    let secret = secret(&config, &options.wireguard_key)?;
    let publisher = Publisher::new((&node, &config), secret.as_ref())?;
    let held = lease(store, (&node, &config), &publisher, status).await;
    Ok(Joined { config, chosen, secret, held })
}

/// Opens the store; nothing is connected yet.
pub fn store(choice: &StoreChoice) -> Store {
    match choice {
        StoreChoice::Etcd(options) => Store::Etcd(EtcdStore::new((**options).clone())),
        StoreChoice::File(path) => Store::File(FileStore::new(path)),
    }
}

/// Waits for the network configuration, for ever: its absence and an outage look alike on a node that boots before its cluster.
async fn config(store: &mut Store, options: &Options, status: &watch::Sender<Status>) -> NetworkConfig {
    let mut attempts = Attempts::new("the network configuration");
    loop {
        match store.config().await {
            Ok(config) => return config,
            Err(error) => attempts.failed(&error, hint(&error, options), status).await,
        }
    }
}

/// The command that puts a configuration where it is missing.
fn hint(error: &StoreError, options: &Options) -> Option<String> {
    match (error, &options.store) {
        (StoreError::NoConfig { key }, StoreChoice::Etcd(etcd)) => Some(format!(
            "ETCDCTL_API=3 etcdctl --endpoints={} put {key} '{{\"Network\":\"10.244.0.0/16\",\"Backend\":{{\"Type\":\"host-gw\"}}}}'",
            etcd.endpoints.join(",")
        )),
        _ => None,
    }
}

/// Chooses the uplink by what the kernel has now.
fn uplink(options: &Options, config: &NetworkConfig) -> Result<Chosen, UplinkError> {
    let node = uplink::observe(&mut Rtnl::open()?, &options.uplink)?;
    let chosen = uplink::choose(&node, &options.uplink, config)?;
    let (v4, v6) = (chosen.v4.map(|ip| ip.to_string()), chosen.v6.map(|ip| ip.to_string()));
    tracing::info!(
        uplink = chosen.uplink.name,
        v4,
        v6,
        mtu = chosen.uplink.mtu,
        why = chosen.why,
        "uplink chosen"
    );
    Ok(chosen)
}

fn secret(config: &NetworkConfig, file: &Path) -> Result<Option<Secret>, KeyError> {
    let BackendConfig::Wireguard(_) = &config.backend else { return Ok(None) };
    key_file::read_or_make(file).map(Some)
}

/// Gets the lease, for ever: a full network and a contested address are mended by people, and then it goes on by itself.
async fn lease(
    store: &mut Store,
    (node, config): (&Node, &NetworkConfig),
    publisher: &Publisher<'_>,
    status: &watch::Sender<Status>,
) -> Held {
    let mut attempts = Attempts::new("a lease");
    let publish = |present: Option<&Lease>| publisher.attributes(present);
    loop {
        // Looked at each time: removing the pods is one of the remedies.
        let pods = node.previous.as_ref().and_then(pods::of_last_run);
        let node = &Node { pods, ..node.clone() };
        let application = Application { config, node, publish: &publish, ttl: LEASE_TTL };
        match acquire(store, &application).await {
            Ok(held) => {
                tracing::info!(subnets = %held.lease.subnets, reserved = held.lease.reserved, "lease acquired");
                return held;
            }
            Err(error) => attempts.failed(&error, None, status).await,
        }
    }
}

/// Who this node is to the store.
fn identity(options: &Options, chosen: &Chosen, previous: Subnets) -> Node {
    Node {
        public_ip: chosen.v4.unwrap_or(Ipv4Addr::UNSPECIFIED),
        public_ipv6: chosen.v6,
        name: options.node_name.clone(),
        previous: Some(previous).filter(|subnets| subnets.iter().next().is_some()),
        pods: None,
    }
}

/// Failures on the way to one thing: each new cause is logged, a lasting one now and then.
struct Attempts {
    what: &'static str,
    pause: Backoff,
    last: Option<String>,
    repeated: u32,
}

/// After how many repetitions a lasting failure is logged again; at the longest pause, about once a minute.
const REMIND: u32 = 6;

impl Attempts {
    fn new(what: &'static str) -> Self {
        Attempts { what, pause: Backoff::new(PAUSE.0, PAUSE.1), last: None, repeated: 0 }
    }

    async fn failed(&mut self, error: &StoreError, hint: Option<String>, status: &watch::Sender<Status>) {
        let text = error.to_string();
        let is_news = self.last.as_ref() != Some(&text);
        self.repeated = if is_news { 0 } else { self.repeated + 1 };
        if self.repeated.is_multiple_of(REMIND) {
            tracing::warn!(error = text, hint, "waiting for {}", self.what);
        }
        status.send_replace(Status::waiting(format!("waiting for {}: {text}", self.what)));
        self.last = Some(text);
        tokio::time::sleep(self.pause.pause()).await;
    }
}
