//! Nodes that want leases.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ironbridged::store::{Application, Held, LeaseStore, StoreError, acquire};
use overlay::{Lease, LeaseAttributes, NetworkConfig, Node, Subnets};

/// A node as a daemon on it describes itself.
#[derive(Debug, Clone)]
pub struct Applicant {
    pub node: Node,
    pub attributes: LeaseAttributes,
    pub ttl: Duration,
}

/// Which addresses a node with IPv6 has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressFamilies {
    Both,
    Ipv6,
}

impl Applicant {
    /// Node `number` of a cluster, with a name.
    pub fn new(number: u8) -> Self {
        Applicant::named(number, Some(&format!("node-{number}")))
    }

    /// A node with this address and name.
    pub fn named(number: u8, name: Option<&str>) -> Self {
        let public_ip = Ipv4Addr::new(192, 0, 2, number);
        let name = name.map(ToOwned::to_owned);
        let node = Node { public_ip, public_ipv6: None, name: name.clone(), previous: None, pods: None };
        let attributes = LeaseAttributes {
            public_ip,
            public_ipv6: None,
            backend_type: "host-gw".to_owned(),
            backend_data: None,
            backend_v6_data: None,
            node: name,
        };
        Applicant { node, attributes, ttl: Duration::from_hours(24) }
    }

    /// The same node with an IPv6 address.
    pub fn with_ipv6(mut self, families: AddressFamilies) -> Self {
        let number = u16::from(self.node.public_ip.octets()[3]);
        self.node.public_ipv6 = Some(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, number));
        if families == AddressFamilies::Ipv6 {
            self.node.public_ip = Ipv4Addr::UNSPECIFIED;
        }
        self.attributes.public_ip = self.node.public_ip;
        self.attributes.public_ipv6 = self.node.public_ipv6;
        self
    }

    /// The same node with another time to live.
    pub fn with_ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// The same node that remembers its subnets.
    pub fn with_previous(mut self, subnets: Subnets) -> Self {
        self.node.previous = Some(subnets);
        self
    }

    /// Gets a lease with the store's configuration.
    pub async fn acquire<S: LeaseStore>(&self, store: &mut S) -> Result<Held, StoreError> {
        let config: NetworkConfig = store.config().await?;
        let Applicant { node, attributes, ttl } = self;
        let publish = |_: Option<&Lease>| attributes.clone();
        let application = Application { config: &config, node, publish: &publish, ttl: *ttl };
        acquire(store, &application).await
    }
}
