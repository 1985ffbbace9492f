//! Who is in the cluster: nodes that leave, are replaced or claim what another has, flannel's leases, and other families.

use std::net::IpAddr;

use netns_fixtures::{Daemon, DaemonOptions, Echo, Etcd, Protocol, Space, assert_ping, tcp_echo, udp_echo};
use tests::cluster::{
    Attached, Cluster, DUAL, HEARD, V4, V6, await_that, config_key, health, lease_key, leases_prefix,
    options, readyz, routes, subnet,
};

/// TCP, UDP and ICMP from one pod to another in every family that both have; no address is translated on the way.
#[track_caller]
fn assert_talk(from: &Attached, to: &Attached) {
    let (tcp, udp) = (Echo::start(&to.pod, Protocol::Tcp, 7001), Echo::start(&to.pod, Protocol::Udp, 7002));
    for (source, target) in from.addresses.iter().zip(&to.addresses) {
        assert_ping(&from.pod, target);
        let source: IpAddr = source.parse().unwrap();
        assert_eq!(tcp_echo(&from.pod, tcp.at(target)).unwrap(), source, "TCP to {target}");
        assert_eq!(udp_echo(&from.pod, udp.at(target)).unwrap(), source, "UDP to {target}");
    }
}

fn attach_one_each(cluster: &Cluster, daemons: &[Daemon]) -> Vec<Attached> {
    daemons.iter().enumerate().map(|(n, daemon)| cluster.attach(n, daemon, &format!("pod{n}"))).collect()
}

#[test]
fn a_node_that_leaves_takes_its_routes_with_it_and_others_notice_nothing() {
    let cluster = Cluster::new(3);
    let etcd = cluster.etcd(V4);
    let mut daemons = cluster.daemons(&options(&etcd));
    let pods = attach_one_each(&cluster, &daemons);
    for n in [0, 1] {
        cluster.await_routes(n, &[(&daemons[1 - n], 1 - n), (&daemons[2], 2)]);
    }
    let pinger = netns_fixtures::Pinger::start(&pods[0].pod, pods[1].ip());
    daemons[2].terminate();
    etcd.ctl(&["del", &lease_key(&daemons[2])]);
    for n in [0, 1] {
        cluster.await_routes(n, &[(&daemons[1 - n], 1 - n)]);
    }
    pinger.await_answers(10);
    assert_eq!(pinger.stop().lost, 0);
}

#[test]
fn a_node_replaced_at_the_same_address_gets_its_subnet_and_is_reached() {
    let cluster = Cluster::new(3);
    let etcd = cluster.etcd(V4);
    let first = Daemon::ready(cluster.node(0), options(&etcd));
    let mut second = Daemon::ready(cluster.node(1), options(&etcd));
    let pod = cluster.attach(0, &first, "a");
    let old = cluster.attach(1, &second, "b");
    assert_talk(&pod, &old);
    second.kill();
    cluster.underlay.unplug(1);
    // The new machine: other hardware address, empty disk, the old one's address.
    let new = cluster.node(2);
    new.run("ip address del 192.168.50.3/24 dev eth0");
    new.run("ip address add 192.168.50.2/24 dev eth0");
    new.run("ip route replace default via 192.168.50.254");
    for neighbour in [cluster.node(0), cluster.underlay.hub()] {
        // A real machine announces itself when its port forwards.
        neighbour.run("ip neigh flush all");
    }
    // As it is called, too; a machine with another name would wait until the old one's lease is deleted or ends.
    let replaced = Daemon::ready(new, options(&etcd).flag("--node-name=node1"));
    assert_eq!(lease_key(&replaced), lease_key(&second));
    assert_eq!(etcd.keys(&leases_prefix()).len(), 2);
    cluster.await_routes(0, &[(&replaced, 1)]);
    let pod_there = cluster.attach(2, &replaced, "c");
    assert_talk(&pod, &pod_there);
    assert_talk(&pod_there, &pod);
}

