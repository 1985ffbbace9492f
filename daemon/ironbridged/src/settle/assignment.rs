//! What the settling loop works on, and where it found it last.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use ipnetwork::IpNetwork;
use overlay::{Ends, LeaseAttributes, NetworkConfig, Secret, Subnets, Uplink};

/// What the loop works on, fixed for the daemon's life.
#[derive(Debug)]
pub struct Assignment {
    /// The network.
    pub config: NetworkConfig,
    /// This node's subnets.
    pub own: Subnets,
    /// What its lease tells the peers.
    pub attributes: LeaseAttributes,
    /// The private key of the wireguard backend.
    pub secret: Option<Secret>,
    /// Routes outside these networks are none of our business, even with our mark: another daemon may serve another
    /// network on this node.
    pub scope: Vec<IpNetwork>,
    /// The uplink's name at the start.
    pub uplink: String,
    /// The addresses that peers use.
    pub published: Vec<IpAddr>,
}

/// The interface indices at the last pass, which the thread that listens to the kernel looks at.
#[derive(Debug, Default)]
pub struct Places {
    /// The uplink.
    pub uplink: AtomicU32,
    /// Our tunnel devices; 0 where there is none.
    pub ends: [AtomicU32; 2],
}

impl Places {
    /// Keeps those of a pass.
    pub fn keep(&self, uplink: &Uplink, ends: &Ends) {
        self.uplink.store(uplink.index, Ordering::Relaxed);
        for (place, end) in self.ends.iter().zip([ends.v4, ends.v6]) {
            place.store(end.map_or(0, |end| end.index), Ordering::Relaxed);
        }
    }
}
