//! `bridge`: the second ADD, the failed ADD, every kind of DEL, GC and STATUS.

use netns_fixtures::{Network, Pod, Snapshot, Space, Target, assert_ping, assert_same};
use serde_json::{Value, json};
use tests::{World, address, merged};

/// A gateway network with masquerade on both families.
fn full(world: &World) -> Network {
    let ipam = world.ipam(&["10.66.0.0/24", "fd66::/64"]);
    world.bridge(&json!({"isDefaultGateway": true, "ipMasq": true, "ipam": ipam}))
}

#[test]
fn add_then_del_leaves_nothing() {
    let world = World::ours();
    let (network, pod) = (full(&world), Pod::new());
    world.warm(&network);
    let (host, sandbox) = (world.snapshot(), Snapshot::of(&pod));
    let (runtime, target) = (world.runtime(), Target::new("a", &pod.path()));
    runtime.add(&network, &target).unwrap();
    runtime.del(&network, &target).unwrap();
    assert_same(&host, &world.snapshot(), "the host after ADD and DEL");
    let links = Snapshot::of(&pod);
    assert_eq!(sandbox.section("link").len(), links.section("link").len(), "the sandbox after ADD and DEL");
    assert_eq!(world.reservations("proving"), Vec::<String>::new());
}

#[test]
fn del_is_idempotent_and_knows_nothing_of_what_never_was() {
    let world = World::ours();
    let network = full(&world);
    world.warm(&network);
    let before = world.snapshot();
    let (pod, _) = world.attach(&network, "a");
    for (container, netns) in
        [("a", pod.path()), ("a", pod.path()), ("a", String::new()), ("never", Pod::missing_path())]
    {
        world
            .runtime()
            .del(&network, &Target::new(container, &netns))
            .unwrap_or_else(|f| panic!("{container}: {f}"));
    }
    assert_same(&before, &world.snapshot(), "after DEL four times");
}

#[test]
fn a_second_add_is_refused_and_changes_nothing() {
    let world = World::ours();
    let network = full(&world);
    let (pod, result) = world.attach(&network, "a");
    let (host, sandbox) = (world.snapshot(), Snapshot::of(&pod));
    let failure = world.runtime().add(&network, &Target::new("a", &pod.path())).unwrap_err();
    assert_ne!(failure.error().code, 999, "a second ADD is no bug: {failure}");
    assert_same(&host, &world.snapshot(), "the host after a second ADD");
    assert_same(&sandbox, &Snapshot::of(&pod), "the sandbox after a second ADD");
    assert_eq!(world.reservations("proving").len(), 2, "{result:#}");
    assert_ping(&pod, "10.66.0.1");
}

#[test]
fn an_interface_of_that_name_in_the_sandbox_is_left_alone() {
    let world = World::ours();
    let (network, pod) = (full(&world), Pod::new());
    world.warm(&network);
    pod.run("ip link add eth0 type bridge");
    let (host, sandbox) = (world.snapshot(), Snapshot::of(&pod));
    let target = Target::new("a", &pod.path());
    let failure = world.runtime().add(&network, &target).unwrap_err();
    assert!(failure.error().msg.contains("eth0"), "{failure}");
    assert_same(&host, &world.snapshot(), "the host");
    assert_same(&sandbox, &Snapshot::of(&pod), "the sandbox");
    assert_eq!(world.reservations("proving"), Vec::<String>::new());
}

/// ADDs that fail, each for its own reason: `(what, changed keys, code)`.
fn failing(world: &World) -> Vec<(&'static str, Value, u64)> {
    let ipam = |more: Value| json!({"ipam": merged(world.ipam(&["10.66.0.0/24"]), &more)});
    vec![
        ("two reflections", json!({"hairpinMode": true, "promiscMode": true}), 7),
        ("a range too small", ipam(json!({"ranges": [[{"subnet": "10.66.0.0/31"}]]})), 7),
        ("no such IPAM plugin", json!({"ipam": {"type": "no-such-ipam"}}), 7),
        (
            "addresses used up",
            ipam(json!({"ranges": [[{"subnet": "10.66.0.0/24", "rangeStart": "10.66.0.1",
            "rangeEnd": "10.66.0.1"}]]})),
            100,
        ),
        (
            "a route that the kernel refuses",
            ipam(json!({"routes": [{"dst": "10.9.0.0/16", "gw": "192.0.2.77"}]})),
            110,
        ),
        ("a disabled interface with addresses", json!({"disableContainerInterface": true}), 7),
        ("a backend that is none", json!({"ipMasq": true, "ipMasqBackend": "pf"}), 7),
        ("a MAC that is none", json!({"args": {"cni": {"mac": "nonsense"}}}), 7),
        ("an MTU that no link takes", json!({"mtu": 7}), 110),
    ]
}

#[test]
fn a_failed_add_leaves_nothing_weakness_11() {
    let world = World::ours();
    let whole = full(&world);
    world.warm(&whole);
    for (what, changes, code) in failing(&world) {
        let mut network = whole.clone();
        network.plugins[0] = merged(network.plugins[0].clone(), &changes);
        let pod = Pod::new();
        let (host, sandbox) = (world.snapshot(), Snapshot::of(&pod));
        let failure = world.runtime().add(&network, &Target::new("a", &pod.path())).unwrap_err();
        let error = failure.answer.error();
        assert_eq!(error.code, code, "{what}: {failure}");
        assert_same(&host, &world.snapshot(), &format!("the host after {what}"));
        let leftovers = |line: &str| !line.starts_with("eth0") && !line.contains("/eth0/");
        assert!(Snapshot::of(&pod).section("link").iter().all(|line| leftovers(line)), "{what}");
        assert_eq!(sandbox.section("address"), Snapshot::of(&pod).section("address"), "{what}");
        assert_eq!(world.reservations("proving"), Vec::<String>::new(), "{what}");
    }
}

