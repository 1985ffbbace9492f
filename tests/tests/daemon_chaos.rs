//! What the daemon keeps is broken at random while pods talk, and it is killed at every moment: it mends itself.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use netns_fixtures::{Bins, Daemon, Etcd, Node, Pinger, Process, Space, assert_ping, eventually, within};
use tempfile::TempDir;
use tests::cluster::{
    Attached, Cluster, DUAL, HEARD, SOON, V4, await_that, lease_key, leases_prefix, options, routes, subnet,
};

/// The same injuries in the same order at each run: a failure can be seen again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(n).unwrap()).unwrap()
    }
}

/// What a node should have, whatever happens to it.
#[derive(Debug, PartialEq)]
struct Kept {
    routes: BTreeMap<String, String>,
    rules: String,
    forwarding: [Option<String>; 2],
    surplus: String,
}

fn kept(node: &Node) -> Kept {
    let ruleset = node.succeeds("nft list table inet ironbridged");
    let rules = if ruleset { node.run("nft list table inet ironbridged") } else { String::new() };
    Kept {
        routes: routes(node),
        rules,
        forwarding: ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"].map(|key| node.sysctl(key)),
        surplus: node.run("ip route show proto 73 metric 77"),
    }
}

/// One way to break each kind of object; `4` and `6` are the peer's subnets.
fn injuries(v4: &str, v6: &str, chain: &str) -> Vec<String> {
    [
        format!("ip route del {v4}"),
        format!("ip route del {v6}"),
        format!("ip route replace {v4} via 192.168.50.78 proto 73"),
        format!("ip route replace {v6} via fd50::78 proto 73"),
        format!("ip route add {v4} via 192.168.50.2 proto 73 metric 77"),
        "ip route flush proto 73".to_owned(),
        "ip -6 route flush proto 73".to_owned(),
        "nft flush ruleset".to_owned(),
        "nft delete table inet ironbridged".to_owned(),
        "nft flush table inet ironbridged".to_owned(),
        format!("nft insert rule inet ironbridged {chain} drop"),
        "sysctl -qw net.ipv4.ip_forward=0".to_owned(),
        "sysctl -qw net.ipv6.conf.all.forwarding=0".to_owned(),
        "ip link set eth0 down".to_owned(),
        "ip address flush dev eth0".to_owned(),
        "link".to_owned(),
    ]
    .to_vec()
}

/// Breaks one after the other what node 0 has while the pods of both nodes talk, each time until it `looks` as before.
fn break_at_random<T: PartialEq + std::fmt::Debug>(
    cluster: &Cluster,
    pods: &[Attached; 2],
    (injuries, looks): (&[String], impl Fn() -> T),
) {
    const ROUNDS: usize = 60;
    let (node, want) = (cluster.node(0), looks());
    let (mut dice, mut took) = (Dice(0x9e37_79b9_7f4a_7c15), BTreeMap::<String, Vec<u128>>::new());
    let pinger = Pinger::start(&pods[0].pod, pods[1].ip());
    for _ in 0..ROUNDS {
        let injury = &injuries[dice.below(injuries.len())];
        match injury.as_str() {
            "link" => cluster.underlay.recreate_uplink(0),
            line => drop(node.run(line)),
        }
        if injury.contains("eth0") {
            // What a network manager does next.
            cluster.underlay.link_up(0);
        }
        let time = await_that(&format!("mended after `{injury}`: {want:?}"), || looks() == want);
        took.entry(injury.clone()).or_default().push(time.as_millis());
    }
    for (injury, times) in &took {
        eprintln!("{injury:60} mended in {times:?} ms");
    }
    pinger.await_answers(10);
    let loss = pinger.stop();
    eprintln!("{ROUNDS} injuries: {} of {} echoes lost, longest {:?}", loss.lost, loss.sent, loss.longest);
    assert!(loss.longest < SOON, "{loss:?}");
    for address in &pods[1].addresses {
        assert_ping(&pods[0].pod, address);
    }
}

#[test]
fn whatever_is_broken_at_random_is_mended_while_pods_talk() {
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(DUAL);
    let daemons = cluster.daemons(&options(&etcd));
    cluster.await_routes(0, &[(&daemons[1], 1)]);
    let pods = [0, 1].map(|n| cluster.attach(n, &daemons[n], &format!("pod{n}")));
    let rules = kept(cluster.node(0)).rules;
    let chain = rules.split_whitespace().find(|word| word.starts_with("forward_")).unwrap();
    let [v4, v6] = ["FLANNEL_SUBNET", "FLANNEL_IPV6_SUBNET"].map(|key| subnet(&daemons[1], key).unwrap());
    break_at_random(&cluster, &pods, (&injuries(&v4, &v6, chain), || kept(cluster.node(0))));
}

