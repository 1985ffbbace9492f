//! Beside the real flanneld, which no package has and which is therefore run by hand: pods talk across, and its node is taken over under traffic.

use std::path::{Path, PathBuf};
use std::process::Command;

use netns_fixtures::{
    Daemon, DaemonOptions, Echo, Loss, Pinger, Process, Protocol, Space, assert_ping, eventually, needs,
    tcp_echo, udp_echo,
};
use tests::cluster::{Attached, Cluster, HEARD, options};

/// Where flanneld's wireguard keeps the node's private key, and ours too.
const KEY_FILE: &str = "WIREGUARD_KEY_FILE";

/// flanneld writes one file; a daemon of ours takes it over by the same path.
struct Flanneld {
    process: Process,
    folder: tempfile::TempDir,
}

fn flanneld() -> PathBuf {
    let path = std::env::var_os("IRONBRIDGE_FLANNELD").map(PathBuf::from);
    path.filter(|path| path.is_file()).expect("IRONBRIDGE_FLANNELD names flanneld's binary")
}

impl Flanneld {
    fn start(program: &Path, cluster: &Cluster, (index, endpoint): (usize, &str)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(program);
        command.args([&format!("--etcd-endpoints={endpoint}"), "--iface=eth0", "--ip-masq"]);
        command.arg(format!("--subnet-file={}", folder.path().join("subnet.env").display()));
        command.env(KEY_FILE, folder.path().join("wgkey"));
        let process = cluster.node(index).start(command, &folder.path().join("log"));
        let flanneld = Self { process, folder };
        eventually("flanneld writes subnet.env", HEARD, || {
            flanneld.folder.path().join("subnet.env").is_file().then_some(())
        });
        flanneld
    }
}

fn network(backend: &str) -> String {
    format!(
        r#"{{"Network":"10.244.0.0/16","EnableIPv6":true,"EnableNFTables":true,"IPv6Network":"fd44::/48","Backend":{{"Type":"{backend}"}}}}"#
    )
}

fn talk(pods: &[Attached; 2]) {
    for (from, to) in [(0, 1), (1, 0)] {
        let (tcp, udp) =
            (Echo::start(&pods[to].pod, Protocol::Tcp, 80), Echo::start(&pods[to].pod, Protocol::Udp, 80));
        for (at, own) in pods[to].addresses.iter().zip(&pods[from].addresses) {
            assert_ping(&pods[from].pod, at);
            assert_eq!(tcp_echo(&pods[from].pod, tcp.at(at)).unwrap().to_string(), *own);
            assert_eq!(udp_echo(&pods[from].pod, udp.at(at)).unwrap().to_string(), *own);
        }
    }
}

fn taken_over(backend: &str, device: &str) {
    let program = flanneld();
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(&network(backend));
    let mut theirs = Flanneld::start(&program, &cluster, (0, &etcd.endpoint()));
    let ours = Daemon::ready(cluster.node(1), options(&etcd));
    let file = theirs.folder.path().join("subnet.env");
    let env = std::fs::read_to_string(&file).unwrap();
    let pods = [cluster.attach_by(0, &file, "theirs"), cluster.attach(1, &ours, "ours")];
    talk(&pods);
    let node = cluster.node(0);
    let index = |name: &str| {
        let shown = node.run(&format!("ip -o link show dev {name}"));
        shown.split(':').next().unwrap_or_default().to_owned()
    };
    let before = index(device);
    let pingers: Vec<Pinger> = pods[1].addresses.iter().map(|at| Pinger::start(&pods[0].pod, at)).collect();
    theirs.process.terminate(HEARD);
    let taken = options(&etcd).flag(&format!("--subnet-file={}", file.display()));
    let taken = Daemon::ready(node, taken);
    for pinger in pingers {
        pinger.await_answers(25);
        let loss = pinger.stop();
        eprintln!("{backend}: takeover from flanneld: {} of {} lost", loss.lost, loss.sent);
        assert_eq!(loss.lost, 0, "{loss:?}\n{}", taken.log());
    }
    assert_eq!(index(device), before, "{device} is adopted:\n{}", taken.log());
    let now = std::fs::read_to_string(&file).unwrap();
    eprintln!("before:\n{env}after:\n{now}");
    let subnets = |text: &str| -> Vec<String> {
        text.lines().filter(|line| line.contains("SUBNET")).map(str::to_owned).collect()
    };
    assert_eq!(subnets(&now), subnets(&env), "the node keeps its subnets");
    let left = node.run("nft list tables");
    assert!(!left.contains("flannel-ipv4"), "its rules are gone when ours are there: {left}");
}

#[test]
#[ignore = "needs flanneld, which IRONBRIDGE_FLANNELD names"]
fn a_node_of_flanneld_is_taken_over_under_traffic_vxlan() {
    taken_over("vxlan", "flannel.1");
}

