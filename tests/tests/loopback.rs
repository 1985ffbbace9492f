//! `loopback`: up with ADD, down with DEL, whatever the interface name says.

use netns_fixtures::{Network, Node, Pod, Runtime, Space, Target, assert_blocked, assert_ping};
use serde_json::{Value, json};
use tests::World;

fn network() -> Network {
    Network::new("lo", "1.1.0").plugin(json!({"type": "loopback"}))
}

#[test]
fn both_families_answer_after_add_and_none_after_del() {
    let (world, pod) = (World::ours(), Pod::new());
    let (runtime, network) = (world.runtime(), network());
    for ifname in ["lo", "eth0"] {
        let target = Target::new("c", &pod.path()).ifname(ifname);
        let result = runtime.add(&network, &target).unwrap_or_else(|failure| panic!("{failure}"));
        assert_eq!(result["interfaces"][0]["name"], "lo");
        assert_ping(&pod, "127.0.0.1");
        assert_ping(&pod, "::1");
        runtime.check(&network, &target).unwrap_or_else(|failure| panic!("{failure}"));
        runtime.del(&network, &target).unwrap_or_else(|failure| panic!("{failure}"));
        assert_blocked(&pod, "127.0.0.1");
    }
}

#[test]
fn add_twice_and_del_twice_are_fine() {
    let (world, pod) = (World::ours(), Pod::new());
    let (runtime, network, target) = (world.runtime(), network(), Target::new("c", &pod.path()));
    for _ in 0..2 {
        runtime.add(&network, &target).unwrap_or_else(|failure| panic!("{failure}"));
    }
    for netns in [pod.path(), pod.path(), String::new(), Pod::missing_path()] {
        runtime
            .del(&network, &target.clone().netns(&netns))
            .unwrap_or_else(|failure| panic!("{netns}: {failure}"));
    }
}

#[test]
fn check_finds_lo_down() {
    let (world, pod) = (World::ours(), Pod::new());
    let (runtime, network, target) = (world.runtime(), network(), Target::new("c", &pod.path()));
    runtime.add(&network, &target).unwrap_or_else(|failure| panic!("{failure}"));
    pod.run("ip link set lo down");
    let failure = runtime.check(&network, &target).unwrap_err();
    assert_eq!(failure.answer.error().code, 111, "{failure}");
}

#[test]
fn an_address_on_lo_that_is_no_loopback_address_is_refused() {
    let (world, pod) = (World::ours(), Pod::new());
    pod.run("ip link set lo up");
    pod.run("ip address add 192.0.2.7/32 dev lo");
    let failure = world.runtime().add(&network(), &Target::new("c", &pod.path())).unwrap_err();
    assert!(failure.answer.error().msg.contains("192.0.2.7"), "{failure}");
}

#[test]
fn chained_it_passes_the_previous_result_on() {
    let (world, pod) = (World::ours(), Pod::new());
    for version in ["0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        let network = world.bridge(&json!({})).at(version).plugin(json!({"type": "loopback"}));
        let target = Target::new("chained", &pod.path());
        let result =
            world.runtime().add(&network, &target).unwrap_or_else(|failure| panic!("{version}: {failure}"));
        let names: Vec<&Value> =
            result["interfaces"].as_array().unwrap().iter().map(|i| &i["name"]).collect();
        assert_eq!(names[2], "eth0", "{version}: {result:#}");
        assert_eq!(result["cniVersion"], version);
        assert_ping(&pod, "127.0.0.1");
        world.runtime().del(&network, &target).unwrap_or_else(|failure| panic!("{version}: {failure}"));
    }
}

#[test]
fn without_ipv6_it_gives_the_one_address() {
    let (host, pod) = (Node::new("host"), Pod::new());
    let bins = netns_fixtures::Bins::separate();
    pod.set_sysctl("net/ipv6/conf/all/disable_ipv6", "1");
    let result = Runtime::new(&host, &bins).add(&network(), &Target::new("c", &pod.path()));
    let result = result.unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(result["ips"].as_array().unwrap().len(), 1, "{result:#}");
}
