//! One daemon's life from outside: killed at any moment, ended, started by a unit file of flanneld's, and its files.

use std::collections::BTreeSet;
use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use netns_fixtures::{Bins, Daemon, DaemonOptions, Etcd, Pinger, Space, eventually, within};
use tests::cluster::{
    Cluster, DUAL, HEARD, V4, await_that, config_key, lease_key, leases_prefix, options, peers, put_all,
    readyz, routes,
};

/// A number below `n`.
fn random_below(n: u64) -> u64 {
    RandomState::new().build_hasher().finish() % n
}

fn pause(time: Duration) {
    within(time, || None::<()>);
}

fn etcd_leases(etcd: &Etcd) -> usize {
    etcd.ctl(&["lease", "list"]).lines().filter(|line| line.len() >= 15 && !line.contains("found")).count()
}

#[test]
fn a_daemon_killed_at_any_moment_of_its_start_keeps_its_subnet_and_leaves_no_stale_state() {
    const ROUNDS: usize = 20;
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(V4);
    let peer = Daemon::ready(cluster.node(1), options(&etcd));
    let mut daemon = Daemon::start(cluster.node(0), options(&etcd));
    let mut seen = BTreeSet::new();
    for round in 0..ROUNDS {
        // The whole way from exec to settled takes some 50 ms.
        let after = Duration::from_micros(random_below(80_000));
        pause(after);
        daemon.kill();
        let keys: BTreeSet<String> = etcd.keys(&leases_prefix()).into_iter().collect();
        seen.extend(keys);
        assert!(seen.len() <= 2, "round {round}, killed after {after:?}: the subnet changed: {seen:?}");
        if let Some(text) =
            fs::read_to_string(daemon.subnet_file()).ok().filter(|text| !text.contains("FLANNEL_IPMASQ="))
        {
            panic!("round {round}: a torn subnet.env: {text:?}");
        }
        daemon.restart();
    }
    daemon.await_ready();
    assert_eq!(seen, [lease_key(&daemon), lease_key(&peer)].into());
    cluster.await_routes(0, &[(&peer, 1)]);
    cluster.await_routes(1, &[(&daemon, 0)]);
    assert_eq!(cluster.node(0).run("nft list table inet ironbridged").matches("chain ").count(), 2);
    let folder = daemon.subnet_file().parent().unwrap().to_owned();
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|f| f.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["ironbridged.sock", "log", "subnet.env"], "nothing else is left beside subnet.env");
    // A grant whose write never came is bounded by the kills; it ends by itself.
    eprintln!("{} etcd leases for 2 keys after {ROUNDS} kills", etcd_leases(&etcd));
}

#[test]
fn a_daemon_killed_while_it_settles_a_crowd_is_mended_by_the_next_start() {
    let cluster = Cluster::new(1);
    let etcd = cluster.large_etcd();
    let mut daemon = Daemon::ready(cluster.node(0), options(&etcd));
    let crowd = peers(600);
    let subnet = daemon.subnet_env("FLANNEL_SUBNET");
    for round in 0..6 {
        put_all(cluster.underlay.hub(), &crowd);
        pause(Duration::from_micros(random_below(60_000)));
        daemon.kill();
        daemon.restart();
        pause(Duration::from_micros(random_below(120_000)));
        daemon.kill();
        etcd.delete_prefix(&format!("{}10.2", leases_prefix()));
        daemon.restart();
        daemon.await_ready();
        await_that(&format!("round {round}: no route is left"), || routes(cluster.node(0)).is_empty());
        await_that("no nexthop object is left", || cluster.node(0).run("ip nexthop show").is_empty());
    }
    assert_eq!(daemon.subnet_env("FLANNEL_SUBNET"), subnet);
}

