//! What the settling loop works on, and where it found it last.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use ipnetwork::IpNetwork;
use overlay::{Ends, LeaseAttributes, NetworkConfig, Previous, Secret, Subnets, Uplink};

use crate::start::Joined;
use crate::uplink::Chosen;

/// What the loop works on; of it the uplink alone changes in the daemon's life.
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
    /// The uplink's name.
    pub uplink: String,
    /// The uplink's addresses that carry the peers' traffic.
    pub published: Vec<IpAddr>,
}

impl Assignment {
    /// For a node that joined; `previous` is what an earlier run left.
    pub fn new(joined: &Joined, previous: &Previous) -> Self {
        let Joined { config, chosen, secret, held } = joined;
        let networks = config.v4.iter().chain(&config.v6).map(|family| family.network);
        Assignment {
            own: held.lease.subnets,
            attributes: held.lease.attributes.clone(),
            secret: *secret,
            scope: networks.chain(previous.networks.iter()).collect(),
            uplink: chosen.uplink.name.clone(),
            published: chosen.carriers(),
            config: config.clone(),
        }
    }

    /// The uplink was chosen anew.
    pub fn moved(&mut self, chosen: &Chosen) {
        self.uplink.clone_from(&chosen.uplink.name);
        self.published = chosen.carriers();
        self.attributes = chosen.publish(&self.attributes);
    }
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
