//! SIGKILL at every system call of ADD and of DEL, on the release binary: a DEL afterwards cleans up, and life goes on.

use netns_fixtures::{Bins, Network, Node, Pod, Runtime, Space, Strace, Target, assert_ping};
use serde_json::json;
use tempfile::TempDir;
use tests::World;
use tests::slaughter::{Remedy, Slaughter, Victim, every_call, strike_everywhere};

/// Default gateway, both families, masquerade and in-process IPAM: everything that an attachment can own.
fn full(world: &World) -> Network {
    let ipam = world.ipam(&["10.66.0.0/24", "fd66::/64"]);
    world.bridge(&json!({"isDefaultGateway": true, "ipMasq": true, "hairpinMode": true, "ipam": ipam}))
}

fn bridge() -> Slaughter {
    let world = World::ours();
    let network = full(&world);
    Slaughter::new(world, network)
}

#[test]
fn add_may_die_at_any_system_call() {
    strike_everywhere(bridge, Victim { verb: "ADD", plugin: 0 }, (every_call, Remedy::Del));
}

#[test]
fn add_may_die_at_any_system_call_and_the_sandbox_with_it() {
    strike_everywhere(bridge, Victim { verb: "ADD", plugin: 0 }, (every_call, Remedy::DelWithoutSandbox));
}

#[test]
fn del_may_die_at_any_system_call() {
    strike_everywhere(bridge, Victim { verb: "DEL", plugin: 0 }, (every_call, Remedy::Del));
}

#[test]
fn the_first_add_on_a_node_may_die_at_any_system_call() {
    let (bins, probe, state) = (Bins::multicall(), Node::new("probe"), TempDir::new().unwrap());
    let (pod, runtime, network) = (Pod::new(), Runtime::new(&probe, &bins), first(&state));
    let target = Target::new("first", &pod.path());
    let request = network.request(0, &target, None);
    let (answer, trace) = Strace::list(&runtime.invocation("ADD", &target, &request), &probe);
    assert!(answer.succeeded(), "{answer}");
    // What is shared is made by netlink and sysctl writes: these are the places that differ from a later ADD.
    let shared = |name: &str| ["sendto", "sendmsg", "write"].contains(&name);
    for (name, nth) in trace.places().into_iter().filter(|(name, _)| shared(name)) {
        let (host, pod, state) = (Node::new("fresh"), Pod::new(), TempDir::new().unwrap());
        let (runtime, network) = (Runtime::new(&host, &bins), first(&state));
        let target = Target::new("first", &pod.path());
        let request = network.request(0, &target, None);
        Strace::kill_at(&runtime.invocation("ADD", &target, &request), &host, (&name, nth));
        runtime.del(&network, &target).unwrap_or_else(|failure| panic!("{name} {nth}: {failure}"));
        runtime.add(&network, &target).unwrap_or_else(|failure| panic!("{name} {nth}: {failure}"));
        runtime.check(&network, &target).unwrap_or_else(|failure| panic!("{name} {nth}: {failure}"));
        assert_ping(&pod, "10.66.0.1");
    }
}

/// The same network for a node of which there is nothing but its namespace.
fn first(state: &TempDir) -> Network {
    let ranges = json!([[{"subnet": "10.66.0.0/24"}], [{"subnet": "fd66::/64"}]]);
    let ipam = json!({"type": "host-local", "dataDir": state.path(), "ranges": ranges});
    let bridge =
        json!({"type": "bridge", "bridge": "cni0", "isDefaultGateway": true, "ipMasq": true, "ipam": ipam});
    Network::new("proving", "1.1.0").plugin(bridge)
}
