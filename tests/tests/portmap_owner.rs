//! Whose a published port is: conflicts, the dead, DEL and GC by identity, flushed rulesets, many at once.

use netns_fixtures::{Echo, Network, Pod, Protocol, Space, Target, assert_same, tcp_echo};
use serde_json::{Value, json};
use tests::World;
use tests::ports::{add, assert_refused, at, bins, del, mapping, mapping_at, published, target};

const NODE: &str = "192.168.50.1";

fn web() -> Vec<Value> {
    vec![mapping("tcp", 8080, 80), mapping("udp", 5300, 53), mapping_at(NODE, "sctp", 36412, 36412)]
}

#[track_caller]
fn assert_leads_to(world: &World, pod: &Pod) {
    let _web = Echo::start(pod, Protocol::Tcp, 80);
    tcp_echo(world.underlay.hub(), at(NODE, 8080)).unwrap_or_else(|error| panic!("port 8080: {error}"));
}

#[test]
fn a_port_of_a_living_owner_is_refused_with_its_name_c1() {
    let world = World::with(bins());
    let (network, runtime) = (published(&world, &json!({})), world.runtime());
    let (one, two) = (Pod::new(), Pod::new());
    add(&runtime, &network, &target("one", &one, &web()));
    let before = world.host().run("nft list table inet ironbridge_portmap");
    let second = target("two", &two, &[mapping("tcp", 9090, 80), mapping("tcp", 8080, 80)]);
    assert_refused(runtime.add(&network, &second), 103, "if: eth0, id: one (leads to 10.66.0.2:80)");
    assert_eq!(before, world.host().run("nft list table inet ironbridge_portmap"), "all or nothing");
    runtime.del(&network, &second).unwrap_or_else(|failure| panic!("{failure}"));
    assert_leads_to(&world, &one);
    runtime.check(&network, &target("one", &one, &web())).unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn a_port_of_a_dead_owner_goes_to_the_next_c1() {
    let world = World::with(bins());
    let (network, runtime) = (published(&world, &json!({})), world.runtime());
    let (one, two) = (Pod::new(), Pod::new());
    let first = target("one", &one, &web());
    add(&runtime, &network, &first);
    // The sandbox is gone without a DEL; its interface's other end went with it.
    one.run("ip link delete eth0");
    let second = target("two", &two, &web());
    add(&runtime, &network, &second);
    assert_leads_to(&world, &two);
    // The late DEL of the first takes nothing from the second.
    del(&runtime, &network, &first.netns(""));
    assert_leads_to(&world, &two);
    runtime.check(&network, &second).unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn an_address_that_was_given_to_another_takes_its_ports_with_it() {
    let world = World::with(bins());
    let (network, runtime) = (published(&world, &json!({})), world.runtime());
    let (one, two) = (Pod::new(), Pod::new());
    add(&runtime, &network, &target("one", &one, &web()));
    // Another result with the same address, and no word of a link of the host.
    let ips = json!([{"address": "10.66.0.2/24"}]);
    let previous = json!({"cniVersion": "1.1.0", "ips": ips});
    let next = target("two", &two, &web());
    let answer =
        runtime.invocation("ADD", &next, &network.request(1, &next, Some(&previous))).run(world.host());
    assert!(answer.succeeded(), "{answer}");
}

#[test]
fn the_same_attachment_may_add_again() {
    let world = World::with(bins());
    let (network, runtime) = (published(&world, &json!({})), world.runtime());
    let pod = Pod::new();
    let web = target("web", &pod, &web());
    let result = add(&runtime, &network, &web);
    let before = world.snapshot();
    let again = runtime.invocation("ADD", &web, &network.request(1, &web, Some(&result))).run(world.host());
    assert_eq!(again.result()["ips"], result["ips"], "the result passes through");
    assert_same(&before, &world.snapshot(), "ADD twice");
}

#[test]
fn del_needs_neither_mappings_nor_result_nor_sandbox_c6() {
    let world = World::with(bins());
    let (network, runtime) = (published(&world, &json!({})), world.runtime());
    let warm = Pod::new();
    add(&runtime, &network, &target("warm", &warm, &web()));
    del(&runtime, &network, &target("warm", &warm, &web()));
    let before = world.snapshot();
    for (what, mappings, remember) in
        [("all", web(), true), ("fewer", vec![mapping("tcp", 8080, 80)], true), ("none", vec![], false)]
    {
        let pod = Pod::new();
        let whole = target("web", &pod, &web());
        add(&runtime, &network, &whole);
        let told = target("web", &pod, &mappings);
        let told = if remember { told } else { told.netns("") };
        if !remember {
            runtime.forget(&network, &whole);
        }
        del(&runtime, &network, &told);
        del(&runtime, &network, &told);
        assert_same(&before, &world.snapshot(), what);
    }
}

/// A second network of the same container.
fn second(world: &World) -> Network {
    let mut other = published(world, &json!({}));
    "second".clone_into(&mut other.name);
    other.plugins[0]["bridge"] = json!("cni1");
    other.plugins[0]["ipam"] = world.ipam(&["10.77.0.0/24"]);
    other
}

#[test]
fn del_never_touches_another_network_or_interface_of_the_container_weakness_40() {
    let world = World::with(bins());
    let (network, other, runtime) = (published(&world, &json!({})), second(&world), world.runtime());
    let pod = Pod::new();
    let first = target("web", &pod, &[mapping("tcp", 8080, 80)]);
    let eth1 = target("web", &pod, &[mapping("tcp", 8081, 80)]).ifname("eth1");
    let net1 = target("web", &pod, &[mapping("tcp", 8082, 80)]).ifname("net1");
    add(&runtime, &network, &first);
    add(&runtime, &network, &eth1);
    add(&runtime, &other, &net1);
    del(&runtime, &network, &first);
    let _web = Echo::start(&pod, Protocol::Tcp, 80);
    assert!(tcp_echo(world.host(), at(NODE, 8080)).is_err());
    tcp_echo(world.host(), at(NODE, 8081)).expect("another interface's port");
    del(&runtime, &network, &eth1);
    tcp_echo(world.host(), at(NODE, 8082)).expect("another network's port");
}

#[test]
fn gc_removes_what_is_not_valid_and_nothing_of_others() {
    let world = World::with(bins());
    let (network, other, runtime) = (published(&world, &json!({})), second(&world), world.runtime());
    let pods = [Pod::new(), Pod::new(), Pod::new()];
    let kept = target("kept", &pods[0], &[mapping("tcp", 8080, 80)]);
    add(&runtime, &network, &kept);
    add(&runtime, &network, &target("lost", &pods[1], &[mapping("tcp", 8081, 80)]));
    add(&runtime, &other, &target("lost", &pods[2], &[mapping("tcp", 8082, 80)]));
    runtime.gc_plugins(&network, &[&kept]).unwrap_or_else(|failure| panic!("{failure}"));
    let rules = world.host().run("nft list table inet ironbridge_portmap");
    assert!(!rules.contains("tcp . 8081"), "{rules}");
    assert!(rules.contains("tcp . 8080") && rules.contains("tcp . 8082"), "{rules}");
    let nothing = network.request(1, &Target::new("", ""), None);
    let answer = runtime.invocation("GC", &Target::new("", "").ifname(""), &nothing).run(world.host());
    assert!(answer.succeeded(), "without a list nothing is known: {answer}");
    assert!(world.host().run("nft list table inet ironbridge_portmap").contains("tcp . 8080"));
}

#[test]
fn check_finds_what_was_changed() {
    let world = World::with(bins());
    let (network, runtime) = (published(&world, &json!({})), world.runtime());
    let pod = Pod::new();
    let web = target("web", &pod, &[mapping("tcp", 8080, 80)]);
    add(&runtime, &network, &web);
    for harm in [
        "nft delete element inet ironbridge_portmap targets4-any { tcp . 8080 }",
        "nft delete element inet ironbridge_portmap policies6-any { tcp . 8080 }",
        "nft flush chain inet ironbridge_portmap postrouting-13",
        "nft add rule inet ironbridge_portmap output accept",
        "nft delete table inet ironbridge_portmap",
    ] {
        let failure = runtime.check(&network, &web).err();
        assert!(failure.is_none(), "before {harm}: {failure:?}");
        world.host().run(harm);
        assert_refused(runtime.check(&network, &web).map(|()| Value::Null), 111, "expected");
        let result = runtime.cached(&network, &web);
        if harm.contains("chain") || harm.contains("rule") {
            // What is shared is made again where a key is met.
            let again = network.request(1, &web, result.as_ref());
            assert!(runtime.invocation("ADD", &web, &again).run(world.host()).succeeded());
        } else {
            let again = network.request(1, &web, result.as_ref());
            let answer = runtime.invocation("ADD", &web, &again).run(world.host());
            assert!(answer.succeeded(), "after {harm}: {answer}");
        }
    }
}

#[test]
fn a_flushed_ruleset_breaks_neither_del_nor_the_next_add() {
    let world = World::with(bins());
    let (network, runtime) = (published(&world, &json!({})), world.runtime());
    let (one, two) = (Pod::new(), Pod::new());
    let first = target("one", &one, &web());
    add(&runtime, &network, &first);
    world.host().run("nft flush ruleset");
    del(&runtime, &network, &first);
    add(&runtime, &network, &target("two", &two, &web()));
    assert_leads_to(&world, &two);
    // The interfaces behind which loopback is guarded are not known to a new table, but the next ADD knows them.
    let guarded = world.host().run("nft list set inet ironbridge_portmap localnet");
    assert!(guarded.contains("cni0"), "{guarded}");
}

#[test]
fn many_at_once_get_their_ports_and_of_two_that_want_one_port_one_gets_it() {
    let world = World::with(bins());
    let (network, runtime) = (published(&world, &json!({})), world.runtime());
    let pods: Vec<Pod> = (0..16).map(|_| Pod::new()).collect();
    let targets: Vec<Target> = (0..16u16)
        .map(|n| target(&format!("pod{n}"), &pods[usize::from(n)], &[mapping("tcp", 9000 + n / 2, 80)]))
        .collect();
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let running: Vec<_> =
            targets.iter().map(|target| scope.spawn(|| runtime.add(&network, target))).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for pair in outcomes.chunks(2) {
        assert_eq!(pair.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{pair:?}");
        let refused = pair.iter().find_map(|outcome| outcome.as_ref().err()).unwrap();
        assert_eq!(refused.error().code, 103, "{refused}");
    }
    let removed: Vec<_> = std::thread::scope(|scope| {
        let running: Vec<_> =
            targets.iter().map(|target| scope.spawn(|| runtime.del(&network, target))).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for outcome in removed {
        outcome.unwrap_or_else(|failure| panic!("{failure}"));
    }
    let rules = world.host().run("nft list table inet ironbridge_portmap");
    assert!(!rules.contains("tcp . 90"), "{rules}");
    assert_eq!(world.reservations("proving"), Vec::<String>::new());
}
