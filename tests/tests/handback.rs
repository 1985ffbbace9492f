//! The way back: `ironbridge handback` gives live pods the reference's rules, and the reference's CHECK and DEL find them.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use netns_fixtures::{
    Bins, CniTool, Echo, Network, Node, Pinger, Pod, Protocol, Snapshot, Space, assert_same, eventually, needs,
    tcp_echo, udp_echo,
};
use serde_json::{Value, json};
use tests::ports::mapping;
use tests::{World, address, merged};

/// A chain of everything that leaves rules on a node, as the reference 1.1.1 reads it too.
fn chain(world: &World, bridge: &Value) -> Network {
    let ipam = world.ipam(&["10.66.0.0/24", "fd66::/64"]);
    let plain = json!({"isDefaultGateway": true, "ipMasq": true, "hairpinMode": true, "macspoofchk": true, "ipam": ipam});
    world
        .bridge(&merged(plain, bridge))
        .plugin(json!({"type": "portmap", "capabilities": {"portMappings": true}}))
        .plugin(json!({"type": "firewall", "ingressPolicy": "same-bridge"}))
}

fn world() -> World {
    World { version: "1.0.0", ..World::ours() }
}

/// A pod of a tool with ports published, and its result.
#[track_caller]
fn attach(tool: &CniTool<'_>, mappings: &[Value]) -> (Pod, Value) {
    let pod = Pod::new();
    let output = tool.run("add", &pod.path(), &json!({"portMappings": mappings}).to_string());
    assert!(output.status.success(), "cnitool add: {}", told(&output));
    (pod, serde_json::from_slice(&output.stdout).expect("cnitool prints the result"))
}

#[track_caller]
fn succeed(tool: &CniTool<'_>, verb: &str, pod: &Pod, mappings: &[Value]) {
    let output = tool.run(verb, &pod.path(), &json!({"portMappings": mappings}).to_string());
    assert!(output.status.success(), "cnitool {verb}: {}", told(&output));
}

fn handback(world: &World, tool: &CniTool<'_>, more: &[&str]) -> Output {
    let mut command = Command::new(Bins::command());
    command.arg("handback").arg("--cache-dir").arg(tool.state()).args(more);
    world.host().output(command)
}

fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Clients outside: each round asks by a new TCP connection, by a new UDP flow, and by one UDP flow that goes on.
struct Clients {
    asked: AtomicUsize,
    lost: AtomicUsize,
    stop: AtomicBool,
}

impl Clients {
    fn run(&self, from: &Node, tcp: &[SocketAddr], udp: &[SocketAddr]) {
        let old: Vec<(UdpSocket, SocketAddr)> = udp.iter().map(|to| (flow(from, *to), *to)).collect();
        while !self.stop.load(Ordering::Relaxed) {
            tcp.iter().for_each(|to| self.count(tcp_echo(from, *to).is_ok()));
            udp.iter().for_each(|to| self.count(udp_echo(from, *to).is_ok()));
            old.iter().for_each(|(socket, _)| self.count(ask(socket)));
        }
    }

    fn count(&self, answered: bool) {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.lost.fetch_add(usize::from(!answered), Ordering::Relaxed);
    }

    #[track_caller]
    fn await_more(&self, count: usize) {
        let enough = self.asked.load(Ordering::Relaxed) + count;
        eventually("the clients ask on", Duration::from_secs(60), || {
            (self.asked.load(Ordering::Relaxed) >= enough).then_some(())
        });
    }
}

fn flow(from: &Node, to: SocketAddr) -> UdpSocket {
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = from.inside(|| UdpSocket::bind(any)).expect("a UDP socket");
    socket.connect(to).expect("a UDP socket has a peer");
    socket.set_read_timeout(Some(Duration::from_secs(2))).expect("a socket has a timeout");
    socket
}

fn ask(socket: &UdpSocket) -> bool {
    socket.send(b"who am I?").is_ok() && socket.recv(&mut [0; 128]).is_ok()
}

/// The node's rules that are ours.
fn ours(snapshot: &Snapshot) -> Vec<&String> {
    snapshot.section("firewall").iter().filter(|line| line.contains("ironbridge_")).collect()
}

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
    let before = world.snapshot();

    let ports = [
        [mapping("tcp", 8081, 80), mapping("udp", 5301, 53)],
        [mapping("tcp", 8082, 80), mapping("udp", 5302, 53)],
    ];
    let pods: Vec<(Pod, Value)> = ports.iter().map(|own| attach(&tool, own)).collect();
    let _servers: Vec<[Echo; 2]> = pods
        .iter()
        .map(|(pod, _)| [Echo::start(pod, Protocol::Tcp, 80), Echo::start(pod, Protocol::Udp, 53)])
        .collect();
    let host: [IpAddr; 2] = [world.underlay.ipv4(0), world.underlay.ipv6(0)];
    let at = |ports: [u16; 2]| -> Vec<SocketAddr> {
        host.iter().flat_map(|ip| ports.map(|port| SocketAddr::new(*ip, port))).collect()
    };
    let (tcp, udp) = (at([8081, 8082]), at([5301, 5302]));
    let clients =
        Clients { asked: AtomicUsize::new(0), lost: AtomicUsize::new(0), stop: AtomicBool::new(false) };
    let out = Pinger::start(&pods[0].0, world.underlay.hub_ip());
    std::thread::scope(|scope| {
        scope.spawn(|| clients.run(world.underlay.hub(), &tcp, &udp));
        clients.await_more(24);
        let output = handback(&world, &tool, &[]);
        assert!(output.status.success(), "{}", told(&output));
        assert_eq!(told(&output).matches("handed back: net: proving").count(), 2, "{}", told(&output));
        clients.await_more(60);
        out.await_answers(10);
        clients.stop.store(true, Ordering::Relaxed);
    });
    let loss = out.stop();
    let (asked, lost) = (clients.asked.into_inner(), clients.lost.into_inner());
    println!("through handback: {lost} of {asked} requests lost, {} of {} pings lost", loss.lost, loss.sent);
    assert_eq!((lost, loss.lost), (0, 0), "of {asked} requests, and pings {loss:?}");
    assert_eq!(ours(&world.snapshot()), Vec::<&String>::new());

    let outside = Echo::start(world.underlay.hub(), Protocol::Tcp, 99);
    for (pod, _) in &pods {
        let seen = tcp_echo(pod, outside.at(world.underlay.hub_ip())).expect("pods reach the world");
        assert_eq!(seen, world.underlay.ipv4(0), "they are masqueraded");
    }
    for ((pod, _), own) in pods.iter().zip(&ports) {
        succeed(&other, "check", pod, own);
        succeed(&tool, "check", pod, own);
    }
    for ((pod, _), own) in pods.iter().zip(&ports) {
        succeed(&other, "del", pod, own);
    }
    assert_same(&before, &world.snapshot(), "after the reference's DEL of what was handed back");
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
