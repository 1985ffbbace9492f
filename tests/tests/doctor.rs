//! `ironbridge doctor` on traffic: a sound node gives nothing, and each fault that a test brings in is named with its remedy.

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixListener;
use std::process::Command;

use netns_fixtures::{Bins, Daemon, Etcd, Node, Space};
use serde_json::{Value, json};
use tests::cluster::{Cluster, V4, await_that, leases_prefix, options, put_all};
use tests::ward::{Doctor, Ward, publish};

#[test]
fn a_sound_node_has_no_finding_with_pods_ports_and_iptables_about() {
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(V4);
    let ward = Ward::new(&cluster, &etcd);
    ward.node().run("iptables-nft -A FORWARD -s 192.0.2.0/24 -j ACCEPT");
    let published = publish(&ward, "web", 8080);
    ward.is_sound();
    let output = ward.node().output(ward.doctor().command());
    assert_eq!(String::from_utf8_lossy(&output.stdout), "nothing found\n");
    drop(published);
}

#[test]
fn a_node_without_daemon_and_pods_has_no_finding() {
    let (node, folder) = (Node::new("bare"), tempfile::tempdir().unwrap());
    let at = |name: &str| folder.path().join(name);
    let doctor = Doctor { socket: at("no.sock"), subnet_file: at("no.env"), state: at("no") };
    node.run("iptables-nft -P FORWARD DROP");
    assert_eq!(doctor.look(&node), (Some(0), json!({"findings": [], "unseen": []})));
    // What cannot be looked at is said, and nothing is claimed.
    fs::write(at("no.env"), [0xff, 0xfe]).unwrap();
    let (code, document) = doctor.look(&node);
    assert_eq!(code, Some(2), "{document}");
    assert!(document["unseen"][0].as_str().unwrap().contains("no.env"), "{document}");
}

#[test]
fn forwarding_that_is_off() {
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(V4);
    let mut ward = Ward::new(&cluster, &etcd);
    // While the daemon runs it sees to this itself.
    ward.daemons[0].terminate();
    let node = ward.node();
    node.set_sysctl("net/ipv4/ip_forward", "0");
    ward.finds("forwarding-off", &["net.ipv4.ip_forward is 0"]);
    node.set_sysctl("net/ipv4/ip_forward", "1");
    ward.is_sound();
}

#[test]
fn a_forward_policy_of_drop_without_a_rule_for_pods() {
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(V4);
    let ward = Ward::new(&cluster, &etcd);
    let node = ward.node();
    node.run("iptables-nft -P FORWARD DROP");
    node.run("iptables-nft -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT");
    ward.finds("forward-drop", &["iptables' chain FORWARD", "10.244.0.0/16"]);
    node.run("iptables-nft -A FORWARD -s 10.244.0.0/16 -j ACCEPT");
    ward.is_sound();
    node.run("nft add table inet strict");
    let mut chain = Command::new("nft");
    chain.arg("add chain inet strict passing { type filter hook forward priority 0; policy drop; }");
    assert!(node.output(chain).status.success());
    ward.finds("forward-drop", &["inet strict passing", "10.244.0.0/16"]);
    node.run("nft add rule inet strict passing ip saddr 10.244.0.0/16 accept");
    ward.is_sound();
}

#[test]
fn iptables_of_the_old_kind_is_read_where_its_tables_are() {
    netns_fixtures::needs!(IptablesLegacyNat);
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(V4);
    let ward = Ward::new(&cluster, &etcd);
    ward.node().run("iptables-legacy -P FORWARD DROP");
    ward.finds("forward-drop", &["iptables (legacy)", "10.244.0.0/16"]);
}

