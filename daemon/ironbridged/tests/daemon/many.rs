//! Many peers, two networks on one node, and an uplink that moves: what only a real kernel can say.

use std::fmt::Write;
use std::path::Path;

use kernel::{Bridge, Dad, Rtnl};

use super::world::{SOON, World, eventually, replace};

const V4: &str = r#"{"Network":"10.3.0.0/16","Backend":{"Type":"host-gw"}}"#;

/// A fixed cluster of nodes 192.0.2.1, 192.0.2.2, …
fn fixed(path: &Path, network: u8, nodes: u8) {
    let mut leases = String::new();
    for n in 1..=nodes {
        let comma = if n == 1 { "" } else { "," };
        write!(
            leases,
            r#"{comma}"10.{network}.{n}.0-24":{{"PublicIP":"192.0.2.{n}","BackendType":"host-gw"}}"#
        )
        .unwrap();
    }
    let config = format!(r#"{{"Network":"10.{network}.0.0/16","Backend":{{"Type":"host-gw"}}}}"#);
    replace(path, &format!(r#"{{"config":{config},"leases":{{{leases}}}}}"#));
}

#[test]
fn many_peers_share_nexthop_objects_and_leave_none_behind() {
    let world = World::new(1, V4);
    let one = world.node(1);
    let cluster = world.folder.path().join("cluster.json");
    fixed(&cluster, 3, 200);
    let _daemon = one.ready(&[&format!("-store=file:{}", cluster.display())]);
    let routes = one.wait_routes(199, SOON);
    assert_eq!(one.rtnl().nexthops().unwrap().len(), 199);
    one.delete_object_route(&routes[7]);
    one.wait_routes(199, SOON);
    let object = one.rtnl().nexthops().unwrap()[7];
    one.rtnl().delete_nexthop(object.id).unwrap();
    one.wait_routes(199, SOON);
    fixed(&cluster, 3, 150);
    one.wait_routes(149, SOON * 3);
    let objects = || Some(one.rtnl().nexthops().unwrap().len()).filter(|count| *count == 149);
    eventually(SOON, objects).unwrap();
    fixed(&cluster, 3, 1);
    one.wait_routes(0, SOON * 3);
    eventually(SOON, || one.rtnl().nexthops().unwrap().is_empty().then_some(())).unwrap();
}

#[test]
fn two_daemons_for_two_networks_leave_each_other_alone() {
    let world = World::new(1, V4);
    let one = world.node(1);
    let start = |network: u8| {
        let cluster = world.folder.path().join(format!("{network}.json"));
        fixed(&cluster, network, 150);
        let file = world.folder.path().join(format!("{network}.env"));
        let flags =
            [format!("-store=file:{}", cluster.display()), format!("-subnet-file={}", file.display())];
        let daemon = one.start(&[&flags[0], &flags[1], "-ip-masq"]);
        eventually(super::world::START, || file.exists().then_some(()))
            .unwrap_or_else(|| panic!("{}", daemon.log()));
        daemon
    };
    let first = start(3);
    one.wait_routes(149, SOON);
    let _second = start(4);
    one.wait_routes(298, SOON);
    drop(first);
    let first = start(3);
    one.wait_routes(298, SOON);
    assert!(!first.log().contains("route set"), "{}", first.log());
}

#[test]
fn an_uplink_that_became_a_bridge_port_is_followed() {
    let world = World::new(2, V4);
    let _daemons: Vec<_> = world.nodes.iter().map(|node| node.ready(&[])).collect();
    let one = world.node(1);
    let routes = one.wait_routes(1, SOON);
    let mut rtnl: Rtnl = one.rtnl();
    rtnl.create_bridge(&Bridge { name: "br-up", mac: None, mtu: None }).unwrap();
    let bridge = rtnl.link("br-up").unwrap().unwrap().index;
    rtnl.set_link_up(bridge).unwrap();
    let address = "192.0.2.1/24".parse().unwrap();
    rtnl.set_link_controller(one.uplink(), Some(bridge)).unwrap();
    rtnl.delete_address(one.uplink(), address).unwrap();
    rtnl.add_address(bridge, address, Dad::Skip).unwrap();
    let through = || one.route_link(routes[0].0).filter(|link| *link == bridge);
    assert_eq!(eventually(SOON, through), Some(bridge));
}
