//! The time of day is set, forward and back, by hours and days, while pods talk: nobody renews, nobody ends. All nodes and
//! their store have one clock, so the tests run where it is theirs alone.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use netns_fixtures::{Daemon, DaemonOptions, Etcd, Pinger, Space, eventually, needs, within};
use tests::cluster::{Cluster, HEARD, V4, health, leases_prefix, options};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
const PEER: &str = r#"{"PublicIP":"192.168.50.77","PublicIPv6":null,"BackendType":"host-gw"}"#;

/// The clock is one for both tests.
static CLOCK: Mutex<()> = Mutex::new(());

/// A store as an administrator sees it.
trait Shelf {
    fn put(&self, key: &str, value: &str);
    fn remove(&self, key: &str);
    /// Every lease's value, revision and end, by its key.
    fn leases(&self) -> BTreeMap<String, String>;
}

impl Shelf for Etcd<'_> {
    fn put(&self, key: &str, value: &str) {
        Etcd::put(self, &format!("{}{key}", leases_prefix()), value);
    }

    fn remove(&self, key: &str) {
        self.delete_prefix(&format!("{}{key}", leases_prefix()));
    }

    fn leases(&self) -> BTreeMap<String, String> {
        let text = self.ctl(&["get", "--prefix", &leases_prefix(), "-w", "json"]);
        let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
        let keys = answer["kvs"].as_array().cloned().unwrap_or_default();
        keys.iter().map(|kv| (kv["key"].to_string(), kv.to_string())).collect()
    }
}

/// The directory of the file store.
struct Directory(PathBuf);

impl Directory {
    fn of(&self, part: &str, key: &str) -> PathBuf {
        self.0.join(part).join(key)
    }
}

impl Shelf for Directory {
    fn put(&self, key: &str, value: &str) {
        fs::write(self.of("subnets", key), value).unwrap();
    }

    fn remove(&self, key: &str) {
        fs::remove_file(self.of("subnets", key)).unwrap();
    }

