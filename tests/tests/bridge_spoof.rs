//! `bridge` with `macspoofchk` and `ipspoofchk`: forged frames are dropped, honest ones pass, and nothing of it stays.

use netns_fixtures::{Bins, Network, Pod, Space, Target, assert_blocked, assert_ping, assert_same, needs};
use serde_json::{Value, json};
use tests::{World, address};

const MISMATCH: u64 = 111;
const FORGED: &str = "02:00:00:00:00:99";

fn world() -> World {
    World::with(Bins::only(&["bridge", "host-local"]))
}

/// Both families, with these checks.
fn network(world: &World, checks: &Value) -> Network {
    let ipam = world.ipam(&["10.66.0.0/24", "fd66::/64"]);
    world.bridge(&tests::merged(json!({"isDefaultGateway": true, "ipam": ipam}), checks))
}

/// Adds addresses that are nobody's to a pod, and makes them usable at once.
fn take_addresses(pod: &Pod) {
    pod.run("ip address add 10.66.0.77/24 dev eth0");
    pod.run("ip address add fd66::77/64 dev eth0 nodad");
}

fn ping_from(pod: &Pod, source: &str, to: &str) -> bool {
    pod.succeeds(&format!("ping -n -c 1 -W 1 -I {source} {to}"))
}

fn mac(world: &World, pod: &Pod) -> String {
    world.link_field(pod, "eth0", "/address").as_str().unwrap().to_owned()
}

#[test]
fn a_forged_mac_address_gets_nowhere_and_the_own_one_everywhere() {
    let world = world();
    let checked = network(&world, &json!({"macspoofchk": true}));
    let (a, _) = world.attach(&checked, "a");
    let (b, other) = world.attach(&checked, "b");
    let own = mac(&world, &a);
    for nth in 0..2 {
        assert_ping(&a, &address(&other, nth));
    }
    a.run(&format!("ip link set eth0 address {FORGED}"));
    for to in [address(&other, 0), address(&other, 1), "10.66.0.1".to_owned()] {
        assert_blocked(&a, &to);
    }
    a.run(&format!("ip link set eth0 address {}", mac(&world, &b)));
    assert_blocked(&a, "10.66.0.1");
    a.run(&format!("ip link set eth0 address {own}"));
    assert_ping(&a, "10.66.0.1");
    assert_ping(&b, "10.66.0.1");
}

#[test]
fn without_the_check_a_mac_address_may_change() {
    let world = world();
    let (_checked, _) = world.attach(&network(&world, &json!({"macspoofchk": true})), "a");
    let (free, _) = world.attach(&network(&world, &json!({})), "b");
    free.run(&format!("ip link set eth0 address {FORGED}"));
    assert_ping(&free, "10.66.0.1");
}

#[test]
fn forged_source_addresses_get_nowhere_in_both_families_and_in_arp() {
    let world = world();
    for (checks, passes) in [
        (json!({"macspoofchk": true}), true),
        (json!({"ipspoofchk": true}), false),
        (json!({"macspoofchk": true, "ipspoofchk": true}), false),
    ] {
        let checked = network(&world, &checks);
        let (a, own) = world.attach(&checked, &format!("a{checks}").replace(['{', '}', '"', ':', ','], "_"));
        let (b, other) =
            world.attach(&checked, &format!("b{checks}").replace(['{', '}', '"', ':', ','], "_"));
        take_addresses(&a);
        for nth in 0..2 {
            assert_ping(&b, &address(&own, nth));
            assert!(ping_from(&a, &address(&own, nth), &address(&other, nth)), "{checks}: honest packets");
        }
        for (source, nth) in [("10.66.0.77", 0), ("fd66::77", 1)] {
            // As the sender of a packet, and as the one who answers to ARP or a neighbour solicitation.
            assert_eq!(ping_from(&a, source, &address(&other, nth)), passes, "{checks}: from {source}");
            assert_eq!(netns_fixtures::ping(&b, source.parse().unwrap()), passes, "{checks}: to {source}");
        }
        a.run("ip link delete eth0");
    }
}

#[test]
fn a_victims_neighbour_entry_is_not_taken_over_by_a_forged_advertisement() {
    let world = world();
    let checked = network(&world, &json!({"ipspoofchk": true}));
    let (thief, _) = world.attach(&checked, "thief");
    let (victim, owned) = world.attach(&checked, "victim");
    let (caller, _) = world.attach(&checked, "caller");
    thief.run(&format!("ip address add {}/24 dev eth0", address(&owned, 0)));
    thief.run(&format!("ip address add {}/64 dev eth0 nodad", address(&owned, 1)));
    for nth in 0..2 {
        let wanted = address(&owned, nth);
        assert_ping(&caller, &wanted);
        let known = caller.run(&format!("ip neighbour show {wanted}"));
        assert!(known.contains(&mac(&world, &victim)), "{known}");
    }
}

#[test]
fn nothing_stays_whatever_became_of_the_sandbox_weakness_10() {
    let world = world();
    let checked = network(&world, &json!({"macspoofchk": true, "ipspoofchk": true}));
    world.warm(&checked);
    let before = world.snapshot();
    for (container, netns) in [("emptied", String::new()), ("lost", Pod::missing_path())] {
        let (pod, _) = world.attach(&checked, container);
        pod.run("ip link delete eth0");
        drop(pod);
        world.runtime().del(&checked, &Target::new(container, &netns)).unwrap_or_else(|f| panic!("{f}"));
        assert_same(&before, &world.snapshot(), container);
    }
    let (_collected, _) = world.attach(&checked, "collected");
    world.runtime().gc_plugins(&checked, &[]).unwrap_or_else(|f| panic!("{f}"));
    assert_same(&before, &world.snapshot(), "after GC");
}

