//! The vxlan backend between real daemons: devices and entries as flannel's, real pods' traffic, and what is broken is mended.

use netns_fixtures::{Daemon, Echo, Etcd, Node, Pinger, Protocol, Space, assert_ping, tcp_echo, udp_echo};
use serde_json::Value;
use tests::cluster::{Attached, Cluster, SOON, await_that, lease_key, options, readyz, subnet};

const V4: &str = r#"{"Network":"10.244.0.0/16","SubnetMax":"10.244.199.0","Backend":{"Type":"vxlan"}}"#;
const DUAL: &str =
    r#"{"Network":"10.244.0.0/16","EnableIPv6":true,"IPv6Network":"fd44::/48","Backend":{"Type":"vxlan"}}"#;
const DIRECT: &str = r#"{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan","DirectRouting":true}}"#;

/// Daemons on all nodes, with a pod on each.
fn populated<'w>(cluster: &'w Cluster, etcd: &Etcd) -> (Vec<Daemon<'w>>, Vec<Attached>) {
    let daemons = cluster.daemons(&options(etcd));
    let pods =
        daemons.iter().enumerate().map(|(n, daemon)| cluster.attach(n, daemon, &format!("pod{n}"))).collect();
    (daemons, pods)
}

fn json(space: &impl Space, line: &str) -> Value {
    serde_json::from_str(&space.run(line)).unwrap()
}

fn device(space: &impl Space, name: &str) -> Value {
    json(space, &format!("ip -j -d link show dev {name}"))[0].clone()
}

fn mac(space: &impl Space, name: &str) -> String {
    device(space, name)["address"].as_str().unwrap().to_owned()
}

/// Everything that a tunnel has to peers, as text: neighbours, entries, routes.
fn tunnel(space: &impl Space, name: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for family in ["-4", "-6"] {
        let neighbours = space.run(&format!("ip {family} neigh show dev {name} nud permanent"));
        lines.extend(neighbours.lines().map(str::to_owned));
        let routes = space.run(&format!("ip {family} route show dev {name} proto 73"));
        lines.extend(routes.lines().map(str::to_owned));
    }
    lines.extend(space.run(&format!("bridge fdb show dev {name}")).lines().map(str::to_owned));
    lines.sort();
    lines.join("\n")
}

#[track_caller]
fn every_pod_reaches_every_other(pods: &[Attached]) {
    for to in pods {
        let (tcp, udp) = (Echo::start(&to.pod, Protocol::Tcp, 80), Echo::start(&to.pod, Protocol::Udp, 80));
        // A pod's loopback is up only where the runtime made it so.
        for from in pods.iter().filter(|from| from.addresses != to.addresses) {
            for (at, own) in to.addresses.iter().zip(&from.addresses) {
                assert_ping(&from.pod, at);
                assert_eq!(tcp_echo(&from.pod, tcp.at(at)).unwrap().to_string(), *own);
                assert_eq!(udp_echo(&from.pod, udp.at(at)).unwrap().to_string(), *own);
            }
        }
    }
}

