//! `bridge` with `ipMasq`: what the outside sees, and that nothing of it stays.

use netns_fixtures::{
    Echo, Pod, Protocol, Snapshot, Space, Target, assert_blocked, assert_same, needs, tcp_echo,
};
use serde_json::{Value, json};
use tests::{World, address};

/// Both families, by way of the default or a named backend.
fn masqueraded(world: &World, backend: Option<&str>) -> netns_fixtures::Network {
    let ipam = world.ipam(&["10.66.0.0/24", "fd66::/64"]);
    let backend = backend.map_or(Value::Null, Value::from);
    world.bridge(&json!({"isDefaultGateway": true, "ipMasq": true, "ipMasqBackend": backend, "ipam": ipam}))
}

/// The outside sees the node's address, other pods see the pod's own, in both families.
#[track_caller]
fn assert_masquerade(world: &World, network: &netns_fixtures::Network) {
    let (a, result) = world.attach(network, "a");
    let (b, other) = world.attach(network, "b");
    let (outside, inside) =
        (Echo::start(world.underlay.hub(), Protocol::Tcp, 80), Echo::start(&b, Protocol::Tcp, 80));
    let hub = [world.underlay.hub_ip(), "fd50::fe"];
    let node = [world.underlay.ipv4(0), world.underlay.ipv6(0)];
    for family in 0..2 {
        let seen = tcp_echo(&a, outside.at(hub[family])).unwrap_or_else(|e| panic!("{}: {e}", hub[family]));
        assert_eq!(seen, node[family], "the outside sees the node");
        let seen = tcp_echo(&a, inside.at(&address(&other, family))).expect("pods talk");
        assert_eq!(seen.to_string(), address(&result, family), "a pod sees the pod");
    }
}

#[test]
fn the_outside_sees_the_node_and_pods_see_each_other() {
    let world = World::ours();
    assert_masquerade(&world, &masqueraded(&world, None));
}

#[test]
fn the_iptables_backend_does_the_same() {
    needs!(IptablesNat);
    let world = World::ours();
    assert_masquerade(&world, &masqueraded(&world, Some("iptables")));
    let rules = world.host().run("iptables-save -t nat");
    assert!(rules.contains("-A POSTROUTING -s 10.66.0.2/32 -m comment"), "the reference's layout: {rules}");
}

#[test]
fn without_ip_masq_the_outside_has_no_way_back() {
    let world = World::ours();
    let (pod, _) = world.attach(&world.bridge(&json!({"isDefaultGateway": true})), "a");
    assert_blocked(&pod, world.underlay.hub_ip());
}

#[test]
fn del_removes_masquerade_and_address_whatever_became_of_the_sandbox_weakness_10() {
    needs!(IptablesNat);
    for backend in ["nftables", "iptables"] {
        let world = World::ours();
        let network = masqueraded(&world, Some(backend));
        world.warm(&network);
        let before = world.snapshot();
        for (container, netns) in [("emptied", String::new()), ("lost", Pod::missing_path())] {
            let (pod, _) = world.attach(&network, container);
            // The sandbox is gone before the runtime says DEL, and so is its interface.
            pod.run("ip link delete eth0");
            drop(pod);
            world.runtime().del(&network, &Target::new(container, &netns)).unwrap_or_else(|f| panic!("{f}"));
            assert_same(&before, &world.snapshot(), &format!("{backend}, {container}"));
            assert_eq!(world.reservations("proving"), Vec::<String>::new(), "{backend}, {container}");
        }
    }
}

#[test]
fn each_attachment_has_its_own_masquerade() {
    let world = World::ours();
    let network = masqueraded(&world, None);
    let (a, _) = world.attach(&network, "a");
    let (b, _) = world.attach(&network, "b");
    let runtime = world.runtime();
    runtime.del(&network, &Target::new("b", &b.path())).unwrap();
    let outside = Echo::start(world.underlay.hub(), Protocol::Tcp, 80);
    let seen = tcp_echo(&a, outside.at(world.underlay.hub_ip())).expect("a's masquerade stays");
    assert_eq!(seen, world.underlay.ipv4(0));
}

#[test]
fn a_flushed_ruleset_comes_back_with_the_next_add_and_never_breaks_del() {
    let world = World::ours();
    let network = masqueraded(&world, None);
    let (a, _) = world.attach(&network, "a");
    world.host().run("nft flush ruleset");
    let (_b, _) = world.attach(&network, "b");
    world.runtime().del(&network, &Target::new("a", &a.path())).unwrap_or_else(|f| panic!("{f}"));
    let after = Snapshot::of(&a);
    assert!(after.section("link").iter().all(|line| !line.starts_with("eth0")), "{after:?}");
}
