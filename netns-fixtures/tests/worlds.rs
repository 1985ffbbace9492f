//! The test worlds prove themselves, with the reference plugins as the thing under test.

use std::time::Duration;

use netns_fixtures::{
    Bins, Echo, Etcd, Network, Node, Pod, Protocol, Runtime, Snapshot, Space, Strace, Target, Underlay,
    assert_blocked, assert_ping, assert_same, eventually, tcp_echo, udp_echo,
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The reference's bridge with addresses from a directory of the test's.
fn bridged(state: &TempDir) -> Network {
    Network::new("worlds", "1.0.0").plugin(json!({
        "type": "bridge", "bridge": "cni0", "isDefaultGateway": true, "ipMasq": true,
        "ipam": {"type": "host-local", "dataDir": state.path(), "ranges": [[{"subnet": "10.66.0.0/24"}]]},
    }))
}

#[test]
fn a_snapshot_sees_each_kind_of_object_come_and_go() {
    let node = Node::new("host");
    for (section, make, undo) in [
        ("link", "ip link add b0 type bridge", "ip link delete b0"),
        ("address", "ip address add 10.1.1.1/24 dev lo", "ip address delete 10.1.1.1/24 dev lo"),
        ("address", "ip address add fd00::1/64 dev lo", "ip address delete fd00::1/64 dev lo"),
        (
            "route",
            "ip route add blackhole 10.9.0.0/16 table 7",
            "ip route delete blackhole 10.9.0.0/16 table 7",
        ),
        ("route", "ip route add blackhole fd09::/64", "ip route delete blackhole fd09::/64"),
        ("rule", "ip rule add from 10.1.1.1 table 7", "ip rule delete from 10.1.1.1 table 7"),
        ("rule", "ip -6 rule add from fd00::1 table 7", "ip -6 rule delete from fd00::1 table 7"),
        ("qdisc", "tc qdisc add dev lo root pfifo", "tc qdisc delete dev lo root"),
        ("firewall", "nft add table inet some", "nft delete table inet some"),
        ("sysctl", "sysctl -qw net.ipv4.ip_forward=1", "sysctl -qw net.ipv4.ip_forward=0"),
    ] {
        let before = Snapshot::of(&node);
        node.run(make);
        let difference = before.difference(&Snapshot::of(&node));
        let expected = format!("+ {section} ");
        assert!(
            difference.iter().any(|line| line.starts_with(&expected)),
            "`{make}` shows as {difference:?}"
        );
        node.run(undo);
        assert_same(&before, &Snapshot::of(&node), undo);
    }
}

#[test]
fn a_snapshot_sees_firewall_rules_and_elements_but_not_their_counters() {
    let node = Node::new("host");
    node.run("nft add table inet t");
    node.run("nft add chain inet t c { type filter hook input priority 0 ; }");
    node.run("nft add set inet t s { type ipv4_addr ; }");
    node.run("nft add rule inet t c counter accept");
    let before = Snapshot::of(&node);
    node.run("ping -n -c 1 127.0.0.1");
    assert_same(&before, &Snapshot::of(&node), "after traffic through a counter");
    node.run("nft add element inet t s { 10.0.0.1 }");
    assert_eq!(before.difference(&Snapshot::of(&node)).len(), 1, "one element more");
    node.run("iptables -t nat -A POSTROUTING -s 10.0.0.1 -m comment --comment first -j MASQUERADE");
    let first = Snapshot::of(&node);
    node.run("iptables -t nat -R POSTROUTING 1 -s 10.0.0.1 -m comment --comment second -j MASQUERADE");
    assert!(!first.difference(&Snapshot::of(&node)).is_empty(), "a comment of an iptables match counts");
}

#[test]
fn nodes_on_an_underlay_reach_each_other_until_the_cable_is_pulled() {
    let underlay = Underlay::new(2);
    assert_ping(underlay.node(0), "192.168.50.2");
    assert_ping(underlay.node(0), "fd50::2");
    let tcp = Echo::start(underlay.node(1), Protocol::Tcp, 7);
    let udp = Echo::start(underlay.node(1), Protocol::Udp, 7);
    assert_eq!(tcp_echo(underlay.node(0), tcp.at("192.168.50.2")).unwrap(), underlay.ipv4(0));
    assert_eq!(tcp_echo(underlay.node(0), tcp.at("fd50::2")).unwrap(), underlay.ipv6(0));
    assert_eq!(udp_echo(underlay.node(0), udp.at("192.168.50.2")).unwrap(), underlay.ipv4(0));
    assert_eq!(udp_echo(underlay.node(0), udp.at("fd50::2")).unwrap(), underlay.ipv6(0));
    underlay.unplug(1);
    assert_blocked(underlay.node(0), "192.168.50.2");
    underlay.plug(1);
    assert_ping(underlay.node(0), "192.168.50.2");
    underlay.link_down(1);
    assert_blocked(underlay.node(0), "192.168.50.2");
    underlay.link_up(1);
    assert_ping(underlay.node(0), "192.168.50.2");
    underlay.recreate_uplink(1);
    assert_ping(underlay.node(0), "192.168.50.2");
}

#[test]
fn the_runtime_runs_a_chain_as_libcni_does() {
    let (host, pod, state, bins) =
        (Node::new("host"), Pod::new(), TempDir::new().unwrap(), Bins::reference());
    let (network, target) = (bridged(&state), Target::new("c1", &pod.path()));
    let runtime = Runtime::new(&host, &bins);
    let warm = Target::new("warm", &Pod::new().path());
    runtime.add(&network, &warm).unwrap_err();
    runtime.del(&network, &warm).unwrap();
    let (first, kept) = (Pod::new(), Target::new("first", ""));
    let kept = kept.netns(&first.path());
    runtime.add(&network, &kept).unwrap();
    runtime.del(&network, &kept).unwrap();

    let before = Snapshot::of(&host);
    let result = runtime.add(&network, &target).unwrap();
    assert_eq!(result["ips"][0]["address"], Value::from("10.66.0.3/24"));
    assert_eq!(pod.addresses("eth0"), ["10.66.0.3/24"]);
    assert_ping(&pod, "10.66.0.1");
    assert!(!before.difference(&Snapshot::of(&host)).is_empty(), "an ADD is seen");
    runtime.check(&network, &target).unwrap();
    let again = runtime.add(&network, &target).unwrap_err();
    assert_eq!(again.plugin, "bridge");
    assert_eq!(again.error().code, 999);
    runtime.del(&network, &target).unwrap();
    assert_same(&before, &Snapshot::of(&host), "after ADD and DEL by the reference");
}

#[test]
fn a_plugin_can_be_killed_at_a_chosen_system_call() {
    let (host, pod, bins) = (Node::new("host"), Pod::new(), Bins::reference());
    let runtime = Runtime::new(&host, &bins);
    let network = Network::new("loop", "1.0.0").plugin(json!({"type": "loopback"}));
    let target = Target::new("c1", &pod.path());
    let add = runtime.invocation("ADD", &target, &network.request(0, &target, None));
    let (answer, trace) = Strace::list(&add, &host);
    assert!(answer.succeeded(), "{answer}");
    assert!(trace.count("execve") == 1 && trace.count("socket") > 0, "{:?}", trace.places());
    let killed = Strace::kill_at(&add, &host, ("socket", 1));
    assert!(!killed.succeeded() && killed.stdout.is_empty(), "{killed}");
}

#[test]
fn an_etcd_keeps_its_keys_over_a_kill_and_hangs_on_request() {
    let node = Node::new("store");
    let mut etcd = Etcd::start(&node, "127.0.0.2");
    etcd.put("/a/b", "1");
    etcd.kill();
    etcd.restart();
    assert_eq!(etcd.get("/a/b").as_deref(), Some("1"));
    assert_eq!(etcd.keys("/a"), ["/a/b"]);
    etcd.compact();
    etcd.hang();
    etcd.resume();
    eventually("etcd answers again", Duration::from_secs(10), || (etcd.revision() > 0).then_some(()));
    etcd.delete_prefix("/");
    assert_eq!(etcd.get("/a/b"), None);
    etcd.stop();
}
