//! `portmap` with nftables: who reaches a published port and whom the sandbox sees, and what is left alone.

use std::net::UdpSocket;
use std::time::Duration;

use netns_fixtures::{Echo, Pod, Protocol, Space, Strace, assert_ping, assert_same, tcp_echo, udp_echo};
use serde_json::{Value, json};
use tests::ports::{add, assert_refused, at, bins, del, mapping, mapping_at, published, target};
use tests::{World, address};

/// The node's addresses on the underlay and on the bridge.
const NODE: [&str; 2] = ["192.168.50.1", "fd50::1"];
const GATEWAY: [&str; 2] = ["10.66.0.1", "fd66::1"];
const HUB: [&str; 2] = ["192.168.50.254", "fd50::fe"];

fn web() -> Vec<Value> {
    vec![mapping("tcp", 8080, 80), mapping("udp", 5300, 53)]
}

/// A bridge that was just made has no link-local address yet, and asks for no neighbour before it has.
fn settle(world: &World, result: &Value) {
    assert_ping(world.host(), &address(result, 1));
}

#[track_caller]
fn assert_reached(from: &impl Space, ip: &str, who: &str) -> String {
    let tcp = tcp_echo(from, at(ip, 8080)).unwrap_or_else(|error| panic!("{who} to {ip}, tcp: {error}"));
    let udp = udp_echo(from, at(ip, 5300)).unwrap_or_else(|error| panic!("{who} to {ip}, udp: {error}"));
    assert_eq!(tcp, udp, "{who} to {ip}");
    tcp.to_string()
}

