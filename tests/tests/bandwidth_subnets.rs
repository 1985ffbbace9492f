//! Limits for a part of the traffic: of either family, from the runtime too, and in the forms of the reference's releases.

use netns_fixtures::{Pod, Space, Target, assert_ping, needs};
use serde_json::json;
use tests::address;
use tests::rates::{assert_rate, both, ifbs, measured, network, world};

#[test]
fn subnets_of_ipv6_that_a_runtime_sends_are_served_too() {
    needs!(Ifb);
    needs!(Tbf);
    let (world, far) = (world(), "fd51::1");
    world.host().run(&format!("ip address add {far}/128 dev lo nodad"));
    let mut network = network(&world, &json!({}));
    network.plugins[0]["ipam"] = world.ipam(&["10.66.0.0/24", "fd66::/64"]);
    let mut limits = both(10_000_000);
    limits["shapedSubnets"] = json!(["192.0.2.0/24", "fd51::/16"]);
    let pod = Pod::new();
    let target = Target::new("c", &pod.path()).capability("bandwidth", limits);
    let runtime = world.runtime();
    let own = address(&runtime.add(&network, &target).unwrap_or_else(|failure| panic!("{failure}")), 1);
    runtime.check(&network, &target).unwrap_or_else(|failure| panic!("{failure}"));
    assert_ping(&pod, "fd66::1");
    world.host().run(&format!("ip route replace {own}/128 dev cni0 src {far}"));
    assert_rate(|| measured(world.host(), (&pod, &own), far), 10_000_000, "ingress");
    assert_rate(|| measured(&pod, (world.host(), far), &own), 10_000_000, "egress");
    world.host().run(&format!("ip route replace {own}/128 dev cni0 src fd66::1"));
    let free =
        [measured(world.host(), (&pod, &own), "fd66::1"), measured(&pod, (world.host(), "fd66::1"), &own)];
    assert!(free.iter().all(|rate| *rate > 100_000_000.0), "{free:?} to the gateway");
}

/// The reference's releases 1.5.0 and 1.5.1 have subnets, and classes for every limit; those before and after do not know
/// the keys, and limit all. What either has made, CHECK accepts.
#[test]
fn swap_check_knows_the_forms_of_the_references_releases() {
    needs!(Ifb);
    needs!(Tbf);
    let classes = "tc qdisc del dev DEV root;tc qdisc add dev DEV root handle 1: htb default DEFAULT;\
        tc class add dev DEV parent 1: classid 1:30 htb rate 10mbit burst 50000b ceil 20mbit cburst 100000b;\
        tc class add dev DEV parent 1: classid 1:1 htb rate 800gbit";
    let filter =
        "tc filter add dev DEV parent 1: protocol ip prio 16 u32 match ip dst 198.51.100.0/24 flowid 1:30";
    let bucket = "tc qdisc replace dev DEV root handle 1: tbf rate 10mbit burst 50000 latency 25ms";
    let all = classes.replace("DEFAULT", "30");
    let some = format!("{};{filter}", classes.replace("DEFAULT", "1"));
    let subnets = json!({"shapedSubnets": ["198.51.100.0/24"]});
    for (more, script, accepted) in [
        (json!({}), &all, true),
        (json!({}), &all.replace("10mbit", "11mbit"), false),
        (json!({}), &some, false),
        (subnets.clone(), &some, true),
        (subnets.clone(), &some.replace("burst 50000b", "burst 60000b"), false),
        (subnets.clone(), &classes.replace("DEFAULT", "1"), false),
        (subnets, &format!("tc qdisc del dev DEV root;{bucket}"), true),
    ] {
        let world = world();
        let mut limits = both(10_000_000);
        limits.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let network = network(&world, &limits);
        let (pod, runtime) = (Pod::new(), world.runtime());
        let target = Target::new("c", &pod.path());
        let result = runtime.add(&network, &target).unwrap();
        for device in [world.host_end(&result), ifbs(&world).remove(0)] {
            for line in script.split(';') {
                world.host().run(&line.replace("DEV", &device));
            }
        }
        let checked = runtime.check(&network, &target);
        assert_eq!(checked.is_ok(), accepted, "{more} after {script}: {checked:?}");
        runtime.del(&network, &target).unwrap_or_else(|failure| panic!("{failure}"));
        assert!(ifbs(&world).is_empty());
    }
}