#[test]
fn issue_51_two_named_nodes_that_claim_one_address_are_told_apart_and_the_second_waits() {
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(V4);
    let mut first = Daemon::ready(cluster.node(0), options(&etcd).flag("--node-name=a"));
    let node = cluster.node(1);
    node.run("ip address add 192.168.50.1/24 dev eth0");
    let claim = options(&etcd).flag("--node-name=b").flag("--public-ip=192.168.50.1");
    let mut second = Daemon::start(node, claim);
    second.await_log("in use by node a");
    assert_eq!(readyz(node).0, 503);
    assert!(readyz(node).1["waiting"].as_str().unwrap().contains("in use by node a"));
    assert!(!second.subnet_file().exists());
    assert_eq!(etcd.keys(&leases_prefix()).len(), 1);
    // The remedy that it names works without a restart.
    first.terminate();
    etcd.ctl(&["del", &lease_key(&first)]);
    second.await_ready();
}

#[test]
fn issue_51_two_leases_with_one_address_are_reported_by_every_node() {
    let cluster = Cluster::new(1);
    let etcd = cluster.etcd(V4);
    let _daemon = Daemon::ready(cluster.node(0), options(&etcd));
    for subnet in ["10.244.250.0-24", "10.244.251.0-24"] {
        etcd.put(
            &format!("{}{subnet}", leases_prefix()),
            r#"{"PublicIP":"192.168.50.9","BackendType":"host-gw"}"#,
        );
    }
    await_that("/readyz names the address", || {
        readyz(cluster.node(0)).1["problems"].to_string().contains("same public address 192.168.50.9")
    });
}

fn flannel_lease(etcd: &Etcd, subnets: &str, value: &str) {
    let granted = etcd.ctl(&["lease", "grant", "86400"]);
    let id = granted.split(' ').nth(1).unwrap();
    etcd.ctl(&["put", &format!("--lease={id}"), "--", &format!("{}{subnets}", leases_prefix()), value]);
}

/// A node that is not ours: the peers' side of host-gw by hand.
fn flannel_node(cluster: &Cluster, ours: &Daemon, address: &str) {
    let node = cluster.node(1);
    node.run(&format!("ip address add {address}/32 dev lo"));
    let subnet = subnet(ours, "FLANNEL_SUBNET").unwrap();
    node.run(&format!("ip route add {subnet} via 192.168.50.1"));
}

#[test]
fn a_lease_that_flannel_wrote_is_reached_and_ours_reads_as_flannels() {
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(V4);
    let theirs = r#"{"PublicIP":"192.168.50.2","PublicIPv6":null,"BackendType":"host-gw"}"#;
    flannel_lease(&etcd, "10.244.227.0-24", theirs);
    let daemon = Daemon::ready(cluster.node(0), options(&etcd).flag("--node-name=-"));
    assert_eq!(cluster.routes(0)["10.244.227.0/24"], "192.168.50.2");
    assert_eq!(etcd.get(&lease_key(&daemon)).unwrap(), theirs.replace("50.2", "50.1"));
    flannel_node(&cluster, &daemon, "10.244.227.1");
    let pod = cluster.attach(0, &daemon, "a");
    assert_ping(&pod.pod, "10.244.227.1");
    assert_ping(cluster.node(1), pod.ip());
}