/// Both tunnel devices, without their indices, which change, and all that is on them.
fn tunnels(node: &Node) -> [Vec<String>; 2] {
    ["flannel.1", "flannel-v6.1"].map(|device| {
        let shown = |line: &str| {
            // A device that is not there has nothing on it.
            let mut command = Command::new("sh");
            command.args(["-c", &line.replace("DEVICE", device)]);
            let ran = node.output(command);
            let mut lines: Vec<_> = String::from_utf8_lossy(&ran.stdout).lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        let link = shown("ip -o -d link show dev DEVICE").concat();
        let index = link.split(' ').next().unwrap_or_default().to_owned();
        let entries = [
            "bridge fdb show dev DEVICE self | grep dst",
            "ip neigh show dev DEVICE nud permanent",
            "ip -6 neigh show dev DEVICE nud permanent",
            "ip -o -4 address show dev DEVICE",
            "ip -o -6 address show dev DEVICE scope global",
        ];
        let all = std::iter::once(link).chain(entries.iter().flat_map(|line| shown(line)));
        all.map(|line| line.strip_prefix(&index).unwrap_or(&line).to_owned())
            .map(|line| line.split(": ").last().unwrap_or_default().to_owned())
            .collect()
    })
}

/// One way to break each thing that a tunnel device is or has; the peer's end is at `end` behind `mac`.
fn injuries_of_a_tunnel(device: &str, end: &str, mac: &str) -> Vec<String> {
    [
        "ip link delete DEVICE",
        "ip link set DEVICE down",
        "ip link set DEVICE mtu 1300",
        "ip link set DEVICE address 02:00:00:00:00:01",
        "ip address flush dev DEVICE scope global",
        "ip neigh flush dev DEVICE nud permanent",
        "ip neigh replace END lladdr 02:00:00:00:00:99 dev DEVICE nud permanent",
        "ip neigh del END dev DEVICE",
        "bridge fdb del MAC dev DEVICE self",
        "bridge fdb replace MAC dev DEVICE dst HOST self",
        "bridge fdb add 02:00:00:00:00:77 dev DEVICE dst HOST self",
        "ip route flush proto 73",
        "ip -6 route flush proto 73",
    ]
    .map(|line| line.replace("DEVICE", device).replace("END", end).replace("MAC", mac))
    .map(|line| line.replace("HOST", if end.contains(':') { "fd50::78" } else { "192.168.50.78" }))
    .to_vec()
}

#[test]
fn whatever_of_a_tunnel_is_broken_at_random_is_mended_while_pods_talk() {
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(&DUAL.replace("host-gw", "vxlan"));
    let daemons = cluster.daemons(&options(&etcd));
    let pods = [0, 1].map(|n| cluster.attach(n, &daemons[n], &format!("pod{n}")));
    let (node, peer) = (cluster.node(0), cluster.node(1));
    let injuries: Vec<String> = [("flannel.1", "FLANNEL_SUBNET"), ("flannel-v6.1", "FLANNEL_IPV6_SUBNET")]
        .into_iter()
        .flat_map(|(device, key)| {
            let shown = peer.run(&format!("ip -o link show dev {device}"));
            let mac = shown.split("link/ether ").nth(1).unwrap()[..17].to_owned();
            let theirs = subnet(&daemons[1], key).unwrap();
            injuries_of_a_tunnel(device, theirs.split('/').next().unwrap(), &mac)
        })
        .collect();
    await_that("both routes are there", || cluster.routes(0).len() == 2);
    break_at_random(&cluster, &pods, (&injuries, || (tunnels(node), kept(node))));
}

#[test]
fn news_that_the_kernel_could_not_deliver_are_made_up_for_by_a_look_at_everything() {
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(V4);
    let mut daemons = cluster.daemons(&options(&etcd));
    let want = cluster.await_routes(0, &[(&daemons[1], 1)]);
    let node = cluster.node(0);
    // It sleeps while its socket's buffer runs over, and the loss of its route is not among what fits.
    daemons[0].sleep();
    let folder = TempDir::new().unwrap();
    let mut lines = String::new();
    for n in 0..20_000 {
        writeln!(lines, "route add 10.99.{}.{}/32 dev lo", n / 256 % 256, n % 256).unwrap();
    }
    let file = folder.path().join("batch");
    std::fs::write(&file, lines).unwrap();
    node.run(&format!("ip -force -batch {}", file.display()));
    node.run(&format!("ip route del {}", want.keys().next().unwrap()));
    let drops = || {
        node.run("cat /proc/net/netlink")
            .lines()
            .any(|line| line.split_whitespace().nth(8).is_some_and(|drops| drops != "0" && drops != "Drops"))
    };
    assert!(drops(), "the flood did not fill the buffer");
    daemons[0].wake();
    // Well before the comparison that comes every 30 s anyway.
    await_that("the route is back", || cluster.routes(0) == want);
}

/// A node's daemon that is run under strace on another one's `subnet.env`.
struct Victim<'w> {
    node: &'w Node,
    flags: Vec<String>,
    file: PathBuf,
    folder: TempDir,
}

