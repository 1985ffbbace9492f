//! The way back: `ironbridge handback` gives live pods the reference's rules, and the reference's CHECK and DEL find them.

use std::net::{IpAddr, SocketAddr};

use netns_fixtures::{
    Bins, Clients, CniTool, Echo, Invocation, Pinger, Pod, Protocol, Snapshot, Space, Strace, assert_same,
    needs, tcp_echo,
};
use serde_json::{Value, json};
use tests::ports::{mapping, mapping_at};
use tests::way_back::{attach, attach_to, chain, handback, ours, succeed, told, world};
use tests::{World, address};

#[test]
fn live_pods_go_back_under_traffic_and_the_reference_takes_them_from_there() {
    needs!(IptablesNat);
    let (world, reference) = (world(), Bins::reference());
    let network = chain(&world, &json!({}));
    let tool = CniTool::new(world.host(), &world.bins, &network);
    let other = tool.swapped(&reference);
    // The reference's shared chains stay for ever: they are there before, as on any node that it has served.
    let resident = [mapping("tcp", 8000, 80)];
    let (_resident, _) = attach(&other, &resident);
    let before = state(&world);

    let ports = [
        [mapping("tcp", 8081, 80), mapping("udp", 5301, 53)],
        [mapping("tcp", 8082, 80), mapping("udp", 5302, 53)],
    ];
    let pods: Vec<(Pod, Value)> = ports.iter().map(|own| attach(&tool, own)).collect();
    let _servers: Vec<[Echo; 2]> = pods
        .iter()
        .map(|(pod, _)| [Echo::start(pod, Protocol::Tcp, 80), Echo::start(pod, Protocol::Udp, 53)])
        .collect();
    let out = Pinger::start(&pods[0].0, world.underlay.hub_ip());
    let (tcp, udp) = (published(&world, [8081, 8082]), published(&world, [5301, 5302]));
    let tally = Clients::during(world.underlay.hub(), (&tcp, &udp), |clients| {
        clients.await_more(24);
        let output = handback(&world, &tool, &[]);
        assert!(output.status.success(), "{}", told(&output));
        assert_eq!(told(&output).matches("handed back: net: proving").count(), 2, "{}", told(&output));
        clients.await_more(60);
        out.await_answers(10);
    });
    let loss = out.stop();
    assert_eq!((tally.lost.as_slice(), loss.lost), (&[][..], 0), "of {} requests, and {loss:?}", tally.asked);
    assert_eq!(ours(&world.snapshot()), Vec::<&String>::new());

    assert_masqueraded(&world, &pods);
    for ((pod, _), own) in pods.iter().zip(&ports) {
        succeed(&tool, "check", pod, own);
    }
    for ((pod, _), own) in pods.iter().zip(&ports) {
        succeed(&other, "del", pod, own);
    }
    assert_same(&before, &state(&world), "after the reference's DEL of what was handed back");
}

#[test]
fn the_reference_checks_what_was_handed_back_and_deletes_the_limiters_too() {
    needs!(IptablesNat);
    needs!(Ifb);
    let (world, reference) = (world(), Bins::reference());
    let limits = json!({"type": "bandwidth", "egressRate": 80_000_000, "egressBurst": 8_000_000});
    let mut network = chain(&world, &json!({})).plugin(limits);
    // The reference's CHECK of port mappings fails on its own work: it looks for the rules of one family in the other.
    network.plugins.retain(|plugin| plugin["type"] != "portmap");
    let tool = CniTool::new(world.host(), &world.bins, &network);
    let other = tool.swapped(&reference);
    let (_resident, _) = attach(&other, &[]);
    let before = state(&world);
    let (pod, _) = attach(&tool, &[]);
    let output = handback(&world, &tool, &[]);
    assert!(output.status.success(), "{}", told(&output));
    succeed(&other, "check", &pod, &[]);
    succeed(&tool, "check", &pod, &[]);
    succeed(&other, "del", &pod, &[]);
    assert_same(&before, &state(&world), "after the reference's DEL");
}

#[test]
fn the_rules_are_those_that_the_reference_would_have_made() {
    needs!(IptablesNat);
    let (world, reference) = (world(), Bins::reference());
    let mut network = chain(&world, &json!({}));
    network.plugins[1]["conditionsV4"] = json!(["!", "-d", "192.0.2.0/24"]);
    let tool = CniTool::new(world.host(), &world.bins, &network);
    let other = tool.swapped(&reference);
    let (_resident, _) = attach(&other, &[mapping("tcp", 8000, 80)]);
    let ports = [
        mapping("tcp", 8081, 80),
        mapping("udp", 5301, 53),
        mapping_at("192.168.50.1", "tcp", 8083, 80),
        mapping_at("fd50::1", "tcp", 8084, 80),
    ];
    // One sandbox, and so one container to cnitool: first by us and handed back, then by the reference.
    let (pod, ours) = attach(&tool, &ports);
    let output = handback(&world, &tool, &[]);
    assert!(output.status.success(), "{}", told(&output));
    let handed_back = renamed(&state(&world), &ours);
    succeed(&other, "del", &pod, &ports);
    let theirs = attach_to(&other, &pod, &ports);
    assert_eq!(handed_back, renamed(&state(&world), &theirs));
}

