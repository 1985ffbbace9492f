//! `firewall`: accepted where the node drops, isolated where the network says so, and gone when the attachment is.

use std::time::Duration;

use netns_fixtures::{
    Bins, Echo, Invocation, Network, Pod, Protocol, Space, Target, assert_blocked, assert_ping, assert_same,
    eventually, needs, tcp_echo,
};
use serde_json::{Value, json};
use tests::{World, address, merged};

const PLUGINS: [&str; 3] = ["bridge", "host-local", "firewall"];
const MISMATCH: u64 = 111;
const BACKENDS: [&str; 2] = ["nftables", "iptables"];

fn world() -> World {
    World::with(Bins::only(&PLUGINS))
}

/// Both families with a masquerade, and the firewall behind it.
fn network(world: &World, firewall: &Value) -> Network {
    let ipam = world.ipam(&["10.66.0.0/24", "fd66::/64"]);
    let bridge = world.bridge(&json!({"isDefaultGateway": true, "ipMasq": true, "ipam": ipam}));
    bridge.plugin(merged(json!({"type": "firewall"}), firewall))
}

/// The same on another bridge with other addresses.
fn second(world: &World, firewall: &Value) -> Network {
    let mut network = network(world, firewall);
    "second".clone_into(&mut network.name);
    network.plugins[0]["bridge"] = json!("cni1");
    network.plugins[0]["ipam"] = world.ipam(&["10.67.0.0/24", "fd67::/64"]);
    network
}

/// A node as Docker leaves it.
fn drop_forwarded(world: &World) {
    world.host().run("iptables -P FORWARD DROP");
    world.host().run("ip6tables -P FORWARD DROP");
}

/// Whether TCP from the pod reaches the outside, for each family.
fn outside(world: &World, pod: &Pod) -> [bool; 2] {
    let echo = Echo::start(world.underlay.hub(), Protocol::Tcp, 80);
    [world.underlay.hub_ip(), "fd50::fe"].map(|hub| tcp_echo(pod, echo.at(hub)).is_ok())
}

/// One run of the firewall alone, with a result of the test's own making. Panics if it fails.
fn firewall(world: &World, verb: &str, container: &str, config: &Value) {
    let answer = invocation(world, verb, container, config).run(world.host());
    assert!(answer.succeeded(), "{verb} {container}: {answer}");
}

fn invocation(world: &World, verb: &str, container: &str, config: &Value) -> Invocation {
    // The sandbox is only looked at: any namespace but the node's does.
    let hub = world.underlay.hub().path();
    let ip = |text: &str| json!({"address": text, "interface": 2});
    let previous = json!({
        "cniVersion": "1.0.0",
        "interfaces": [{"name": "cni0"}, {"name": format!("v{container}")}, {"name": "eth0", "sandbox": "/pod"}],
        "ips": [ip("10.66.0.2/24"), ip("fd66::2/64")],
    });
    let plain = json!({"type": "firewall", "name": "net", "cniVersion": "1.0.0", "prevResult": previous});
    let request = merged(plain, config);
    world.runtime().invocation(verb, &Target::new(container, &hub), &request)
}

#[test]
fn where_the_node_drops_what_it_forwards_the_automatic_choice_accepts() {
    needs!(IptablesNat);
    let world = world();
    let (bare, _) = world.attach(&world.bridge(&json!({"isDefaultGateway": true, "ipMasq": true})), "bare");
    drop_forwarded(&world);
    assert!(!outside(&world, &bare)[0], "the node drops");
    for backend in ["", "iptables"] {
        let network = network(&world, &json!({"backend": backend}));
        let (pod, runtime) = (Pod::new(), world.runtime());
        let target = Target::new("a", &pod.path());
        runtime.add(&network, &target).unwrap_or_else(|failure| panic!("{failure}"));
        assert_eq!(outside(&world, &pod), [true, true], "{backend:?}");
        runtime.check(&network, &target).unwrap_or_else(|failure| panic!("{failure}"));
        runtime.del(&network, &target).unwrap_or_else(|failure| panic!("{failure}"));
        let left =
            world.host().run("iptables-save -t filter") + &world.host().run("ip6tables-save -t filter");
        assert!(!left.contains("10.66.0.") && !left.contains("fd66::"), "{left}");
    }
}

