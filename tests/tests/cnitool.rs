//! The CNI project's own cnitool drives our plugins: add, check, status, gc and del.

use netns_fixtures::{Bins, CniTool, Network, Pod, Space, assert_ping, assert_same};
use serde_json::{Value, json};
use tests::World;

/// loopback has no place in a list of its own network; the chain is what a node's file says.
fn chain(world: &World, version: &str) -> Network {
    let ipam = world.ipam(&["10.66.0.0/24", "fd66::/64"]);
    world.bridge(&json!({"isDefaultGateway": true, "ipMasq": true, "capabilities": {"mac": true, "ips": true}, "ipam": ipam})).at(version)
}

#[test]
fn cnitool_adds_checks_and_deletes() {
    for bins in [Bins::multicall(), Bins::separate()] {
        let (world, pod) = (World::with(bins), Pod::new());
        let network = chain(&world, "1.1.0");
        world.warm(&network);
        let before = world.snapshot();
        let tool = CniTool::new(world.host(), &world.bins, &network);
        tool.succeed("status", "ignored");
        let result: Value =
            serde_json::from_str(&tool.succeed("add", &pod.path())).expect("cnitool prints the result");
        assert_eq!(result["ips"][0]["address"], "10.66.0.3/24");
        assert_ping(&pod, "10.66.0.1");
        assert_ping(&pod, world.underlay.hub_ip());
        tool.succeed("check", &pod.path());
        pod.run("ip route delete default");
        assert!(
            !tool.run("check", &pod.path(), "").status.success(),
            "CHECK after the default route is gone"
        );
        tool.succeed("del", &pod.path());
        tool.succeed("del", &pod.path());
        assert_same(&before, &world.snapshot(), "after cnitool add and del");
    }
}

#[test]
fn cnitool_works_with_every_list_version_that_it_knows() {
    for version in ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        let (world, pod) = (World::ours(), Pod::new());
        let tool_world = chain(&world, version);
        let tool = CniTool::new(world.host(), &world.bins, &tool_world);
        tool.succeed("add", &pod.path());
        assert_ping(&pod, "10.66.0.1");
        tool.succeed("del", &pod.path());
        assert_eq!(pod.link_names(), ["lo"], "at {version}");
        assert_eq!(world.reservations("proving"), Vec::<String>::new(), "at {version}");
    }
}

#[test]
fn cnitool_passes_capabilities() {
    let (world, pod) = (World::ours(), Pod::new());
    let network = chain(&world, "1.0.0");
    let tool = CniTool::new(world.host(), &world.bins, &network);
    let capabilities = r#"{"mac": "02:00:00:00:00:42", "ips": ["10.66.0.42", "fd66::42"]}"#;
    let output = tool.run("add", &pod.path(), capabilities);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(pod.addresses("eth0"), ["10.66.0.42/24", "fd66::42/64"]);
    assert_eq!(world.link_field(&pod, "eth0", "/address"), "02:00:00:00:00:42");
}

#[test]
fn cnitool_gc_removes_every_attachment() {
    let (world, first, second) = (World::ours(), Pod::new(), Pod::new());
    let network = chain(&world, "1.1.0");
    world.warm(&network);
    let before = world.snapshot();
    let tool = CniTool::new(world.host(), &world.bins, &network);
    tool.succeed("add", &first.path());
    tool.succeed("add", &second.path());
    drop(second);
    tool.succeed("gc", &first.path());
    assert_same(&before, &world.snapshot(), "after cnitool gc");
    assert!(!tool.run("check", &first.path(), "").status.success(), "a collected attachment fails CHECK");
}

#[test]
fn cnitool_shows_our_errors() {
    let (world, pod) = (World::ours(), Pod::new());
    let network = world.bridge(&json!({"vlan": 7}));
    let output = CniTool::new(world.host(), &world.bins, &network).run("add", &pod.path(), "");
    assert!(!output.status.success());
    let shown = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(shown.contains("vlan"), "{shown}");
}

#[test]
fn an_exhausted_range_fails_cnitool_status() {
    let (world, pod) = (World::ours(), Pod::new());
    let network = world.bridge(&json!({"ipam": world.ipam(&["10.66.0.0/30"])}));
    let tool = CniTool::new(world.host(), &world.bins, &network);
    tool.succeed("status", "ignored");
    tool.succeed("add", &pod.path());
    assert!(!tool.run("status", "ignored", "").status.success());
}