#[test]
fn a_strict_reverse_path_filter_matters_where_the_way_back_is_another() {
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(V4);
    let ward = Ward::new(&cluster, &etcd);
    let node = ward.node();
    node.set_sysctl("net/ipv4/conf/eth0/rp_filter", "1");
    ward.is_sound();
    node.run("ip link add detour type veth peer name far");
    node.run("ip link set detour up");
    node.run("ip link set far up");
    node.run("ip route add 192.168.50.2/32 dev detour");
    // The probe's answers come by eth0 and are dropped, too: that is the fault.
    ward.finds("rp-filter", &["peer 192.168.50.2", "eth0", "detour"]);
}

#[test]
fn services_on_one_bridge_need_br_netfilter() {
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(V4);
    let ward = Ward::new(&cluster, &etcd);
    let node = ward.node();
    if node.sysctl("net/bridge/bridge-nf-call-iptables").is_some() {
        node.set_sysctl("net/bridge/bridge-nf-call-iptables", "0");
    }
    ward.is_sound();
    node.run("iptables-nft -t nat -N KUBE-SERVICES");
    ward.finds("br-netfilter", &["cni0"]);
}

#[test]
fn a_daemon_that_waits_is_a_finding() {
    let cluster = Cluster::new(1);
    let etcd = Etcd::start(cluster.underlay.hub(), cluster.underlay.hub_ip());
    let daemon = Daemon::start(cluster.node(0), options(&etcd));
    daemon.await_log("waiting for the network configuration");
    let doctor = Doctor {
        socket: daemon.subnet_file().with_file_name("ironbridged.sock"),
        subnet_file: daemon.subnet_file(),
        state: cluster.folder.path().to_owned(),
    };
    doctor.finds(cluster.node(0), "daemon-not-ready", &["waiting for the network configuration"]);
}

#[test]
fn two_nodes_with_one_address_and_a_cluster_without_room() {
    let cluster = Cluster::new(2);
    let config = r#"{"Network":"10.244.0.0/16","SubnetMax":"10.244.20.0","Backend":{"Type":"host-gw"}}"#;
    let etcd = cluster.etcd(config);
    let ward = Ward::new(&cluster, &etcd);
    let key = |n: u32| format!("{}10.244.{n}.0-24", leases_prefix());
    let foreign = |ip: &str| json!({"PublicIP": ip, "BackendType": "host-gw"}).to_string();
    let free = (200..).map(|n: u32| (key(n), foreign("192.168.50.2"))).next().unwrap();
    put_all(cluster.underlay.hub(), std::slice::from_ref(&free));
    let leases = |number: usize| {
        await_that("the leases are known", || {
            status(&ward)["leases"].as_array().map(Vec::len) == Some(number)
        });
    };
    leases(3);
    ward.finds("duplicate-address", &["10.244.200.0/24", "192.168.50.2"]);
    etcd.ctl(&["del", &free.0]);
    let taken: Vec<String> = etcd.keys(&leases_prefix());
    let others = (1..=20).map(key).filter(|key| !taken.contains(key)).take(17);
    let crowd: Vec<_> =
        others.enumerate().map(|(n, key)| (key, foreign(&format!("192.168.50.{}", 100 + n)))).collect();
    put_all(cluster.underlay.hub(), &crowd);
    leases(19);
    ward.finds("subnets-nearly-gone", &["1 of 20 subnets"]);
}

fn status(ward: &Ward) -> Value {
    let mut command = Command::new(Bins::command());
    command.args(["status", "--json", "--socket"]).arg(ward.doctor().socket);
    serde_json::from_slice(&ward.node().output(command).stdout).unwrap_or_default()
}

#[test]
fn a_route_that_somebody_left_in_the_cluster_network() {
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(V4);
    let ward = Ward::new(&cluster, &etcd);
    ward.node().run("ip route add 10.244.251.0/24 via 192.168.50.254");
    ward.finds("stale-route", &["10.244.251.0/24 via 192.168.50.254 dev eth0", "protocol 3"]);
    ward.node().run("ip route delete 10.244.251.0/24");
    ward.is_sound();
}

