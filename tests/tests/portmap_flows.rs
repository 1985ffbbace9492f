//! Connection tracking beside `portmap`: old connections follow what is published now, and those of others stay.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use netns_fixtures::{Echo, Pod, Protocol, Space, assert_ping};
use serde_json::json;
use tests::ports::{add, at, bins, del, mapping, mapping_at, published, target};
use tests::{World, address};

const NODE: [&str; 2] = ["192.168.50.1", "fd50::1"];

/// A client with one port of its own, as a resolver or a SIP phone is: all that it sends is one connection.
struct Client(UdpSocket);

impl Client {
    fn new(space: &impl Space, to: SocketAddr) -> Self {
        let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = space.inside(|| UdpSocket::bind(any)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(700))).unwrap();
        space.inside(|| socket.connect(to)).unwrap();
        Self(socket)
    }

    fn is_answered(&self) -> bool {
        // A refusal of the packet before is an answer to this call; the second one is sent.
        self.0.send(b"hello").or_else(|_| self.0.send(b"hello")).unwrap();
        self.0.recv(&mut [0; 64]).or_else(|_| self.0.recv(&mut [0; 64])).is_ok()
    }
}

/// The tracked connections of the host to a port, as `conntrack` shows them.
fn tracked(world: &World, filter: &str) -> usize {
    let text = world.host().run(&format!("conntrack -L {filter}"));
    text.lines().filter(|line| !line.trim().is_empty()).count()
}

/// So many connections of others: from some number on, the kernel is asked for those of one port alone.
fn fill(world: &World, more: u16) {
    world.underlay.hub().inside(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        for port in 0..more {
            socket.send_to(b"x", at(NODE[0], 20_000 + port)).unwrap();
        }
    });
    assert!(tracked(world, "-p udp") >= usize::from(more));
}

#[test]
fn udp_that_came_before_the_port_reaches_it_after_c2() {
    let world = World::with(bins());
    let (network, runtime) = (published(&world, &json!({})), world.runtime());
    let (warm, pod) = (Pod::new(), Pod::new());
    let result = add(&runtime, &network, &target("warm", &warm, &[]));
    assert_ping(world.host(), &address(&result, 1));
    let clients = NODE.map(|node| Client::new(world.underlay.hub(), at(node, 5300)));
    for client in &clients {
        assert!(!client.is_answered(), "nobody is there yet");
    }
    let result = add(&runtime, &network, &target("dns", &pod, &[mapping("udp", 5300, 53)]));
    assert_ping(world.host(), &address(&result, 1));
    let _dns = Echo::start(&pod, Protocol::Udp, 53);
    for client in &clients {
        assert!(client.is_answered(), "the old connection goes to the pod");
    }
}

#[test]
fn a_connection_to_a_dead_target_goes_to_the_next_one_c2() {
    for (mappings, more) in
        [(vec![mapping("udp", 5300, 53)], 600), (vec![mapping_at(NODE[0], "udp", 5300, 53)], 0)]
    {
        let world = World::with(bins());
        let (network, runtime) = (published(&world, &json!({})), world.runtime());
        let (one, two) = (Pod::new(), Pod::new());
        let first = target("one", &one, &mappings);
        add(&runtime, &network, &first);
        let dns = Echo::start(&one, Protocol::Udp, 53);
        let client = Client::new(world.underlay.hub(), at(NODE[0], 5300));
        assert!(client.is_answered());
        assert_eq!(tracked(&world, "-p udp --orig-port-dst 5300"), 1);
        drop(dns);
        fill(&world, more);
        del(&runtime, &network, &first);
        assert_eq!(tracked(&world, "-p udp --orig-port-dst 5300"), 0, "DEL forgets it");
        assert!(!client.is_answered());
        add(&runtime, &network, &target("two", &two, &mappings));
        let _dns = Echo::start(&two, Protocol::Udp, 53);
        assert!(client.is_answered(), "the same connection goes to the new pod");
    }
}

#[test]
fn connections_of_others_stay() {
    let world = World::with(bins());
    let (network, runtime) = (published(&world, &json!({})), world.runtime());
    let (dns, other) = (Pod::new(), Pod::new());
    add(&runtime, &network, &target("other", &other, &[]));
    let _outside = Echo::start(world.underlay.hub(), Protocol::Udp, 5300);
    let _host = Echo::start(world.host(), Protocol::Udp, 5301);
    // A pod's connection to another host on the same port, translated on its way out, and one to another port.
    let through = Client::new(&other, at("192.168.50.254", 5300));
    let elsewhere = Client::new(world.underlay.hub(), at(NODE[0], 5301));
    assert!(through.is_answered() && elsewhere.is_answered());
    let before = world.host().run("conntrack -L -p udp -o id");
    let ids = |text: &str| -> Vec<String> {
        let mut ids: Vec<String> = text
            .lines()
            .filter(|line| line.contains("dport=530"))
            .filter_map(|line| line.split("id=").nth(1).map(str::to_owned))
            .collect();
        ids.sort();
        ids
    };
    assert_eq!(ids(&before).len(), 2, "{before}");
    let published = target("dns", &dns, &[mapping("udp", 5300, 53)]);
    add(&runtime, &network, &published);
    del(&runtime, &network, &published);
    let after = world.host().run("conntrack -L -p udp -o id");
    assert_eq!(ids(&before), ids(&after), "{after}");
    assert!(through.is_answered() && elsewhere.is_answered());
}

#[test]
fn a_tcp_connection_ends_with_its_target_and_one_of_the_host_itself_does_not() {
    let world = World::with(bins());
    let (network, runtime) = (published(&world, &json!({})), world.runtime());
    let pod = Pod::new();
    let listener = world.host().inside(|| std::net::TcpListener::bind("0.0.0.0:8080")).unwrap();
    let to: SocketAddr = at(NODE[0], 8080);
    let held = world.underlay.hub().inside(|| std::net::TcpStream::connect(to)).unwrap();
    let (_served, _) = listener.accept().unwrap();
    world.warm(&network);
    // Tracking begins with the rules; the connection is picked up with its next packet.
    std::io::Write::write_all(&mut &held, b"x").unwrap();
    let published = target("web", &pod, &[mapping("tcp", 8080, 80)]);
    add(&runtime, &network, &published);
    let _web = Echo::start(&pod, Protocol::Tcp, 80);
    let client = world.underlay.hub().inside(|| std::net::TcpStream::connect(to)).unwrap();
    let reply = world.host().run("conntrack -L -p tcp --orig-port-dst 8080");
    assert!(reply.contains("src=10.66.0.3 "), "{reply}");
    del(&runtime, &network, &published);
    let left = world.host().run("conntrack -L -p tcp --orig-port-dst 8080");
    assert!(!left.contains("src=10.66.0.3 "), "{left}");
    drop(client);
    std::io::Write::write_all(&mut &held, b"still here").expect("the host's own connection lives");
}