#[test]
fn a_dual_stack_lease_that_flannel_wrote_is_reached_in_both_families() {
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(DUAL);
    let theirs = r#"{"PublicIP":"192.168.50.2","PublicIPv6":"fd50::2","BackendType":"host-gw"}"#;
    flannel_lease(&etcd, "10.244.227.0-24&fd44:0:0:77::-64", theirs);
    let daemon = Daemon::ready(cluster.node(0), options(&etcd).flag("--node-name=-"));
    assert_eq!(cluster.routes(0)["10.244.227.0/24"], "192.168.50.2");
    assert_eq!(cluster.routes(0)["fd44:0:0:77::/64"], "fd50::2");
    let v6 = subnet(&daemon, "FLANNEL_IPV6_SUBNET").unwrap();
    let key = format!("{}&{}", lease_key(&daemon), v6.replace('/', "-"));
    assert_eq!(etcd.get(&key).unwrap(), theirs.replace("50.2", "50.1").replace("fd50::2", "fd50::1"));
    flannel_node(&cluster, &daemon, "10.244.227.1");
    cluster.node(1).run("ip address add fd44:0:0:77::1/128 dev lo nodad");
    cluster.node(1).run(&format!("ip route add {v6} via fd50::1"));
    let pod = cluster.attach(0, &daemon, "a");
    assert_ping(&pod.pod, "10.244.227.1");
    assert_ping(&pod.pod, "fd44:0:0:77::1");
    assert_ping(cluster.node(1), &pod.addresses[1]);
}

#[test]
fn ipv6_only_nodes_have_a_lease_each_and_their_pods_talk() {
    let cluster = Cluster::new(3);
    for node in cluster.underlay.nodes() {
        node.run("ip -4 address flush dev eth0");
    }
    // etcd is reached by IPv6 too.
    let etcd = Etcd::start(cluster.underlay.hub(), "[fd50::fe]");
    etcd.put(&config_key(), V6);
    let daemons = cluster.daemons(&options(&etcd));
    let keys = etcd.keys(&leases_prefix());
    assert_eq!(keys.len(), 3, "{keys:?}");
    assert!(keys.iter().all(|key| key.contains("/0.0.0.0-0&fd44:")), "{keys:?}");
    cluster.await_routes(0, &[(&daemons[1], 1), (&daemons[2], 2)]);
    cluster.await_routes(1, &[(&daemons[0], 0), (&daemons[2], 2)]);
    let pods = attach_one_each(&cluster, &daemons);
    assert_talk(&pods[0], &pods[1]);
    assert_talk(&pods[1], &pods[2]);
    let outside = Echo::start(cluster.underlay.hub(), Protocol::Tcp, 7003);
    assert_eq!(tcp_echo(&pods[1].pod, outside.at("fd50::fe")).unwrap(), cluster.underlay.ipv6(1));
}

#[test]
fn a_next_hop_that_is_not_on_link_is_named_and_routed_when_the_uplink_reaches_it() {
    let cluster = Cluster::new(1);
    let etcd = cluster.etcd(V4);
    let _daemon = Daemon::ready(cluster.node(0), options(&etcd));
    flannel_lease(
        &etcd,
        "10.244.209.0-24",
        r#"{"PublicIP":"172.20.0.9","PublicIPv6":null,"BackendType":"host-gw"}"#,
    );
    await_that("/readyz names the next hop", || {
        readyz(cluster.node(0)).1["problems"].to_string().contains("172.20.0.9 is not on-link at uplink eth0")
    });
    assert_eq!(routes(cluster.node(0)).len(), 0);
    cluster.node(0).run("ip address add 172.20.0.1/24 dev eth0");
    await_that("the route is there", || {
        cluster.routes(0).get("10.244.209.0/24").is_some_and(|via| via == "172.20.0.9")
    });
    await_that("the problem is gone", || readyz(cluster.node(0)).1["problems"] == serde_json::json!([]));
}

