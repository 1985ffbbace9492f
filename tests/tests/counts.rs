//! What a run costs, in numbers that do not depend on the machine's load: processes, waits, system calls, memory.

use netns_fixtures::{Bins, Invocation, Network, Pod, Space, Strace, Target, Trace};
use serde_json::{Value, json};
use tests::ports::mapping;
use tests::{World, merged};

const SYSTEM_CALLS: usize = 120;
/// The same for a chain of bridge, masquerade and two published ports; the reference makes 12,051.
const SYSTEM_CALLS_OF_A_CHAIN: usize = 400;
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

/// Such a bridge has the state "unknown" as long as its carrier never changes.
#[test]
fn an_add_to_a_bridge_that_was_up_before_its_first_port_waits_for_nothing() {
    let world = World::ours();
    world.host().run("ip link add cni0 type bridge");
    world.host().run("ip link set cni0 up");
    let network = world.bridge(&json!({"isDefaultGateway": true}));
    let (_resident, _) = world.attach(&network, "resident");
    let (pod, runtime) = (Pod::new(), world.runtime());
    let target = Target::new("counted", &pod.path());
    let add = runtime.invocation("ADD", &target, &network.request(0, &target, None));
    let (answer, trace) = Strace::list(&add, world.host());
    assert!(answer.succeeded(), "{answer}");
    // One is the start of every Rust program: whether its standard streams are open.
    assert!(trace.count("poll") <= 1, "{:?}", trace.calls);
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

/// The traces of each plugin's ADD in order, then of each plugin's DEL in the other, where everything shared is in place.
fn chain_traces(world: &World, network: &Network) -> (Vec<Trace>, Vec<Trace>) {
    let (warm, pod, runtime) = (Pod::new(), Pod::new(), world.runtime());
    let ports = json!([mapping("tcp", 8080, 80), mapping("udp", 5300, 53)]);
    let target = |container: &str, pod: &Pod| {
        Target::new(container, &pod.path()).capability("portMappings", ports.clone())
    };
    let first = target("warm", &warm);
    runtime.add(network, &first).unwrap_or_else(|failure| panic!("{failure}"));
    runtime.del(network, &first).unwrap_or_else(|failure| panic!("{failure}"));
    let target = target("counted", &pod);
    let mut previous: Option<Value> = None;
    let mut adds = Vec::new();
    for plugin in 0..network.plugins.len() {
        let request = network.request(plugin, &target, previous.as_ref());
        let (answer, trace) = Strace::list(&runtime.invocation("ADD", &target, &request), world.host());
        assert!(answer.succeeded(), "{answer}");
        previous = Some(answer.result());
        adds.push(trace);
    }
    let del = |plugin| {
        let request = network.request(plugin, &target, previous.as_ref());
        let (answer, trace) = Strace::list(&runtime.invocation("DEL", &target, &request), world.host());
        assert!(answer.succeeded(), "{answer}");
        trace
    };
    (adds, (0..network.plugins.len()).rev().map(del).collect())
}

fn published(world: &World, (bridge, portmap): (&Value, &Value)) -> Network {
    let own = json!({"type": "portmap", "capabilities": {"portMappings": true}});
    let network = world.bridge(&merged(json!({"isDefaultGateway": true, "ipMasq": true}), bridge));
    network.plugin(merged(own, portmap))
}

#[test]
fn a_chain_with_two_published_ports_takes_few_system_calls_and_starts_no_process() {
    let world = World::ours();
    // As on every node, something is tracked: connections are then looked at.
    world.host().run("nft add table inet tracking");
    world.host().run("nft add chain inet tracking out { type filter hook output priority 0; }");
    world.host().run("nft add rule inet tracking out ct state new counter");
    world.host().inside(|| {
        std::net::UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"x", "127.0.0.1:9").unwrap();
    });
    let (adds, dels) = chain_traces(&world, &published(&world, (&json!({}), &json!({}))));
    for (verb, traces) in [("ADD", &adds), ("DEL", &dels)] {
        for trace in traces {
            assert_no_process_and_no_sleep(trace, verb);
        }
    }
    let list = || adds.iter().flat_map(|trace| &trace.calls).map(|call| call.text.as_str());
    let count = list().count();
    let text = || list().collect::<Vec<_>>().join("\n");
    assert!(count <= SYSTEM_CALLS_OF_A_CHAIN, "ADD makes {count} system calls:\n{}", text());
}

#[test]
fn no_chained_plugin_starts_a_process() {
    let world = World::ours();
    let state = world.state.path().join("tuning").display().to_string();
    let rates = json!({"ingressRate": 8_000_000, "ingressBurst": 800_000, "egressRate": 8_000_000, "egressBurst": 800_000});
    for plugin in [
        json!({"type": "portmap"}),
        merged(json!({"type": "bandwidth"}), &rates),
        json!({"type": "tuning", "dataDir": state, "sysctl": {"net.core.somaxconn": "500"}, "mtu": 1400}),
        json!({"type": "firewall", "backend": "nftables"}),
    ] {
        let network = world.bridge(&json!({"isDefaultGateway": true})).plugin(plugin.clone());
        let (adds, dels) = chain_traces(&world, &network);
        for (verb, traces) in [("ADD", &adds), ("DEL", &dels)] {
            for trace in traces {
                assert_no_process_and_no_sleep(trace, &format!("{verb} of {plugin}"));
            }
        }
    }
}

/// Programs that a run started.
fn programs(trace: &Trace) -> usize {
    ["vfork", "fork", "clone", "clone3"].into_iter().map(|name| trace.count(name)).sum()
}

#[test]
fn the_iptables_backends_run_one_program_for_each_family() {
    for subnets in [&["10.66.0.0/24"][..], &["10.66.0.0/24", "fd66::/64"]] {
        let world = World::ours();
        let bridge = json!({"ipMasqBackend": "iptables", "ipam": world.ipam(subnets)});
        let network = published(&world, (&bridge, &json!({"backend": "iptables"})));
        let (adds, _) =
            chain_traces(&world, &network.plugin(json!({"type": "firewall", "backend": "iptables"})));
        let counts: Vec<usize> = adds.iter().map(programs).collect();
        assert_eq!(counts, [subnets.len(); 3], "bridge, portmap, firewall");
    }
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