#[test]
fn ends_and_starts_cost_no_packet_and_issue_2554_nothing_stale_stays() {
    let cluster = Cluster::new(3);
    let etcd = cluster.etcd(V4);
    let mut daemons = cluster.daemons(&options(&etcd));
    let pods = [0, 1].map(|n| cluster.attach(n, &daemons[n], &format!("pod{n}")));
    let before = cluster.await_routes(0, &[(&daemons[1], 1), (&daemons[2], 2)]);
    let own = fs::read(daemons[0].subnet_file()).unwrap();
    let pinger = Pinger::start(&pods[0].pod, pods[1].ip());
    assert_eq!(daemons[0].terminate().code(), Some(0), "SIGTERM is an orderly end");
    assert_eq!(cluster.routes(0), before, "SIGTERM leaves the data path");
    daemons[0].restart();
    daemons[0].await_ready();
    daemons[0].interrupt();
    assert_eq!(daemons[0].await_end().code(), Some(0), "so is SIGINT");
    // While it is down one node leaves and one stays.
    daemons[2].terminate();
    etcd.ctl(&["del", &lease_key(&daemons[2])]);
    daemons[0].restart();
    daemons[0].await_ready();
    cluster.await_routes(0, &[(&daemons[1], 1)]);
    assert_eq!(fs::read(daemons[0].subnet_file()).unwrap(), own);
    pinger.await_answers(10);
    let loss = pinger.stop();
    assert_eq!(loss.lost, 0, "{loss:?}");
}

#[test]
fn subnet_env_is_flannels_to_the_byte_readable_for_all_and_never_torn() {
    let cluster = Cluster::new(1);
    let etcd = cluster.etcd(DUAL);
    etcd.put(
        &format!("{}10.244.7.0-24&fd44:0:0:7::-64", leases_prefix()),
        r#"{"PublicIP":"192.168.50.1","PublicIPv6":"fd50::1"}"#,
    );
    cluster.node(0).run("ip link set eth0 mtu 1400");
    let mut daemon = Daemon::ready(cluster.node(0), options(&etcd));
    let want = "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.7.1/24\nFLANNEL_IPV6_NETWORK=fd44::/48\n\
                FLANNEL_IPV6_SUBNET=fd44:0:0:7::1/64\nFLANNEL_MTU=1400\nFLANNEL_IPMASQ=true\n";
    let path = daemon.subnet_file();
    assert_eq!(fs::read_to_string(&path).unwrap(), want);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o644);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut reads = 0;
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(fs::read_to_string(&path).unwrap(), want, "a plugin may read at any moment");
                reads += 1;
            }
            reads
        });
        for _ in 0..3 {
            daemon.kill();
            daemon.restart();
            daemon.await_ready();
        }
        stop.store(true, Ordering::Relaxed);
        assert!(reader.join().unwrap() > 100);
    });
}

#[test]
fn weakness_34_subnet_env_appears_only_when_all_peers_are_programmed() {
    let cluster = Cluster::new(1);
    let etcd = cluster.large_etcd();
    put_all(cluster.underlay.hub(), &peers(1000));
    let node = cluster.node(0);
    let mut daemon = Daemon::start(node, options(&etcd));
    let path = daemon.subnet_file();
    let began = Instant::now();
    eventually("subnet.env", HEARD, || path.exists().then_some(()));
    let there = routes(node).len();
    eprintln!("1000 leases: ready after {:?}", began.elapsed());
    assert_eq!(there, 1000, "routes when subnet.env appears");
    daemon.await_ready();
    assert_eq!(readyz(node).1["routes"], 1000);
}

#[test]
fn at_five_thousand_leases_the_daemon_needs_twenty_megabytes_at_most() {
    // A debug build's text alone is 40 MB, and the part of it that runs is resident.
    if fs::metadata(Bins::daemon()).unwrap().len() > 20 << 20 {
        netns_fixtures::skip!("a debug build");
    }
    let cluster = Cluster::new(1);
    let etcd = cluster.large_etcd();
    put_all(cluster.underlay.hub(), &peers(5000));
    let node = cluster.node(0);
    let mut daemon = Daemon::ready(node, options(&etcd));
    assert_eq!(routes(node).len(), 5000);
    let (now, most) = daemon.resident();
    eprintln!("resident at 5,000 leases: {now} KiB, at most {most} KiB");
    // Something happens: another pass, another snapshot.
    etcd.delete_prefix(&format!("{}10.200.1.0", leases_prefix()));
    await_that("a peer's route goes", || routes(node).len() == 4999);
    let (later, most) = daemon.resident();
    eprintln!("after another pass: {later} KiB, at most {most} KiB");
    assert!(later <= 20 * 1024, "resident: {later} KiB");
}

