//! `ironbridge doctor` on owners: managers that take what is ours, and addresses, ports, rules and links with none or two.

use std::fs;
use std::io::Write;
use std::net::{TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime};

use netns_fixtures::{Node, Process, Space};
use serde_json::json;
use tests::cluster::{Cluster, V4, await_that};
use tests::ward::{Ward, publish};

/// A process of the node under the name of a network manager.
fn manager(ward: &Ward, name: &str) -> Process {
    let program = ward.state().join(name);
    fs::copy("/usr/bin/sleep", &program).unwrap();
    let mut command = Command::new(&program);
    command.arg("600");
    let process = ward.node().start(command, &ward.state().join("log"));
    await_that("the manager runs", || {
        fs::read_to_string(format!("/proc/{}/comm", process.id()))
            .is_ok_and(|comm| name.starts_with(comm.trim()))
    });
    process
}

/// Lays a file of deploy/ where it belongs.
fn lay(ward: &Ward, from: &str, to: &str) {
    let to = ward.state().join("root").join(to);
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::copy(format!("{}/../deploy/{from}", env!("CARGO_MANIFEST_DIR")), to).unwrap();
}

#[test]
fn a_network_manager_that_would_delete_what_is_ours_until_our_files_are_there() {
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(V4);
    let ward = Ward::new(&cluster, &etcd);
    let running = manager(&ward, "NetworkManager");
    ward.finds("manager-takes-links", &["NetworkManager", "cni0", "veth"]);
    lay(&ward, "NetworkManager/10-ironbridge.conf", "etc/NetworkManager/conf.d/10-ironbridge.conf");
    ward.is_sound();
    drop(running);
    let _running = manager(&ward, "systemd-networkd");
    lay(&ward, "networkd/10-ironbridge.network", "etc/systemd/network/10-ironbridge.network");
    ward.finds("manager-deletes-routes", &["systemd-networkd"]);
    lay(&ward, "networkd/10-ironbridge.conf", "etc/systemd/networkd.conf.d/10-ironbridge.conf");
    ward.is_sound();
    fs::remove_file(ward.state().join("root/etc/systemd/network/10-ironbridge.network")).unwrap();
    ward.finds("manager-takes-links", &["systemd-networkd", "cni0", "veth"]);
}

/// Writes a reservation as the reference does, an hour old.
fn reserve(ward: &Ward, network: &str, address: &str, content: &str) -> PathBuf {
    let folder = ward.state().join("networks").join(network);
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join(address);
    let mut file = fs::File::create(&path).unwrap();
    file.write_all(content.as_bytes()).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_hours(1)).unwrap();
    path
}

#[test]
fn reservations_without_a_sandbox_and_a_range_that_is_nearly_full() {
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(V4);
    let ward = Ward::new(&cluster, &etcd);
    let leaked = reserve(&ward, "cluster", "10.244.99.9", "gone\r\neth0");
    ward.finds("leaked-reservation", &["10.244.99.9 (container gone interface eth0)", "network cluster"]);
    // A sandbox of another plugin has it: no link of ours says so, its namespace does.
    let other = Node::new("sandbox");
    other.run("ip address add 10.244.99.9/24 dev lo");
    let log = ward.state().join("pause");
    let pause = other.start(sleep(), &log);
    ward.is_sound();
    drop(pause);
    drop(other);
    fs::remove_file(leaked).unwrap();
    fs::create_dir_all(ward.state().join("net.d")).unwrap();
    let list = json!({"name": "small", "plugins": [{"type": "macvlan", "ipam": {
        "type": "host-local", "ranges": [[{"subnet": "10.77.0.0/28"}]]}}]});
    fs::write(ward.state().join("net.d/10-small.conflist"), list.to_string()).unwrap();
    ward.is_sound();
    let full = Node::new("full");
    for n in 2..14 {
        reserve(&ward, "small", &format!("10.77.0.{n}"), &format!("c{n}\r\neth0"));
        full.run(&format!("ip address add 10.77.0.{n}/28 dev lo"));
    }
    let _pause = full.start(sleep(), &log);
    ward.finds("range-nearly-full", &["12 of 13", "network small"]);
}

fn sleep() -> Command {
    let mut command = Command::new("sleep");
    command.arg("600");
    command
}

#[test]
fn a_port_with_two_owners() {
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(V4);
    let ward = Ward::new(&cluster, &etcd);
    let _pod = publish(&ward, "web", 8080);
    let udp = ward.node().inside(|| UdpSocket::bind("0.0.0.0:8080")).unwrap();
    ward.is_sound();
    drop(udp);
    let tcp = ward.node().inside(|| TcpListener::bind("0.0.0.0:8080")).unwrap();
    ward.finds("contested-port", &["tcp port 8080", "id: web", "listens on 0.0.0.0"]);
    drop(tcp);
    ward.node().run(
        "iptables-nft -t nat -A PREROUTING -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.9.9.9:80",
    );
    ward.finds("contested-port", &["tcp port 8080", "id: web", "iptables rule", "10.9.9.9"]);
}

#[test]
fn rules_and_links_whose_owner_is_gone() {
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(V4);
    let ward = Ward::new(&cluster, &etcd);
    let node = ward.node();
    let pod = publish(&ward, "web", 8080);
    // The sandbox dies with its pod and DEL never comes; the reservation was removed by hand, as forums advise.
    drop(pod);
    let networks = ward.state().join("networks/cluster");
    let is_webs =
        |entry: &fs::DirEntry| fs::read_to_string(entry.path()).is_ok_and(|text| text.starts_with("web"));
    let file = fs::read_dir(&networks).unwrap().map(Result::unwrap).find(is_webs).unwrap();
    fs::remove_file(file.path()).unwrap();
    let (code, document) = {
        await_that("the kernel removes the sandbox's link", || ward.doctor().look(node).0 == Some(1));
        ward.doctor().look(node)
    };
    let causes = document["findings"].to_string();
    assert!(
        code == Some(1) && causes.contains("\"leaked-rule\"") && causes.contains("id: web"),
        "{document:#}"
    );
    node.run("nft delete table inet ironbridge_portmap");
    ward.is_sound();
    let alias = r"0123456789abcdef-0123456789abcdef, net: cluster, if: eth0, id: ghost";
    node.run("ip link add veth0ghost type veth peer name inner");
    let mut named = Command::new("ip");
    named.args(["link", "set", "veth0ghost", "alias", alias]);
    assert!(node.output(named).status.success());
    ward.finds("leaked-link", &["veth0ghost", "id: ghost"]);
}
