//! What the daemon tells of itself to an operator: one document, written by `ironbridged`, read by `ironbridge`.
//!
//! A member that a reader does not know is ignored and one that a writer left out is empty, so that both may be of
//! different versions.

use serde::{Deserialize, Serialize};

/// The whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Overview {
    /// The daemon's version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Since when it runs.
    pub up_seconds: u64,
    /// `subnet.env` is written, the peers are programmed and the lease is this node's.
    pub ready: bool,
    /// What is being waited for, when it is not ready.
    pub waiting: Option<String>,
    /// This node as its peers see it.
    pub node: NodeOverview,
    /// The network configuration.
    pub network: NetworkOverview,
    /// Where the leases live.
    pub store: StoreOverview,
    /// Every lease of the last complete snapshot.
    pub leases: Vec<LeaseOverview>,
    /// Routes that should be there, and routes of ours that are, read from the kernel when this was asked for.
    pub routes: Vec<RouteOverview>,
    /// The last comparison with the kernel.
    pub last_pass: Option<PassOverview>,
    /// What could not be put right, each with its cause and what to do.
    pub problems: Vec<String>,
}

/// This node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeOverview {
    /// `--node-name`.
    pub name: Option<String>,
    /// The link that leads to the other nodes.
    pub uplink: String,
    /// Why that one.
    pub why: String,
    /// What `subnet.env` tells the pods, in bytes.
    pub mtu: u32,
    /// What peers use.
    pub public_ip: Option<String>,
    /// What peers use for IPv6.
    pub public_ipv6: Option<String>,
    /// This node's subnets.
    pub subnets: Vec<String>,
    /// Whether they are this node's at present: `held`, `missing` or `taken by …`.
    pub standing: String,
}

/// The network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkOverview {
    /// How nodes reach each other.
    pub backend: String,
    /// One entry a family.
    pub ranges: Vec<RangeOverview>,
}

/// The subnets of one family that nodes can lease.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RangeOverview {
    /// The whole cluster network.
    pub network: String,
    /// How many subnets there are.
    pub subnets: u64,
    /// How many of them nobody has.
    pub free: u64,
}

/// The store as last seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StoreOverview {
    /// Whether changes arrive.
    pub live: bool,
    /// How long they do not.
    pub stale_seconds: u64,
    /// Why they do not.
    pub why: Option<String>,
    /// The revision of the last complete snapshot.
    pub revision: i64,
}

/// One lease.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LeaseOverview {
    /// The subnets.
    pub subnets: Vec<String>,
    /// The node's address.
    pub public_ip: Option<String>,
    /// The node's IPv6 address.
    pub public_ipv6: Option<String>,
    /// The backend that the node announces.
    pub backend: String,
    /// The node's name, if it gave one.
    pub node: Option<String>,
    /// Whether it is this node's.
    pub own: bool,
    /// Whether it never ends.
    pub reserved: bool,
    /// How long ago it was last written; when `age_is_least`, that long at least.
    pub age_seconds: u64,
    /// The lease is older than this daemon's knowledge.
    pub age_is_least: bool,
    /// When it ends unless it is renewed; absent where that is not known.
    pub expires_in_seconds: Option<u64>,
}

/// One route.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RouteOverview {
    /// What it leads to.
    pub destination: String,
    /// Through whom.
    pub gateway: Option<String>,
    /// Whether it is as it should be.
    pub state: RouteState,
}

/// A route that should be there against the one that is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RouteState {
    /// It is there.
    #[default]
    Present,
    /// It should be there and is not.
    Missing,
    /// It is there, with our mark, and nobody wants it any more.
    Surplus,
}

/// One comparison with the kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PassOverview {
    /// When it ended.
    pub seconds_ago: u64,
    /// How long it took.
    pub microseconds: u64,
    /// Whether everything was as it should be at its end.
    pub done: bool,
}