#[test]
fn a_port_is_reached_from_everywhere_in_both_families() {
    let world = World::with(bins());
    let (network, runtime) = (published(&world, &json!({})), world.runtime());
    let (pod, other) = (Pod::new(), Pod::new());
    let result = add(&runtime, &network, &target("web", &pod, &web()));
    let neighbour = add(&runtime, &network, &target("other", &other, &[]));
    let _tcp = Echo::start(&pod, Protocol::Tcp, 80);
    let _udp = Echo::start(&pod, Protocol::Udp, 53);
    settle(&world, &result);
    for family in 0..2 {
        let seen = assert_reached(world.underlay.hub(), NODE[family], "another host");
        assert_eq!(seen, HUB[family], "the client's address is kept");
        for ip in [NODE[family], GATEWAY[family]] {
            assert_reached(world.host(), ip, "the host");
            let seen = assert_reached(&other, ip, "another pod");
            assert_ne!(seen, address(&neighbour, family), "answered by way of the host");
            let seen = assert_reached(&pod, ip, "the pod itself");
            assert_ne!(seen, address(&result, family), "answered by way of the host");
        }
    }
    assert_eq!(assert_reached(world.host(), "127.0.0.1", "the host"), "10.66.0.1");
    runtime.check(&network, &target("web", &pod, &web())).unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn traffic_that_passes_through_is_not_touched_c3() {
    let world = World::with(bins());
    let (network, runtime) = (published(&world, &json!({})), world.runtime());
    let (pod, other) = (Pod::new(), Pod::new());
    add(&runtime, &network, &target("web", &pod, &[mapping("tcp", 8080, 80)]));
    let result = add(&runtime, &network, &target("other", &other, &[]));
    let _web = Echo::start(&pod, Protocol::Tcp, 80);
    let _outside = Echo::start(world.underlay.hub(), Protocol::Tcp, 8080);
    let _inside = Echo::start(&other, Protocol::Tcp, 8080);
    settle(&world, &result);
    for family in 0..2 {
        let seen = tcp_echo(&pod, at(HUB[family], 8080)).expect("the outside's own port");
        assert_eq!(seen.to_string(), NODE[family], "by the hub, behind masquerade");
        let seen = tcp_echo(&pod, at(&address(&result, family), 8080)).expect("the other pod's own port");
        assert!(seen.to_string().ends_with('2'), "the pod's own address: {seen}");
        tcp_echo(world.host(), at(HUB[family], 8080)).expect("the host's own client");
    }
}

#[test]
fn a_host_address_restricts_a_port_and_wins_over_every_address() {
    let world = World::with(bins());
    let (network, runtime) = (published(&world, &json!({})), world.runtime());
    let (one, two) = (Pod::new(), Pod::new());
    let only = [mapping_at(NODE[0], "tcp", 8080, 80), mapping_at("::", "tcp", 8081, 80)];
    let all = [mapping("tcp", 8080, 80)];
    let result = add(&runtime, &network, &target("one", &one, &only));
    let _one = Echo::start(&one, Protocol::Tcp, 80);
    settle(&world, &result);
    assert!(tcp_echo(world.host(), at(NODE[0], 8080)).is_ok());
    for (ip, port) in [(GATEWAY[0], 8080), ("127.0.0.1", 8080), (NODE[1], 8080), (NODE[0], 8081)] {
        assert!(tcp_echo(world.host(), at(ip, port)).is_err(), "{ip}:{port} is not published");
    }
    tcp_echo(world.underlay.hub(), at(NODE[1], 8081)).expect("hostIP :: is all of IPv6");
    add(&runtime, &network, &target("two", &two, &all));
    assert!(tcp_echo(world.host(), at(NODE[0], 8080)).is_ok(), "still the first");
    assert!(tcp_echo(world.host(), at(GATEWAY[0], 8080)).is_err(), "the second has no server");
    let _two = Echo::start(&two, Protocol::Tcp, 80);
    assert!(tcp_echo(world.host(), at(GATEWAY[0], 8080)).is_ok());
    del(&runtime, &network, &target("one", &one, &only));
    assert!(tcp_echo(world.underlay.hub(), at(NODE[0], 8080)).is_ok(), "now the second, on every address");
}

#[test]
fn options_change_who_is_masqueraded() {
    let seen_by_pod = |more: Value| {
        let world = World::with(bins());
        let (network, runtime) = (published(&world, &more), world.runtime());
        let pod = Pod::new();
        let ports = target("web", &pod, &[mapping("tcp", 8080, 80)]);
        add(&runtime, &network, &ports);
        let _web = Echo::start(&pod, Protocol::Tcp, 80);
        let from = |space: &_, ip: &str| tcp_echo(space, at(ip, 8080)).ok().map(|seen| seen.to_string());
        let outside = from(world.underlay.hub(), NODE[0]);
        let loopback = from(world.host(), "127.0.0.1");
        runtime.check(&network, &ports).unwrap_or_else(|failure| panic!("{failure}"));
        (outside.unwrap_or_default(), loopback.unwrap_or_default())
    };
    let (hub, gateway) = (HUB[0].to_owned(), GATEWAY[0].to_owned());
    assert_eq!(seen_by_pod(json!({})), (hub.clone(), gateway.clone()));
    assert_eq!(seen_by_pod(json!({"markMasqBit": 20})), (hub.clone(), gateway.clone()));
    assert_eq!(seen_by_pod(json!({"masqAll": true})), (gateway.clone(), gateway.clone()));
    assert_eq!(seen_by_pod(json!({"snat": false})), (hub, String::new()));
    let (outside, loopback) = seen_by_pod(json!({"conditionsV4": ["ip", "saddr", "!=", "192.168.50.254"]}));
    assert_eq!((outside, loopback), (String::new(), gateway));
}

#[test]
fn conditions_are_of_their_own_network_alone_weakness_41() {
    let world = World::with(bins());
    let runtime = world.runtime();
    let open = published(&world, &json!({}));
    let mut closed = published(&world, &json!({"conditionsV4": ["ip saddr 192.0.2.1"]}));
    "closed".clone_into(&mut closed.name);
    let (a, b) = (Pod::new(), Pod::new());
    add(&runtime, &open, &target("a", &a, &[mapping("tcp", 8080, 80)]));
    let _a = Echo::start(&a, Protocol::Tcp, 80);
    closed.plugins[0]["ipam"] = world.ipam(&["10.67.0.0/24"]);
    closed.plugins[0]["bridge"] = json!("cni1");
    add(&runtime, &closed, &target("b", &b, &[mapping("tcp", 8081, 80)]));
    let _b = Echo::start(&b, Protocol::Tcp, 80);
    assert!(tcp_echo(world.underlay.hub(), at(NODE[0], 8080)).is_ok());
    assert!(tcp_echo(world.underlay.hub(), at(NODE[0], 8081)).is_err());
}

#[test]
fn packets_from_pods_to_the_hosts_loopback_stay_out() {
    let world = World::with(bins());
    let (network, runtime) = (published(&world, &json!({})), world.runtime());
    let (web, evil) = (Pod::new(), Pod::new());
    add(&runtime, &network, &target("web", &web, &[mapping("tcp", 8080, 80)]));
    add(&runtime, &network, &target("evil", &evil, &[]));
    let private = world.host().inside(|| UdpSocket::bind("127.0.0.1:9000")).unwrap();
    private.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    evil.set_sysctl("net/ipv4/conf/all/route_localnet", "1");
    evil.run("ip route add 127.0.0.1/32 via 10.66.0.1 dev eth0 src 10.66.0.3");
    assert_eq!(world.host().sysctl("net/ipv4/conf/cni0/route_localnet").as_deref(), Some("1"));
    let heard = || {
        evil.inside(|| UdpSocket::bind("0.0.0.0:0")?.send_to(b"let me in", "127.0.0.1:9000"))
            .expect("it is sent");
        private.recv(&mut [0; 16]).is_ok()
    };
    assert!(!heard(), "the guard lets a pod at the host's loopback");
    world.host().run("nft flush chain inet ironbridge_portmap guard");
    assert!(heard(), "this test would not see the guard");
}

#[test]
fn what_cannot_be_meant_is_refused_and_changes_nothing() {
    let world = World::with(bins());
    let (network, runtime) = (published(&world, &json!({})), world.runtime());
    world.warm(&network);
    let pod = Pod::new();
    let before = world.snapshot();
    for (mappings, code, text) in [
        (vec![mapping_at("10.0.0", "tcp", 80, 80)], 7, "10.0.0"),
        (vec![json!({"hostPort": 70000, "containerPort": 80, "protocol": "tcp"})], 7, "70000"),
        (vec![mapping("icmp", 80, 80)], 7, "icmp"),
        (vec![mapping("tcp", 80, 80), mapping("TCP", 80, 81)], 7, "twice"),
    ] {
        let target = target("bad", &pod, &mappings);
        assert_refused(runtime.add(&network, &target), code, text);
        runtime.del(&network, &target).unwrap_or_else(|failure| panic!("{failure}"));
        assert_same(&before, &world.snapshot(), text);
    }
}

#[test]
fn both_spellings_of_keys_work_and_no_mappings_pass_the_result_through() {
    let world = World::with(bins());
    let (network, runtime) = (published(&world, &json!({})), world.runtime());
    let (pod, other) = (Pod::new(), Pod::new());
    let spelt = json!({"HostPort": 8080, "ContainerPort": 80, "Protocol": "TCP", "HostIP": ""});
    add(&runtime, &network, &target("web", &pod, &[spelt]));
    let _web = Echo::start(&pod, Protocol::Tcp, 80);
    assert!(tcp_echo(world.underlay.hub(), at(NODE[0], 8080)).is_ok());
    let plain = add(&runtime, &network, &target("plain", &other, &[]));
    assert_eq!(plain["ips"].as_array().map(Vec::len), Some(2));
    let status = runtime.status(&network);
    status.unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn an_add_and_a_del_start_no_process_and_make_few_system_calls_b3() {
    let world = World::with(bins());
    let (network, runtime) = (published(&world, &json!({})), world.runtime());
    let (warm, pod) = (Pod::new(), Pod::new());
    add(&runtime, &network, &target("warm", &warm, &[mapping("tcp", 8079, 80)]));
    let counted = target("counted", &pod, &web());
    let result = add(&runtime, &network, &counted);
    let request = network.request(1, &counted, Some(&result));
    for (verb, most) in [("DEL", 160), ("ADD", 100)] {
        let (answer, trace) = Strace::list(&runtime.invocation(verb, &counted, &request), world.host());
        assert!(answer.succeeded(), "{answer}");
        assert_eq!(trace.count("execve"), 1, "{verb} runs another program");
        assert!(trace.len() <= most, "{verb} makes {} system calls", trace.len());
    }
}
