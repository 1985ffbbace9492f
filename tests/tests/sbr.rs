//! Source based routing behind bridges: which way a packet takes, CHECK, DEL, refusals, both implementations.

use std::path::Path;

use netns_fixtures::{Bins, Network, Pod, Snapshot, Space, Target, assert_ping, assert_same};
use serde_json::{Value, json};
use tests::{World, address, merged};

const OURS: [&str; 3] = ["bridge", "host-local", "sbr"];

fn world() -> World {
    World::with(Bins::only(&OURS))
}

/// A bridge with a gateway on 10.`nth`.0.0/24 and an IPv6 one like it, and sbr behind it.
fn network(world: &World, nth: u8, settings: &Value) -> Network {
    let ipam = world.ipam(&[&format!("10.{nth}.0.0/24"), &format!("fd00:{nth}::/64")]);
    let mut network = world.bridge(&json!({"bridge": format!("br{nth}"), "isDefaultGateway": nth == 66, "isGateway": true, "ipam": ipam}));
    network.name = format!("net{nth}");
    network.plugin(merged(json!({"type": "sbr"}), settings))
}

/// The link and table by which the pod reaches `to` from an address of its own.
fn way(pod: &Pod, from: &str, to: &str) -> String {
    let text = pod.run(&format!("ip -o route get {to} from {from}"));
    let words: Vec<&str> = text.split_whitespace().collect();
    let after = |key: &str| words.iter().position(|word| *word == key).map_or("", |at| words[at + 1]);
    format!("{} {}", after("dev"), after("table")).trim_end().to_owned()
}

fn rules(pod: &Pod) -> String {
    pod.run("ip -4 rule show") + &pod.run("ip -6 rule show")
}

#[test]
fn each_source_takes_its_own_way() {
    let world = world();
    let pod = Pod::new();
    let runtime = world.runtime();
    let [eth0, net1] = ["eth0", "net1"].map(|name| Target::new("c", &pod.path()).ifname(name));
    let plain = rules(&pod);
    let mut first = network(&world, 66, &json!({}));
    first.plugins.pop();
    let result = runtime.add(&first, &eth0).unwrap();
    let before = Snapshot::of(&pod);
    let second = network(&world, 67, &json!({}));
    let other = runtime.add(&second, &net1).unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(other["ips"].as_array().unwrap().len(), 2);
    let (near, own) = (address(&result, 0), address(&other, 0));
    assert_eq!(way(&pod, &near, "198.51.100.1"), "eth0");
    assert_eq!(way(&pod, &own, "198.51.100.1"), "net1 100");
    assert_eq!(way(&pod, &own, "10.67.0.77"), "net1 100");
    assert_eq!(way(&pod, &address(&other, 1), "fd00:67::77"), "net1 101");
    assert_eq!(way(&pod, &address(&result, 1), "2001:db8::1"), "eth0");
    assert!(!pod.run("ip route show table main").contains("net1"), "the interface's routes have moved");
    assert!(pod.run("ip -6 route show table main").contains("fe80::/64 dev net1"));
    assert_ping(&pod, "10.66.0.1");
    world.host().run(&format!("ping -c 1 -W 2 {own}"));
    runtime.check(&second, &net1).unwrap_or_else(|failure| panic!("{failure}"));
    for _twice in 0..2 {
        runtime.del(&second, &net1).unwrap_or_else(|failure| panic!("{failure}"));
        assert_same(&before, &Snapshot::of(&pod), "after DEL");
    }
    assert_eq!(rules(&pod), plain);
}

#[test]
fn source_hints_keep_the_neighbours_in_the_main_table() {
    let world = world();
    let pod = Pod::new();
    let target = Target::new("c", &pod.path());
    let network = network(&world, 66, &json!({"addSourceHints": true}));
    world.runtime().add(&network, &target).unwrap_or_else(|failure| panic!("{failure}"));
    let main = pod.run("ip route show table main");
    assert_eq!(
        main.split_whitespace().collect::<Vec<_>>().join(" "),
        "10.66.0.0/24 dev eth0 proto kernel scope link src 10.66.0.2"
    );
    assert_ping(&pod, "10.66.0.1");
    assert_ping(&pod, "fd00:66::1");
}

