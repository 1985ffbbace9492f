//! What there is to show of a node: read from its kernel and from what the daemon wrote.

use std::path::Path;

use kernel::{RouteFilter, Rtnl};
use overlay::Previous;

use super::error::{At, Error};
use super::pods::Pod;
use super::world::Node;

/// One node's box in the picture.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// Name.
    pub name: String,
    /// Address on the underlay.
    pub address: String,
    /// The node's subnet, as its daemon wrote it.
    pub subnet: String,
    /// Gateway of its pods.
    pub gateway: String,
    /// `(name, address)`.
    pub pods: Vec<(String, String)>,
    /// `(destination, next hop)` of the daemon's routes in the node's kernel.
    pub routes: Vec<(String, String)>,
}

impl View {
    /// Looks at a node.
    pub fn of(node: &Node, subnet_file: &Path, pods: &[&Pod]) -> Result<Self, Error> {
        let text = std::fs::read_to_string(subnet_file).at("read", subnet_file)?;
        let subnet = Previous::parse(&text).subnets.v4;
        let mut rtnl = Rtnl::open_in(&node.netns)?;
        let filter = RouteFilter { protocol: Some(overlay::ROUTE_PROTOCOL), ..RouteFilter::default() };
        let routes = rtnl.routes(filter)?;
        let gateway = pods.iter().find_map(|pod| pod.gateway);
        Ok(Self {
            name: node.name.clone(),
            address: node.address.to_string(),
            subnet: subnet.map(|s| s.to_string()).unwrap_or_default(),
            gateway: gateway.map(|g| g.to_string()).unwrap_or_default(),
            pods: pods.iter().map(|pod| (pod.name.clone(), pod.address.to_string())).collect(),
            routes: routes
                .iter()
                .filter_map(|route| Some((route.destination.to_string(), route.gateway?.to_string())))
                .collect(),
        })
    }
}
