//! The udp backend: flannel's device, lease and frames, real pods' traffic, and bytes of anybody on its port.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::Command;

use netns_fixtures::{
    Bins, Daemon, Echo, Etcd, Pinger, Protocol, Space, assert_ping, eventually, needs, ping, tcp_echo,
    udp_echo,
};
use serde_json::{Value, json};
use tests::cluster::{
    Attached, Cluster, HEARD, SOON, await_that, config_key, counted, lease_key, options, readyz, subnet,
};
use tests::ward::Doctor;

/// To flannel's code a configuration without backend is udp.
const UDP: &str = r#"{"Network":"10.244.0.0/16"}"#;

fn populated<'w>(cluster: &'w Cluster, etcd: &Etcd) -> (Vec<Daemon<'w>>, [Attached; 2]) {
    let daemons = cluster.daemons(&options(etcd));
    let pods = [0, 1].map(|n| cluster.attach(n, &daemons[n], &format!("pod{n}")));
    (daemons, pods)
}

#[track_caller]
fn talk(pods: &[Attached; 2]) {
    for (from, to) in [(0, 1), (1, 0)] {
        let (from, to) = (&pods[from], &pods[to]);
        let (tcp, udp) = (Echo::start(&to.pod, Protocol::Tcp, 80), Echo::start(&to.pod, Protocol::Udp, 80));
        assert_ping(&from.pod, to.ip());
        assert_eq!(tcp_echo(&from.pod, tcp.at(to.ip())).unwrap().to_string(), from.ip());
        assert_eq!(udp_echo(&from.pod, udp.at(to.ip())).unwrap().to_string(), from.ip());
    }
}

fn device(space: &impl Space) -> Value {
    let listed: Value = serde_json::from_str(&space.run("ip -j -d address show dev flannel0")).unwrap();
    listed[0].clone()
}

/// Packets that node 0 lost for that reason.
fn lost(cluster: &Cluster, reason: &str) -> u64 {
    counted(cluster.node(0), &format!("lost_packets_total{{reason=\"{reason}\"}}"))
}