#[test]
fn where_nothing_drops_the_automatic_choice_starts_no_program() {
    let world = world();
    let (pod, _) = world.attach(&network(&world, &json!({"backend": ""})), "a");
    assert_eq!(outside(&world, &pod), [true, true]);
    let tables = world.host().run("nft list tables");
    assert!(tables.contains("inet ironbridge_firewall") && !tables.contains("ip filter"), "{tables}");
}

#[test]
fn the_rules_are_the_references_and_none_comes_twice() {
    needs!(IptablesNat);
    let config = json!({"backend": "iptables", "ingressPolicy": "same-bridge"});
    let worlds = [world(), World::with(Bins::reference())];
    let [ours, theirs] = worlds.map(|world| {
        world.host().run("ip link add cni0 type bridge");
        for _ in 0..2 {
            firewall(&world, "ADD", "a", &config);
        }
        let all = world.host().run("iptables-save -t filter") + &world.host().run("ip6tables-save -t filter");
        let mut rules: Vec<String> = all.lines().filter(|l| l.starts_with("-A")).map(str::to_owned).collect();
        // Debian's older build writes one comment on all rules of a policy.
        for rule in &mut rules {
            *rule = rule.replace("same-bridge|isolated", "same-bridge");
        }
        rules.sort();
        rules
    });
    assert_eq!(ours, theirs);
}

#[test]
fn a_late_del_does_not_cut_off_the_next_owner_of_the_address_weakness_52() {
    needs!(IptablesNat);
    for backend in BACKENDS {
        let (world, config) = (world(), json!({"backend": backend}));
        world.host().run("ip link add cni0 type bridge");
        firewall(&world, "ADD", "old", &config);
        firewall(&world, "ADD", "new", &config);
        firewall(&world, "DEL", "old", &config);
        firewall(&world, "CHECK", "new", &config);
        firewall(&world, "DEL", "new", &config);
        let left = world.host().run("nft list ruleset");
        assert!(!left.contains("10.66.0.2") && !left.contains("fd66::2"), "{backend}: {left}");
    }
}

#[test]
fn del_needs_no_result_and_no_sandbox_weakness_53() {
    needs!(IptablesNat);
    for backend in BACKENDS {
        let world = world();
        let network = network(&world, &json!({"backend": backend, "ingressPolicy": "isolated"}));
        world.warm(&network);
        let before = world.snapshot();
        let (_pod, _) = world.attach(&network, "a");
        world.runtime().del(&network, &Target::new("a", "")).unwrap_or_else(|failure| panic!("{failure}"));
        assert_same(&before, &world.snapshot(), backend);
        let (_pod, _) = world.attach(&network, "b");
        world.runtime().gc_plugins(&network, &[]).unwrap_or_else(|failure| panic!("{failure}"));
        assert_same(&before, &world.snapshot(), &format!("{backend}, GC"));
    }
}

#[test]
fn gc_spares_the_living_and_other_networks() {
    needs!(IptablesNat);
    for backend in BACKENDS {
        let (world, config) = (world(), json!({"backend": backend}));
        let (network, other) = (network(&world, &config), second(&world, &config));
        let (_kept, _) = world.attach(&network, "kept");
        let (_stale, _) = world.attach(&network, "stale");
        let (_foreign, _) = world.attach(&other, "foreign");
        world.runtime().gc_plugins(&network, &[&Target::new("kept", "")]).unwrap_or_else(|f| panic!("{f}"));
        let owners = world.host().run("nft list set inet ironbridge_firewall pods4");
        assert!(owners.contains("id: kept") && owners.contains("id: foreign"), "{owners}");
        assert!(!owners.contains("id: stale"), "{owners}");
        let rules = world.host().run("nft list ruleset");
        assert!(rules.contains("10.66.0.2") && !rules.contains("10.66.0.3"), "{backend}: {rules}");
    }
}