#[test]
fn a_name_that_is_no_bridge_is_refused_by_name() {
    let world = World::ours();
    world.host().run("ip link add cni0 type veth peer name cni1");
    let before = world.snapshot();
    let pod = Pod::new();
    let failure = world.runtime().add(&full(&world), &Target::new("a", &pod.path())).unwrap_err();
    assert!(failure.error().msg.contains("cni0"), "{failure}");
    assert_same(&before, &world.snapshot(), "after an ADD to something that is no bridge");
}

#[test]
fn a_differing_bridge_address_is_an_error_unless_forced() {
    let world = World::ours();
    let network = world.bridge(&json!({"isGateway": true}));
    world.warm(&network);
    world.host().run("ip address flush dev cni0");
    world.host().run("ip address add 10.66.0.9/24 dev cni0");
    let pod = Pod::new();
    let target = Target::new("a", &pod.path());
    let failure = world.runtime().add(&network, &target).unwrap_err();
    assert!(failure.error().msg.contains("10.66.0.9"), "{failure}");
    assert_eq!(world.reservations("proving"), Vec::<String>::new());
    let mut forced = network.clone();
    forced.plugins[0]["forceAddress"] = json!(true);
    world.runtime().add(&forced, &target).unwrap_or_else(|f| panic!("{f}"));
    assert_ping(&pod, "10.66.0.1");
    let shown = world.host().run("ip -4 address show dev cni0");
    assert!(!shown.contains("10.66.0.9"), "{shown}");
}

#[test]
fn an_address_given_to_another_pod_answers_at_once() {
    let world = World::ours();
    let network = world.bridge(&json!({"isGateway": true, "capabilities": {"ips": true}}));
    let (peer, _) = world.attach(&network, "peer");
    for round in 0..3 {
        let (pod, name) = (Pod::new(), format!("round{round}"));
        let target = Target::new(&name, &pod.path()).capability("ips", json!(["10.66.0.77"]));
        let result = world.runtime().add(&network, &target).unwrap_or_else(|f| panic!("{f}"));
        assert_eq!(address(&result, 0), "10.66.0.77");
        let reused = "10.66.0.77".parse().unwrap();
        assert!(netns_fixtures::ping(&peer, reused), "round {round}: a stale neighbour of a pod");
        assert!(netns_fixtures::ping(world.host(), "10.66.0.77".parse().unwrap()), "round {round}: the node");
        world.runtime().del(&network, &target).unwrap_or_else(|f| panic!("{f}"));
    }
}

#[test]
fn gc_removes_what_no_runtime_claims_any_more() {
    let world = World::ours();
    let network = full(&world);
    let (kept_pod, _) = world.attach(&network, "kept");
    let kept = Target::new("kept", &kept_pod.path());
    let before = world.snapshot();
    let (stale_pod, _) = world.attach(&network, "stale");
    world.runtime().gc_plugins(&network, &[&kept]).unwrap_or_else(|f| panic!("{f}"));
    assert_same(&before, &world.snapshot(), "after GC with one valid attachment");
    assert_eq!(world.reservations("proving").len(), 2, "one address a family");
    assert_ping(&kept_pod, "10.66.0.1");
    drop(stale_pod);
    world.runtime().gc_plugins(&network, &[]).unwrap_or_else(|f| panic!("{f}"));
    assert_eq!(world.reservations("proving"), Vec::<String>::new());
}

#[test]
fn gc_leaves_other_networks_alone() {
    let world = World::ours();
    let network = full(&world);
    let mut other = network.clone();
    other.name = "other".to_owned();
    other.plugins[0] =
        merged(other.plugins[0].clone(), &json!({"bridge": "cni1", "ipam": world.ipam(&["10.67.0.0/24"])}));
    let (pod, _) = world.attach(&other, "elsewhere");
    world.warm(&network);
    let before = world.snapshot();
    world.runtime().gc_plugins(&network, &[]).unwrap_or_else(|f| panic!("{f}"));
    assert_same(&before, &world.snapshot(), "after GC of another network");
    assert_eq!(world.reservations("other").len(), 1);
    assert_ping(&pod, "10.67.0.1");
}

#[test]
fn gc_without_a_list_is_no_information_and_removes_nothing() {
    let world = World::ours();
    let network = full(&world);
    let (_pod, _) = world.attach(&network, "a");
    let before = world.snapshot();
    let nobody = Target::new("", "").ifname("");
    let request = network.request(0, &nobody, None);
    world.runtime().invocation("GC", &nobody, &request).run(world.host()).silent();
    assert_same(&before, &world.snapshot(), "after GC without a list");
}

#[test]
fn status_asks_ipam_whether_an_add_could_be_served() {
    let world = World::ours();
    let small = json!({"type": "host-local", "dataDir": world.state.path(), "ranges": [[{"subnet": "10.66.0.0/30"}]]});
    let network = world.bridge(&json!({"ipam": small}));
    world.runtime().status(&network).unwrap_or_else(|f| panic!("{f}"));
    let (_pod, _) = world.attach(&network, "only");
    let failure = world.runtime().status(&network).unwrap_err();
    assert_eq!(failure.answer.error().code, 50, "{failure}");
}