#[test]
fn pods_talk_through_flannels_device_and_the_lease_is_flannels_to_the_byte() {
    needs!(Tap);
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(UDP);
    let daemons = cluster.daemons(&options(&etcd).flag("--node-name=-"));
    let pods = [0, 1].map(|n| cluster.attach(n, &daemons[n], &format!("pod{n}")));
    talk(&pods);
    let (node, own) = (cluster.node(0), subnet(&daemons[0], "FLANNEL_SUBNET").unwrap());
    assert_eq!(
        etcd.get(&lease_key(&daemons[0])).unwrap(),
        format!(r#"{{"PublicIP":"{}","PublicIPv6":null}}"#, cluster.underlay.ipv4(0))
    );
    let (link, base) = (device(node), own.split('/').next().unwrap());
    assert_eq!((&link["mtu"], &link["linkinfo"]["info_kind"]), (&1472.into(), &"tun".into()));
    assert_eq!(
        (&link["linkinfo"]["info_data"]["type"], link["addr_info"].as_array().unwrap().len()),
        (&"tun".into(), 1)
    );
    let address = &link["addr_info"][0];
    assert_eq!((&address["local"], &address["prefixlen"]), (&base.into(), &32.into()));
    let route = node.run("ip route show dev flannel0");
    assert_eq!(route.trim(), "10.244.0.0/16 proto 73 scope link");
    assert_eq!(daemons[0].subnet_env("FLANNEL_MTU").unwrap(), "1472");
    let ready = readyz(node).1;
    assert_eq!((&ready["routes"], &ready["problems"]), (&1.into(), &serde_json::json!([])), "{ready}");
    eventually("the self-test passes", HEARD, || {
        (readyz(node).1["self_test"]["verdict"] == "passed").then_some(())
    });
    let own_host = tcp_echo(node, Echo::start(&pods[1].pod, Protocol::Tcp, 81).at(pods[1].ip())).unwrap();
    assert_eq!(own_host.to_string(), base, "this node speaks with the address of its tunnel end");
    for direction in ["out", "in"] {
        assert!(
            counted(cluster.node(0), &format!("carried_packets_total{{direction=\"{direction}\"}}")) > 10
        );
        assert!(counted(cluster.node(0), &format!("carried_bytes_total{{direction=\"{direction}\"}}")) > 500);
    }
}

/// What one connection carries: so many bytes, so many times.
const PIECE: usize = 1 << 16;
const PIECES: usize = 160;

/// Megabytes in one connection, large packets of the kernel's that are cut on their way; every byte is compared.
#[test]
fn a_stream_arrives_whole_whatever_the_size_of_its_segments() {
    needs!(Tap);
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(UDP);
    let (_daemons, pods) = populated(&cluster, &etcd);
    let byte = |at: usize| u8::try_from((at / 7 + at) % 251).unwrap();
    for mss in ["", "advmss 536", "advmss 150"] {
        let port = pods[1].pod.inside(|| TcpListener::bind("0.0.0.0:0")).unwrap();
        let to = (pods[1].ip().to_owned(), port.local_addr().unwrap().port());
        for pod in &pods {
            let line = pod.pod.run("ip -4 route show default");
            let line = line.split(" advmss").next().unwrap().trim().to_owned();
            pod.pod.run(&format!("ip route replace {line} {mss}"));
        }
        let reader = std::thread::spawn(move || {
            let (mut stream, _) = port.accept().unwrap();
            stream.set_read_timeout(Some(HEARD)).unwrap();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).map(|_| all)
        });
        let mut stream = pods[0].pod.inside(|| TcpStream::connect(&to)).unwrap();
        stream.set_write_timeout(Some(HEARD)).unwrap();
        let piece: Vec<u8> = (0..PIECE).map(byte).collect();
        (0..PIECES).for_each(|_| stream.write_all(&piece).unwrap());
        drop(stream);
        let all = reader.join().unwrap().unwrap_or_else(|error| panic!("{mss:?}: {error}"));
        assert_eq!(all.len(), PIECE * PIECES, "{mss:?}");
        assert!(all.chunks(PIECE).all(|part| part == piece), "{mss:?}: other bytes");
    }
    assert_eq!([lost(&cluster, "device"), lost(&cluster, "malformed")], [0, 0]);
}

#[test]
fn a_deleted_or_altered_device_is_remade_and_refilled_under_traffic() {
    needs!(Tap);
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(UDP);
    let (daemons, pods) = populated(&cluster, &etcd);
    talk(&pods);
    let node = cluster.node(0);
    let shape = || {
        let link = device(node);
        let addresses: Vec<Value> =
            link["addr_info"].as_array().into_iter().flatten().map(|a| a["local"].clone()).collect();
        let route = node.run("ip route show dev flannel0 proto 73");
        format!("{} {addresses:?} {} {route}", link["mtu"], link["flags"])
    };
    let want = shape();
    for damage in [
        "ip link delete flannel0",
        "ip link set flannel0 down",
        "ip address flush dev flannel0",
        "ip link set flannel0 mtu 1200",
        "ip address add 10.244.250.0/32 dev flannel0",
        "ip route delete 10.244.0.0/16",
        "ip link set flannel0 down name flannel7",
        "ip link delete flannel0",
    ] {
        let pinger = Pinger::start(&pods[0].pod, pods[1].ip());
        node.run(damage);
        let took = await_that(&format!("whole after `{damage}`"), || {
            node.succeeds("ip link show up dev flannel0") && shape() == want
        });
        pinger.await_answers(5);
        let loss = pinger.stop();
        eprintln!(
            "`{damage}`: mended in {took:?}, {} of {} lost, longest {:?}",
            loss.lost, loss.sent, loss.longest
        );
        assert!(loss.longest < SOON, "{damage}: {loss:?}\n{}", daemons[0].log());
    }
    talk(&pods);
    assert_eq!(readyz(node).1["problems"], serde_json::json!([]));
}