#[test]
fn a_changed_network_is_taken_over_at_the_next_start_and_nothing_of_the_old_one_stays() {
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(DUAL);
    let mut daemons = cluster.daemons(&options(&etcd));
    cluster.await_routes(0, &[(&daemons[1], 1)]);
    let other = r#"{"Network":"10.99.0.0/16","SubnetLen":26,"Backend":{"Type":"host-gw"}}"#;
    daemons.iter_mut().for_each(Daemon::kill);
    etcd.put(&config_key(), other);
    daemons.iter_mut().for_each(Daemon::restart);
    daemons.iter_mut().for_each(Daemon::await_ready);
    for daemon in &daemons {
        eventually("the new subnet", HEARD, || {
            daemon.subnet_env("FLANNEL_SUBNET").filter(|s| s.starts_with("10.99."))
        });
        assert_eq!(daemon.subnet_env("FLANNEL_IPV6_SUBNET"), None);
    }
    let keys = etcd.keys(&leases_prefix());
    assert!(
        keys.len() == 2 && keys.iter().all(|key| key.contains("/10.99.") && key.ends_with("-26")),
        "{keys:?}"
    );
    for n in [0, 1] {
        await_that("the routes are those of the new network", || {
            let routes = cluster.routes(n);
            routes.len() == 1 && routes.keys().all(|to| to.starts_with("10.99."))
        });
        let rules = cluster.node(n).run("nft list table inet ironbridged");
        assert!(!rules.contains("10.244.") && rules.contains("10.99.0.0/16"), "{rules}");
    }
}

