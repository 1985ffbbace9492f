//! The small backends, and the change from one backend to another.

use std::path::Path;

use netns_fixtures::{
    Daemon, DaemonOptions, Echo, Node, Protocol, Space, assert_ping, eventually, needs, tcp_echo, within,
};
use tests::cluster::{
    Cluster, HEARD, SOON, await_that, config_key, health, lease_key, options, readyz, subnet,
};

fn network(backend: &str) -> String {
    format!(r#"{{"Network":"10.244.0.0/16","Backend":{backend}}}"#)
}

#[test]
fn alloc_leases_a_subnet_and_touches_nothing_else() {
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(&network(r#"{"Type":"alloc"}"#));
    let daemons = cluster.daemons(&DaemonOptions::etcd(&etcd.endpoint()).flag("--node-name=-"));
    let value = etcd.get(&lease_key(&daemons[0])).unwrap();
    assert_eq!(value, format!(r#"{{"PublicIP":"{}","PublicIPv6":null}}"#, cluster.underlay.ipv4(0)));
    assert_eq!(daemons[0].subnet_env("FLANNEL_MTU").unwrap(), "1500");
    assert!(cluster.routes(0).is_empty(), "{:?}", cluster.routes(0));
    assert_eq!(cluster.node(0).link_names(), ["eth0", "lo"]);
    assert_eq!(readyz(cluster.node(0)).1["problems"], serde_json::json!([]));
}

/// The lines of a file that the commands write.
fn lines(file: &Path) -> Vec<String> {
    std::fs::read_to_string(file).unwrap_or_default().lines().map(str::to_owned).collect()
}

#[test]
fn extension_runs_the_operators_commands_which_may_make_the_network() {
    let cluster = Cluster::new(2);
    let folder = tempfile::tempdir().unwrap();
    let told = folder.path().join("told");
    let note = |what: &str| format!("echo {what} $SUBNET $PUBLIC_IP >> {}", told.display());
    let backend = serde_json::json!({
        "Type": "extension",
        "PreStartupCommand": "echo key-of-$(ip -4 -o address show dev eth0 | grep -o '192[.0-9]*/' | tr -d /)",
        "PostStartupCommand": format!("{} && echo network $NETWORK >> {}", note("own"), told.display()),
        "SubnetAddCommand":
            format!("read data; ip route replace $SUBNET via $PUBLIC_IP && echo data $data >> {} && {}", told.display(), note("add")),
        "SubnetRemoveCommand": format!("ip route delete $SUBNET; {}", note("remove")),
        "ShutdownCommand": note("end"),
    });
    let etcd = cluster.etcd(&network(&backend.to_string()));
    let mut daemons = cluster.daemons(&options(&etcd).flag("--node-name=-"));
    let pods = [0, 1].map(|n| cluster.attach(n, &daemons[n], &format!("pod{n}")));
    assert_ping(&pods[0].pod, pods[1].ip());
    let server = Echo::start(&pods[1].pod, Protocol::Tcp, 80);
    assert_eq!(tcp_echo(&pods[0].pod, server.at(pods[1].ip())).unwrap().to_string(), pods[0].ip());
    let value = etcd.get(&lease_key(&daemons[1])).unwrap();
    assert!(value.ends_with(r#""BackendType":"extension","BackendData":"key-of-192.168.50.2"}"#), "{value}");
    let of_peer = format!("{} 192.168.50.2", subnet(&daemons[1], "FLANNEL_SUBNET").unwrap());
    for line in ["network 10.244.0.0/16", "data key-of-192.168.50.2", &format!("add {of_peer}")] {
        assert!(lines(&told).iter().any(|l| l == line), "{line}: {:?}", lines(&told));
    }
    daemons[1].kill();
    etcd.ctl(&["del", &lease_key(&daemons[1])]);
    await_that("the peer's removal is told", || lines(&told).contains(&format!("remove {of_peer}")));
    daemons[0].terminate();
    let own = format!("end {} 192.168.50.1", subnet(&daemons[0], "FLANNEL_SUBNET").unwrap());
    assert!(lines(&told).contains(&own), "{:?}", lines(&told));
}

#[test]
fn the_command_at_the_end_is_told_the_address_that_the_node_has_by_then() {
    let cluster = Cluster::new(1);
    let folder = tempfile::tempdir().unwrap();
    let told = folder.path().join("told");
    let line = format!("echo end $PUBLIC_IP >> {}", told.display());
    let backend = serde_json::json!({"Type": "extension", "ShutdownCommand": line});
    let etcd = cluster.etcd(&network(&backend.to_string()));
    let mut daemon = Daemon::ready(cluster.node(0), options(&etcd));
    let node = cluster.node(0);
    node.run("ip address del 192.168.50.1/24 dev eth0");
    node.run("ip address add 192.168.50.33/24 dev eth0");
    node.run("ip route replace default via 192.168.50.254");
    let key = lease_key(&daemon);
    await_that("the new address is published", || etcd.get(&key).unwrap().contains("192.168.50.33"));
    daemon.terminate();
    assert_eq!(lines(&told), ["end 192.168.50.33"]);
}

#[test]
fn a_command_that_fails_is_named_and_tried_again() {
    let cluster = Cluster::new(2);
    let folder = tempfile::tempdir().unwrap();
    let gate = folder.path().join("gate");
    let backend = serde_json::json!({
        "Type": "extension", "SubnetAddCommand": format!("test -e {} || {{ echo shut >&2; exit 7; }}", gate.display()),
    });
    let etcd = cluster.etcd(&network(&backend.to_string()));
    let _daemons: Vec<Daemon> =
        cluster.underlay.nodes().iter().map(|node| Daemon::start(node, options(&etcd))).collect();
    let problems = || readyz(cluster.node(0)).1["problems"].to_string();
    eventually("the failure is named", HEARD, || {
        let text = problems();
        (text.contains("SubnetAddCommand") && text.contains("exit status: 7") && text.contains("shut"))
            .then_some(())
    });
    std::fs::write(&gate, "").unwrap();
    eventually("it is tried again", HEARD, || (problems() == "[]").then_some(()));
    await_that("the node is ready", || readyz(cluster.node(0)).0 == 200);
}

#[test]
fn ipip_carries_pods_and_its_routes_lead_to_the_peers_own_addresses() {
    needs!(Ipip);
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(&network(r#"{"Type":"ipip"}"#));
    let mut daemons = cluster.daemons(&options(&etcd));
    let pods = [0, 1].map(|n| cluster.attach(n, &daemons[n], &format!("pod{n}")));
    assert_ping(&pods[0].pod, pods[1].ip());
    let server = Echo::start(&pods[1].pod, Protocol::Tcp, 80);
    assert_eq!(tcp_echo(&pods[0].pod, server.at(pods[1].ip())).unwrap().to_string(), pods[0].ip());
    let node = cluster.node(0);
    let theirs = subnet(&daemons[1], "FLANNEL_SUBNET").unwrap();
    let route = node.run(&format!("ip route show {theirs}"));
    assert!(route.contains("via 192.168.50.2 dev flannel.ipip proto 73 onlink"), "{route}");
    assert_eq!(daemons[0].subnet_env("FLANNEL_MTU").unwrap(), "1480");
    node.run("ip link delete flannel.ipip");
    await_that("the device and its routes are back", || cluster.routes(0).contains_key(&theirs));
    assert_ping(&pods[0].pod, pods[1].ip());
    etcd.put(&config_key(), &network(r#"{"Type":"ipip","DirectRouting":true}"#));
    restart(&mut daemons);
    await_that("a neighbour needs no tunnel", || {
        node.run(&format!("ip route show {theirs}")).contains("dev eth0")
    });
    assert_ping(&pods[0].pod, pods[1].ip());
}

/// As after a change of the network configuration.
#[track_caller]
fn restart(daemons: &mut [Daemon]) {
    for daemon in &mut *daemons {
        daemon.terminate();
        daemon.restart();
    }
    daemons.iter_mut().for_each(Daemon::await_ready);
}

#[test]
fn a_changed_backend_leaves_nothing_of_the_old_one_behind_issue_rke2_9338() {
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(&network(r#"{"Type":"vxlan"}"#));
    let mut daemons = cluster.daemons(&options(&etcd));
    let pods = [0, 1].map(|n| cluster.attach(n, &daemons[n], &format!("pod{n}")));
    assert_ping(&pods[0].pod, pods[1].ip());
    // Another network's device, of a daemon beside ours.
    let node = cluster.node(0);
    node.run("ip link add flannel.7 type vxlan id 7 dstport 8472 dev eth0");
    node.run("ip address add 10.99.0.0/32 dev flannel.7");
    for (backend, device) in [("host-gw", "eth0"), ("vxlan", "flannel.1")] {
        etcd.put(&config_key(), &network(&format!(r#"{{"Type":"{backend}"}}"#)));
        restart(&mut daemons);
        let theirs = subnet(&daemons[1], "FLANNEL_SUBNET").unwrap();
        let route = || node.run(&format!("ip route show {theirs}"));
        await_that(&format!("the route is {backend}'s"), || route().contains(&format!("dev {device} ")));
        let has_device = || node.link_names().iter().any(|name| name == "flannel.1");
        let as_wanted = within(SOON, || (has_device() == (backend == "vxlan")).then_some(()));
        assert!(as_wanted.is_some(), "{backend}: {:?}\n{}", node.link_names(), daemons[0].log());
        assert_ping(&pods[0].pod, pods[1].ip());
    }
    assert!(node.link_names().contains(&"flannel.7".to_owned()), "the other network's device stays");
}

/// What a node's metrics say of its peers.
fn figure(node: &Node, name: &str) -> String {
    let (_, text) = health(node, "/metrics").unwrap();
    let name = format!("ironbridged_{name}{{kind=\"peer\"}} ");
    text.lines().find_map(|line| line.strip_prefix(&name).map(str::to_owned)).unwrap()
}

#[test]
fn wireguard_carries_pods_in_both_families_and_keeps_its_keys() {
    needs!(WireGuard);
    let cluster = Cluster::new(2);
    let config = r#"{"Network":"10.244.0.0/16","EnableIPv6":true,"IPv6Network":"fd44::/48","Backend":{"Type":"wireguard"}}"#;
    let etcd = cluster.etcd(config);
    let folder = tempfile::tempdir().unwrap();
    let start = |n: usize| {
        let mut own = options(&etcd);
        let file = folder.path().join(format!("key{n}")).display().to_string();
        own.environment.push(("WIREGUARD_KEY_FILE".to_owned(), file));
        Daemon::start(cluster.node(n), own)
    };
    let mut daemons = [start(0), start(1)];
    daemons.iter_mut().for_each(Daemon::await_ready);
    let pods = [0, 1].map(|n| cluster.attach(n, &daemons[n], &format!("pod{n}")));
    let talk = || pods[1].addresses.iter().for_each(|at| assert_ping(&pods[0].pod, at));
    talk();
    let theirs = subnet(&daemons[1], "FLANNEL_SUBNET").unwrap();
    let node = cluster.node(0);
    let route = node.run(&format!("ip route show {theirs}"));
    assert!(route.contains("dev flannel-wg proto 73 scope link"), "{route}");
    let lease = || etcd.get(&etcd.keys("/coreos.com/network/subnets")[0]).unwrap();
    let before = lease();
    assert!(before.contains("\"PublicKey\""), "{before}");
    // The peer is on the device of each family.
    assert_eq!([figure(node, "objects_desired"), figure(node, "repairs_total")], ["2", "0"]);
    node.run("ip link delete flannel-wg");
    await_that("the device and its routes are back", || cluster.routes(0).contains_key(&theirs));
    await_that("its peer counts as a repair", || figure(node, "repairs_total") == "1");
    talk();
    daemons[0].terminate();
    daemons[0].restart();
    daemons[0].await_ready();
    talk();
    assert_eq!(lease(), before, "the key is kept");
    // Both families by one device and one peer, with a key that both nodes share.
    let shared = r#""Mode":"auto","PSK":"AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=","Type":"#;
    etcd.put(&config_key(), &config.replace(r#""Type":"#, shared));
    restart(&mut daemons);
    await_that("one device is enough", || !node.link_names().contains(&"flannel-wg-v6".to_owned()));
    talk();
}
