//! The main job: nodes with a real daemon and a real etcd, and a pod on one that talks to a pod on another.

use netns_fixtures::{
    Bins, Daemon, DaemonOptions, Echo, Etcd, Network, Node, Pod, Protocol, Runtime, Space, Target, Underlay,
    assert_ping, tcp_echo, udp_echo,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::address;

const CONFIG: &str = "/coreos.com/network/config";
const IPV4: &str = r#"{"Network": "10.70.0.0/16", "Backend": {"Type": "host-gw"}}"#;
const DUAL: &str = r#"{"Network": "10.70.0.0/16", "EnableIPv6": true, "IPv6Network": "fd70::/48",
    "Backend": {"Type": "host-gw"}}"#;

/// An etcd on the hub with a network configuration.
fn store<'w>(underlay: &'w Underlay, config: &str) -> Etcd<'w> {
    let etcd = Etcd::start(underlay.hub(), underlay.hub_ip());
    etcd.put(CONFIG, config);
    etcd
}

/// The chain of a node's `10-flannel.conflist`, on that node's `subnet.env`.
fn network(daemon: &Daemon, state: &TempDir) -> Network {
    let config = json!({
        "type": "flannel", "subnetFile": daemon.subnet_file(), "dataDir": state.path().join("flannel"),
        "ipam": {"dataDir": state.path()}, "delegate": {"hairpinMode": true, "isDefaultGateway": true},
    });
    Network::new("cbr0", "1.0.0").plugin(config)
}

/// Attaches a pod on a node by way of its daemon's subnet.
fn attach(node: &Node, daemon: &Daemon, bins: &Bins) -> (Pod, Value, TempDir) {
    let (pod, state) = (Pod::new(), TempDir::new().unwrap());
    let runtime = Runtime::new(node, bins);
    let loopback = Network::new("cni-loopback", "0.3.1").plugin(json!({"type": "loopback"}));
    runtime.add(&loopback, &Target::new("pod", &pod.path()).ifname("lo")).unwrap_or_else(|f| panic!("{f}"));
    let added = runtime.add(&network(daemon, &state), &Target::new("pod", &pod.path()));
    (pod, added.unwrap_or_else(|failure| panic!("{}: {failure}", node.name())), state)
}

/// Three nodes, a pod on each, every pair in every protocol.
fn every_pod_reaches_every_other(config: &str, families: usize) {
    let underlay = Underlay::new(3);
    let etcd = store(&underlay, config);
    let options = DaemonOptions::etcd(&etcd.endpoint()).flag("--ip-masq");
    let mut daemons: Vec<Daemon> =
        underlay.nodes().iter().map(|node| Daemon::start(node, options.clone())).collect();
    daemons.iter_mut().for_each(Daemon::await_ready);
    let bins = Bins::multicall();
    let pods: Vec<_> =
        underlay.nodes().iter().zip(&daemons).map(|(node, daemon)| attach(node, daemon, &bins)).collect();
    for (to, result, _) in &pods {
        let (tcp, udp) = (Echo::start(to, Protocol::Tcp, 80), Echo::start(to, Protocol::Udp, 80));
        for (from, own, _) in &pods {
            for family in 0..families {
                let at = address(result, family);
                assert_ping(from, &at);
                let expected = address(own, family);
                assert_eq!(
                    tcp_echo(from, tcp.at(&at)).expect("TCP").to_string(),
                    expected,
                    "pods see each other's own"
                );
                assert_eq!(
                    udp_echo(from, udp.at(&at)).expect("UDP").to_string(),
                    expected,
                    "pods see each other's own"
                );
            }
        }
    }
    let outside = Echo::start(underlay.hub(), Protocol::Tcp, 80);
    for (index, (pod, _, _)) in pods.iter().enumerate() {
        let seen = tcp_echo(pod, outside.at(underlay.hub_ip())).expect("the outside answers");
        assert_eq!(seen, underlay.ipv4(index), "the outside sees the node");
    }
    assert_eq!(etcd.keys("/coreos.com/network/subnets").len(), 3);
}

#[test]
fn pods_on_three_nodes_reach_each_other_and_the_outside() {
    every_pod_reaches_every_other(IPV4, 1);
}

#[test]
fn pods_on_three_nodes_reach_each_other_in_both_families() {
    every_pod_reaches_every_other(DUAL, 2);
}

#[test]
fn the_data_path_outlives_the_daemon() {
    let underlay = Underlay::new(2);
    let etcd = store(&underlay, IPV4);
    let mut daemons: Vec<Daemon> = underlay
        .nodes()
        .iter()
        .map(|node| Daemon::ready(node, DaemonOptions::etcd(&etcd.endpoint())))
        .collect();
    let bins = Bins::multicall();
    let (a, _, _state_a) = attach(underlay.node(0), &daemons[0], &bins);
    let (_b, result, _state_b) = attach(underlay.node(1), &daemons[1], &bins);
    let at = address(&result, 0);
    assert_ping(&a, &at);
    assert!(daemons[0].terminate().success(), "SIGTERM is an orderly end:\n{}", daemons[0].log());
    daemons[1].kill();
    assert_ping(&a, &at);
    let before = daemons[0].subnet_env("FLANNEL_SUBNET");
    for daemon in &mut daemons {
        daemon.restart();
        daemon.await_ready();
    }
    assert_eq!(daemons[0].subnet_env("FLANNEL_SUBNET"), before, "a restarted node keeps its subnet");
    assert_ping(&a, &at);
}
