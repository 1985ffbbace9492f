//! The bandwidth plugin behind a bridge: measured rates, what is excepted from them, CHECK, DEL, GC and refusals.

use std::time::Duration;

use netns_fixtures::{Bins, Pod, Space, Target, assert_same, needs};
use serde_json::{Value, json};
use tests::rates::{assert_rate, both, ifbs, measured, measured_after, network, world};
use tests::{World, address};

/// An address of the host outside the network.
const FAR: &str = "198.51.100.1";

#[test]
fn both_directions_run_at_their_rate() {
    needs!(Ifb);
    needs!(Tbf);
    let world = world();
    let limits = json!({"ingressRate": 20_000_000, "ingressBurst": 400_000, "egressRate": 40_000_000, "egressBurst": 400_000});
    let (pod, result) = world.attach(&network(&world, &limits), "c");
    let own = address(&result, 0);
    assert_rate(|| measured(world.host(), (&pod, &own), "10.66.0.1"), 20_000_000, "ingress");
    assert_rate(|| measured(&pod, (world.host(), "10.66.0.1"), &own), 40_000_000, "egress");
}

#[test]
fn weakness_47_containerds_burst_at_a_low_rate_keeps_its_size() {
    needs!(Ifb);
    needs!(Tbf);
    let world = world();
    let network = network(&world, &json!({}));
    let (pod, burst) = (Pod::new(), 4_294_967_295_u64);
    let limits =
        json!({"IngressRate": 1_000_000, "IngressBurst": burst, "egressRate": 100_000, "egressBurst": burst});
    let target = Target::new("c", &pod.path()).capability("bandwidth", limits);
    let runtime = world.runtime();
    let result = runtime.add(&network, &target).unwrap();
    runtime.check(&network, &target).unwrap();
    let shown = world.host().run(&format!("tc -j qdisc show dev {}", world.host_end(&result)));
    let qdiscs: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(qdiscs[0]["options"]["rate"], 125_000, "{shown}");
    // Half a gigabyte may come in at once; cut to 32 bits it would be 21 megabytes, less than what follows.
    let pod_at = (&pod, &*address(&result, 0));
    let rate = measured_after(Duration::ZERO, world.host(), pod_at, "10.66.0.1");
    assert!(rate > 100_000_000.0, "{rate}");
    runtime.del(&network, &target).unwrap();
    assert!(ifbs(&world).is_empty());
}

#[test]
fn unshaped_subnets_are_free_and_shaped_ones_alone_are_limited() {
    needs!(Ifb);
    needs!(Tbf);
    for (field, near_is_limited) in [("unshapedSubnets", true), ("shapedSubnets", false)] {
        let world = world();
        world.host().run(&format!("ip address add {FAR}/32 dev lo"));
        let mut limits = both(10_000_000);
        limits[field] = json!([format!("{FAR}/32"), "fd00::/8"]);
        let network = network(&world, &limits);
        let (pod, result) = world.attach(&network, "c");
        let own = address(&result, 0);
        for (there, limited) in [("10.66.0.1", near_is_limited), (FAR, !near_is_limited)] {
            world.host().run(&format!("ip route replace {own}/32 dev cni0 src {there}"));
            let into = || measured(world.host(), (&pod, &own), there);
            let out = || measured(&pod, (world.host(), there), &own);
            if limited {
                assert_rate(into, 10_000_000, field);
                assert_rate(out, 10_000_000, field);
            } else {
                let rates = [into(), out()];
                assert!(rates.iter().all(|rate| *rate > 100_000_000.0), "{field}: {rates:?} to {there}");
            }
        }
        let target = Target::new("c", &pod.path());
        let runtime = world.runtime();
        let mut request = network.request(1, &target, Some(&result));
        runtime.invocation("CHECK", &target, &request).run(world.host()).silent();
        request[field] = json!(["10.0.0.0/8"]);
        assert_eq!(runtime.invocation("CHECK", &target, &request).run(world.host()).error().code, 111);
    }
}