#[test]
#[ignore = "needs flanneld, which IRONBRIDGE_FLANNELD names"]
fn a_node_of_flanneld_is_taken_over_under_traffic_host_gw() {
    taken_over("host-gw", "eth0");
}

/// How flanneld comes to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// By SIGTERM: it deletes its devices.
    Stopped,
    /// By SIGKILL: they stay.
    Killed,
}

/// Its own devices, keys and sessions, as far as it leaves any. The answer is what the pods lost.
fn taken_over_with_keys(end: End) -> Vec<Loss> {
    let program = flanneld();
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(&network("wireguard"));
    let mut theirs = Flanneld::start(&program, &cluster, (0, &etcd.endpoint()));
    let with_key = |mut options: DaemonOptions, folder: &Path| {
        options.environment.push((KEY_FILE.to_owned(), folder.join("wgkey").display().to_string()));
        options
    };
    let folder = tempfile::tempdir().unwrap();
    let ours = Daemon::ready(cluster.node(1), with_key(options(&etcd), folder.path()));
    let file = theirs.folder.path().join("subnet.env");
    let pods = [cluster.attach_by(0, &file, "theirs"), cluster.attach(1, &ours, "ours")];
    talk(&pods);
    let node = cluster.node(0);
    let lease = || etcd.keys("/coreos.com/network/subnets").into_iter().filter_map(|key| etcd.get(&key));
    let keys = || -> Vec<String> {
        lease().map(|value| value.split("PublicKey").nth(1).unwrap()[3..47].to_owned()).collect()
    };
    let before = keys();
    let pingers: Vec<Pinger> = pods[1].addresses.iter().map(|at| Pinger::start(&pods[0].pod, at)).collect();
    match end {
        End::Stopped => drop(theirs.process.terminate(HEARD)),
        End::Killed => theirs.process.kill(),
    }
    let taken = options(&etcd).flag(&format!("--subnet-file={}", file.display()));
    let taken = Daemon::ready(node, with_key(taken, theirs.folder.path()));
    let count = |pinger: Pinger| {
        pinger.await_answers(25);
        pinger.stop()
    };
    let losses: Vec<Loss> = pingers.into_iter().map(count).collect();
    eprintln!("wireguard: {end:?}: {losses:?}\n{}\n{}", taken.log(), node.run("ip route"));
    assert_eq!(keys(), before, "the key is taken over");
    talk(&pods);
    losses
}

#[test]
#[ignore = "needs flanneld, which IRONBRIDGE_FLANNELD names"]
fn a_node_of_flanneld_that_was_killed_is_taken_over_with_its_wireguard_sessions() {
    needs!(WireGuard);
    for loss in taken_over_with_keys(End::Killed) {
        assert_eq!(loss.lost, 0, "{loss:?}");
    }
}

#[test]
#[ignore = "needs flanneld, which IRONBRIDGE_FLANNELD names"]
fn a_node_of_flanneld_that_deleted_its_wireguard_devices_is_taken_over_with_its_key() {
    needs!(WireGuard);
    taken_over_with_keys(End::Stopped);
}

/// Its tun device goes with it, so nothing can be adopted: the two work side by side, and the lease is taken over.
#[test]
#[ignore = "needs flanneld, which IRONBRIDGE_FLANNELD names"]
fn a_node_of_flanneld_and_one_of_ours_talk_through_udp_and_its_lease_is_taken_over() {
    let program = flanneld();
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(r#"{"Network":"10.244.0.0/16","EnableNFTables":true,"Backend":{"Type":"udp"}}"#);
    let mut theirs = Flanneld::start(&program, &cluster, (0, &etcd.endpoint()));
    let ours = Daemon::ready(cluster.node(1), options(&etcd));
    let file = theirs.folder.path().join("subnet.env");
    let env = std::fs::read_to_string(&file).unwrap();
    let pods = [cluster.attach_by(0, &file, "theirs"), cluster.attach(1, &ours, "ours")];
    talk(&pods);
    let shown = [0, 1].map(|n| {
        let node = cluster.node(n);
        let line = node.run("ip -d link show dev flannel0") + &node.run("ip -4 route show dev flannel0");
        let address = node.run("ip -4 -o address show dev flannel0");
        eprintln!("{line}{address}");
        (line.contains("mtu 1472"), line.contains("10.244.0.0/16"), address.contains("/32"))
    });
    assert_eq!(shown, [(true, true, true); 2]);
    theirs.process.terminate(HEARD);
    let taken = options(&etcd).flag(&format!("--subnet-file={}", file.display()));
    let taken = Daemon::ready(cluster.node(0), taken);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), env, "the same file:\n{}", taken.log());
    talk(&pods);
}