#[test]
fn issue_1329_a_reservation_stays_without_an_end_and_a_lease_ends_in_a_day() {
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(V4);
    let reserved = format!("{}10.244.42.0-24", leases_prefix());
    etcd.put(&reserved, r#"{"PublicIP":"192.168.50.1"}"#);
    let mut daemons = cluster.daemons(&options(&etcd));
    assert_eq!(lease_key(&daemons[0]), reserved);
    let etcd_lease = |key: &str| -> i64 {
        let answer: serde_json::Value = serde_json::from_str(&etcd.ctl(&["get", key, "-w", "json"])).unwrap();
        answer["kvs"][0]["lease"].as_i64().unwrap_or(0)
    };
    daemons[0].terminate();
    daemons[0].restart();
    daemons[0].await_ready();
    assert_eq!(etcd_lease(&reserved), 0, "a reservation has no etcd lease");
    let id = format!("{:x}", etcd_lease(&lease_key(&daemons[1])));
    let left = etcd.ctl(&["lease", "timetolive", &id]);
    let seconds: u32 = left.split("remaining(").nth(1).unwrap().split('s').next().unwrap().parse().unwrap();
    assert!((86_300..=86_400).contains(&seconds), "{left}");
    assert_eq!(
        etcd.ctl(&["lease", "list", "-w", "json"]).matches("\"id\"").count(),
        1,
        "no etcd lease is left over"
    );
}

#[test]
fn health_goes_from_waiting_to_ready_and_names_what_it_waits_for() {
    let cluster = Cluster::new(1);
    let node = cluster.node(0);
    let mut etcd = cluster.etcd(V4);
    etcd.delete_prefix(&config_key());
    etcd.stop();
    let mut daemon = Daemon::start(node, DaemonOptions::etcd(&etcd.endpoint()));
    await_that("/healthz answers", || {
        health(node, "/healthz").is_ok_and(|(s, b)| s == 200 && b == "flanneld is running")
    });
    assert_eq!(readyz(node).0, 503);
    etcd.restart();
    netns_fixtures::eventually("the missing configuration is named", HEARD, || {
        readyz(node).1["waiting"]
            .to_string()
            .contains(&format!("no network configuration at {}", config_key()))
            .then_some(())
    });
    assert!(daemon.log().contains("etcdctl"), "the remedy is in the log:\n{}", daemon.log());
    assert!(!daemon.subnet_file().exists());
    assert_eq!(node.sysctl("net/ipv4/ip_forward").as_deref(), Some("0"), "a new node does not forward");
    etcd.put(&config_key(), V4);
    daemon.await_ready();
    assert_eq!(node.sysctl("net/ipv4/ip_forward").as_deref(), Some("1"));
    assert!(daemon.subnet_file().exists(), "ready means that subnet.env is there");
    assert_eq!(readyz(node).1["lease"].as_str(), subnet(&daemon, "FLANNEL_SUBNET").as_deref());
    assert_eq!(daemon.terminate().code(), Some(0));
    assert!(health(node, "/healthz").is_err());
}

#[test]
fn weakness_5_nodes_that_race_for_the_last_subnets_each_get_one_and_one_too_many_waits() {
    let cluster = Cluster::new(4);
    let etcd = cluster.etcd(V4);
    etcd.put(
        &config_key(),
        r#"{"Network":"10.244.0.0/16","SubnetMin":"10.244.1.0","SubnetMax":"10.244.3.0","Backend":{"Type":"host-gw"}}"#,
    );
    let nodes = cluster.underlay.nodes().iter();
    let mut daemons: Vec<_> = nodes.map(|node| Daemon::start(node, options(&etcd))).collect();
    let waiting = || {
        (0..4).filter(|n| readyz(cluster.node(*n)).1["waiting"].to_string().contains("are leased")).collect()
    };
    let loser: Vec<usize> = netns_fixtures::eventually("three are ready and one waits", HEARD, || {
        let ready = (0..4).filter(|n| readyz(cluster.node(*n)).0 == 200).count();
        let waiting: Vec<usize> = waiting();
        (ready == 3 && waiting.len() == 1).then_some(waiting)
    });
    let loser = loser[0];
    assert_eq!(etcd.keys(&leases_prefix()).len(), 3);
    let winner = (loser + 1) % 4;
    daemons[winner].terminate();
    etcd.ctl(&["del", &lease_key(&daemons[winner])]);
    daemons[loser].await_ready();
    assert_eq!(lease_key(&daemons[loser]), lease_key(&daemons[winner]), "the subnet that became free");
}