/// What is broken on the node, and the plugin's text about it.
#[test]
fn weakness_49_check_finds_each_missing_or_altered_part() {
    needs!(Ifb);
    needs!(Tbf);
    let breakages = [
        ("tc qdisc del dev END root", "limiter of END"),
        ("tc qdisc replace dev END root handle 1: tbf rate 9mbit burst 50000 limit 90000", "limiter of END"),
        ("tc qdisc replace dev IFB root handle 2: htb default 1", "limiter of IFB"),
        ("tc qdisc del dev IFB root", "limiter of IFB"),
        ("tc filter del dev END parent ffff: prio 1", "ingress filter of END"),
        ("tc qdisc del dev END ingress", "ingress filter of END"),
        ("ip link set IFB down", "ifb IFB"),
        ("ip link del IFB", "ifb IFB"),
    ];
    for (breakage, named) in breakages {
        let world = world();
        let network = network(&world, &both(10_000_000));
        let pod = Pod::new();
        let (runtime, target) = (world.runtime(), Target::new("c", &pod.path()));
        let result = runtime.add(&network, &target).unwrap();
        runtime.check(&network, &target).unwrap_or_else(|failure| panic!("{failure}"));
        let filled =
            |text: &str| text.replace("END", &world.host_end(&result)).replace("IFB", &ifbs(&world)[0]);
        let named = filled(named);
        world.host().run(&filled(breakage));
        let error = runtime.check(&network, &target).unwrap_err().error();
        assert_eq!(error.code, 111, "{breakage}: {}", error.msg);
        assert!(error.msg.starts_with(&named), "{breakage}: {}", error.msg);
        runtime.del(&network, &target).unwrap_or_else(|failure| panic!("{breakage}: {failure}"));
    }
}

#[test]
fn del_undoes_the_plugins_own_part_whatever_the_runtime_still_knows() {
    needs!(Ifb);
    needs!(Tbf);
    let world = world();
    let plain = world.bridge(&json!({"isDefaultGateway": true}));
    let pod = Pod::new();
    let (runtime, target) = (world.runtime(), Target::new("c", &pod.path()));
    let first = runtime.add(&plain, &target).unwrap();
    let before = world.snapshot();
    let network = network(&world, &both(10_000_000));
    for (what, netns, with_result) in [
        ("all", pod.path(), true),
        ("no namespace", String::new(), true),
        ("no result", pod.path(), false),
        ("neither", Pod::missing_path(), false),
    ] {
        let request = network.request(1, &target, Some(&first));
        let result = runtime.invocation("ADD", &target, &request).run(world.host()).result();
        assert_eq!(result["interfaces"][3]["name"], json!(ifbs(&world)[0]), "{what}");
        assert_eq!(result["ips"], first["ips"]);
        let del = network.request(1, &target, with_result.then_some(&result));
        for _twice in 0..2 {
            runtime.invocation("DEL", &target.clone().netns(&netns), &del).run(world.host()).silent();
        }
        assert_same(&before, &world.snapshot(), what);
    }
}

#[test]
fn weakness_46_two_interfaces_of_a_container_and_a_second_add() {
    needs!(Ifb);
    needs!(Tbf);
    let world = world();
    let network = network(&world, &both(10_000_000));
    let pod = Pod::new();
    let runtime = world.runtime();
    let [eth0, net1] = ["eth0", "net1"].map(|name| Target::new("c", &pod.path()).ifname(name));
    let result = runtime.add(&network, &eth0).unwrap();
    let mut second = network.clone();
    second.plugins[0]["isDefaultGateway"] = json!(false);
    runtime.add(&second, &net1).unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(ifbs(&world).len(), 2);
    let again = network.request(1, &eth0, Some(&result));
    let before = world.snapshot();
    assert_eq!(runtime.invocation("ADD", &eth0, &again).run(world.host()).result()["ips"], result["ips"]);
    assert_same(&before, &world.snapshot(), "the same ADD again");
    runtime.del(&second, &net1).unwrap();
    runtime.check(&network, &eth0).unwrap();
    runtime.del(&network, &eth0).unwrap();
    assert!(ifbs(&world).is_empty());
}

