//! The daemon seen from outside: metrics as documented, the supervisor's protocol, and the files of deploy/.

use std::collections::BTreeSet;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use netns_fixtures::{Bins, Daemon, DaemonOptions, Space, eventually};
use serde_json::Value;
use tests::cluster::{Cluster, HEARD, V4, await_that, health, lease_key, leases_prefix, options};

const PAGE: &str = include_str!("../../docs/metrics.md");
const RULES: &str = include_str!("../../deploy/prometheus/ironbridged.rules.yml");
const DASHBOARD: &str = include_str!("../../deploy/grafana/ironbridged.json");
const UNIT: &str = include_str!("../../deploy/systemd/ironbridged.service");

/// Every word of a text that begins as our metrics do.
fn named(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c| !is_part(c)).filter(|word| word.starts_with("ironbridged_"));
    words.map(str::to_owned).collect()
}

/// The metrics of a text with their types, named as their samples are.
fn served(text: &str) -> BTreeSet<String> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    types
        .map(|(name, kind)| match kind {
            "counter" => format!("{name}_total"),
            "info" => format!("{name}_info"),
            _ => name.to_owned(),
        })
        .collect()
}

fn metrics(cluster: &Cluster) -> String {
    let (status, text) = health(cluster.node(0), "/metrics").unwrap();
    assert_eq!(status, 200);
    text
}

/// One sample by its name with its labels.
fn value(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

#[test]
fn every_metric_is_documented_and_every_documented_or_used_one_exists() {
    let cluster = Cluster::new(1);
    let etcd = cluster.etcd(V4);
    let _daemon = Daemon::ready(cluster.node(0), options(&etcd));
    let served = served(&metrics(&cluster));
    assert!(served.len() > 15, "{served:?}");
    let rows = PAGE.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    assert_eq!(rows.map(str::to_owned).collect::<BTreeSet<_>>(), served);
    for (file, text) in [("the alerts", RULES), ("the dashboard", DASHBOARD)] {
        let used: BTreeSet<String> =
            named(text).into_iter().map(|name| name.trim_end_matches("_bucket").to_owned()).collect();
        assert!(used.len() > 8, "{file}: {used:?}");
        assert!(used.is_subset(&served), "{file}: {:?}", used.difference(&served));
    }
    let shown: Value = serde_json::from_str(DASHBOARD).unwrap();
    for panel in shown["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            assert!(!named(target["expr"].as_str().unwrap()).is_empty(), "{target}");
        }
    }
}

/// Waits for a figure.
#[track_caller]
fn await_figure(cluster: &Cluster, name: &str, want: f64) {
    let found = || value(&metrics(cluster), name);
    await_that(&format!("{name} is {want}, not {:?}", found()), || found() == Some(want));
}

#[test]
fn the_figures_say_what_there_is() {
    let cluster = Cluster::new(2);
    let mut etcd = cluster.etcd(V4);
    let daemons = cluster.daemons(&options(&etcd));
    cluster.await_routes(0, &[(&daemons[1], 1)]);
    for (name, want) in [
        ("ironbridged_ready", 1.0),
        ("ironbridged_leases", 2.0),
        ("ironbridged_peers", 1.0),
        ("ironbridged_subnets{family=\"ipv4\"}", 199.0),
        ("ironbridged_subnets_free{family=\"ipv4\"}", 197.0),
        ("ironbridged_objects_desired{kind=\"route\"}", 1.0),
        ("ironbridged_objects_missing{kind=\"route\"}", 0.0),
        ("ironbridged_objects_desired{kind=\"rule\"}", 8.0),
        ("ironbridged_store_up", 1.0),
        ("ironbridged_store_stale_seconds", 0.0),
        ("ironbridged_lease_held", 1.0),
    ] {
        await_figure(&cluster, name, want);
    }
    let expiry = value(&metrics(&cluster), "ironbridged_lease_expiry_timestamp_seconds").unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((expiry - now - 86400.0).abs() < 120.0, "{expiry} at {now}");
    etcd.kill();
    eventually("the outage is seen", HEARD, || {
        (value(&metrics(&cluster), "ironbridged_store_up") == Some(0.0)).then_some(())
    });
    assert!(value(&metrics(&cluster), "ironbridged_store_stale_seconds").unwrap() > 0.0);
    assert_eq!(value(&metrics(&cluster), "ironbridged_ready"), Some(1.0));
}