#[test]
fn a_switch_that_swallows_large_packets() {
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(V4);
    let ward = Ward::new(&cluster, &etcd);
    cluster.underlay.hub().run("ip link set port1 mtu 1400");
    ward.finds("mtu-black-hole", &["1500 bytes", "192.168.50.2"]);
}

#[test]
fn an_underlay_that_eats_the_port_of_the_overlay() {
    netns_fixtures::needs!(Vxlan);
    let cluster = Cluster::new(2);
    for n in [0, 1] {
        let node = cluster.node(n);
        node.run("ip link add flannel.1 type vxlan id 1 dev eth0 dstport 8472 nolearning");
        node.run(&format!("ip link set flannel.1 address 02:00:00:00:00:0{n}"));
        node.run(&format!("ip address add 10.244.{n}.0/32 dev flannel.1"));
        node.run("ip link set flannel.1 up");
    }
    for (n, other) in [(0, 1), (1, 0)] {
        let (node, mac) = (cluster.node(n), format!("02:00:00:00:00:0{other}"));
        node.run(&format!("ip neighbour add 10.244.{other}.0 lladdr {mac} dev flannel.1"));
        node.run(&format!("bridge fdb add {mac} dev flannel.1 dst 192.168.50.{}", other + 1));
        node.run(&format!(
            "ip route add 10.244.{other}.0/24 via 10.244.{other}.0 dev flannel.1 onlink proto 73"
        ));
    }
    let folder = tempfile::tempdir().unwrap();
    let doctor = Doctor {
        socket: folder.path().join("sock"),
        subnet_file: folder.path().join("no.env"),
        state: folder.path().join("state"),
    };
    cluster.node(0).set_sysctl("net/ipv4/ip_forward", "1");
    cluster.node(0).set_sysctl("net/ipv6/conf/all/forwarding", "1");
    let _daemon = overlay_daemon(&doctor);
    assert_eq!(doctor.look(cluster.node(0)).0, Some(0), "{:#}", doctor.look(cluster.node(0)).1);
    let hub = cluster.underlay.hub();
    hub.run("nft add table bridge cloud");
    let mut chain = Command::new("nft");
    chain.arg("add chain bridge cloud eats { type filter hook forward priority 0; }");
    assert!(hub.output(chain).status.success());
    hub.run("nft add rule bridge cloud eats udp dport 8472 drop");
    doctor.finds(cluster.node(0), "overlay-blocked", &["peer 192.168.50.2", "10.244.1.0"]);
    // Small packets pass, and a pod's largest does not: somebody forgot the overlay's own header.
    hub.run("nft flush chain bridge cloud eats");
    hub.run("nft add rule bridge cloud eats udp dport 8472 meta length > 1460 drop");
    doctor.finds(cluster.node(0), "mtu-black-hole", &["1450 bytes to 10.244.1.0", "192.168.50.2"]);
}

/// Answers as the daemon of node 0 of a vxlan cluster would.
fn overlay_daemon(doctor: &Doctor) -> std::thread::JoinHandle<()> {
    let lease = |own: bool, n: u32| {
        let (subnet, ip) = (format!("10.244.{n}.0/24"), format!("192.168.50.{}", n + 1));
        json!({"subnets": [subnet], "public_ip": ip, "backend": "vxlan", "own": own})
    };
    let document = json!({
        "ready": true, "node": {"uplink": "eth0", "mtu": 1450, "public_ip": "192.168.50.1", "subnets": ["10.244.0.0/24"]},
        "network": {"backend": "vxlan", "ranges": [{"network": "10.244.0.0/16", "subnets": 255, "free": 253}]},
        "leases": [lease(true, 0), lease(false, 1)],
    });
    let listener = UnixListener::bind(&doctor.socket).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            // A doctor that left has nothing to read.
            stream.unwrap().write_all(document.to_string().as_bytes()).ok();
        }
    })
}
