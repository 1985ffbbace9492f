//! The demo's world: nodes on an underlay, and an outside that knows no pod. All of it nameless network namespaces.

use std::net::Ipv4Addr;

use ipnetwork::{IpNetwork, Ipv4Network};
use kernel::{Bridge, Dad, Netns, Route, Rtnl, Veth, sysctl};

use super::error::Error;

/// The underlay, TEST-NET-1 of RFC 5737.
const UNDERLAY: [u8; 3] = [192, 0, 2];
/// Prefix length of the underlay.
const UNDERLAY_LEN: u8 = 24;
/// Last byte of the outside's address on the underlay: the nodes' default gateway.
const GATEWAY: u8 = 1;
/// Last byte of the address of the underlay itself, where the store listens.
const STORE: u8 = 2;
/// Last byte of the first node's address.
const FIRST_NODE: u8 = 11;
/// An address that is in no network of nodes and pods: TEST-NET-2.
pub const OUTSIDE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// Where the underlay's bridge is.
const SWITCH: &str = "underlay";
/// Name of every node's uplink.
pub const UPLINK: &str = "eth0";

/// Every namespace but those of the pods.
pub struct World {
    /// The switch between the nodes.
    pub underlay: Netns,
    /// Beyond the nodes: no route to any pod.
    pub outside: Netns,
    /// The nodes, in order.
    pub nodes: Vec<Node>,
}

/// One node.
pub struct Node {
    /// `node1`, `node2`, …
    pub name: String,
    /// Its namespace.
    pub netns: Netns,
    /// Its address on the underlay.
    pub address: Ipv4Addr,
}

impl World {
    /// Makes the world with so many nodes.
    pub fn make(nodes: u8) -> Result<Self, Error> {
        let underlay = Netns::new_nameless()?;
        let mut switch = Rtnl::open_in(&underlay)?;
        switch.create_bridge(&Bridge { name: SWITCH, mac: None, mtu: None })?;
        let index = index_of(&mut switch, SWITCH)?;
        raise_lo(&mut switch)?;
        switch.add_address(index, on_underlay(STORE)?, Dad::Skip)?;
        switch.set_link_up(index)?;
        let outside = Netns::new_nameless()?;
        let mut rtnl = plug(&mut switch, index, ("outside", &outside), GATEWAY)?;
        rtnl.add_address(LO, host(OUTSIDE)?, Dad::Skip)?;
        let nodes = (0..nodes).map(|i| Node::make(&mut switch, index, i)).collect::<Result<_, _>>()?;
        Ok(Self { underlay, outside, nodes })
    }

    /// Where a store on the underlay listens.
    pub fn store_address() -> Ipv4Addr {
        at_underlay(STORE)
    }

    /// The network between the nodes.
    pub fn underlay_network() -> String {
        format!("{}/{UNDERLAY_LEN}", at_underlay(0))
    }
}

impl Node {
    fn make(switch: &mut Rtnl, index: u32, number: u8) -> Result<Self, Error> {
        let name = format!("node{}", u16::from(number) + 1);
        let netns = Netns::new_nameless()?;
        let mut rtnl = plug(switch, index, (&name, &netns), FIRST_NODE + number)?;
        let gateway = at_underlay(GATEWAY).into();
        rtnl.add_route(&Route { gateway: Some(gateway), ..Route::to(everywhere()?) })?;
        netns.run(|| sysctl::ensure("net/ipv4/ip_forward", "1"))??;
        Ok(Self { name, netns, address: at_underlay(FIRST_NODE + number) })
    }
}

/// `LOOPBACK_IFINDEX` of the kernel: `lo` has it in every namespace.
const LO: u32 = 1;

fn raise_lo(rtnl: &mut Rtnl) -> Result<(), Error> {
    Ok(rtnl.set_link_up(LO)?)
}

/// Connects a namespace to the switch, and gives its uplink an address.
fn plug(
    switch: &mut Rtnl,
    controller: u32,
    (name, netns): (&str, &Netns),
    last_byte: u8,
) -> Result<Rtnl, Error> {
    switch.create_veth(&Veth {
        host_name: name,
        host_mac: None,
        peer_name: UPLINK,
        peer_mac: None,
        peer_netns: netns,
        mtu: None,
        controller: Some(controller),
        start: kernel::Start::Up,
    })?;
    let mut rtnl = Rtnl::open_in(netns)?;
    raise_lo(&mut rtnl)?;
    let index = index_of(&mut rtnl, UPLINK)?;
    rtnl.add_address(index, on_underlay(last_byte)?, Dad::Skip)?;
    rtnl.set_link_up(index)?;
    Ok(rtnl)
}

fn index_of(rtnl: &mut Rtnl, name: &str) -> Result<u32, Error> {
    let link = rtnl.link(name)?;
    link.map(|l| l.index).ok_or_else(|| Error::Absent { what: format!("the link {name}") })
}

fn at_underlay(last: u8) -> Ipv4Addr {
    let [a, b, c] = UNDERLAY;
    Ipv4Addr::new(a, b, c, last)
}

fn on_underlay(last: u8) -> Result<IpNetwork, Error> {
    network(at_underlay(last), UNDERLAY_LEN)
}

fn host(address: Ipv4Addr) -> Result<IpNetwork, Error> {
    network(address, 32)
}

fn everywhere() -> Result<IpNetwork, Error> {
    network(Ipv4Addr::UNSPECIFIED, 0)
}

fn network(address: Ipv4Addr, prefix: u8) -> Result<IpNetwork, Error> {
    let network = Ipv4Network::new(address, prefix);
    network.map(IpNetwork::V4).map_err(|_| Error::Absent { what: format!("a prefix length of {prefix}") })
}