#[test]
fn the_device_goes_with_the_daemon_and_comes_back_with_it_as_flanneld_s() {
    needs!(Tap);
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(UDP);
    let (mut daemons, pods) = populated(&cluster, &etcd);
    talk(&pods);
    let (own, node) = (daemons[0].subnet_env("FLANNEL_SUBNET").unwrap(), cluster.node(0));
    let has_device = || node.link_names().contains(&"flannel0".to_owned());
    for end in ["SIGKILL", "SIGTERM"] {
        if end == "SIGKILL" {
            daemons[0].kill();
        } else {
            daemons[0].terminate();
        }
        assert!(!has_device(), "{end}");
        assert_eq!(daemons[0].subnet_env("FLANNEL_SUBNET").unwrap(), own, "{end}: the file stays");
        assert!(etcd.get(&lease_key(&daemons[0])).is_some(), "{end}: the lease stays");
        daemons[0].restart();
        daemons[0].await_ready();
        assert_eq!(daemons[0].subnet_env("FLANNEL_SUBNET").unwrap(), own, "{end}");
        talk(&pods);
    }
}

#[test]
fn a_packet_loses_four_hops_as_with_flannel_and_one_whose_time_is_over_is_answered_for() {
    needs!(Tap);
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(UDP);
    let (daemons, pods) = populated(&cluster, &etcd);
    talk(&pods);
    let asked = |how: &str, to: &str| {
        let mut command = Command::new("ping");
        command.args(format!("-n -c 1 -W 5 {how} {to}").split_whitespace());
        String::from_utf8(pods[0].pod.output(command).stdout).unwrap()
    };
    // Two kernels and both directions of the data path: the answer comes the same way.
    let answer = asked("", pods[1].ip());
    assert!(answer.contains(" ttl=60 "), "{answer}");
    let ends = [0, 1].map(|n| subnet(&daemons[n], "FLANNEL_SUBNET").unwrap().replace("/24", ""));
    for (ttl, end) in [(2, &ends[0]), (3, &ends[1])] {
        let answer = asked(&format!("-t {ttl}"), pods[1].ip());
        assert!(
            answer.contains(&format!("From {end} ")) && answer.contains("Time to live exceeded"),
            "{ttl}: {answer}"
        );
    }
    assert!(asked("-t 5", pods[1].ip()).contains(" 1 received"), "the fifth hop is the pod");
    assert!(lost(&cluster, "expired") > 0);
    let nobody = asked("", "10.244.99.9");
    assert!(nobody.contains(&format!("From {} ", ends[0])) && nobody.contains("Net Unreachable"), "{nobody}");
    let nobody = "10.244.99.9:9".parse().unwrap();
    let refused = pods[0].pod.inside(|| TcpStream::connect_timeout(&nobody, HEARD));
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::NetworkUnreachable);
    assert!(lost(&cluster, "no_peer") > 1);
}

#[test]
fn a_device_or_a_port_of_somebody_else_is_named_and_left_alone_and_both_are_taken_when_free() {
    needs!(Tap);
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(UDP);
    let node = cluster.node(0);
    node.run("ip tuntap add mode tun name flannel0");
    let index = device(node)["ifindex"].clone();
    let mut first = Daemon::start(node, options(&etcd));
    let problem = || readyz(node).1["problems"].to_string();
    let named = |what: &str| eventually(what, HEARD, || problem().contains(what).then_some(()));
    named("tunnel device flannel0 belongs to another process");
    assert_eq!((device(node)["ifindex"].clone(), readyz(node).0), (index, 503));
    let taken = node.inside(|| UdpSocket::bind("192.168.50.1:8285")).unwrap();
    node.run("ip link delete flannel0");
    named("cannot listen on 192.168.50.1:8285");
    assert!(!node.link_names().contains(&"flannel0".to_owned()), "no device without a socket");
    drop(taken);
    first.await_ready();
    let second = Daemon::ready(cluster.node(1), options(&etcd));
    talk(&[cluster.attach(0, &first, "one"), cluster.attach(1, &second, "other")]);
}