#[test]
fn same_bridge_keeps_two_networks_apart_and_lets_each_talk() {
    needs!(IptablesNat);
    for backend in BACKENDS {
        let (world, config) = (world(), json!({"backend": backend, "ingressPolicy": "same-bridge"}));
        let (one, two) = (network(&world, &config), second(&world, &config));
        let (a, _) = world.attach(&one, "a");
        let (_b, beside) = world.attach(&one, "b");
        let (_c, across) = world.attach(&two, "c");
        for nth in 0..2 {
            assert_ping(&a, &address(&beside, nth));
            assert_blocked(&a, &address(&across, nth));
        }
        assert_eq!(outside(&world, &a), [true, true], "{backend}");
        let (open, _) = world.attach(&network(&world, &json!({"backend": backend})), "open");
        assert_blocked(&open, &address(&across, 0));
    }
}

#[test]
fn isolated_pods_reach_the_outside_but_not_each_other() {
    needs!(IptablesNat);
    for backend in BACKENDS {
        let (world, config) = (world(), json!({"backend": backend, "ingressPolicy": "isolated"}));
        let network = network(&world, &config);
        let (a, _) = world.attach(&network, "a");
        let (_b, beside) = world.attach(&network, "b");
        for nth in 0..2 {
            assert_blocked(&a, &address(&beside, nth));
        }
        assert_eq!(outside(&world, &a), [true, true], "{backend}");
        assert_ping(&a, "10.66.0.1");
    }
}

#[test]
fn a_policy_goes_with_the_last_attachment_of_its_bridge_weakness_54() {
    needs!(IptablesNat);
    for backend in BACKENDS {
        let (world, config) = (world(), json!({"backend": backend, "ingressPolicy": "same-bridge"}));
        let network = network(&world, &config);
        let (_a, _) = world.attach(&network, "a");
        let (_b, _) = world.attach(&network, "b");
        let about_bridge = || {
            let rules = world.host().run("nft list table inet ironbridge_firewall")
                + &world.host().run("iptables-save -t filter");
            rules.lines().filter(|line| line.contains("cni0") && !line.contains("on: cni0")).count()
        };
        let all = about_bridge();
        world.runtime().del(&network, &Target::new("a", "")).unwrap_or_else(|failure| panic!("{failure}"));
        assert_eq!(about_bridge(), all, "{backend}: b is still there");
        world.runtime().del(&network, &Target::new("b", "")).unwrap_or_else(|failure| panic!("{failure}"));
        assert_eq!((all > 0, about_bridge()), (true, 0), "{backend}");
    }
}

#[test]
fn check_changes_nothing_and_finds_what_is_gone_weakness_55() {
    needs!(IptablesNat);
    for (backend, line) in [
        ("nftables", "nft flush set inet ironbridge_firewall pods6"),
        ("nftables", "nft flush set inet ironbridge_firewall policed"),
        ("nftables", "nft flush chain inet ironbridge_firewall forward"),
        ("iptables", "iptables -D CNI-FORWARD -s 10.66.0.2 -j ACCEPT"),
        ("iptables", "ip6tables -D FORWARD 2"),
        ("iptables", "iptables -F CNI-ISOLATION-STAGE-2"),
        ("iptables", "iptables -F CNI-FORWARD"),
    ] {
        let (world, pod) = (world(), Pod::new());
        let network = network(&world, &json!({"backend": backend, "ingressPolicy": "same-bridge"}));
        let (runtime, target) = (world.runtime(), Target::new("a", &pod.path()));
        runtime.add(&network, &target).unwrap_or_else(|failure| panic!("{failure}"));
        runtime.check(&network, &target).unwrap_or_else(|failure| panic!("{line}: {failure}"));
        world.host().run(line);
        let before = world.snapshot();
        let found = runtime.check(&network, &target).expect_err(line).error();
        assert_eq!(found.code, MISMATCH, "{line}: {found:?}");
        assert_same(&before, &world.snapshot(), line);
        runtime.del(&network, &target).unwrap_or_else(|failure| panic!("{line}: {failure}"));
    }
}

