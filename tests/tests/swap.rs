//! A node changes sides under live pods: what the reference's ADD made we CHECK and DEL, and the other way round.

use netns_fixtures::{
    Bins, Echo, Network, Pod, Protocol, Snapshot, Space, Target, assert_ping, assert_same, needs, tcp_echo,
};
use serde_json::{Value, json};
use tests::{World, address};

/// Configurations that both sides serve.
fn networks(world: &World) -> Vec<(&'static str, Network)> {
    let dual = world.ipam(&["10.66.0.0/24", "fd66::/64"]);
    vec![
        ("plain", world.bridge(&json!({}))),
        ("gateway", world.bridge(&json!({"isDefaultGateway": true, "hairpinMode": true}))),
        ("dual stack", world.bridge(&json!({"isDefaultGateway": true, "ipam": dual}))),
        (
            "masquerade by iptables",
            world.bridge(&json!({"isDefaultGateway": true, "ipMasq": true, "ipMasqBackend": "iptables"})),
        ),
        (
            "dual masquerade by iptables",
            world.bridge(&json!({
                "isDefaultGateway": true, "ipMasq": true, "ipMasqBackend": "iptables", "ipam": dual,
            })),
        ),
        ("old list", world.bridge(&json!({"isGateway": true})).at("0.3.1")),
    ]
}

/// The pod's own interface and address are gone, and the node is as before.
#[track_caller]
fn assert_gone(world: &World, before: &Snapshot, pod: &Pod, when: &str) {
    assert_same(before, &world.snapshot(), when);
    assert!(!pod.link_names().contains(&"eth0".to_owned()), "{when}: the interface stays");
    let held = world.reservations("proving");
    assert!(
        held.iter().all(|address| address.ends_with(".2") || address.ends_with("::2")),
        "{when}: {held:?}"
    );
}

/// ADD by one side, traffic, CHECK and DEL by the other; a world each, since the reference fails on a bridge that lost
/// its last port: it sets the MAC that it has just read, and that is zero.
fn swapped(from: &Bins, to: &Bins, lost_sandbox: &[&str]) {
    needs!(IptablesNat);
    let names: Vec<&str> = networks(&World::with(from.clone())).into_iter().map(|(name, _)| name).collect();
    for (nth, what) in names.into_iter().enumerate() {
        let world = World { version: "1.0.0", ..World::with(from.clone()) };
        let (_, network) = networks(&world).swap_remove(nth);
        let (_resident, _) = world.attach(&network, "resident");
        let (before, pod) = (world.snapshot(), Pod::new());
        let (runtime, target) = (world.runtime(), Target::new("swapped", &pod.path()));
        runtime.add(&network, &target).unwrap_or_else(|failure| panic!("{what}: {failure}"));
        let other = runtime.swapped(to);
        if network.is_at_least("0.4.0") {
            other.check(&network, &target).unwrap_or_else(|failure| panic!("{what}: {failure}"));
        }
        if network.plugins[0]["isDefaultGateway"] == true {
            assert_ping(&pod, "10.66.0.1");
        }
        other.del(&network, &target).unwrap_or_else(|failure| panic!("{what}: {failure}"));
        assert_gone(&world, &before, &pod, what);
        for netns in lost_sandbox {
            let pod = Pod::new();
            let target = Target::new("lost", &pod.path());
            runtime.add(&network, &target).unwrap_or_else(|failure| panic!("{what}: {failure}"));
            pod.run("ip link delete eth0");
            runtime.forget(&network, &target);
            let other = runtime.swapped(to);
            other.del(&network, &target.netns(netns)).unwrap_or_else(|failure| panic!("{what}: {failure}"));
            assert_gone(&world, &before, &pod, &format!("{what} with the sandbox lost ({netns:?})"));
        }
    }
}

#[test]
fn what_the_reference_added_we_check_and_delete() {
    swapped(&Bins::reference(), &Bins::multicall(), &["", "/var/run/netns/ironbridge-test-gone"]);
}

#[test]
fn what_we_added_the_reference_checks_and_deletes() {
    swapped(&Bins::multicall(), &Bins::reference(), &[]);
}

#[test]
fn pods_of_both_sides_live_on_one_bridge() {
    let world = World { version: "1.0.0", ..World::with(Bins::reference()) };
    let ours = Bins::multicall();
    let network = world.bridge(&json!({"isDefaultGateway": true, "ipMasq": true}));
    let (old, before_swap) = world.attach(&network, "old");
    let (runtime, pod) = (world.runtime().swapped(&ours), Pod::new());
    let target = Target::new("new", &pod.path());
    let after_swap: Value = runtime.add(&network, &target).unwrap_or_else(|failure| panic!("{failure}"));
    assert_ping(&old, &address(&after_swap, 0));
    assert_ping(&pod, &address(&before_swap, 0));
    let outside = Echo::start(world.underlay.hub(), Protocol::Tcp, 80);
    for (side, space) in [("old", &old), ("new", &pod)] {
        let seen =
            tcp_echo(space, outside.at(world.underlay.hub_ip())).unwrap_or_else(|e| panic!("{side}: {e}"));
        assert_eq!(seen, world.underlay.ipv4(0), "{side}");
    }
    // The old pod leaves by our hand; the new one's traffic goes on.
    runtime.del(&network, &Target::new("old", &old.path())).unwrap_or_else(|failure| panic!("{failure}"));
    assert_ping(&pod, world.underlay.hub_ip());
}
