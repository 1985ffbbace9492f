//! What a run costs, in numbers that do not depend on the machine's load: processes, waits, system calls, memory.

use netns_fixtures::{Bins, Invocation, Pod, Space, Strace, Target, Trace};
use serde_json::json;
use tests::World;

const SYSTEM_CALLS: usize = 120;
const MEMORY_KIB: u64 = 4096;

/// The traces of an ADD and a DEL that find everything shared in place.
fn traces(world: &World, network: &netns_fixtures::Network) -> (Trace, Trace) {
    world.warm(network);
    let (pod, runtime) = (Pod::new(), world.runtime());
    let target = Target::new("counted", &pod.path());
    let trace = |verb: &str| {
        let request = network.request(0, &target, None);
        let (answer, trace) = Strace::list(&runtime.invocation(verb, &target, &request), world.host());
        assert!(answer.succeeded(), "{answer}");
        trace
    };
    (trace("ADD"), trace("DEL"))
}

#[track_caller]
fn assert_no_process_and_no_sleep(trace: &Trace, what: &str) {
    assert_eq!(trace.count("execve"), 1, "{what} runs another program");
    for sleep in ["nanosleep", "clock_nanosleep"] {
        assert_eq!(trace.count(sleep), 0, "{what} sleeps");
    }
}

#[test]
fn a_bridge_add_takes_few_system_calls_and_starts_no_process() {
    let world = World::ours();
    let (add, del) = traces(&world, &world.bridge(&json!({"isDefaultGateway": true})));
    assert_no_process_and_no_sleep(&add, "ADD");
    assert_no_process_and_no_sleep(&del, "DEL");
    let list = || add.calls.iter().map(|call| call.text.as_str()).collect::<Vec<_>>().join("\n");
    assert!(add.len() <= SYSTEM_CALLS, "ADD makes {} system calls:\n{}", add.len(), list());
}

#[test]
fn dual_stack_masquerade_starts_no_process_either() {
    let world = World::ours();
    let ipam = world.ipam(&["10.66.0.0/24", "fd66::/64"]);
    let network = world.bridge(&json!({"isDefaultGateway": true, "ipMasq": true, "ipam": ipam}));
    let (add, del) = traces(&world, &network);
    assert_no_process_and_no_sleep(&add, "ADD");
    assert_no_process_and_no_sleep(&del, "DEL");
}

#[test]
fn only_a_delegate_in_another_file_is_executed() {
    let world = World::with(Bins::separate());
    let (add, _) = traces(&world, &world.bridge(&json!({"isGateway": true})));
    assert_eq!(add.count("execve"), 2, "the plugin, and host-local in its own file");
}

#[test]
fn loopback_starts_no_process() {
    let world = World::ours();
    let (pod, runtime) = (Pod::new(), world.runtime());
    let network = netns_fixtures::Network::new("lo", "1.1.0").plugin(json!({"type": "loopback"}));
    let target = Target::new("counted", &pod.path()).ifname("lo");
    for verb in ["ADD", "DEL"] {
        let request = network.request(0, &target, None);
        let (answer, trace) = Strace::list(&runtime.invocation(verb, &target, &request), world.host());
        assert!(answer.succeeded(), "{answer}");
        assert_no_process_and_no_sleep(&trace, verb);
    }
}

#[test]
fn a_plugin_stays_within_four_mebibytes() {
    let world = World::ours();
    let ipam = world.ipam(&["10.66.0.0/24", "fd66::/64"]);
    let network = world.bridge(&json!({"isDefaultGateway": true, "ipMasq": true, "ipam": ipam}));
    let (pod, runtime) = (Pod::new(), world.runtime());
    let target = Target::new("counted", &pod.path());
    let log = world.state.path().join("memory").display().to_string();
    for verb in ["ADD", "CHECK", "DEL"] {
        let previous = runtime.cached(&network, &target);
        let request = network.request(0, &target, previous.as_ref());
        let run: Invocation = runtime.invocation(verb, &target, &request);
        let answer = run.under(&["/usr/bin/time", "-f", "%M", "-o", &log]).run(world.host());
        if verb != "CHECK" {
            assert!(answer.succeeded(), "{answer}");
        }
        let text = std::fs::read_to_string(&log).unwrap();
        let used: u64 =
            text.lines().last().and_then(|line| line.trim().parse().ok()).expect("time tells KiB");
        assert!(used <= MEMORY_KIB, "{verb} needs {used} KiB");
    }
    assert_eq!(pod.link_names(), ["lo"]);
}
