//! A cluster of three etcd members that lose a leader or one another, hostile keys, and a rolling change from flannel's
//! leases to ours and back: under traffic, and no packet is lost.

use netns_fixtures::{Daemon, DaemonOptions, Etcd, Node, Pinger, Space, assert_ping, eventually};
use tests::cluster::{
    Attached, Cluster, HEARD, V4, await_that, config_key, lease_key, leases_prefix, options, put_all, readyz,
    routes, subnet,
};

const PEER: &str = r#"{"PublicIP":"192.168.50.77","PublicIPv6":null,"BackendType":"host-gw"}"#;

/// Three members on the last three nodes of a cluster.
struct Quorum<'w> {
    members: Vec<Etcd<'w>>,
}

impl<'w> Quorum<'w> {
    fn start(cluster: &'w Cluster, first: usize) -> Self {
        let address = |n: usize| cluster.underlay.ipv4(first + n).to_string();
        let all: Vec<String> = (0..3).map(|n| format!("m{n}=http://{}:2380", address(n))).collect();
        let all = all.join(",");
        let start = |n: usize| {
            let peer = format!("http://{}:2380", address(n));
            let flags = [
                format!("--name=m{n}"),
                format!("--listen-peer-urls={peer}"),
                format!("--initial-advertise-peer-urls={peer}"),
                format!("--initial-cluster={all}"),
            ];
            let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
            Etcd::start_with(cluster.node(first + n), &address(n), &flags)
        };
        // A member answers only when the others are there.
        let members = std::thread::scope(|scope| {
            let starting: Vec<_> = (0..3).map(|n| scope.spawn(move || start(n))).collect();
            starting.into_iter().map(|member| member.join().unwrap()).collect()
        });
        Self { members }
    }

    fn options(&self) -> DaemonOptions {
        let endpoints: Vec<String> = self.members.iter().map(Etcd::endpoint).collect();
        DaemonOptions::etcd(&endpoints.join(",")).flag("--ip-masq")
    }

    /// Which member leads.
    fn leader(&self) -> usize {
        let leads = |member: &Etcd| {
            let told = member.ctl(&["endpoint", "status", "-w", "json"]);
            let status: serde_json::Value = serde_json::from_str(&told).unwrap();
            let status = &status[0]["Status"];
            status["leader"] == status["header"]["member_id"]
        };
        self.members.iter().position(leads).expect("somebody leads")
    }
}

/// Two nodes whose pods ping, and the routes that they have.
struct Talk<'w> {
    daemons: Vec<Daemon<'w>>,
    pods: Vec<Attached>,
}

impl<'w> Talk<'w> {
    fn start(cluster: &'w Cluster, options: &DaemonOptions) -> Self {
        let mut daemons: Vec<_> = (0..2).map(|n| Daemon::start(cluster.node(n), options.clone())).collect();
        daemons.iter_mut().for_each(Daemon::await_ready);
        cluster.await_routes(0, &[(&daemons[1], 1)]);
        cluster.await_routes(1, &[(&daemons[0], 0)]);
        let pods = (0..2).map(|n| cluster.attach(n, &daemons[n], &format!("pod{n}"))).collect();
        Self { daemons, pods }
    }

    fn pinger(&self) -> Pinger {
        Pinger::start(&self.pods[0].pod, self.pods[1].ip())
    }

    #[track_caller]
    fn assert_unharmed(&self, what: &str, pinger: Pinger) {
        pinger.await_answers(10);
        let loss = pinger.stop();
        eprintln!("{what}: {} of {} echoes lost", loss.lost, loss.sent);
        assert_eq!(loss.lost, 0, "{what}: {loss:?}; {}", self.daemons[0].log());
    }
}

/// Both nodes hear of a lease that comes and goes.
#[track_caller]
fn assert_heard(cluster: &Cluster, through: &Etcd, subnet: &str) {
    let (key, route) = (format!("{}{subnet}-24", leases_prefix()), format!("{subnet}/24"));
    let has = |n: usize| routes(cluster.node(n)).contains_key(&route);
    through.put(&key, PEER);
    eventually(&format!("{route} everywhere"), HEARD, || (has(0) && has(1)).then_some(()));
    through.ctl(&["del", &key]);
    eventually(&format!("{route} nowhere"), HEARD, || (!has(0) && !has(1)).then_some(()));
}