#[test]
fn weakness_48_nothing_crashes_without_a_previous_result_or_limits() {
    let world = world();
    let pod = Pod::new();
    let (runtime, target) = (world.runtime(), Target::new("c", &pod.path()));
    for limits in [json!({}), both(8_000)] {
        let request = network(&world, &limits).request(1, &target, None);
        let error = runtime.invocation("ADD", &target, &request).run(world.host()).error();
        assert_eq!(error.code, 7);
        assert!(error.msg.contains("prevResult"), "{}", error.msg);
    }
    let half = network(&world, &json!({"ingressRate": 80}));
    let request = half.request(1, &target, None);
    runtime.invocation("DEL", &target, &request).run(world.host()).silent();
    let previous = json!({"cniVersion": "1.1.0", "interfaces": [{"name": "x"}], "ips": [], "dns": {}});
    let passed = network(&world, &json!({})).request(1, &target.clone().netns(""), Some(&previous));
    let answer = runtime.invocation("ADD", &target, &passed).run(world.host()).result();
    assert_eq!(answer["interfaces"], previous["interfaces"], "without limits nothing is looked at");
}

#[test]
fn what_another_program_put_there_is_refused_and_stays() {
    needs!(Ifb);
    needs!(Tbf);
    let world = world();
    let plain = world.bridge(&json!({}));
    let pod = Pod::new();
    let (runtime, target) = (world.runtime(), Target::new("c", &pod.path()));
    let first = runtime.add(&plain, &target).unwrap();
    let end = world.host_end(&first);
    for taken in ["root handle 7: tbf rate 9mbit burst 50000 limit 90000", "clsact"] {
        world.host().run(&format!("tc qdisc add dev {end} {taken}"));
        let before = world.snapshot();
        let request = network(&world, &both(10_000_000)).request(1, &target, Some(&first));
        let error = runtime.invocation("ADD", &target, &request).run(world.host()).error();
        assert_eq!(error.code, 110, "{}", error.msg);
        assert!(error.msg.contains("not ours") && error.msg.contains(&end), "{}", error.msg);
        assert_same(&before, &world.snapshot(), taken);
        world.host().run(&format!("tc qdisc del dev {end} {}", taken.split(' ').next().unwrap()));
    }
}

#[test]
fn gc_removes_the_devices_of_dead_attachments_of_its_own_network() {
    needs!(Ifb);
    needs!(Tbf);
    let world = world();
    let network = network(&world, &both(10_000_000));
    let mut other = network.clone();
    "other".clone_into(&mut other.name);
    let (kept, lost, foreign) = (Pod::new(), Pod::new(), Pod::new());
    let runtime = world.runtime();
    let [kept, lost, foreign] = [("kept", &kept), ("lost", &lost), ("foreign", &foreign)]
        .map(|(name, pod)| Target::new(name, &pod.path()));
    runtime.add(&network, &kept).unwrap();
    runtime.add(&network, &lost).unwrap();
    runtime.add(&other, &foreign).unwrap();
    runtime.gc_plugins(&network, &[&kept]).unwrap();
    assert_eq!(ifbs(&world).len(), 2);
    runtime.check(&network, &kept).unwrap();
    runtime.check(&other, &foreign).unwrap();
}

#[test]
fn swap_either_side_checks_and_removes_what_the_other_made() {
    needs!(Ifb);
    needs!(Tbf);
    let (ours, reference) = (Bins::only(&["bridge", "host-local", "bandwidth"]), Bins::reference());
    for (from, to) in [(&ours, &reference), (&reference, &ours)] {
        for burst in [400_000_u64, 4_294_967_295] {
            let world = World { version: "1.0.0", ..World::with(from.clone()) };
            let limits = json!({"ingressRate": 2_000_000, "ingressBurst": burst, "egressRate": 30_000_000, "egressBurst": burst});
            let network = network(&world, &limits);
            let pod = Pod::new();
            let (runtime, target) = (world.runtime(), Target::new("c", &pod.path()));
            runtime.add(&network, &target).unwrap_or_else(|failure| panic!("{failure}"));
            let other = runtime.swapped(to);
            other.check(&network, &target).unwrap_or_else(|failure| panic!("{burst}: {failure}"));
            other.del(&network, &target.clone().netns("")).unwrap_or_else(|failure| panic!("{failure}"));
            assert!(ifbs(&world).is_empty(), "{:?}", ifbs(&world));
        }
    }
}