    fn leases(&self) -> BTreeMap<String, String> {
        let keys = fs::read_dir(self.0.join("subnets")).unwrap();
        let keys = keys.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        keys.map(|key| {
            let file = self.of("subnets", &key);
            let end = fs::read_to_string(self.of("expiry", &key)).unwrap_or_default();
            let written = fs::metadata(&file).unwrap().modified().unwrap();
            (key, format!("{} {written:?} {end}", fs::read_to_string(file).unwrap()))
        })
        .collect()
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

fn set_clock(by: i64) {
    let to = now().as_secs().checked_add_signed(by).unwrap();
    assert!(Command::new("date").arg(format!("--set=@{to}")).output().unwrap().status.success());
}

/// Each node hears of a change in its store.
#[track_caller]
fn a_peer_comes_and_goes(cluster: &Cluster, shelf: &impl Shelf, nodes: usize) {
    let is_routed = |n| cluster.routes(n).contains_key("10.244.251.0/24");
    shelf.put("10.244.251.0-24", PEER);
    eventually("a peer's route", HEARD, || (0..nodes).all(is_routed).then_some(()));
    shelf.remove("10.244.251.0-24");
    eventually("its end", HEARD, || (!(0..nodes).any(is_routed)).then_some(()));
}

/// Nobody renewed anything, and the lease ends in a day from now, whatever day that is.
#[track_caller]
fn assert_nobody_renewed(cluster: &Cluster, by: i64) {
    for n in 0..2 {
        let (_, text) = health(cluster.node(n), "/metrics").unwrap();
        let renewals: Vec<_> = text.lines().filter(|l| l.starts_with("ironbridged_renewals_total")).collect();
        assert!(
            renewals.len() == 5 && renewals.iter().all(|line| line.ends_with(" 0")),
            "{by}: {renewals:?}"
        );
        let end = text.lines().find_map(|l| l.strip_prefix("ironbridged_lease_expiry_timestamp_seconds "));
        let left = end.unwrap().parse::<f64>().unwrap() - now().as_secs_f64();
        assert!((left - 86_400.0).abs() < 1800.0, "{by}: the lease ends in {left} s");
    }
}

fn whatever_the_clock_is_set_to_nothing_happens(
    cluster: &Cluster,
    options: &DaemonOptions,
    shelf: &impl Shelf,
) {
    let _mine = CLOCK.lock().unwrap_or_else(PoisonError::into_inner);
    let mut daemons = cluster.daemons(options);
    let routes = [cluster.await_routes(0, &[(&daemons[1], 1)]), cluster.await_routes(1, &[(&daemons[0], 0)])];
    let pods = [0, 1].map(|n| cluster.attach(n, &daemons[n], &format!("pod{n}")));
    let pinger = Pinger::start(&pods[0].pod, pods[1].ip());
    let before = shelf.leases();
    for by in [2 * HOUR, 3 * DAY, -9 * DAY, -HOUR] {
        set_clock(by);
        a_peer_comes_and_goes(cluster, shelf, 2);
        assert_eq!(shelf.leases(), before, "{by}: no lease is written or ends");
        assert_nobody_renewed(cluster, by);
        pinger.await_answers(20);
    }
    // Nor does the lease of a node end that could not renew it: it finds it again.
    daemons[1].kill();
    set_clock(40 * DAY);
    a_peer_comes_and_goes(cluster, shelf, 1);
    assert_eq!(shelf.leases(), before, "the lease of a node without its daemon");
    daemons[1].restart();
    daemons[1].await_ready();
    pinger.await_answers(20);
    assert_eq!([cluster.routes(0), cluster.routes(1)], routes);
    let loss = pinger.stop();
    assert_eq!(loss.lost, 0, "{loss:?}");
}

#[test]
fn a_clock_that_jumps_by_hours_and_days_changes_nothing_with_etcd() {
    needs!(OwnClock);
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(V4);
    whatever_the_clock_is_set_to_nothing_happens(&cluster, &options(&etcd), &etcd);
}

#[test]
fn a_clock_that_jumps_by_hours_and_days_changes_nothing_with_a_directory() {
    needs!(OwnClock);
    let cluster = Cluster::new(2);
    let store = Directory(cluster.folder.path().join("store"));
    fs::create_dir(&store.0).unwrap();
    fs::write(store.0.join("config"), V4).unwrap();
    let options = DaemonOptions::default()
        .flag(&format!("--store=file:{}", store.0.display()))
        .flag("--iface=eth0")
        .flag("--ip-masq");
    whatever_the_clock_is_set_to_nothing_happens(&cluster, &options, &store);
}

#[test]
#[ignore = "sessions die after three minutes: run by hand in ./test-vm's machine"]
fn wireguard_nodes_whose_clocks_were_set_back_hear_each_other_again() {
    needs!(OwnClock);
    needs!(WireGuard);
    let _mine = CLOCK.lock().unwrap_or_else(PoisonError::into_inner);
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(&V4.replace("host-gw", "wireguard"));
    let start = |n: usize| {
        let mut own = options(&etcd);
        let file = cluster.folder.path().join(format!("key{n}")).display().to_string();
        own.environment.push(("WIREGUARD_KEY_FILE".to_owned(), file));
        Daemon::ready(cluster.node(n), own)
    };
    let daemons = [start(0), start(1)];
    let pods = [0, 1].map(|n| cluster.attach(n, &daemons[n], &format!("pod{n}")));
    let pingers = [(0, 1), (1, 0)].map(|(from, to)| Pinger::start(&pods[from].pod, pods[to].ip()));
    // Whoever hears nothing for 15 s shakes hands anew: each node takes a handshake of the other, and remembers when.
    for n in 0..2 {
        let node = cluster.node(n);
        node.run("nft add table inet deaf");
        node.run("nft add chain inet deaf input { type filter hook input priority 0 ; }");
        node.run("nft add rule inet deaf input udp dport 51820 drop");
        // Ten times as long where this runs.
        within(Duration::from_secs(3), || None::<()>);
        node.run("nft delete table inet deaf");
        for pinger in &pingers {
            pinger.await_answers(20);
        }
    }
    set_clock(-9 * DAY);
    for daemon in &daemons {
        daemon.await_log("the clock was set back");
    }
    for pinger in pingers {
        pinger.await_answers(50);
        let loss = pinger.stop();
        eprintln!("{} of {} lost, {:?} at a time", loss.lost, loss.sent, loss.longest);
    }
}