/// Where the host's ports are reached, by both of its addresses.
fn published(world: &World, ports: [u16; 2]) -> Vec<SocketAddr> {
    let host: [IpAddr; 2] = [world.underlay.ipv4(0), world.underlay.ipv6(0)];
    host.iter().flat_map(|ip| ports.map(|port| SocketAddr::new(*ip, port))).collect()
}

#[track_caller]
fn assert_masqueraded(world: &World, pods: &[(Pod, Value)]) {
    let outside = Echo::start(world.underlay.hub(), Protocol::Tcp, 99);
    for (pod, _) in pods {
        let seen = tcp_echo(pod, outside.at(world.underlay.hub_ip())).expect("pods reach the world");
        assert_eq!(seen, world.underlay.ipv4(0), "they are masqueraded");
    }
}

/// The node's rules with the pod's addresses, and what bears random names, under names that do not change.
fn renamed(snapshot: &Snapshot, result: &Value) -> Vec<String> {
    let host_end = &result["interfaces"][1]["name"];
    let names = [
        (address(result, 0), "ADDRESS4".to_owned()),
        (address(result, 1), "ADDRESS6".to_owned()),
        (host_end.as_str().expect("a name").to_owned(), "HOST-END".to_owned()),
        (result["interfaces"][2]["mac"].as_str().expect("an address").to_owned(), "MAC".to_owned()),
    ];
    snapshot.clone().with_names(&names).section("firewall").to_vec()
}

/// The state of the node; that we have fixed the bridge's MAC address goes on being true.
fn state(world: &World) -> Snapshot {
    world.snapshot().with_names(&[(" ifalias=\"ironbridge\"".to_owned(), String::new())])
}

#[test]
fn a_second_time_and_a_dry_run_change_nothing() {
    needs!(IptablesNat);
    let world = world();
    let tool = CniTool::new(world.host(), &world.bins, &chain(&world, &json!({})));
    let (pod, result) = attach(&tool, &[mapping("tcp", 8081, 80)]);
    let as_ours = world.snapshot();
    let dry = handback(&world, &tool, &["--dry-run"]);
    assert!(dry.status.success(), "{}", told(&dry));
    for part in [
        "# iptables-restore --noflush --wait\n*nat\n",
        "# ip6tables-restore --noflush --wait\n",
        "--to-destination 10.66.0.2:80",
        &format!("-A CNI-FORWARD -s {} -j ACCEPT", address(&result, 0)),
        "# then made over netlink: chains of table bridge nat for net: proving, if: eth0, id: cnitool-",
        "# then removed: an element of inet ironbridge_portmap targets4-any",
    ] {
        assert!(told(&dry).contains(part), "{part} in\n{}", told(&dry));
    }
    assert_same(&as_ours, &world.snapshot(), "after a dry run");
    for run in 1..=2 {
        let output = handback(&world, &tool, &[]);
        assert!(output.status.success(), "{}", told(&output));
        assert_eq!(told(&output).contains("handed back"), run == 1, "{}", told(&output));
        assert_eq!(ours(&world.snapshot()), Vec::<&String>::new(), "run {run}");
    }
    let as_theirs = world.snapshot();
    assert!(handback(&world, &tool, &[]).status.success());
    assert_same(&as_theirs, &world.snapshot(), "after a third time");
    // Our own DEL finds it, too.
    succeed(&tool, "del", &pod, &[]);
    let left = world.snapshot();
    let own = ["10.66.0.2", "fd66::2", "CNI-DN-", "CNI-HOSTPORT-DNAT -p", "cni-br-iface"];
    let stays: Vec<_> =
        left.section("firewall").iter().filter(|line| own.iter().any(|part| line.contains(part))).collect();
    assert!(stays.is_empty(), "{stays:#?}");
}