#[test]
fn what_somebody_removed_is_a_repair_and_what_a_new_lease_asks_for_is_none() {
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(V4);
    let daemons = cluster.daemons(&options(&etcd));
    cluster.await_routes(0, &[(&daemons[1], 1)]);
    let (routes, rules) =
        ("ironbridged_repairs_total{kind=\"route\"}", "ironbridged_repairs_total{kind=\"rule\"}");
    await_figure(&cluster, routes, 0.0);
    await_figure(&cluster, rules, 0.0);
    cluster.node(0).run("ip route flush proto 73");
    await_figure(&cluster, routes, 1.0);
    cluster.node(0).run("nft flush ruleset");
    await_figure(&cluster, rules, 8.0);
    let peer = r#"{"PublicIP":"192.168.50.77","BackendType":"host-gw"}"#;
    etcd.put(&format!("{}10.244.250.0-24", leases_prefix()), peer);
    await_figure(&cluster, "ironbridged_objects_desired{kind=\"route\"}", 2.0);
    await_figure(&cluster, routes, 1.0);
    etcd.put(&format!("{}junk", leases_prefix()), "junk");
    await_figure(&cluster, "ironbridged_junk_keys", 1.0);
    etcd.ctl(&["del", &lease_key(&daemons[0])]);
    await_figure(&cluster, "ironbridged_renewals_total{outcome=\"put_back\"}", 1.0);
}

#[test]
fn the_entries_of_a_tunnel_are_counted_by_kind_and_so_are_their_repairs() {
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(&V4.replace("host-gw", "vxlan"));
    let daemons = cluster.daemons(&options(&etcd));
    let figure = |name: &str, kind: &str| format!("ironbridged_{name}{{kind=\"{kind}\"}}");
    for kind in ["route", "neighbour", "forwarding"] {
        await_figure(&cluster, &figure("objects_desired", kind), 1.0);
        await_figure(&cluster, &figure("objects_missing", kind), 0.0);
        await_figure(&cluster, &figure("repairs_total", kind), 0.0);
    }
    await_figure(&cluster, &figure("objects_desired", "peer"), 0.0);
    let node = cluster.node(0);
    node.run("ip neigh flush dev flannel.1 nud permanent");
    await_figure(&cluster, &figure("repairs_total", "neighbour"), 1.0);
    let entry = node.run("bridge fdb show dev flannel.1 self");
    let mac = entry.lines().find(|line| line.contains("dst")).unwrap().split(' ').next().unwrap();
    node.run(&format!("bridge fdb del {mac} dev flannel.1 self"));
    await_figure(&cluster, &figure("repairs_total", "forwarding"), 1.0);
    await_figure(&cluster, &figure("repairs_total", "route"), 0.0);
    let peer = r#"{"PublicIP":"192.168.50.77","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:77"}}"#;
    etcd.put(&format!("{}10.244.250.0-24", leases_prefix()), peer);
    for kind in ["route", "neighbour", "forwarding"] {
        await_figure(&cluster, &figure("objects_desired", kind), 2.0);
        await_figure(&cluster, &figure("repairs_total", kind), f64::from(kind != "route"));
    }
    assert!(!daemons[0].log().contains("refused"), "{}", daemons[0].log());
}

/// A supervisor's ear under an abstract name; it hears for so long.
fn supervisor(limit: Duration) -> (UnixDatagram, String) {
    let name = format!("ironbridge-test-{}-{:?}", std::process::id(), std::thread::current().id());
    let name = name.replace(['(', ')'], "");
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let socket = UnixDatagram::bind_addr(&address).unwrap();
    socket.set_read_timeout(Some(limit)).unwrap();
    (socket, format!("@{name}"))
}

fn hears(socket: &UnixDatagram, text: &str) -> String {
    let mut heard = Vec::new();
    loop {
        let mut message = [0; 4096];
        let length = socket.recv(&mut message).unwrap_or_else(|e| panic!("no {text:?} in {heard:?}: {e}"));
        let message = String::from_utf8(message[..length].to_vec()).unwrap();
        if message.contains(text) {
            return message;
        }
        heard.push(message);
    }
}

#[test]
fn a_supervisor_hears_of_waiting_readiness_life_and_the_end_at_an_abstract_name() {
    let cluster = Cluster::new(1);
    // An abstract name belongs to a network namespace: the daemon's.
    let (socket, name) = cluster.node(0).inside(|| supervisor(HEARD));
    let etcd = netns_fixtures::Etcd::start(cluster.underlay.hub(), cluster.underlay.hub_ip());
    let mut with = options(&etcd);
    with.environment = [("NOTIFY_SOCKET", name.as_str()), ("WATCHDOG_USEC", "600000")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .to_vec();
    let mut daemon = Daemon::start(cluster.node(0), with);
    let waiting = hears(&socket, "waiting for the network configuration");
    assert!(waiting.starts_with("STATUS=not ready: ") && !waiting.contains("READY"), "{waiting}");
    etcd.put(&tests::cluster::config_key(), V4);
    let ready = hears(&socket, "READY=1");
    assert!(ready.contains("\nSTATUS=ready: 10.244."), "{ready}");
    assert!(daemon.subnet_env("FLANNEL_SUBNET").is_some());
    for _ in 0..3 {
        hears(&socket, "WATCHDOG=1");
    }
    assert_eq!(daemon.terminate().code(), Some(0));
    hears(&socket, "STOPPING=1");
}

#[test]
fn a_daemon_that_is_stopped_in_its_tracks_gives_no_sign_of_life() {
    let cluster = Cluster::new(1);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(HEARD)).unwrap();
    let etcd = cluster.etcd(V4);
    let mut with = options(&etcd);
    with.environment = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "300000")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .to_vec();
    let mut daemon = Daemon::ready(cluster.node(0), with);
    hears(&socket, "WATCHDOG=1");
    // Only the settling thread is frozen: everything else goes on, and that is not enough.
    let pid = daemon.running().id();
    let tracer = freeze_settling_thread(cluster.node(0), pid, folder.path());
    while socket.set_read_timeout(Some(Duration::from_secs(1))).is_ok() && socket.recv(&mut [0; 4096]).is_ok()
    {
    }
    assert_eq!(health(cluster.node(0), "/healthz").unwrap().0, 200, "the rest is alive");
    drop(tracer);
    socket.set_read_timeout(Some(HEARD)).unwrap();
    hears(&socket, "WATCHDOG=1");
}

