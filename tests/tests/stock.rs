//! The lists that nodes have, as they ship, end to end: the CNI project's own cnitool drives every plugin of them.

use netns_fixtures::{
    Bins, CniTool, Echo, Network, Pod, Protocol, Space, assert_ping, assert_same, tcp_echo,
};
use serde_json::{Value, json};
use tests::ports::{at, mapping};
use tests::{World, address, chains};

const NODE: &str = "192.168.50.1";

/// add, a published port from outside, check, del; and again, on a node that is as it was.
fn life(world: &World, network: &Network, capabilities: &Value) {
    let tool = CniTool::new(world.host(), &world.bins, network);
    let add = |pod: &Pod| -> Value {
        let output = tool.run("add", &pod.path(), &capabilities.to_string());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("cnitool prints the result")
    };
    let first = Pod::new();
    add(&first);
    tool.succeed("del", &first.path());
    let (before, files) = (world.snapshot(), world.files());
    let pod = Pod::new();
    let result = add(&pod);
    assert_ping(&pod, world.underlay.hub_ip());
    let _server = Echo::start(&pod, Protocol::Tcp, 80);
    tcp_echo(world.underlay.hub(), at(NODE, 8080)).expect("another host reaches the published port");
    tcp_echo(world.host(), at("127.0.0.1", 8080)).expect("the host reaches it by loopback");
    tcp_echo(world.host(), at(&address(&result, 0), 80)).expect("the host reaches the pod");
    let output = tool.run("check", &pod.path(), &capabilities.to_string());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for _twice in 0..2 {
        tool.succeed("del", &pod.path());
    }
    assert_eq!(pod.link_names(), ["lo"]);
    assert_same(&before, &world.snapshot(), "after cnitool add and del");
    let kept = |name: &&String| !name.contains("last_reserved_ip");
    assert_eq!(
        world.files().iter().filter(kept).collect::<Vec<_>>(),
        files.iter().filter(kept).collect::<Vec<_>>()
    );
}

#[test]
fn the_list_of_k3s() {
    for bins in [Bins::multicall(), Bins::separate()] {
        let world = World::with(bins);
        let limits = json!({"ingressRate": 50_000_000, "ingressBurst": 4_294_967_295_u64,
                            "egressRate": 50_000_000, "egressBurst": 4_294_967_295_u64});
        let capabilities = json!({"portMappings": [mapping("tcp", 8080, 80)], "bandwidth": limits});
        life(&world, &chains::k3s(&world), &capabilities);
    }
}

#[test]
fn the_list_of_podman() {
    for bins in [Bins::multicall(), Bins::separate()] {
        let world = World::with(bins);
        let capabilities = json!({"portMappings": [mapping("tcp", 8080, 80)]});
        life(&world, &chains::podman(&world), &capabilities);
    }
}

#[test]
fn a_gc_of_a_whole_chain_removes_every_attachment_and_status_is_well() {
    let (world, first, second) = (World::ours(), Pod::new(), Pod::new());
    let network = chains::whole(&world);
    let tool = CniTool::new(world.host(), &world.bins, &network);
    tool.succeed("status", "ignored");
    let ports = |nth: u16| json!({"portMappings": [mapping("tcp", 8000 + nth, 80)]}).to_string();
    let add = |pod: &Pod, nth| {
        let output = tool.run("add", &pod.path(), &ports(nth));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    add(&first, 1);
    tool.succeed("del", &first.path());
    let before = world.snapshot();
    add(&first, 1);
    add(&second, 2);
    drop(second);
    tool.succeed("gc", &first.path());
    assert_same(&before, &world.snapshot(), "after cnitool gc");
    tool.succeed("status", "ignored");
}