impl Victim<'_> {
    fn start(&self, more: &[&str]) -> Process {
        let mut command = Command::new("strace");
        command.args(["-f", "-qq"]).args(more).arg(Bins::daemon()).args(&self.flags);
        self.node.start(command, &self.folder.path().join("log"))
    }

    /// Everything is to be made anew.
    fn ruin(&self) {
        std::fs::remove_file(&self.file).ok();
        self.node.succeeds("ip route flush proto 73");
        self.node.succeeds("nft delete table inet ironbridged");
    }

    fn is_ready(&self) -> bool {
        self.file.exists() && !routes(self.node).is_empty()
    }

    /// One whole life, and where it can be struck.
    fn places(&self) -> Vec<(String, usize)> {
        self.ruin();
        let log = self.folder.path().join("calls");
        let mut life = self.start(&["-o", &log.display().to_string()]);
        eventually("a traced daemon is ready", HEARD, || self.is_ready().then_some(()));
        end(self.node, &mut life);
        places(&std::fs::read_to_string(&log).unwrap())
    }

    /// Whether it was struck before it was asked to end: the call may belong to the end, or to a thread that made fewer
    /// of them this time.
    fn strike(&self, (name, nth): &(String, usize)) -> bool {
        self.ruin();
        let inject = format!("inject={name}:signal=SIGKILL:when={nth}");
        let mut life = self.start(&["-o", "/dev/null", "-e", &format!("trace={name}"), "-e", &inject]);
        within(Duration::from_secs(3), || (!life.is_running() || self.is_ready()).then_some(()));
        let runs = life.is_running();
        if runs {
            end(self.node, &mut life);
        }
        !runs
    }
}

/// SIGTERM to the daemon itself, so that strace sees its end.
fn end(node: &Node, strace: &mut Process) {
    let id = strace.id();
    let child = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
    // It may have come to the place where it is killed meanwhile.
    node.succeeds(&format!("kill -TERM {child}"));
    strace.wait(HEARD);
}

/// The calls of a run by which something outside the process changes, each name with its count over all threads.
fn places(log: &str) -> Vec<(String, usize)> {
    let changing = ["sendto", "sendmsg", "write", "writev", "rename", "openat", "connect", "fsync"];
    let mut seen = BTreeMap::<(String, String), usize>::new();
    for line in log.lines() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let Some((name, _)) = rest.trim_start().split_once('(') else { continue };
        if changing.contains(&name) {
            *seen.entry((thread.to_owned(), name.to_owned())).or_default() += 1;
        }
    }
    let mut most = BTreeMap::<String, usize>::new();
    for ((_, name), count) in seen {
        let known = most.entry(name).or_default();
        *known = count.max(*known);
    }
    most.into_iter().flat_map(|(name, count)| (1..=count).map(move |nth| (name.clone(), nth))).collect()
}

#[test]
fn a_daemon_may_die_at_any_system_call_of_its_start_settling_and_end() {
    const STRIKES: usize = 80;
    let cluster = Cluster::new(2);
    let etcd: Etcd = cluster.etcd(V4);
    let peer = Daemon::ready(cluster.node(1), options(&etcd));
    let mut daemon = Daemon::ready(cluster.node(0), options(&etcd));
    let key = lease_key(&daemon);
    let pods = [cluster.attach(0, &daemon, "a"), cluster.attach(1, &peer, "b")];
    daemon.terminate();
    let file = daemon.subnet_file();
    let mut flags = options(&etcd).flag("--node-name=node0").flags;
    flags.push(format!("--subnet-file={}", file.display()));
    let victim = Victim { node: cluster.node(0), flags, file, folder: TempDir::new().unwrap() };
    let places = victim.places();
    assert!(places.len() > 40, "{} places", places.len());
    let (mut strikes, mut struck) = (0, 0);
    for place in places.iter().step_by(places.len().div_ceil(STRIKES)) {
        (strikes, struck) = (strikes + 1, struck + usize::from(victim.strike(place)));
        let when = format!("killed at {} number {}", place.0, place.1);
        let torn = std::fs::read_to_string(&victim.file).is_ok_and(|text| !text.contains("FLANNEL_IPMASQ="));
        assert!(!torn, "{when}: a torn subnet.env");
        daemon.restart();
        daemon.await_ready();
        assert_eq!(lease_key(&daemon), key, "{when}");
        cluster.await_routes(0, &[(&peer, 1)]);
        assert_eq!(etcd.keys(&leases_prefix()).len(), 2, "{when}");
        assert_ping(&pods[0].pod, pods[1].ip());
        daemon.terminate();
    }
    eprintln!("{struck} of {strikes} strikes hit before the end, of {} places", places.len());
    assert!(struck * 2 > strikes, "only {struck} of {strikes}");
}
