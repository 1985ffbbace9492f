//! What the settling loop is told, and what it reports.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use overlay::Snapshot;
use tokio::sync::oneshot;

use crate::uplink::Chosen;

/// What the loop is told.
#[derive(Debug)]
pub enum Input {
    /// A complete snapshot of the store, and whether routes of leases that it lacks may go.
    Snapshot(Arc<Snapshot>, Removals),
    /// Something changed in the kernel that may concern us.
    Kernel,
    /// This node has another public address.
    Moved(Box<Chosen>),
    /// Somebody wants to know whether the loop still turns.
    Asked(oneshot::Sender<()>),
}

/// Whether routes may be removed. A store that lost its data says that everybody left: until the nodes have put their
/// leases back, what is in the kernel is worth more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removals {
    /// Yes.
    Allowed,
    /// Not before that moment.
    HeldUntil(Instant),
    /// Not until a later snapshot says so.
    Held,
}

/// What the last pass found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Whether the peers of a complete snapshot were programmed.
    pub settled: bool,
    /// Subnets of peers that should be reached.
    pub routes: usize,
    /// Leases of nodes with another backend, which are ignored.
    pub other_backends: usize,
    /// The MTU for pods, as the kernel has it on what carries them.
    pub mtu: Option<u32>,
    /// The addresses of the peers' tunnel ends, a few.
    pub ends: Vec<IpAddr>,
    /// What could not be put right.
    pub problems: Vec<String>,
}