#[test]
fn a_node_changes_sides_under_live_pods() {
    needs!(IptablesNat);
    let (ours, theirs) = (Bins::only(&PLUGINS), Bins::reference());
    for (from, to) in [(&theirs, &ours), (&ours, &theirs)] {
        for policy in ["open", "same-bridge"] {
            let world = World { version: "1.0.0", ..World::with(from.clone()) };
            let mut network = network(&world, &json!({"backend": "iptables", "ingressPolicy": policy}));
            network.plugins[0]["ipMasqBackend"] = json!("iptables");
            drop_forwarded(&world);
            let (living, pod) = (Pod::new(), Pod::new());
            let resident = Target::new("resident", &living.path());
            let (runtime, target) = (world.runtime(), Target::new("swapped", &pod.path()));
            runtime.add(&network, &resident).unwrap_or_else(|failure| panic!("{failure}"));
            runtime.add(&network, &target).unwrap_or_else(|failure| panic!("{failure}"));
            // The reference's gateway address is still tentative when its ADD returns.
            eventually("the pod reaches the outside", Duration::from_secs(10), || {
                (outside(&world, &pod) == [true, true]).then_some(())
            });
            let other = runtime.swapped(to);
            other.check(&network, &target).unwrap_or_else(|failure| panic!("{failure}"));
            other.del(&network, &target).unwrap_or_else(|failure| panic!("{failure}"));
            let left =
                world.host().run("iptables-save -t filter") + &world.host().run("ip6tables-save -t filter");
            assert!(!left.contains("10.66.0.3") && !left.contains("fd66::3"), "{policy}: {left}");
            assert!(left.contains("10.66.0.2") && left.contains("fd66::2"), "{policy}: {left}");
            assert_eq!(left.contains("-i cni0"), policy == "same-bridge", "{left}");
            other.del(&network, &resident).unwrap_or_else(|failure| panic!("{failure}"));
            // Only we remove a policy with its last attachment.
            let left = world.host().run("iptables-save -t filter");
            assert!(!left.contains("cni0") || to.dir() == theirs.dir(), "{left}");
        }
    }
}

#[test]
fn legacy_tables_are_read_filled_and_cleaned() {
    let legacy = std::path::Path::new("/usr/sbin/iptables-legacy-restore");
    let world = world();
    if !legacy.exists() || !world.host().succeeds("iptables-legacy -t filter -S") {
        netns_fixtures::skip!("no legacy iptables here");
    }
    let programs = tempfile::tempdir().unwrap();
    for name in ["iptables", "ip6tables"] {
        for part in ["restore", "save"] {
            let from = format!("/usr/sbin/{name}-legacy-{part}");
            std::os::unix::fs::symlink(from, programs.path().join(format!("{name}-{part}"))).unwrap();
        }
    }
    world.host().run("ip link add cni0 type bridge");
    let path = format!("{}:/usr/sbin:/usr/bin", programs.path().display());
    let run = |verb: &str, container: &str| {
        let config = json!({"backend": "", "ingressPolicy": "isolated"});
        let answer = invocation(&world, verb, container, &config).env("PATH", &path).run(world.host());
        assert!(answer.succeeded(), "{verb} {container}: {answer}");
    };
    let saved = || {
        world.host().run("iptables-legacy-save -t filter")
            + &world.host().run("ip6tables-legacy-save -t filter")
    };
    for _ in 0..2 {
        run("ADD", "old");
    }
    assert_eq!(saved().matches("-A CNI-FORWARD -s 10.66.0.2/32 -j ACCEPT").count(), 1, "{}", saved());
    assert!(saved().contains("-A CNI-ISOLATION-STAGE-1 -i cni0 -o cni0"), "{}", saved());
    run("ADD", "new");
    run("DEL", "old");
    run("CHECK", "new");
    run("DEL", "new");
    let left = saved();
    assert!(!left.contains("10.66.0.2") && !left.contains("fd66::2") && !left.contains("cni0"), "{left}");
}