#[test]
fn gc_spares_the_living_and_other_networks() {
    let world = world();
    let checked = network(&world, &json!({"ipspoofchk": true}));
    let mut other = checked.clone();
    other.name = "other".to_owned();
    let (kept, _) = world.attach(&checked, "kept");
    let (foreign, _) = world.attach(&other, "foreign");
    let (_stale, _) = world.attach(&checked, "stale");
    world.runtime().gc_plugins(&checked, &[&Target::new("kept", "")]).unwrap_or_else(|f| panic!("{f}"));
    let ports = world.host().run("nft list set bridge ironbridge_guard ports");
    assert!(
        ports.contains("id: kept") && ports.contains("id: foreign") && !ports.contains("id: stale"),
        "{ports}"
    );
    assert_ping(&kept, "10.66.0.1");
    assert_ping(&foreign, "10.66.0.1");
}

#[test]
fn a_failed_add_leaves_no_check_behind() {
    let world = world();
    let checked = network(&world, &json!({"macspoofchk": true}));
    world.warm(&checked);
    let before = world.snapshot();
    let full = json!([[{"subnet": "10.66.0.0/24", "rangeStart": "10.66.0.9", "rangeEnd": "10.66.0.9"}]]);
    let mut tight = checked.clone();
    tight.plugins[0]["ipam"]["ranges"] = full;
    tight.plugins[0]["ipam"]["routes"] = json!([{"dst": "192.0.2.0/24", "gw": "203.0.113.1"}]);
    let pod = Pod::new();
    world
        .runtime()
        .add(&tight, &Target::new("a", &pod.path()))
        .expect_err("the route's gateway is not reachable");
    assert_same(&before, &world.snapshot(), "after a failed ADD");
}

#[test]
fn a_layer_two_port_is_checked_too() {
    let world = world();
    let checked = world.bridge(&json!({"ipam": null, "macspoofchk": true}));
    let (a, _) = world.attach(&checked, "a");
    let (b, _) = world.attach(&checked, "b");
    a.run("ip address add 10.9.0.1/24 dev eth0");
    b.run("ip address add 10.9.0.2/24 dev eth0");
    assert_ping(&a, "10.9.0.2");
    a.run(&format!("ip link set eth0 address {FORGED}"));
    assert_blocked(&a, "10.9.0.2");
    let addressless = world.bridge(&json!({"ipam": null, "ipspoofchk": true}));
    let refused = world.runtime().add(&addressless, &Target::new("c", &Pod::new().path())).unwrap_err();
    assert_eq!(refused.error().code, 7);
    assert!(refused.error().msg.contains("ipspoofchk"), "{refused}");
}

#[test]
fn check_finds_what_was_taken_away() {
    for (what, line) in [
        ("the port", "nft flush set bridge ironbridge_guard ports"),
        ("the MAC address", "nft flush set bridge ironbridge_guard macs"),
        ("the addresses", "nft flush set bridge ironbridge_guard ips6"),
        ("a rule", "nft flush chain bridge ironbridge_guard address"),
        ("the table", "nft delete table bridge ironbridge_guard"),
    ] {
        let (world, pod) = (world(), Pod::new());
        let checked = network(&world, &json!({"ipspoofchk": true}));
        let (runtime, target) = (world.runtime(), Target::new("a", &pod.path()));
        runtime.add(&checked, &target).unwrap_or_else(|failure| panic!("{failure}"));
        runtime.check(&checked, &target).unwrap_or_else(|failure| panic!("{what}: {failure}"));
        world.host().run(line);
        let found = runtime.check(&checked, &target).expect_err(what).error();
        assert_eq!(found.code, MISMATCH, "{what}: {found:?}");
        // What is gone comes back with the next ADD, and a DEL does not mind.
        let (other, _) = world.attach(&checked, "b");
        assert_ping(&other, "10.66.0.1");
        runtime.del(&checked, &target).unwrap_or_else(|failure| panic!("{what}: {failure}"));
    }
}

#[test]
fn the_rules_are_as_many_for_ten_ports_as_for_one_weakness_18() {
    let world = world();
    let checked = network(&world, &json!({"ipspoofchk": true}));
    let rules = || {
        let text = world.host().run("nft -s list table bridge ironbridge_guard");
        text.lines().filter(|line| line.contains("drop") || line.contains("goto")).count()
    };
    let (_first, _) = world.attach(&checked, "first");
    let one = rules();
    let _more: Vec<_> = (0..9).map(|nth| world.attach(&checked, &format!("c{nth}"))).collect();
    assert_eq!(rules(), one);
}

#[test]
fn what_the_reference_guards_we_check_and_free() {
    needs!(IptablesNat);
    let reference = Bins::reference();
    let world = World { version: "1.0.0", ..World::with(reference) };
    let checked = network(&world, &json!({"macspoofchk": true}));
    let (_resident, _) = world.attach(&checked, "resident");
    let before = world.snapshot();
    let ours = Bins::only(&["bridge", "host-local"]);
    for netns in ["live", ""] {
        let pod = Pod::new();
        let (runtime, target) = (world.runtime(), Target::new("swapped", &pod.path()));
        runtime.add(&checked, &target).unwrap_or_else(|failure| panic!("{failure}"));
        let other = runtime.swapped(&ours);
        other.check(&checked, &target).unwrap_or_else(|failure| panic!("{failure}"));
        let target = if netns.is_empty() {
            pod.run("ip link delete eth0");
            target.netns("")
        } else {
            target
        };
        other.del(&checked, &target).unwrap_or_else(|failure| panic!("{failure}"));
        assert_same(&before, &world.snapshot(), netns);
    }
}
