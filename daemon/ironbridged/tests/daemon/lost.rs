//! Leases that vanish, are stolen or contradict one another: the data path stays.

use std::fs;
use std::time::Duration;

use super::world::{SOON, START, World, eventually, replace};

const V4: &str = r#"{"Network":"10.3.0.0/16","Backend":{"Type":"host-gw"}}"#;

/// The file store looks at least so often, whatever it is told.
const HEARD: Duration = Duration::from_secs(5);

#[test]
fn issue_904_a_deleted_lease_is_put_back_with_the_same_subnet() {
    let world = World::new(2, V4);
    let daemons: Vec<_> = world.nodes.iter().map(|node| node.ready(&[])).collect();
    let one = world.node(1);
    let routes = one.wait_routes(1, SOON);
    let lease = world.lease_of(1);
    fs::remove_file(&lease).unwrap();
    daemons[0].wait_log("put back", HEARD);
    assert!(lease.exists());
    assert_eq!(one.routes(), routes);
}

#[test]
fn a_wiped_store_removes_no_route_and_the_leases_come_back() {
    let world = World::new(3, V4);
    let _daemons: Vec<_> = world.nodes.iter().map(|node| node.ready(&[])).collect();
    let before: Vec<_> = world.nodes.iter().map(|node| node.wait_routes(2, SOON)).collect();
    let leases: Vec<_> = (1..=3).map(|number| world.lease_of(number)).collect();
    for path in leases.iter().chain([&world.store().join("config")]) {
        fs::remove_file(path).unwrap();
    }
    let back = || {
        let now: Vec<_> = world.nodes.iter().map(super::world::Node::routes).collect();
        assert_eq!(now, before, "a route was removed");
        leases.iter().all(|lease| lease.exists()).then_some(())
    };
    eventually(HEARD, back).unwrap();
}

#[test]
fn issue_1343_a_stolen_lease_is_noticed_and_the_data_path_stays() {
    let world = World::new(2, V4);
    let daemons: Vec<_> = world.nodes.iter().map(|node| node.ready(&["-healthz-port=8471"])).collect();
    let one = world.node(1);
    let routes = one.wait_routes(1, SOON);
    let lease = world.lease_of(1);
    let ours = fs::read_to_string(&lease).unwrap();
    replace(&lease, &ours.replace("192.0.2.1", "192.0.2.66"));
    daemons[0].wait_log("this node's lease was taken", HEARD);
    eventually(SOON, || one.readyz().contains("was taken by").then_some(())).unwrap();
    assert_eq!(one.routes(), routes);
    replace(&lease, &ours);
    daemons[0].wait_log("the lease is this node's again", HEARD);
}

#[test]
fn issue_51_a_second_node_with_the_same_address_waits_and_says_who_has_it() {
    let world = World::new(2, V4);
    let one = world.node(1);
    let _first = one.ready(&["-node-name=a"]);
    let two = world.node(2);
    two.rtnl().add_address(two.uplink(), "192.0.2.1/24".parse().unwrap(), kernel::Dad::Skip).unwrap();
    let second = two.start(&["-node-name=b", "-public-ip=192.0.2.1"]);
    second.wait_log("in use by node a", START);
    assert!(!two.subnet_file().exists());
}