/// Runs the daemon to its end.
fn ended(arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let output =
        Command::new(Bins::daemon()).args(arguments).envs(environment.iter().copied()).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn weakness_34_a_wrong_flag_ends_with_a_status_that_a_supervisor_notices() {
    for wrong in
        ["--no-such-flag", "-ip-masq=perhaps", "-healthz-port=http", "-subnet-lease-renew-margin=0", "stray"]
    {
        let (code, told) = ended(&[wrong], &[]);
        assert_eq!(code, Some(2), "{wrong}: {told}");
        assert!(told.contains(wrong.trim_start_matches('-').split('=').next().unwrap()), "{wrong}: {told}");
    }
    let (code, told) = ended(&["-kube-subnet-mgr"], &[]);
    assert_eq!(code, Some(2));
    assert!(told.contains("kube-subnet-mgr"), "{told}");
    let (code, told) = ended(&[], &[("FLANNELD_HEALTHZ_PORT", "http")]);
    assert_eq!(code, Some(2));
    assert!(told.contains("FLANNELD_HEALTHZ_PORT"), "{told}");
    assert_eq!(ended(&["--help"], &[]).0, Some(0));
}

#[test]
fn a_unit_file_of_flanneld_starts_us() {
    let cluster = Cluster::new(2);
    let etcd = Etcd::start(cluster.underlay.hub(), cluster.underlay.hub_ip());
    etcd.put("/atomic.io/network/config", V4);
    // Fedora's flanneld.service: options in the environment, one dash, a value in the next word.
    let endpoints = format!("http://192.168.50.99:2379,{}", etcd.endpoint());
    let unit = DaemonOptions {
        flags: [
            "-iface",
            "192.168.50.1",
            "--ip-masq",
            "-v=2",
            "-iptables-resync",
            "30",
            "-kube-subnet-mgr=false",
        ]
        .map(str::to_owned)
        .to_vec(),
        environment: [
            ("FLANNELD_ETCD_ENDPOINTS", endpoints.as_str()),
            ("FLANNELD_ETCD_PREFIX", "/atomic.io/network"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec(),
    };
    let daemon = Daemon::ready(cluster.node(0), unit);
    assert_eq!(daemon.subnet_env("FLANNEL_IPMASQ").as_deref(), Some("true"));
    assert_eq!(etcd.keys("/atomic.io/network/subnets/").len(), 1);
    // Everything by the environment, the uplink guessed from the default route.
    let environment = DaemonOptions {
        flags: Vec::new(),
        environment: [
            ("FLANNELD_ETCD_ENDPOINTS", endpoints.as_str()),
            ("FLANNELD_ETCD_PREFIX", "/atomic.io/network"),
            ("FLANNELD_IP_MASQ", "true"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec(),
    };
    let second = Daemon::ready(cluster.node(1), environment);
    assert_eq!(second.subnet_env("FLANNEL_IPMASQ").as_deref(), Some("true"));
    cluster.await_routes(0, &[(&second, 1)]);
    cluster.await_routes(1, &[(&daemon, 0)]);
}

#[test]
fn weakness_12_the_password_is_in_no_log_line() {
    const PASSWORD: &str = "correct-horse-battery";
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(V4);
    for line in [
        &["role", "add", "flannel"][..],
        &["role", "grant-permission", "flannel", "--prefix=true", "readwrite", "/coreos.com/network"],
        &["user", "add", &format!("flannel:{PASSWORD}")],
        &["user", "grant-role", "flannel", "flannel"],
        &["user", "add", "root:root"],
        &["user", "grant-role", "root", "root"],
        &["auth", "enable"],
    ] {
        etcd.ctl(line);
    }
    let with = |password: &str| {
        let mut options = options(&etcd).flag("--etcd-username=flannel").flag("-v=10");
        options.environment = vec![
            ("FLANNELD_ETCD_PASSWORD".to_owned(), password.to_owned()),
            ("RUST_LOG".to_owned(), "trace".to_owned()),
        ];
        options
    };
    let daemon = Daemon::ready(cluster.node(0), with(PASSWORD));
    let wrong = Daemon::start(cluster.node(1), with("wrong-horse-battery"));
    wrong.await_log("the login is refused");
    for daemon in [&daemon, &wrong] {
        assert!(!daemon.log().contains("horse"), "{}", daemon.log());
        assert!(!daemon.log().contains("aG9yc2U"), "nor in base64");
    }
    assert!(!readyz(cluster.node(1)).1.to_string().contains("horse"));
    let options = ended(&["-etcd-password", PASSWORD, "--no-such-flag"], &[]);
    assert!(!options.1.contains("horse"), "{}", options.1);
    let _key = config_key();
}

#[test]
fn the_file_store_serves_three_nodes_of_one_machine_with_pods_that_talk() {
    let cluster = Cluster::new(3);
    let store = cluster.folder.path().join("store");
    fs::create_dir(&store).unwrap();
    fs::write(store.join("config"), V4).unwrap();
    let options = DaemonOptions::default()
        .flag(&format!("--store=file:{}", store.display()))
        .flag("--iface=eth0")
        .flag("--ip-masq");
    let mut daemons = cluster.daemons(&options);
    for (n, others) in [(0, [1, 2]), (1, [0, 2]), (2, [0, 1])] {
        cluster.await_routes(n, &others.map(|other| (&daemons[other], other)));
    }
    let pods: Vec<_> = (0..3).map(|n| cluster.attach(n, &daemons[n], &format!("pod{n}"))).collect();
    let pinger = Pinger::start(&pods[0].pod, pods[1].ip());
    netns_fixtures::assert_ping(&pods[2].pod, pods[0].ip());
    // A node leaves; another is killed and comes back.
    daemons[2].terminate();
    let lease = lease_key(&daemons[2]).rsplit('/').next().unwrap().to_owned();
    fs::remove_file(store.join("subnets").join(lease)).unwrap();
    cluster.await_routes(0, &[(&daemons[1], 1)]);
    daemons[1].kill();
    daemons[1].restart();
    daemons[1].await_ready();
    cluster.await_routes(1, &[(&daemons[0], 0)]);
    // The store's directory is unreadable for a while: nothing happens.
    let aside = cluster.folder.path().join("aside");
    fs::rename(&store, &aside).unwrap();
    pinger.await_answers(50);
    assert_eq!(cluster.routes(0).len(), 1);
    fs::rename(&aside, &store).unwrap();
    daemons[2].restart();
    daemons[2].await_ready();
    eventually("the third node is back", HEARD, || (cluster.routes(0).len() == 2).then_some(()));
    let loss = pinger.stop();
    assert_eq!(loss.lost, 0, "{loss:?}");
}
