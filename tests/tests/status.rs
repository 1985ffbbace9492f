//! `ironbridge status` against a daemon that runs, that hangs about, and that is not there.

use std::process::{Command, Output};

use netns_fixtures::{Bins, Daemon, Space};
use serde_json::Value;
use tests::cluster::{Cluster, V4, await_that, leases_prefix, options, subnet};

fn status(cluster: &Cluster, daemon: &Daemon, more: &[&str]) -> Output {
    let mut command = Command::new(Bins::command());
    let socket = daemon.subnet_file().with_file_name("ironbridged.sock");
    command.arg("status").arg("--socket").arg(socket).args(more);
    cluster.node(0).output(command)
}

fn document(cluster: &Cluster, daemon: &Daemon) -> Value {
    serde_json::from_slice(&status(cluster, daemon, &["--json"]).stdout).expect("JSON")
}

#[test]
fn the_document_and_the_table_say_what_the_kernel_and_the_store_have() {
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(V4);
    let daemons =
        [0, 1].map(|n| Daemon::start(cluster.node(n), options(&etcd).flag(&format!("--node-name=n{n}"))));
    let [mut own, mut peer] = daemons;
    own.await_ready();
    peer.await_ready();
    cluster.await_routes(0, &[(&peer, 1)]);
    let (mine, theirs) = (subnet(&own, "FLANNEL_SUBNET").unwrap(), subnet(&peer, "FLANNEL_SUBNET").unwrap());
    let found = document(&cluster, &own);
    assert_eq!((&found["ready"], &found["store"]["live"]), (&Value::from(true), &Value::from(true)));
    assert_eq!(found["pid"], own.running().id());
    assert_eq!(found["node"]["uplink"], "eth0");
    assert_eq!(found["node"]["why"], "the first that fits: name eth0");
    assert_eq!(found["node"]["subnets"][0], mine.as_str());
    assert_eq!(found["node"]["standing"], "held");
    assert_eq!(found["network"]["ranges"][0]["free"], 197);
    let lease = |name: &str| {
        let leases = found["leases"].as_array().unwrap();
        leases.iter().find(|lease| lease["node"] == name).cloned().unwrap_or_default()
    };
    assert!((86_000..=86_400).contains(&lease("n0")["expires_in_seconds"].as_u64().unwrap()));
    assert_eq!(
        (&lease("n1")["subnets"][0], &lease("n1")["public_ip"]),
        (&theirs.as_str().into(), &"192.168.50.2".into())
    );
    assert!((86_000..=86_400).contains(&lease("n1")["expires_in_seconds"].as_u64().unwrap()));
    assert_eq!(found["routes"][0]["destination"], theirs.as_str());
    assert_eq!(found["routes"][0]["state"], "present");
    let table = status(&cluster, &own, &[]);
    let text = String::from_utf8_lossy(&table.stdout).into_owned();
    assert_eq!(table.status.code(), Some(0), "{text}");
    for part in
        ["routes: 1 of 1 present", "(this node)", &theirs, "eth0, MTU 1500: the first that fits: name eth0"]
    {
        assert!(text.contains(part), "{part:?} in\n{text}");
    }
}

#[test]
fn a_route_that_cannot_be_put_in_place_and_a_finding_are_named_with_their_remedy() {
    let cluster = Cluster::new(1);
    let etcd = cluster.etcd(V4);
    let daemon = Daemon::ready(cluster.node(0), options(&etcd));
    cluster.node(0).run("ip route add 10.244.250.0/24 via 192.168.50.254 proto static");
    let peer = r#"{"PublicIP":"192.168.50.77","BackendType":"host-gw"}"#;
    etcd.put(&format!("{}10.244.250.0-24", leases_prefix()), peer);
    await_that("the finding is there", || {
        document(&cluster, &daemon)["problems"].as_array().is_some_and(|p| p.len() == 1)
    });
    let text = String::from_utf8_lossy(&status(&cluster, &daemon, &[]).stdout).into_owned();
    assert!(text.contains("routes: 0 of 1 present"), "{text}");
    assert!(text.contains("10.244.250.0/24  192.168.50.77  missing"), "{text}");
    assert!(text.contains("delete it if it is stale"), "{text}");
}

#[test]
fn a_daemon_that_waits_says_for_what_and_one_that_is_gone_is_missed() {
    let cluster = Cluster::new(1);
    let etcd = netns_fixtures::Etcd::start(cluster.underlay.hub(), cluster.underlay.hub_ip());
    let mut daemon = Daemon::start(cluster.node(0), options(&etcd));
    daemon.await_log("waiting for the network configuration");
    let output = status(&cluster, &daemon, &[]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("not ready: waiting for the network configuration"), "{text}");
    daemon.kill();
    let output = status(&cluster, &daemon, &[]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        told.contains("no daemon answers at ") && told.contains("systemctl status ironbridged"),
        "{told}"
    );
    daemon.restart();
    etcd.put(&tests::cluster::config_key(), V4);
    daemon.await_ready();
    assert_eq!(status(&cluster, &daemon, &[]).status.code(), Some(0), "the dead socket was replaced");
}
