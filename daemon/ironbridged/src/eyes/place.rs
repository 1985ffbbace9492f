//! Where this node stands in its network, for those who ask.

use overlay::NetworkConfig;

use crate::options::Options;
use crate::uplink::Chosen;

/// Where this node stands, from its lease on.
#[derive(Debug, Clone)]
pub struct Place {
    /// The network.
    pub config: NetworkConfig,
    /// `--node-name`.
    pub name: Option<String>,
    /// The link that leads to the other nodes.
    pub uplink: String,
    /// Why that one.
    pub why: String,
    /// What `subnet.env` tells the pods.
    pub mtu: u32,
}

impl Place {
    /// By what was asked for and what was chosen.
    pub fn new(options: &Options, config: &NetworkConfig, chosen: &Chosen) -> Self {
        Place {
            config: config.clone(),
            name: options.node_name.clone(),
            uplink: chosen.uplink.name.clone(),
            why: chosen.why.clone(),
            mtu: chosen.uplink.mtu,
        }
    }

    /// The uplink was chosen anew.
    pub fn moved(&mut self, chosen: &Chosen) {
        self.uplink.clone_from(&chosen.uplink.name);
        self.why.clone_from(&chosen.why);
    }
}