/// Holds the thread named `settle` in the kernel: its next read of the netlink socket takes a minute. Ends with the value.
fn freeze_settling_thread(node: &netns_fixtures::Node, pid: u32, folder: &Path) -> netns_fixtures::Process {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().map(|task| task.unwrap().path());
    let is_settle = |task: &PathBuf| std::fs::read_to_string(task.join("comm")).unwrap().trim() == "settle";
    let task = tasks.into_iter().find(is_settle).expect("a thread named settle");
    let id = task.file_name().unwrap().to_str().unwrap().to_owned();
    let mut command = Command::new("strace");
    command.args(["-p", &id, "-e", "trace=futex,sendto,recvmsg,recvfrom", "-e"]);
    command.arg("inject=futex,sendto,recvmsg,recvfrom:delay_exit=60000000");
    let log = folder.join("strace");
    let process = node.start(command, &log);
    eventually("strace holds the thread", HEARD, || {
        std::fs::read_to_string(&log).unwrap_or_default().contains("attached").then_some(())
    });
    process
}

/// A tool that `.ci/prepare` lays beside cnitool.
fn promtool() -> PathBuf {
    let beside = std::env::var_os("IRONBRIDGE_CNITOOL").expect("the tests are run by ./test");
    Path::new(&beside).with_file_name("promtool")
}

#[test]
fn promtool_accepts_the_alerts_and_the_metrics() {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/prometheus/ironbridged.rules.yml");
    let checked = Command::new(promtool()).arg("check").arg("rules").arg(rules).output().unwrap();
    let told = String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success() && told.contains("12 rules found"), "{told}");
}

#[test]
fn systemd_accepts_the_unit_and_calls_it_well_confined() {
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("ironbridged.service");
    std::fs::write(&unit, UNIT.replace("/usr/local/bin/ironbridged", Bins::daemon().to_str().unwrap()))
        .unwrap();
    let analyze = |words: &[&str]| {
        let output = Command::new("systemd-analyze").args(words).arg(&unit).output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{words:?}: {out}{err}");
        format!("{out}{err}")
    };
    let told = analyze(&["verify", "--man=no"]);
    assert!(!told.contains("ironbridged.service:"), "{told}");
    analyze(&["security", "--offline=true", "--threshold=25"]);
}

/// `linux/capability.h`.
const CAPABILITIES: [(&str, u32); 2] = [("CAP_NET_ADMIN", 12), ("CAP_NET_RAW", 13)];

#[test]
fn the_capabilities_of_the_unit_are_enough() {
    let listed = UNIT.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet=")).unwrap();
    let number = |name: &str| CAPABILITIES.iter().find(|(known, _)| *known == name).expect("a known one").1;
    let mask = listed.split(' ').fold(0_u64, |mask, name| mask | 1 << number(name));
    let set = listed.to_lowercase().replace("cap_", "+").replace(' ', ",");
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(V4);
    let peer = Daemon::ready(cluster.node(1), options(&etcd));
    let folder = tempfile::tempdir().unwrap();
    cluster.node(0).set_sysctl("net/ipv4/ip_forward", "0");
    let mut command = Command::new("setpriv");
    command.args([format!("--bounding-set=-all,{set}"), format!("--inh-caps=-all,{set}")]);
    command.arg("--no-new-privs").arg(Bins::daemon()).args(options(&etcd).flags);
    command.arg(format!("--subnet-file={}", folder.path().join("subnet.env").display()));
    let process = cluster.node(0).start(command, &folder.path().join("log"));
    cluster.await_routes(0, &[(&peer, 1)]);
    await_that("the rules are there", || cluster.node(0).succeeds("nft list table inet ironbridged"));
    assert_eq!(cluster.node(0).sysctl("net/ipv4/ip_forward").as_deref(), Some("1"));
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    assert!(status.contains(&format!("CapEff:\t{mask:016x}")), "{status}");
    assert!(!process.log().contains("WARN"), "{}", process.log());
}

#[test]
fn two_daemons_never_share_a_status_socket() {
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(V4);
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("status.sock");
    let with: DaemonOptions = options(&etcd).flag(&format!("--status-socket={}", socket.display()));
    let _first = Daemon::ready(cluster.node(0), with.clone());
    let second = Daemon::ready(cluster.node(1), with);
    second.await_log("another daemon answers at");
}
