//! The `flannel` plugin: its delegate's configuration, its state, and the errors that say what to look at.

use std::fs;

use netns_fixtures::{Bins, Network, Pod, Space, Target, assert_ping, assert_same};
use serde_json::{Value, json};
use tests::{World, address, merged};

const SUBNET: &str =
    "FLANNEL_NETWORK=10.70.0.0/16\nFLANNEL_SUBNET=10.70.1.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n";
const DUAL: &str = "FLANNEL_NETWORK=10.70.0.0/16\nFLANNEL_SUBNET=10.70.1.1/24\nFLANNEL_IPV6_NETWORK=fd70::/48\n\
    FLANNEL_IPV6_SUBNET=fd70:0:0:1::1/64\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n";

/// The stock manifest's network, with files of the test's own.
fn stock(world: &World, subnet: &str, more: &Value) -> Network {
    let file = world.state.path().join("subnet.env");
    fs::write(&file, subnet).unwrap();
    let config = json!({
        "type": "flannel", "subnetFile": file, "dataDir": world.state.path().join("flannel"),
        "ipam": {"dataDir": world.state.path()},
        "delegate": {"hairpinMode": true, "isDefaultGateway": true},
    });
    Network::new("cbr0", "0.3.1").plugin(merged(config, more))
}

fn state_files(world: &World) -> Vec<String> {
    let files = fs::read_dir(world.state.path().join("flannel")).into_iter().flatten().flatten();
    let mut names: Vec<String> = files.map(|file| file.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn pods_get_addresses_routes_and_mtu_from_subnet_env() {
    for bins in [Bins::multicall(), Bins::separate()] {
        let world = World::with(bins);
        let network = stock(&world, DUAL, &json!({}));
        let (a, result) = world.attach(&network, "a");
        let (b, other) = world.attach(&network, "b");
        assert_eq!(result["ips"][0]["address"], "10.70.1.2/24", "{result:#}");
        assert_eq!(result["ips"][1]["address"], "fd70:0:0:1::2/64");
        assert_eq!(world.link_field(&a, "eth0", "/mtu"), 1450);
        let routes = a.run("ip route show") + &a.run("ip -6 route show");
        for expected in ["10.70.0.0/16 via 10.70.1.1", "default via 10.70.1.1", "fd70::/48 via fd70:0:0:1::1"]
        {
            assert!(routes.contains(expected), "{expected} is not in\n{routes}");
        }
        for nth in 0..2 {
            assert_ping(&a, &address(&other, nth));
        }
        let hairpin =
            world.link_field(world.host(), &world.host_end(&result), "/linkinfo/info_slave_data/hairpin");
        assert_eq!(hairpin, true);
        drop(b);
    }
}

#[test]
fn del_leaves_nothing_even_when_subnet_env_and_sandbox_are_gone() {
    let world = World::ours();
    let network = stock(&world, SUBNET, &json!({}));
    world.warm(&network);
    let before = world.snapshot();
    let (pod, _) = world.attach(&network, "a");
    assert_eq!(state_files(&world).len(), 1);
    fs::remove_file(world.state.path().join("subnet.env")).unwrap();
    drop(pod);
    for _ in 0..2 {
        world.runtime().del(&network, &Target::new("a", "")).unwrap_or_else(|failure| panic!("{failure}"));
    }
    assert_same(&before, &world.snapshot(), "after DEL without subnet.env");
    assert_eq!(state_files(&world), Vec::<String>::new());
    assert_eq!(world.reservations("cbr0"), Vec::<String>::new());
}

#[test]
fn two_attachments_of_one_container_have_a_state_each() {
    let (world, pod) = (World::ours(), Pod::new());
    let (runtime, network) =
        (world.runtime(), stock(&world, SUBNET, &json!({"delegate": {"isGateway": true}})));
    let (first, second) = (Target::new("a", &pod.path()), Target::new("a", &pod.path()).ifname("net1"));
    runtime.add(&network, &first).unwrap_or_else(|failure| panic!("{failure}"));
    runtime.add(&network, &second).unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(state_files(&world).len(), 2);
    runtime.del(&network, &first).unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(pod.link_names(), ["lo", "net1"]);
    runtime.del(&network, &second).unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(state_files(&world), Vec::<String>::new());
}

#[test]
fn a_failed_delegate_del_keeps_the_state_for_the_retry() {
    let world =
        World::with(Bins::mixed(&[("flannel", &Bins::separate()), ("host-local", &Bins::separate())]));
    world.bins.add_script(
        "bridge",
        "test -e /tmp/never; cat >/dev/null; echo '{\"code\": 77, \"msg\": \"not today\"}'; exit 1",
    );
    let network = stock(&world, SUBNET, &json!({}));
    let pod = Pod::new();
    let target = Target::new("a", &pod.path());
    let failure = world.runtime().add(&network, &target).unwrap_err();
    assert_eq!((failure.error().code, failure.error().msg.contains("not today")), (77, true), "{failure}");
    // An ADD that failed may be followed by a DEL that fails too: nothing may be forgotten before one succeeds.
    let known = state_files(&world);
    let failure = world.runtime().del(&network, &target).err();
    assert!(
        known.is_empty() || (failure.is_some() && state_files(&world) == known),
        "{known:?}, {failure:?}"
    );
}

#[test]
fn a_missing_subnet_env_says_what_to_look_at() {
    let world = World::ours();
    let network = stock(&world, SUBNET, &json!({}));
    fs::remove_file(world.state.path().join("subnet.env")).unwrap();
    let failure = world.runtime().add(&network, &Target::new("a", &Pod::new().path())).unwrap_err();
    let error = failure.answer.error();
    let text = format!("{} {}", error.msg, error.details);
    assert!(text.contains("subnet.env") && text.contains("ironbridged"), "{text}");
    assert_ne!(error.code, 999);
}

#[test]
fn an_incomplete_or_torn_subnet_env_is_an_error_that_names_what_is_missing() {
    let world = World::ours();
    for (text, missing) in [
        ("FLANNEL_NETWORK=10.70.0.0/16\n", "FLANNEL_SUBNET"),
        ("FLANNEL_NETWORK=10.70.0.0/16\nFLANNEL_SUBNET=10.70.1.1/24\n", "FLANNEL_MTU"),
        (
            "FLANNEL_NETWORK=10.70.0.0/16\nFLANNEL_SUBNET\nFLANNEL_MTU=1\nFLANNEL_IPMASQ=true\n",
            "FLANNEL_SUBNET",
        ),
        ("", "FLANNEL_"),
    ] {
        let network = stock(&world, text, &json!({}));
        let failure = world.runtime().add(&network, &Target::new("a", &Pod::new().path())).unwrap_err();
        let error = failure.answer.error();
        assert!(format!("{error:?}").contains(missing) && error.code != 999, "{text:?}: {error:?}");
    }
}

#[test]
fn gc_and_status_reach_the_delegate() {
    let world = World::ours();
    let network = stock(&world, SUBNET, &json!({})).at("1.1.0");
    world.runtime().status(&network).unwrap_or_else(|failure| panic!("{failure}"));
    let (kept_pod, _) = world.attach(&network, "kept");
    let before = world.snapshot();
    let (_stale, _) = world.attach(&network, "stale");
    let kept = Target::new("kept", &kept_pod.path());
    world.runtime().gc_plugins(&network, &[&kept]).unwrap_or_else(|failure| panic!("{failure}"));
    assert_same(&before, &world.snapshot(), "after GC");
    assert_eq!(state_files(&world).len(), 1);
    assert_eq!(world.reservations("cbr0"), ["10.70.1.2"]);
    fs::remove_file(world.state.path().join("subnet.env")).unwrap();
    let failure = world.runtime().status(&network).unwrap_err();
    assert_eq!(failure.answer.error().code, 50, "{failure}");
}

#[test]
fn check_asks_the_delegate() {
    let (world, pod) = (World::ours(), Pod::new());
    let network = stock(&world, SUBNET, &json!({})).at("0.4.0");
    let (runtime, target) = (world.runtime(), Target::new("a", &pod.path()));
    runtime.add(&network, &target).unwrap_or_else(|failure| panic!("{failure}"));
    runtime.check(&network, &target).unwrap_or_else(|failure| panic!("{failure}"));
    pod.run("ip route delete default");
    assert!(runtime.check(&network, &target).is_err(), "CHECK after the default route is gone");
}