#[test]
fn a_table_of_others_and_gateways_of_the_network() {
    let world = world();
    let (pod, target) = (Pod::new(), "c");
    let runtime = world.runtime();
    let target = Target::new(target, &pod.path());
    let tabled = network(&world, 66, &json!({"table": 5000}));
    runtime.add(&tabled, &target).unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(rules(&pod).matches("lookup 5000").count(), 2);
    assert_ping(&pod, "10.66.0.1");
    runtime.check(&tabled, &target).unwrap_or_else(|failure| panic!("{failure}"));
    runtime.del(&tabled, &target).unwrap();
    assert!(!rules(&pod).contains("5000"));
    let network = network(&world, 67, &json!({"gateways": ["10.67.0.9", "fd00:67::9"]}));
    runtime.add(&network, &target).unwrap_or_else(|failure| panic!("{failure}"));
    assert!(pod.run("ip route show table 100").contains("default via 10.67.0.9"));
    assert!(pod.run("ip -6 route show table 101").contains("default via fd00:67::9"));
}

#[test]
fn weakness_56_check_finds_a_rule_or_route_that_is_gone() {
    for (breakage, named) in [
        ("ip rule del from 10.66.0.2", "10.66.0.2/32"),
        ("ip -6 rule del from fd00:66::2", "fd00:66::2/128"),
        ("ip route flush table 100", "table 100"),
    ] {
        let world = world();
        let pod = Pod::new();
        let (runtime, target) = (world.runtime(), Target::new("c", &pod.path()));
        let network = network(&world, 66, &json!({}));
        let result = runtime.add(&network, &target).unwrap();
        pod.run(breakage);
        let request = network.request(1, &target, Some(&result));
        let error = runtime.invocation("CHECK", &target, &request).run(world.host()).error();
        assert_eq!(error.code, 111, "{}", error.msg);
        assert!(error.msg.contains(named), "{breakage}: {}", error.msg);
    }
}

#[test]
fn weakness_56_del_without_a_namespace_succeeds_and_makes_no_file() {
    let world = world();
    let network = network(&world, 66, &json!({}));
    let missing = world.state.path().join("gone").display().to_string();
    for path in ["", &missing] {
        let target = Target::new("c", path);
        let request = network.request(1, &target, None);
        world.runtime().invocation("DEL", &target, &request).run(world.host()).silent();
    }
    assert!(!Path::new(&missing).exists());
}

#[test]
fn weakness_56_a_failed_add_leaves_rules_and_routes_as_they_were() {
    let world = world();
    let pod = Pod::new();
    let (runtime, target) = (world.runtime(), Target::new("c", &pod.path()));
    let mut plain = network(&world, 66, &json!({}));
    let sbr = plain.plugins.pop().unwrap();
    let first = runtime.add(&plain, &target).unwrap();
    let before = Snapshot::of(&pod);
    // The second family's gateway cannot be reached: the first one's table and rule are made by then.
    let network = plain.plugin(merged(sbr, &json!({"gateways": ["10.66.0.1", "2001:db8::1"]})));
    let request = network.request(1, &target, Some(&first));
    let error = runtime.invocation("ADD", &target, &request).run(world.host()).error();
    assert_eq!(error.code, 110, "{}", error.msg);
    assert_same(&before, &Snapshot::of(&pod), "a failed ADD");
    let request = network.request(1, &target, None);
    assert_eq!(runtime.invocation("ADD", &target, &request).run(world.host()).error().code, 7);
}

#[test]
fn the_same_add_again_changes_nothing() {
    let world = world();
    let pod = Pod::new();
    let (runtime, target) = (world.runtime(), Target::new("c", &pod.path()));
    let network = network(&world, 66, &json!({}));
    let result = runtime.add(&network, &target).unwrap();
    let before = Snapshot::of(&pod);
    let request = network.request(1, &target, Some(&result));
    assert_eq!(runtime.invocation("ADD", &target, &request).run(world.host()).result()["ips"], result["ips"]);
    assert_same(&before, &Snapshot::of(&pod), "the same ADD again");
}

#[test]
fn swap_either_side_removes_what_the_other_made_and_the_tables_are_the_same() {
    let (ours, reference) = (Bins::only(&OURS), Bins::reference());
    let mut tables = Vec::new();
    for (from, to) in [(&ours, &reference), (&reference, &ours)] {
        let world = World { version: "1.0.0", ..World::with(from.clone()) };
        let pod = Pod::new();
        let (runtime, target) = (world.runtime(), Target::new("c", &pod.path()));
        let plain = rules(&pod);
        let network = network(&world, 66, &json!({}));
        let result = runtime.add(&network, &target).unwrap_or_else(|failure| panic!("{failure}"));
        let mut lines: Vec<String> =
            pod.run("ip route show table 100").lines().map(|line| line.trim().to_owned()).collect();
        lines.sort();
        tables.push(lines);
        let other = runtime.swapped(to);
        let request = network.request(1, &target, Some(&result));
        other.invocation("CHECK", &target, &request).run(world.host()).silent();
        other.invocation("DEL", &target, &request).run(world.host()).silent();
        assert_eq!(rules(&pod), plain);
    }
    assert_eq!(tables[0], tables[1]);
}