#[test]
fn an_etcd_cluster_that_loses_its_leader_or_a_member_costs_no_packet() {
    let cluster = Cluster::new(5);
    let mut quorum = Quorum::start(&cluster, 2);
    quorum.members[0].put(&config_key(), V4);
    let talk = Talk::start(&cluster, &quorum.options());
    let pinger = talk.pinger();
    let leader = quorum.leader();
    quorum.members[leader].kill();
    let other = (leader + 1) % 3;
    eventually("another leader", HEARD, || {
        let survivors = quorum.members[other].ctl(&["get", &config_key()]);
        survivors.contains("Network").then_some(())
    });
    assert_heard(&cluster, &quorum.members[other], "10.244.250.0");
    quorum.members[leader].restart();
    talk.assert_unharmed("a leader killed", pinger);

    // Cut off from the others and from nobody else: the daemons' endpoint answers, and knows nothing new.
    let pinger = talk.pinger();
    for n in 0..3 {
        let node = cluster.node(2 + n);
        node.run("nft add table inet cut");
        node.run("nft add chain inet cut in { type filter hook input priority 0; }");
    }
    let cut = |from: &Node| from.run("nft add rule inet cut in tcp dport 2380 drop");
    let heal = |from: &Node| from.run("nft flush chain inet cut in");
    let lonely = cluster.node(2);
    cut(lonely);
    lonely.run("nft add rule inet cut in tcp sport 2380 drop");
    let majority = &quorum.members[1];
    eventually("the majority goes on", HEARD, || majority.get(&config_key()).map(drop));
    assert_heard(&cluster, majority, "10.244.251.0");
    heal(lonely);
    assert_heard(&cluster, &quorum.members[2], "10.244.252.0");
    talk.assert_unharmed("a member cut off", pinger);
}

