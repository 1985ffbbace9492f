//! The vrf plugin behind a bridge. Most of it needs a kernel with VRF; without one it must fail and leave nothing.

use netns_fixtures::{
    Bins, Capability, Network, Pod, Snapshot, Space, Target, assert_ping, assert_same, needs,
};
use serde_json::{Value, json};
use tests::{World, merged};

const OURS: [&str; 3] = ["bridge", "host-local", "vrf"];

fn world() -> World {
    World::with(Bins::only(&OURS))
}

fn network(world: &World, settings: &Value) -> Network {
    let ipam = world.ipam(&["10.66.0.0/24", "fd66::/64"]);
    world
        .bridge(&json!({"isDefaultGateway": true, "ipam": ipam}))
        .plugin(merged(json!({"type": "vrf", "vrfname": "blue"}), settings))
}

#[test]
fn an_interface_moves_with_its_addresses_and_routes_and_comes_back() {
    needs!(Vrf);
    let world = world();
    let pod = Pod::new();
    let (runtime, target) = (world.runtime(), Target::new("c", &pod.path()));
    let network = network(&world, &json!({"table": 77}));
    runtime.add(&network, &target).unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(world.link_field(&pod, "eth0", "/master"), "blue");
    assert_eq!(pod.addresses("eth0"), ["10.66.0.2/24", "fd66::2/64"]);
    let table = pod.run("ip route show table 77") + &pod.run("ip -6 route show table 77");
    assert!(table.contains("default via 10.66.0.1") && table.contains("default via fd66::1"), "{table}");
    pod.run("ip vrf exec blue ping -c 1 -W 2 10.66.0.1");
    runtime.check(&network, &target).unwrap_or_else(|failure| panic!("{failure}"));
    pod.run("ip link set eth0 nomaster");
    assert_eq!(runtime.check(&network, &target).unwrap_err().error().code, 111);
    runtime.del(&network, &target).unwrap_or_else(|failure| panic!("{failure}"));
    assert!(!pod.link_names().contains(&"blue".to_owned()));
}

#[test]
fn two_interfaces_share_a_vrf_and_the_last_takes_it_away() {
    needs!(Vrf);
    let world = world();
    let pod = Pod::new();
    let runtime = world.runtime();
    let network = network(&world, &json!({}));
    let [eth0, net1] = ["eth0", "net1"].map(|name| Target::new("c", &pod.path()).ifname(name));
    let mut second = network.clone();
    second.plugins[0]["isDefaultGateway"] = json!(false);
    runtime.add(&network, &eth0).unwrap_or_else(|failure| panic!("{failure}"));
    runtime.add(&second, &net1).unwrap_or_else(|failure| panic!("{failure}"));
    runtime.del(&second, &net1).unwrap();
    runtime.check(&network, &eth0).unwrap_or_else(|failure| panic!("{failure}"));
    let other = network.request(1, &eth0, runtime.cached(&network, &eth0).as_ref());
    let other = merged(other, &json!({"table": 4000}));
    assert_eq!(runtime.invocation("ADD", &eth0, &other).run(world.host()).error().code, 7);
    runtime.del(&network, &eth0).unwrap();
    assert!(!pod.link_names().contains(&"blue".to_owned()));
}

#[test]
fn without_vrf_in_the_kernel_add_fails_and_leaves_nothing() {
    if Capability::Vrf.is_present() {
        return;
    }
    let world = world();
    let pod = Pod::new();
    let (runtime, target) = (world.runtime(), Target::new("c", &pod.path()));
    let mut plain = network(&world, &json!({}));
    let vrf = plain.plugins.pop().unwrap();
    let first = runtime.add(&plain, &target).unwrap();
    let before = Snapshot::of(&pod);
    let request = plain.plugin(vrf).request(1, &target, Some(&first));
    let error = runtime.invocation("ADD", &target, &request).run(world.host()).error();
    assert_eq!(error.code, 110, "{}", error.msg);
    assert!(error.msg.contains("creating vrf blue"), "{}", error.msg);
    assert_same(&before, &Snapshot::of(&pod), "a failed ADD");
    assert_eq!(runtime.invocation("CHECK", &target, &request).run(world.host()).error().code, 111);
    runtime.invocation("DEL", &target, &request).run(world.host()).silent();
    assert_ping(&pod, "10.66.0.1");
}

#[test]
fn refusals_and_a_del_without_anything() {
    let world = world();
    let pod = Pod::new();
    let (runtime, target) = (world.runtime(), Target::new("c", &pod.path()));
    let mut plain = network(&world, &json!({}));
    plain.plugins.pop();
    let first = runtime.add(&plain, &target).unwrap();
    let unnamed = network(&world, &json!({"vrfname": null})).request(1, &target, Some(&first));
    let taken = network(&world, &json!({"vrfname": "eth0"})).request(1, &target, Some(&first));
    let alone = network(&world, &json!({})).request(1, &target, None);
    for (request, code, named) in
        [(&unnamed, 7, "vrfname"), (&taken, 110, "not a vrf"), (&alone, 7, "prevResult")]
    {
        let error = runtime.invocation("ADD", &target, request).run(world.host()).error();
        assert_eq!(error.code, code, "{}", error.msg);
        assert!(error.msg.contains(named), "{}", error.msg);
    }
    for netns in [String::new(), Pod::missing_path(), pod.path()] {
        let target = target.clone().netns(&netns);
        runtime.invocation("DEL", &target, &alone).run(world.host()).silent();
    }
}