#[test]
fn an_iptables_that_fails_leaves_nothing_and_is_quoted() {
    let world = world();
    world.host().run("ip link add cni0 type bridge");
    firewall(&world, "ADD", "warm", &json!({"backend": "nftables"}));
    firewall(&world, "DEL", "warm", &json!({"backend": "nftables"}));
    let programs = Bins::only(&[]);
    programs.add_script("iptables-restore", "echo no luck today >&2; exit 4");
    let path = format!("{}:/usr/sbin:/usr/bin:/bin", programs.dir().display());
    let config = json!({"backend": "iptables", "ingressPolicy": "isolated"});
    let error = invocation(&world, "ADD", "a", &config).env("PATH", &path).run(world.host()).error();
    assert!(error.code == 110 && error.msg.contains("no luck today"), "{error:?}");
    let after = world.host().run("nft list ruleset");
    assert!(!after.contains("10.66.0.2") && !after.contains("cni0") && !after.contains("\"va\""), "{after}");
}

#[test]
fn many_at_once_leave_no_rule_double_and_none_behind() {
    needs!(IptablesNat);
    let world = world();
    let network = network(&world, &json!({"backend": "iptables", "ingressPolicy": "same-bridge"}));
    let pods: Vec<Pod> = (0..12).map(|_| Pod::new()).collect();
    let runtime = world.runtime();
    let target = |nth: usize| Target::new(&format!("c{nth}"), &pods[nth].path());
    std::thread::scope(|scope| {
        for nth in 0..pods.len() {
            let (runtime, network, target) = (&runtime, &network, target(nth));
            scope.spawn(move || runtime.add(network, &target).unwrap_or_else(|f| panic!("{f}")));
        }
    });
    let rules = world.host().run("iptables-save -t filter");
    assert_eq!(
        rules.lines().filter(|line| line.contains("ACCEPT") && line.starts_with("-A")).count(),
        24,
        "{rules}"
    );
    for nth in 0..pods.len() {
        runtime.check(&network, &target(nth)).unwrap_or_else(|f| panic!("{f}"));
    }
    std::thread::scope(|scope| {
        for nth in 0..pods.len() {
            let (runtime, network, target) = (&runtime, &network, target(nth));
            scope.spawn(move || runtime.del(network, &target).unwrap_or_else(|f| panic!("{f}")));
        }
    });
    let rules = world.host().run("iptables-save -t filter");
    assert!(!rules.contains("10.66.0."), "{rules}");
}

#[test]
fn what_cannot_be_meant_is_refused_and_status_says_why_a_backend_was_chosen() {
    let world = world();
    for (firewall, code, text) in [
        (json!({"backend": "ipfw"}), 7, "backend \"ipfw\""),
        (json!({"ingressPolicy": "closed"}), 7, "ingressPolicy \"closed\""),
        (
            json!({"backend": "firewalld"}),
            50,
            "backend \"firewalld\" was chosen because the configuration says so",
        ),
    ] {
        let error = world.runtime().status(&network(&world, &firewall)).expect_err("a refusal").error();
        assert_eq!(error.code, code, "{error:?}");
        assert!(error.msg.contains(text), "{error:?}");
    }
    world.runtime().status(&network(&world, &json!({}))).unwrap_or_else(|failure| panic!("{failure}"));
    let alone = Network::new("alone", "1.0.0").plugin(json!({"type": "firewall"}));
    let error =
        world.runtime().add(&alone, &Target::new("a", &Pod::new().path())).expect_err("no result").error();
    assert!(error.code == 7 && error.msg.contains("prevResult"), "{error:?}");
}