#[test]
fn pods_on_three_nodes_reach_each_other_in_both_families_through_flannels_objects() {
    let cluster = Cluster::new(3);
    let etcd = cluster.etcd(DUAL);
    let (daemons, pods) = populated(&cluster, &etcd);
    every_pod_reaches_every_other(&pods);
    let node = cluster.node(0);
    for (name, mtu, local) in
        [("flannel.1", 1450, cluster.underlay.ipv4(0)), ("flannel-v6.1", 1430, cluster.underlay.ipv6(0))]
    {
        let link = device(node, name);
        let data = &link["linkinfo"]["info_data"];
        assert_eq!((&link["mtu"], &data["id"], &data["port"]), (&mtu.into(), &1.into(), &8472.into()));
        assert_eq!(data[if mtu == 1450 { "local" } else { "local6" }], local.to_string());
        assert_eq!((&data["learning"], &data["link"]), (&false.into(), &"eth0".into()));
    }
    let (own, theirs) = ["FLANNEL_SUBNET", "FLANNEL_IPV6_SUBNET"].map(|key| subnet(&daemons[1], key)).into();
    let (own, theirs) = (own.unwrap(), theirs.unwrap());
    let route = node.run(&format!("ip route show {own}"));
    let base = own.split('/').next().unwrap();
    assert!(route.contains(&format!("via {base} dev flannel.1 proto 73 onlink")), "{route}");
    let route = node.run(&format!("ip -6 route show {theirs}"));
    assert!(route.contains("dev flannel-v6.1") && route.contains("onlink"), "{route}");
    let addresses = json(cluster.node(1), "ip -j -4 address show dev flannel.1");
    let address = &addresses[0]["addr_info"][0];
    assert_eq!((&address["local"], &address["prefixlen"]), (&base.into(), &32.into()));
    assert_eq!(daemons[0].subnet_env("FLANNEL_MTU").unwrap(), "1430", "what fits both families");
    let lease = etcd.keys("/coreos.com/network/subnets").into_iter().find(|k| k.contains(base)).unwrap();
    let (v4, v6) = (mac(cluster.node(1), "flannel.1"), mac(cluster.node(1), "flannel-v6.1"));
    let value = etcd.get(&lease).unwrap();
    let data = |mac: &str| format!(r#"{{"VNI":1,"VtepMAC":"{mac}"}}"#);
    let want = format!(
        r#"{{"PublicIP":"{}","PublicIPv6":"{}","BackendType":"vxlan","BackendData":{},"BackendV6Data":{}}}"#,
        cluster.underlay.ipv4(1),
        cluster.underlay.ipv6(1),
        data(&v4),
        data(&v6)
    );
    assert_eq!(without_name(&value, cluster.node(1)), want, "flannel's bytes");
    assert_ne!(v4, v6);
}

/// Runs what damages the tunnel under traffic; it is whole again, and the longest silence is printed and bounded.
#[track_caller]
fn mended(node: &impl Space, pods: (&Attached, &Attached), (name, damage): (&str, &str)) {
    let want = tunnel(node, name);
    let (is_v6, data) = (name.contains("v6"), device(node, name)["linkinfo"].clone());
    let at = &pods.1.addresses[usize::from(is_v6)];
    let pinger = Pinger::start(&pods.0.pod, at);
    node.run(damage);
    let took = await_that(&format!("whole after `{damage}`"), || {
        node.succeeds(&format!("ip link show up dev {name}")) && tunnel(node, name) == want
    });
    assert_eq!(device(node, name)["linkinfo"], data, "the same device after `{damage}`");
    pinger.await_answers(5);
    let loss = pinger.stop();
    eprintln!(
        "`{damage}`: mended in {took:?}, {} of {} lost, longest {:?}",
        loss.lost, loss.sent, loss.longest
    );
    assert!(loss.longest < SOON, "{damage}: {loss:?}");
}

#[test]
fn a_deleted_or_altered_device_is_remade_and_refilled_and_entries_come_back_issue_2272() {
    let cluster = Cluster::new(3);
    let etcd = cluster.etcd(DUAL);
    let (daemons, pods) = populated(&cluster, &etcd);
    every_pod_reaches_every_other(&pods[..2]);
    let node = cluster.node(0);
    let theirs = subnet(&daemons[1], "FLANNEL_SUBNET").unwrap();
    let base = theirs.split('/').next().unwrap();
    let peer = (mac(cluster.node(1), "flannel.1"), cluster.underlay.ipv4(1));
    for (name, damage) in [
        ("flannel.1", "ip link delete flannel.1".to_owned()),
        ("flannel-v6.1", "ip link delete flannel-v6.1".to_owned()),
        ("flannel.1", "ip link set flannel.1 down".to_owned()),
        ("flannel.1", "ip address flush dev flannel.1".to_owned()),
        ("flannel.1", format!("ip neigh delete {base} dev flannel.1")),
        (
            "flannel.1",
            format!("ip neigh replace {base} lladdr 02:00:00:00:00:77 dev flannel.1 nud permanent"),
        ),
        ("flannel.1", "ip neigh flush dev flannel.1 nud permanent".to_owned()),
        ("flannel.1", format!("bridge fdb delete {} dev flannel.1 dst {}", peer.0, peer.1)),
        ("flannel.1", format!("bridge fdb replace {} dev flannel.1 dst 192.168.50.99", peer.0)),
        ("flannel.1", format!("bridge fdb append {} dev flannel.1 dst 192.168.50.99", peer.0)),
        ("flannel.1", "bridge fdb add 02:00:00:00:00:78 dev flannel.1 dst 192.168.50.99".to_owned()),
        ("flannel.1", format!("ip route delete {theirs}")),
        ("flannel-v6.1", "ip -6 route flush proto 73".to_owned()),
    ] {
        mended(node, (&pods[0], &pods[1]), (name, &damage));
    }
}

#[test]
fn an_altered_device_is_mended_and_devices_follow_a_new_uplink_issue_1795() {
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(DUAL);
    let (_daemons, pods) = populated(&cluster, &etcd);
    let node = cluster.node(0);
    let own = mac(node, "flannel.1");
    for (damage, what, want) in [
        ("ip link set flannel.1 address 02:00:00:00:00:79", "address", Value::from(own.clone())),
        ("ip link set flannel.1 mtu 1200", "mtu", Value::from(1450)),
    ] {
        let pinger = Pinger::start(&pods[0].pod, pods[1].ip());
        node.run(damage);
        let took = await_that(damage, || device(node, "flannel.1")[what] == want);
        pinger.await_answers(5);
        let loss = pinger.stop();
        eprintln!("`{damage}`: mended in {took:?}, {} of {} lost", loss.lost, loss.sent);
        assert!(loss.longest < SOON, "{loss:?}");
    }
    // The kernel deletes a VXLAN device together with the link below it.
    cluster.underlay.recreate_uplink(0);
    await_that("the devices follow a new uplink", || {
        ["flannel.1", "flannel-v6.1"].iter().all(|name| node.succeeds(&format!("ip link show up dev {name}")))
            && cluster.routes(0).len() == 2
    });
    assert_eq!(mac(node, "flannel.1"), own);
    every_pod_reaches_every_other(&pods);
}

#[test]
fn a_restart_costs_no_packet_and_the_hardware_address_outlives_the_device_and_the_lease() {
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(V4);
    let (mut daemons, pods) = populated(&cluster, &etcd);
    let node = cluster.node(0);
    // The route is the last of what a peer has.
    await_that("the peer is known", || tunnel(node, "flannel.1").contains("onlink"));
    let before = tunnel(node, "flannel.1");
    let (own, index) = (mac(node, "flannel.1"), device(node, "flannel.1")["ifindex"].clone());
    let pinger = Pinger::start(&pods[0].pod, pods[1].ip());
    daemons[0].terminate();
    daemons[0].restart();
    daemons[0].await_ready();
    pinger.await_answers(10);
    let loss = pinger.stop();
    assert_eq!(loss.lost, 0, "{loss:?}");
    assert_eq!((device(node, "flannel.1")["ifindex"].clone(), tunnel(node, "flannel.1")), (index, before));
    // A reboot: the device is gone, the lease is still there.
    daemons[0].kill();
    node.run("ip link delete flannel.1");
    daemons[0].restart();
    daemons[0].await_ready();
    assert_eq!(mac(node, "flannel.1"), own);
    // A longer one: the lease is gone, too.
    daemons[0].kill();
    node.run("ip link delete flannel.1");
    etcd.ctl(&["del", &lease_key(&daemons[0])]);
    daemons[0].restart();
    daemons[0].await_ready();
    assert_eq!(mac(node, "flannel.1"), own, "the same node gives the same address");
    assert_ping(&pods[0].pod, pods[1].ip());
}

/// The lease without its one member that is not flannel's.
fn without_name(value: &str, node: &Node) -> String {
    let member = format!(r#","Node":"{}""#, node.name());
    assert!(value.contains(&member), "{value}");
    value.replacen(&member, "", 1)
}

#[test]
fn flanneld_s_device_and_lease_are_adopted_and_one_of_other_parameters_is_made_anew_by_name() {
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(V4);
    let node = cluster.node(0);
    // As flanneld leaves them: a random hardware address, routes of protocol boot.
    let theirs = "c6:d2:32:6f:8f:44";
    let local = cluster.underlay.ipv4(0);
    let make = |port: u16, mac: &str| {
        node.run(&format!(
            "ip link add flannel.1 address {mac} mtu 1450 txqueuelen 0 type vxlan id 1 local {local} dev eth0 dstport {port} nolearning udpcsum"
        ));
        node.run("ip address add 10.244.33.0/32 dev flannel.1");
        node.run("ip link set flannel.1 up");
    };
    make(8472, theirs);
    node.run("ip neigh add 10.244.227.0 lladdr 02:00:00:00:00:77 dev flannel.1 nud permanent");
    node.run("bridge fdb add 02:00:00:00:00:77 dev flannel.1 dst 192.168.50.77");
    let value = format!(
        r#"{{"PublicIP":"{local}","PublicIPv6":null,"BackendType":"vxlan","BackendData":{{"VNI":1,"VtepMAC":"{theirs}"}}}}"#
    );
    etcd.put("/coreos.com/network/subnets/10.244.33.0-24", &value);
    let index = device(node, "flannel.1")["ifindex"].clone();
    let (mut daemons, pods) = populated(&cluster, &etcd);
    assert_eq!(daemons[0].subnet_env("FLANNEL_SUBNET").unwrap(), "10.244.33.1/24");
    assert_eq!(device(node, "flannel.1")["ifindex"], index, "adopted:\n{}", daemons[0].log());
    assert_eq!(mac(node, "flannel.1"), theirs);
    let now = etcd.get("/coreos.com/network/subnets/10.244.33.0-24").unwrap();
    assert_eq!(without_name(&now, node), value);
    await_that("what a peer that left has left behind goes", || !tunnel(node, "flannel.1").contains(":77"));
    every_pod_reaches_every_other(&pods);
    daemons[0].terminate();
    node.run("ip link delete flannel.1");
    make(4789, "c6:d2:32:6f:8f:55");
    daemons[0].restart();
    daemons[0].await_ready();
    daemons[0].await_log("its port is 4789, not 8472");
    assert_eq!(mac(node, "flannel.1"), "c6:d2:32:6f:8f:55", "a device that is made anew keeps its address");
    every_pod_reaches_every_other(&pods);
}

#[test]
fn peers_of_another_backend_and_broken_data_are_named_ignored_and_counted() {
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(V4);
    let lease = |n: u8, rest: &str| {
        let value = format!(r#"{{"PublicIP":"192.168.50.{n}","PublicIPv6":null,{rest}}}"#);
        etcd.put(&format!("/coreos.com/network/subnets/10.244.{n}.0-24"), &value);
    };
    lease(201, r#""BackendType":"host-gw""#);
    lease(202, r#""BackendType":"vxlan""#);
    lease(203, r#""BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"nonsense"}"#);
    let (daemons, pods) = populated(&cluster, &etcd);
    every_pod_reaches_every_other(&pods);
    let node = cluster.node(0);
    let problems = readyz(node).1["problems"].to_string();
    for word in
        ["10.244.201.0/24 of 192.168.50.201 is ignored", "10.244.202.0/24: the BackendData", "nonsense"]
    {
        assert!(problems.contains(word), "{word}: {problems}");
    }
    assert_eq!(readyz(node).1["other_backends"], 1, "{}", daemons[0].log());
    lease(203, r#""BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:02:03"}"#);
    await_that("it is programmed when it is right", || {
        tunnel(node, "flannel.1").contains("02:00:00:00:02:03")
    });
    lease(203, r#""BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:02:04"}"#);
    await_that("a new address replaces the old one", || {
        let there = tunnel(node, "flannel.1");
        there.contains("02:00:00:00:02:04") && !there.contains("02:00:00:00:02:03")
    });
    etcd.ctl(&["del", "/coreos.com/network/subnets/10.244.203.0-24"]);
    await_that("nothing is left of a peer that left", || {
        let there = tunnel(node, "flannel.1");
        !there.contains("10.244.203") && !there.contains("02:00:00:00:02:04")
    });
}

#[test]
fn direct_routing_follows_the_underlay_issue_1070() {
    let cluster = Cluster::new(3);
    // A second segment behind the hub: node 2 moves there.
    let (hub, far) = (cluster.underlay.hub(), cluster.node(2));
    hub.run("sysctl -qw net.ipv4.ip_forward=1");
    hub.run("ip link set port2 nomaster");
    hub.run("ip address add 192.168.60.254/24 dev port2");
    far.run("ip address flush dev eth0");
    far.run("ip address add 192.168.60.3/24 dev eth0");
    far.run("ip route add default via 192.168.60.254");
    let etcd = cluster.etcd(DIRECT);
    let (daemons, pods) = populated(&cluster, &etcd);
    every_pod_reaches_every_other(&pods);
    let node = cluster.node(0);
    let subnets: Vec<String> = daemons.iter().map(|d| subnet(d, "FLANNEL_SUBNET").unwrap()).collect();
    let route = |to: usize| node.run(&format!("ip route show {}", subnets[to]));
    assert!(route(1).contains("via 192.168.50.2 dev eth0"), "{}", route(1));
    assert!(route(2).contains("dev flannel.1"), "{}", route(2));
    assert!(!tunnel(node, "flannel.1").contains("192.168.50.2"), "no entry for a peer without tunnel");
    let pinger = Pinger::start(&pods[0].pod, pods[1].ip());
    // A router comes between the two neighbours, and goes again.
    node.run("ip route add 192.168.50.2/32 via 192.168.50.254");
    await_that("the tunnel is taken", || route(1).contains("dev flannel.1"));
    pinger.await_answers(5);
    node.run("ip route delete 192.168.50.2/32");
    await_that("the direct way is taken again", || route(1).contains("via 192.168.50.2 dev eth0"));
    await_that("its entries go", || !tunnel(node, "flannel.1").contains("192.168.50.2"));
    pinger.await_answers(5);
    let loss = pinger.stop();
    eprintln!("direct, tunnel, direct: {loss:?}");
    assert_eq!(loss.lost, 0, "{loss:?}");
    cluster.underlay.link_down(0);
    cluster.underlay.link_up(0);
    await_that("direct routes come back with the link", || route(1).contains("via 192.168.50.2 dev eth0"));
    every_pod_reaches_every_other(&pods);
}

#[test]
fn every_option_of_the_device_is_the_configurations() {
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(
        r#"{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan","VNI":42,"Port":4789,"MTU":1400,"Learning":true,"GBP":true}}"#,
    );
    let (mut daemons, pods) = populated(&cluster, &etcd);
    every_pod_reaches_every_other(&pods);
    let node = cluster.node(0);
    let link = device(node, "flannel.42");
    let data = &link["linkinfo"]["info_data"];
    let found = [&data["id"], &data["port"], &link["mtu"]].map(Value::as_u64);
    assert_eq!(found, [Some(42), Some(4789), Some(1350)], "{link:#}");
    assert_eq!([&data["learning"], &data["gbp"]].map(Value::as_bool), [Some(true); 2], "{link:#}");
    assert_eq!(daemons[0].subnet_env("FLANNEL_MTU").unwrap(), "1350");
    daemons[0].terminate();
    daemons[0].restart();
    daemons[0].await_ready();
    assert_eq!(device(node, "flannel.42")["ifindex"], link["ifindex"], "{}", daemons[0].log());
}
