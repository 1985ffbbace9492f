//! The underlay: nodes on one bridge, in a namespace of its own that is also "the outside world".

use std::net::IpAddr;

use crate::node::Node;
use crate::space::Space;

/// The name of a node's interface on the underlay.
const UPLINK: &str = "eth0";

/// N nodes, each with `eth0` on one segment: node 0 is 192.168.50.1 and `fd50::1`, and so on.
///
/// The hub carries the segment's bridge; it is 192.168.50.254 and `fd50::fe`, every node's default gateway, and knows
/// no way back to a pod network: traffic from a pod reaches it only through masquerade.
pub struct Underlay {
    hub: Node,
    nodes: Vec<Node>,
}

impl Underlay {
    /// The hub and `count` nodes, cabled and addressed.
    #[must_use]
    pub fn new(count: usize) -> Self {
        let hub = Node::new("hub");
        hub.run("ip link add segment type bridge");
        hub.run("ip link set segment up");
        hub.run("ip address add 192.168.50.254/24 dev segment");
        hub.run("ip address add fd50::fe/64 dev segment nodad");
        let mut underlay = Self { hub, nodes: Vec::new() };
        for index in 0..count {
            underlay.nodes.push(Node::new(&format!("node{index}")));
            underlay.cable(index);
        }
        underlay
    }

    /// The outside world.
    #[must_use]
    pub fn hub(&self) -> &Node {
        &self.hub
    }

    /// The address of the hub, IPv4.
    #[must_use]
    pub fn hub_ip(&self) -> &'static str {
        "192.168.50.254"
    }

    /// One node.
    #[must_use]
    pub fn node(&self, index: usize) -> &Node {
        &self.nodes[index]
    }

    /// All nodes.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// A node's IPv4 address on the segment.
    #[must_use]
    pub fn ipv4(&self, index: usize) -> IpAddr {
        format!("192.168.50.{}", index + 1).parse().expect("an IPv4 address")
    }

    /// A node's IPv6 address on the segment.
    #[must_use]
    pub fn ipv6(&self, index: usize) -> IpAddr {
        format!("fd50::{:x}", index + 1).parse().expect("an IPv6 address")
    }

    /// Makes a node's uplink, gives it its addresses and the default routes.
    fn cable(&self, index: usize) {
        let node = &self.nodes[index];
        let port = format!("port{index}");
        let path = node.path();
        self.hub.run(&format!("ip link add {port} type veth peer name {UPLINK} netns {path}"));
        self.hub.run(&format!("ip link set {port} master segment up"));
        self.configure(index);
        // The new interface has a new address; a real one announces itself once its port forwards.
        for neighbour in self.nodes.iter().chain([&self.hub]) {
            neighbour.run("ip neigh flush all");
        }
    }

    fn configure(&self, index: usize) {
        let node = &self.nodes[index];
        node.run(&format!("ip address replace {}/24 dev {UPLINK}", self.ipv4(index)));
        node.run(&format!("ip address replace {}/64 dev {UPLINK} nodad", self.ipv6(index)));
        node.run(&format!("ip link set {UPLINK} up"));
        node.run(&format!("ip route replace default via 192.168.50.254 dev {UPLINK}"));
        node.run(&format!("ip -6 route replace default via fd50::fe dev {UPLINK}"));
    }

    /// Takes the node's own interface down: the kernel drops its routes.
    pub fn link_down(&self, index: usize) {
        self.nodes[index].run(&format!("ip link set {UPLINK} down"));
    }

    /// Takes the node's interface up again, with its addresses and default routes as a network manager would.
    pub fn link_up(&self, index: usize) {
        self.configure(index);
    }

    /// Pulls the cable: carrier is lost, the node's configuration stays.
    pub fn unplug(&self, index: usize) {
        self.hub.run(&format!("ip link set port{index} down"));
    }

    /// Puts the cable back.
    pub fn plug(&self, index: usize) {
        self.hub.run(&format!("ip link set port{index} up"));
    }

    /// Deletes the node's interface and makes a new one with the same name and addresses.
    pub fn recreate_uplink(&self, index: usize) {
        self.nodes[index].run(&format!("ip link delete {UPLINK}"));
        self.cable(index);
    }

    /// Replaces a node by a new machine with the same address: nothing of the old one is left.
    pub fn replace_node(&mut self, index: usize) {
        self.hub.run(&format!("ip link delete port{index}"));
        self.nodes[index] = Node::new(&format!("node{index}"));
        self.cable(index);
    }

    /// Adds one more node and returns its index.
    pub fn add_node(&mut self) -> usize {
        let index = self.nodes.len();
        self.nodes.push(Node::new(&format!("node{index}")));
        self.cable(index);
        index
    }
}