/// Names and values of keys that a stranger with write access may leave; only the last one can be routed.
fn hostile() -> Vec<(String, String)> {
    let deep = format!(
        r#"{{"PublicIP":"192.168.50.9","BackendData":{}{}}}"#,
        "[".repeat(50_000),
        "]".repeat(50_000)
    );
    let long = format!(r#"{{"PublicIP":"192.168.50.9","BackendType":"{}"}}"#, "x".repeat(60_000));
    let many = format!(r#"{{{}"PublicIP":"192.168.50.9"}}"#, r#""PublicIP":"0.0.0.0","#.repeat(4_000));
    let forged = r#"{"PublicIP":"192.168.50.9","BackendType":"host-gw","Node":"\u001b[2Jroot\nWARN forged"}"#;
    let honest = r#"{"PublicIP":"192.168.50.9","BackendType":"host-gw","Node":"an-honest.one/1a"}"#;
    [
        ("10.244.211.0-24", deep.as_str()),
        ("10.244.212.0-24", long.as_str()),
        ("10.244.213.0-24", many.as_str()),
        ("10.244.214.0-24", forged),
        ("10.244.215.0-24", "\u{1b}[31m"),
        ("\u{1b}[2J\nforged line", PEER),
        ("10.244.0.0-16", PEER),
        ("0.0.0.0-1", PEER),
        ("10.244.216.0-24&::-0", PEER),
        (&"9".repeat(20_000), PEER),
        ("10.244.217.0-24", honest),
    ]
    .map(|(name, value)| (format!("{}{name}", leases_prefix()), value.to_owned()))
    .to_vec()
}

#[test]
fn huge_and_hostile_keys_and_values_harm_nobody() {
    let cluster = Cluster::new(2);
    let hub = cluster.underlay.hub();
    let etcd = Etcd::start_with(hub, cluster.underlay.hub_ip(), &["--max-txn-ops=10000"]);
    etcd.put(&config_key(), V4);
    let talk = Talk::start(&cluster, &options(&etcd));
    let pinger = talk.pinger();
    for (key, value) in hostile() {
        etcd.put(&key, &value);
    }
    await_that("the readable one is routed", || routes(cluster.node(0)).contains_key("10.244.217.0/24"));
    let told = readyz(cluster.node(0)).1;
    assert!(told["problems"].as_array().unwrap().len() >= 8, "{told}");
    assert!(!routes(cluster.node(0)).keys().any(|to| to.ends_with("/16") || to.ends_with("/1")));
    let logged = talk.daemons[0].log();
    assert!(!logged.contains('\u{1b}'), "an escape sequence reaches a terminal");
    assert!(!logged.lines().any(|line| line.starts_with("forged") || line.starts_with("WARN forged")));
    assert!(logged.lines().all(|line| line.len() < 2_000), "{:?}", logged.lines().map(str::len).max());
    let junk: Vec<_> = (0..2_000).map(|n| (format!("{}junk{n}", leases_prefix()), "x".to_owned())).collect();
    put_all(hub, &junk);
    await_that("two thousand junk keys are counted", || {
        readyz(cluster.node(0)).1["problems"].to_string().contains("more")
    });
    etcd.ctl(&["del", "--prefix", &format!("{}junk", leases_prefix())]);
    talk.assert_unharmed("hostile keys", pinger);
    assert_ping(&talk.pods[1].pod, talk.pods[0].ip());
}

/// flanneld's renewal: its own bytes, without our member, over whatever is there, with an etcd lease of its own.
fn flannel_renews(etcd: &Etcd, key: &str, address: &str) {
    let granted = etcd.ctl(&["lease", "grant", "86400"]);
    let id = granted.split(' ').nth(1).unwrap();
    let value = format!(r#"{{"PublicIP":"{address}","PublicIPv6":null,"BackendType":"host-gw"}}"#);
    etcd.ctl(&["put", &format!("--lease={id}"), "--", key, &value]);
}

/// Three nodes as flannel leaves them and as ours does.
struct Rolling<'w> {
    cluster: &'w Cluster,
    etcd: &'w Etcd<'w>,
    keys: Vec<String>,
    subnets: Vec<String>,
}

impl Rolling<'_> {
    fn address(&self, n: usize) -> String {
        self.cluster.underlay.ipv4(n).to_string()
    }

    fn others(n: usize) -> impl Iterator<Item = usize> {
        (0..3).filter(move |other| *other != n)
    }

    /// flanneld's lease and its routes, which carry protocol boot; no daemon of ours.
    fn to_flannel(&self, n: usize, daemon: &mut Daemon) {
        daemon.terminate();
        for other in Self::others(n) {
            let line =
                format!("ip route replace {} via {} dev eth0", self.subnets[other], self.address(other));
            self.cluster.node(n).run(&line);
        }
        flannel_renews(self.etcd, &self.keys[n], &self.address(n));
    }

    /// Ours, with flannel's writing beside it: its routes become ours in place.
    fn to_ours(&self, n: usize, daemons: &mut [Daemon]) {
        daemons[n].restart();
        daemons[n].await_ready();
        let peers: Vec<_> = Self::others(n).map(|other| (&daemons[other], other)).collect();
        self.cluster.await_routes(n, &peers);
        for other in Self::others(n) {
            flannel_renews(self.etcd, &self.keys[other], &self.address(other));
        }
    }
}

#[test]
fn a_rolling_change_from_flannels_leases_to_ours_and_back_costs_no_packet() {
    let cluster = Cluster::new(3);
    let etcd = cluster.etcd(V4);
    // Each node once had ours, for the pods; then all are flannel's.
    let mut daemons = cluster.daemons(&options(&etcd));
    let pods: Vec<_> = (0..3).map(|n| cluster.attach(n, &daemons[n], &format!("pod{n}"))).collect();
    let keys: Vec<String> = daemons.iter().map(lease_key).collect();
    let subnets = daemons.iter().map(|daemon| subnet(daemon, "FLANNEL_SUBNET").unwrap()).collect();
    let rolling = Rolling { cluster: &cluster, etcd: &etcd, keys, subnets };
    let pingers: Vec<Pinger> = (0..3).map(|n| Pinger::start(&pods[n].pod, pods[(n + 1) % 3].ip())).collect();
    for (n, daemon) in daemons.iter_mut().enumerate() {
        rolling.to_flannel(n, daemon);
        assert_ping(&pods[n].pod, pods[(n + 2) % 3].ip());
    }
    assert!((0..3).all(|n| routes(cluster.node(n)).is_empty()), "nothing carries our mark");
    for n in 0..3 {
        rolling.to_ours(n, &mut daemons);
    }
    assert_eq!(etcd.keys(&leases_prefix()).len(), 3);
    assert_eq!(daemons.iter().map(lease_key).collect::<Vec<_>>(), rolling.keys, "nobody's subnet changed");
    for (n, daemon) in daemons.iter_mut().enumerate() {
        rolling.to_flannel(n, daemon);
    }
    for (n, pinger) in pingers.into_iter().enumerate() {
        pinger.await_answers(10);
        let loss = pinger.stop();
        eprintln!("rolling change, node {n}: {} of {} echoes lost", loss.lost, loss.sent);
        assert_eq!(loss.lost, 0, "node {n}: {loss:?}");
    }
}