#[test]
fn a_network_that_becomes_vxlan_and_udp_again_keeps_nothing_of_either() {
    needs!(Tap);
    needs!(Vxlan);
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(UDP);
    let (mut daemons, pods) = populated(&cluster, &etcd);
    let node = cluster.node(0);
    for (backend, device, gone) in [("vxlan", "flannel.1", "flannel0"), ("udp", "flannel0", "flannel.1")] {
        let config = format!(r#"{{"Network":"10.244.0.0/16","Backend":{{"Type":"{backend}"}}}}"#);
        etcd.put(&config_key(), &config);
        for daemon in &mut daemons {
            daemon.terminate();
            daemon.restart();
        }
        daemons.iter_mut().for_each(Daemon::await_ready);
        await_that(&format!("{backend}'s device alone is there"), || {
            let names = node.link_names();
            names.iter().any(|name| name == device) && !names.iter().any(|name| name == gone)
        });
        await_that(&format!("{backend}'s route alone is there"), || {
            let routes = node.run("ip -4 route show proto 73");
            routes.lines().count() == 1 && routes.contains(&format!("dev {device} "))
        });
        talk(&pods);
    }
}

#[test]
fn the_data_path_outlives_its_uplink_and_follows_its_address() {
    needs!(Tap);
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(UDP);
    let (_daemons, pods) = populated(&cluster, &etcd);
    let node = cluster.node(0);
    let again = |what: &str| {
        eventually(what, HEARD, || ping(&pods[0].pod, pods[1].ip().parse().unwrap()).then_some(()));
        talk(&pods);
    };
    cluster.underlay.recreate_uplink(0);
    again("pods talk through an uplink that was made anew");
    node.run("ip address del 192.168.50.1/24 dev eth0");
    node.run("ip address add 192.168.50.33/24 dev eth0");
    node.run("ip route replace default via 192.168.50.254");
    eventually("the socket has the new address", HEARD, || {
        node.run("ss -Huln").contains("192.168.50.33:8285").then_some(())
    });
    again("pods talk from the new address");
}

#[test]
fn status_names_the_peers_and_doctor_a_port_that_is_eaten_on_the_way() {
    needs!(Tap);
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(UDP);
    let (daemons, pods) = populated(&cluster, &etcd);
    talk(&pods);
    let (node, file) = (cluster.node(0), daemons[0].subnet_file());
    let doctor = Doctor {
        socket: file.with_file_name("ironbridged.sock"),
        subnet_file: file,
        state: cluster.folder.path().join(node.name()),
    };
    assert_eq!(doctor.look(node), (Some(0), json!({"findings": [], "unseen": []})));
    let mut status = Command::new(Bins::command());
    status.args(["status", "--json", "--socket"]).arg(&doctor.socket);
    let told: Value = serde_json::from_slice(&node.output(status).stdout).unwrap();
    let theirs = subnet(&daemons[1], "FLANNEL_SUBNET").unwrap();
    assert_eq!(told["network"]["backend"], "udp");
    assert_eq!(
        told["routes"],
        json!([
            {"destination": "10.244.0.0/16", "gateway": null, "state": "present"},
            {"destination": theirs, "gateway": "192.168.50.2", "state": "present"},
        ])
    );
    let hub = cluster.underlay.hub();
    hub.run("nft add table bridge cloud");
    let mut chain = Command::new("nft");
    chain.arg("add chain bridge cloud eats { type filter hook forward priority 0; }");
    assert!(hub.output(chain).status.success());
    hub.run("nft add rule bridge cloud eats udp dport 8285 drop");
    doctor.finds(node, "overlay-blocked", &["peer 192.168.50.2", theirs.split('/').next().unwrap()]);
}