#[test]
fn what_cannot_go_back_is_listed_by_name_and_stays() {
    needs!(IptablesNat);
    let world = world();
    let network = chain(&world, &json!({"ipspoofchk": true}));
    let tool = CniTool::new(world.host(), &world.bins, &network);
    let (_pod, _) = attach(&tool, &[mapping("tcp", 8081, 80)]);
    // A second runtime, whose results are somewhere else.
    let stranger = CniTool::new(world.host(), &world.bins, &network);
    let (_other, second) = attach(&stranger, &[mapping("tcp", 8082, 80)]);
    let output = handback(&world, &tool, &[]);
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    for part in [
        "NOT handed back: net: proving, if: eth0, id: cnitool-",
        "check of source addresses: the reference has no ipspoofchk; --give-up ends it",
        "no result of a runtime tells of this attachment",
        "\nhanded back: net: proving",
    ] {
        assert!(format!("\n{}", told(&output)).contains(part), "{part} in\n{}", told(&output));
    }
    let after = world.snapshot();
    let stays = |text: &str| ours(&after).iter().any(|line| line.contains(text));
    assert!(stays(&address(&second, 0)) && stays("8082") && !stays("8081"), "{:#?}", ours(&after));
    // Both runtimes named, and the extra given up: everything goes.
    let both = ["--give-up", "--cache-dir", &stranger.state().display().to_string()].map(str::to_owned);
    let output = handback(&world, &tool, &both.each_ref().map(String::as_str));
    assert!(output.status.success(), "{}", told(&output));
    assert!(told(&output).contains("given up: net: proving"), "{}", told(&output));
    assert_eq!(ours(&world.snapshot()), Vec::<&String>::new());
}

#[test]
fn rules_of_pods_that_are_gone_are_removed_and_named() {
    needs!(IptablesNat);
    let (world, reference) = (world(), Bins::reference());
    let tool = CniTool::new(world.host(), &world.bins, &chain(&world, &json!({})));
    let (_stays, _) = attach(&tool, &[mapping("tcp", 8081, 80)]);
    let (gone, _) = attach(&tool, &[mapping("tcp", 8082, 80)]);
    // The binaries were swapped first: the reference's DEL knows nothing of our rules. Its bridge plugin misses its own
    // chain at first, and succeeds on the runtime's retry.
    let other = tool.swapped(&reference);
    let tries = (0..3).map(|_| other.run("del", &gone.path(), "")).find(|output| output.status.success());
    assert!(tries.is_some(), "the reference's DEL");
    let output = handback(&world, &tool, &[]);
    assert!(output.status.success(), "{}", told(&output));
    assert_eq!(told(&output).matches("left over, removed: ").count(), 1, "{}", told(&output));
    let after = world.snapshot();
    assert_eq!(ours(&after), Vec::<&String>::new());
    assert!(!after.section("firewall").iter().any(|line| line.contains("8082")), "{after:?}");
}

/// System calls by which it acts, or is about to: of others, it is as good to be killed before the next of these.
const ACTS: [&str; 5] = ["execve", "sendto", "sendmsg", "write", "wait4"];

#[test]
fn killed_anywhere_it_goes_on_from_there() {
    needs!(IptablesNat);
    let world = world();
    let tool = CniTool::new(world.host(), &world.bins, &chain(&world, &json!({})));
    let ports = [mapping("tcp", 8081, 80)];
    let (pod, first) = attach(&tool, &ports);
    let _server = Echo::start(&pod, Protocol::Tcp, 80);
    let client = |when: &str| {
        let to = published(&world, [8081, 8081])[0];
        tcp_echo(world.underlay.hub(), to).unwrap_or_else(|error| panic!("{when}: {error}"));
    };
    let state = tool.state().display().to_string();
    let run = Invocation::new(&world.bins, "ironbridge").arguments(&["handback", "--cache-dir", &state]);
    let (answer, trace) = Strace::list(&run, world.host());
    assert!(answer.succeeded(), "{answer}");
    let handed_back = renamed(&world.snapshot(), &first);
    let mut struck = 0;
    // Most of what it sends are questions: between two of them nothing has changed.
    let places = trace.places().into_iter().filter(|(name, nth)| name != "sendto" || nth % 3 == 0);
    for (name, nth) in &places.filter(|(name, _)| ACTS.contains(&name.as_str())).collect::<Vec<_>>() {
        // As it was before: the reference's rules go, ours come.
        succeed(&tool, "del", &pod, &ports);
        let result = attach_to(&tool, &pod, &ports);
        let answer = Strace::kill_at(&run, world.host(), (name, *nth));
        struck += usize::from(!answer.succeeded());
        client(&format!("killed at {name} {nth}"));
        let again = run.run(world.host());
        assert!(again.succeeded(), "after a kill at {name} {nth}: {again}");
        assert_eq!(renamed(&world.snapshot(), &result), handed_back, "after a kill at {name} {nth}");
        client(&format!("handed back after a kill at {name} {nth}"));
    }
    assert!(struck > 20, "only {struck} runs were struck");
}
