//! A node that changes: its address, its name, its pods' subnet; and what it does with packets for nobody.

use netns_fixtures::{Daemon, DaemonOptions, Etcd, Pinger, Space, assert_ping, eventually};
use tests::cluster::{
    Attached, Cluster, HEARD, V4, await_that, lease_key, leases_prefix, options, readyz, subnet,
};

/// Two nodes with a pod on each.
fn pair<'w>(cluster: &'w Cluster, etcd: &Etcd) -> (Vec<Daemon<'w>>, [Attached; 2]) {
    let daemons = cluster.daemons(&options(etcd));
    cluster.await_routes(0, &[(&daemons[1], 1)]);
    cluster.await_routes(1, &[(&daemons[0], 0)]);
    let pods = [0, 1].map(|n| cluster.attach(n, &daemons[n], &format!("pod{n}")));
    (daemons, pods)
}

/// What DHCP does with another answer.
fn renumber(cluster: &Cluster, index: usize, to: &str) {
    let node = cluster.node(index);
    node.run(&format!("ip address del {}/24 dev eth0", cluster.underlay.ipv4(index)));
    node.run(&format!("ip address add {to}/24 dev eth0"));
    node.run("ip route replace default via 192.168.50.254");
}

#[test]
fn issue_760_an_uplink_with_a_new_address_is_followed_and_published_under_the_same_subnet() {
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(V4);
    let (daemons, pods) = pair(&cluster, &etcd);
    let (key, keys) = (lease_key(&daemons[1]), etcd.keys(&leases_prefix()));
    let pinger = Pinger::start(&pods[0].pod, pods[1].ip());
    renumber(&cluster, 1, "192.168.50.22");
    let took = await_that("the new address is published", || {
        etcd.get(&key).is_some_and(|value| value.contains(r#""PublicIP":"192.168.50.22""#))
    });
    eprintln!("published after {took:?}");
    await_that("the peer follows", || cluster.routes(0).values().all(|via| via == "192.168.50.22"));
    cluster.await_routes(1, &[(&daemons[0], 0)]);
    pinger.await_answers(10);
    let loss = pinger.stop();
    eprintln!("a new address: {loss:?}");
    assert!(loss.longest < HEARD / 10, "{loss:?}");
    assert_eq!(etcd.keys(&leases_prefix()), keys, "the subnet stays");
    assert_ping(&pods[1].pod, pods[0].ip());
    assert_eq!(readyz(cluster.node(1)).0, 200, "{}", daemons[1].log());
    // Back again, with the log that names both.
    cluster.node(1).run("ip address del 192.168.50.22/24 dev eth0");
    cluster.underlay.link_up(1);
    cluster.await_routes(0, &[(&daemons[1], 1)]);
    assert!(daemons[1].log().contains("192.168.50.22 on eth0"), "{}", daemons[1].log());
}

#[test]
fn an_address_that_comes_beside_the_published_one_changes_nothing_and_one_of_a_peer_is_not_published() {
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(V4);
    let (daemons, pods) = pair(&cluster, &etcd);
    let value = etcd.get(&lease_key(&daemons[1]));
    let (revision, node) = (etcd.revision(), cluster.node(1));
    node.run("ip address add 192.168.50.33/24 dev eth0");
    let pinger = Pinger::start(&pods[0].pod, pods[1].ip());
    pinger.await_answers(60);
    assert_eq!(pinger.stop().lost, 0);
    assert_eq!(etcd.revision(), revision, "nothing was written");
    // Now the address of the first node in place of its own: both would be one to their peers.
    node.run("ip address flush dev eth0");
    node.run("ip address add 192.168.50.1/24 dev eth0");
    daemons[1].await_log("publishes the same address");
    assert_eq!(etcd.get(&lease_key(&daemons[1])), value);
    node.run("ip address del 192.168.50.1/24 dev eth0");
    cluster.underlay.link_up(1);
    for neighbour in cluster.underlay.nodes().iter().chain([cluster.underlay.hub()]) {
        neighbour.run("ip neigh flush all");
    }
    cluster.await_routes(1, &[(&daemons[0], 0)]);
    assert_ping(&pods[0].pod, pods[1].ip());
}

#[test]
fn issue_760_a_node_that_was_renumbered_while_its_daemon_was_down_takes_its_own_lease_back() {
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(V4);
    let (mut daemons, pods) = pair(&cluster, &etcd);
    let keys = etcd.keys(&leases_prefix());
    daemons[1].terminate();
    // A reboot empties /run, too.
    std::fs::remove_file(daemons[1].subnet_file()).unwrap();
    renumber(&cluster, 1, "192.168.50.22");
    daemons[1].restart();
    daemons[1].await_ready();
    assert_eq!(etcd.keys(&leases_prefix()), keys);
    await_that("the peer follows", || cluster.routes(0).values().all(|via| via == "192.168.50.22"));
    assert_ping(&pods[0].pod, pods[1].ip());
}

#[test]
fn issue_520_pods_that_run_never_lose_their_subnet_in_silence() {
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(V4);
    let (mut daemons, pods) = pair(&cluster, &etcd);
    let (key, own) = (lease_key(&daemons[1]), subnet(&daemons[1], "FLANNEL_SUBNET").unwrap());
    daemons[1].kill();
    let ours = etcd.get(&key).unwrap();
    // As after a lease that ended while the node was down, and a newcomer who got the subnet.
    let other = r#"{"PublicIP":"192.168.50.77","PublicIPv6":null,"BackendType":"host-gw"}"#;
    etcd.put(&key, other);
    daemons[1].restart();
    eventually("both subnets, the bridge and the remedy are named", HEARD, || {
        let told = readyz(cluster.node(1)).1["waiting"].to_string();
        let names = ["cni0", &own, "192.168.50.77", "ip link delete cni0"];
        names.iter().all(|name| told.contains(name)).then_some(())
    });
    assert_eq!(etcd.keys(&leases_prefix()).len(), 2, "no other subnet was taken");
    etcd.ctl(&["del", &key]);
    daemons[1].await_ready();
    assert_eq!(etcd.get(&key), Some(ours));
    cluster.await_routes(0, &[(&daemons[1], 1)]);
    assert_ping(&pods[0].pod, pods[1].ip());
    // The other remedy: without the bridge nothing holds the node to the subnet.
    daemons[1].kill();
    etcd.put(&key, other);
    cluster.node(1).run("ip link delete cni0");
    daemons[1].restart();
    daemons[1].await_ready();
    assert_ne!(lease_key(&daemons[1]), key);
}

#[test]
fn issue_51_twins_with_one_name_are_told_apart_by_their_addresses_and_the_robbed_one_says_so() {
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(V4);
    let named = options(&etcd).flag("--node-name=ubuntu");
    let first = Daemon::ready(cluster.node(0), named.clone());
    let _second = Daemon::ready(cluster.node(1), named);
    eventually("the first one names the twin", HEARD, || {
        let (status, told) = readyz(cluster.node(0));
        (status == 503 && told["waiting"].to_string().contains("node ubuntu at 192.168.50.2")).then_some(())
    });
    assert!(first.log().contains("ERROR"), "{}", first.log());
}

#[test]
fn issue_2244_a_packet_for_a_pod_that_is_gone_ends_at_its_node() {
    let cluster = Cluster::new(1);
    let etcd = cluster.etcd(V4);
    let node = cluster.node(0);
    let mut daemon = Daemon::ready(node, options(&etcd).flag("--ip-blackhole-route"));
    let own = subnet(&daemon, "FLANNEL_SUBNET").unwrap();
    let there = || node.run(&format!("ip route show type blackhole {own}"));
    assert!(there().contains("proto 73"), "{}", there());
    node.run(&format!("ip route del blackhole {own}"));
    await_that("it is put back", || there().contains("proto 73"));
    let pod = cluster.attach(0, &daemon, "a");
    assert_ping(node, pod.ip());
    node.run("ip link delete cni0");
    assert!(!node.succeeds(&format!("ip route get {}", pod.ip())), "and not by the default route");
    daemon.terminate();
    let _without = Daemon::ready(node, options(&etcd));
    await_that("it goes with its flag", || there().is_empty());
}

#[test]
fn every_way_to_choose_the_uplink_publishes_its_address() {
    let cluster = Cluster::new(1);
    let etcd = cluster.etcd(V4);
    let node = cluster.node(0);
    node.run("ip link add eth1 type veth peer name far");
    for line in ["ip link set far up", "ip link set eth1 up", "ip address add 172.30.0.1/24 dev eth1"] {
        node.run(line);
    }
    let (first, second) = ("192.168.50.1", "172.30.0.1");
    for (flag, want) in [
        ("--v=0", first),
        ("--iface=eth1", second),
        ("--iface=172.30.0.1", second),
        ("--iface-regex=^172[.]30[.]", second),
        ("--iface-regex=^(none|eth1)$", second),
        ("--iface-can-reach=172.30.0.9", second),
        ("--iface-can-reach=192.168.50.254", first),
        ("--public-ip=172.30.0.1", second),
    ] {
        let own = DaemonOptions::default().flag(&format!("--etcd-endpoints={}", etcd.endpoint()));
        let daemon = Daemon::ready(node, own.flag(flag));
        let lease = etcd.get(&lease_key(&daemon)).unwrap();
        assert!(lease.contains(&format!(r#""PublicIP":"{want}""#)), "{flag}: {lease}\n{}", daemon.log());
    }
    let own = DaemonOptions::default().flag(&format!("--etcd-endpoints={}", etcd.endpoint()));
    let mut lost = Daemon::start(node, own.flag("--iface=eth7"));
    assert_eq!(lost.await_end().code(), Some(1));
    assert!(lost.log().contains("eth7") && lost.log().contains("eth1"), "{}", lost.log());
}
