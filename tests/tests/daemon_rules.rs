//! Masquerade and forward rules in flannel's iptables chains: their text, their effect, their repair, and the change of mode.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use netns_fixtures::{Daemon, Echo, Etcd, Protocol, Space, assert_blocked, assert_ping, needs, tcp_echo};
use tests::cluster::{Attached, Cluster, HEARD, await_that, config_key, options, subnet};

fn config(nftables: &str) -> String {
    format!(
        r#"{{"Network":"10.244.0.0/16","EnableIPv6":true,"IPv6Network":"fd44::/48","EnableNFTables":{nftables},"Backend":{{"Type":"host-gw"}}}}"#
    )
}

fn populated<'w>(cluster: &'w Cluster, etcd: &Etcd) -> (Vec<Daemon<'w>>, [Attached; 2]) {
    let daemons = cluster.daemons(&options(etcd));
    let pods = [0, 1].map(|n| cluster.attach(n, &daemons[n], &format!("pod{n}")));
    (daemons, pods)
}

/// What flannel's own end-to-end tests compare: both chains and what leads to them.
fn listed(space: &impl Space, program: &str) -> String {
    ["-t nat -S POSTROUTING", "-t nat -S FLANNEL-POSTRTG", "-S FORWARD", "-S FLANNEL-FWD"]
        .map(|what| space.run(&format!("{program} {what}")))
        .concat()
}

fn flannels(n: &str, s: &str, multicast: &str) -> String {
    format!(
        "-P POSTROUTING ACCEPT\n-A POSTROUTING -m comment --comment \"flanneld masq\" -j FLANNEL-POSTRTG\n\
         -N FLANNEL-POSTRTG\n\
         -A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -m comment --comment \"flanneld masq\" -j RETURN\n\
         -A FLANNEL-POSTRTG -s {s} -d {n} -m comment --comment \"flanneld masq\" -j RETURN\n\
         -A FLANNEL-POSTRTG -s {n} -d {s} -m comment --comment \"flanneld masq\" -j RETURN\n\
         -A FLANNEL-POSTRTG ! -s {n} -d {s} -m comment --comment \"flanneld masq\" -j RETURN\n\
         -A FLANNEL-POSTRTG -s {n} ! -d {multicast} -m comment --comment \"flanneld masq\" -j MASQUERADE --random-fully\n\
         -A FLANNEL-POSTRTG ! -s {n} -d {n} -m comment --comment \"flanneld masq\" -j MASQUERADE --random-fully\n\
         -P FORWARD ACCEPT\n-A FORWARD -m comment --comment \"flanneld forward\" -j FLANNEL-FWD\n\
         -N FLANNEL-FWD\n\
         -A FLANNEL-FWD -s {n} -m comment --comment \"flanneld forward\" -j ACCEPT\n\
         -A FLANNEL-FWD -d {n} -m comment --comment \"flanneld forward\" -j ACCEPT\n"
    )
}

#[test]
fn iptables_mode_has_flannels_rules_to_the_letter_and_whatever_is_flushed_is_back_at_once() {
    needs!(IptablesNat);
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(&config("false"));
    let (daemons, pods) = populated(&cluster, &etcd);
    let node = cluster.node(0);
    let own = |key| subnet(&daemons[0], key).unwrap();
    let families = [
        ("iptables", flannels("10.244.0.0/16", &own("FLANNEL_SUBNET"), "224.0.0.0/4")),
        ("ip6tables", flannels("fd44::/48", &own("FLANNEL_IPV6_SUBNET"), "ff00::/8")),
    ];
    for (program, want) in &families {
        assert_eq!(listed(node, program), *want, "{program}");
    }
    assert!(!node.succeeds("nft list table inet ironbridged"), "one mode at a time");
    let outside = Echo::start(cluster.underlay.hub(), Protocol::Tcp, 7004);
    for damage in [
        "iptables -t nat -F",
        "iptables -t nat -F FLANNEL-POSTRTG",
        "iptables -D FLANNEL-FWD 1",
        "ip6tables -F FORWARD",
        "ip6tables -t nat -D FLANNEL-POSTRTG 3",
        "nft flush ruleset",
    ] {
        node.run(damage);
        let whole = || {
            families.iter().all(|(program, want)| {
                node.succeeds(&format!("{program} -t nat -S FLANNEL-POSTRTG"))
                    && node.succeeds(&format!("{program} -S FLANNEL-FWD"))
                    && listed(node, program) == *want
            })
        };
        let took = await_that(&format!("the rules are back after `{damage}`"), whole);
        eprintln!("`{damage}`: mended in {took:?}");
    }
    for (to, seen) in [("192.168.50.254", cluster.underlay.ipv4(0)), ("fd50::fe", cluster.underlay.ipv6(0))] {
        assert_eq!(tcp_echo(&pods[0].pod, outside.at(to)).unwrap(), seen);
    }
    ours_beside_others(node);
}

/// Rules of others stay, and ours come once.
fn ours_beside_others(node: &impl Space) {
    node.run("iptables -A FORWARD -s 203.0.113.0/24 -j DROP");
    node.run("iptables -D FLANNEL-FWD 1");
    await_that("mended beside a rule of others", || {
        let now = node.run("iptables -S FORWARD");
        node.run("iptables -S FLANNEL-FWD").lines().count() == 3
            && now.contains("203.0.113.0/24")
            && now.matches("FLANNEL-FWD").count() == 1
    });
}

#[test]
fn a_forward_policy_of_drop_is_passed_in_iptables_mode_issue_1172() {
    needs!(IptablesNat);
    let cluster = Cluster::new(2);
    cluster.underlay.nodes().iter().for_each(|node| drop(node.run("iptables -P FORWARD DROP")));
    let etcd = cluster.etcd(&config("false"));
    let (_daemons, pods) = populated(&cluster, &etcd);
    assert_ping(&pods[0].pod, pods[1].ip());
    assert_ping(&pods[1].pod, pods[0].ip());
}

#[test]
fn a_change_of_mode_and_what_flanneld_left_are_cleaned_and_foreign_rules_stay() {
    needs!(IptablesNat);
    let cluster = Cluster::new(2);
    let node = cluster.node(0);
    node.run("nft add table ip flannel-ipv4");
    node.run("nft add table ip6 flannel-ipv6");
    node.run("iptables -t nat -A POSTROUTING -s 203.0.113.0/24 -j ACCEPT");
    let etcd = cluster.etcd(&config("false"));
    let (mut daemons, pods) = populated(&cluster, &etcd);
    await_that("flanneld's tables are gone", || !node.run("nft list tables").contains("flannel-ipv"));
    for mode in ["true", "false", "null"] {
        daemons[0].terminate();
        etcd.put(&config_key(), &config(mode));
        daemons[0].restart();
        daemons[0].await_ready();
        let iptables = mode == "false";
        await_that(&format!("only the rules of EnableNFTables {mode} are there"), || {
            let chains = ["iptables -t nat", "iptables", "ip6tables -t nat", "ip6tables"];
            let there = |program: &&str| node.run(&format!("{program} -S")).contains("FLANNEL-");
            let ours = node.run("nft list ruleset").contains("masquerade_10.244.0.0-16");
            chains.iter().filter(|program| there(program)).count() == if iptables { 4 } else { 0 }
                && ours != iptables
        });
        assert!(node.run("iptables -t nat -S POSTROUTING").contains("203.0.113.0/24"));
        assert_ping(&pods[0].pod, pods[1].ip());
    }
    node.run("iptables -P FORWARD DROP");
    assert_blocked(&pods[0].pod, pods[1].ip());
}

/// New connections from a pod to the outside, one after the other.
#[derive(Debug, Default)]
struct Calls {
    made: AtomicUsize,
    enough: AtomicBool,
}

impl Calls {
    /// Makes them until there are enough, or the test must have failed; those that the outside did not see come from that
    /// node.
    fn make(&self, pod: &Attached, to: SocketAddr, node: &str) -> Vec<String> {
        let (mut odd, began) = (Vec::new(), Instant::now());
        while began.elapsed() < HEARD * 10 && !self.enough.load(Ordering::Relaxed) {
            match tcp_echo(&pod.pod, to) {
                Ok(seen) if seen.to_string() == node => {}
                other => odd.push(format!("{other:?} after {self:?}")),
            }
            self.made.fetch_add(1, Ordering::Relaxed);
        }
        odd
    }
}

#[test]
fn connections_made_while_the_daemon_restarts_are_all_masqueraded() {
    for mode in ["true", "false"] {
        if mode == "false" {
            needs!(IptablesNat);
        }
        let cluster = Cluster::new(2);
        let etcd = cluster.etcd(&config(mode));
        let (mut daemons, pods) = populated(&cluster, &etcd);
        let outside = Echo::start(cluster.underlay.hub(), Protocol::Tcp, 7004);
        let (to, node) = (outside.at(cluster.underlay.hub_ip()), cluster.underlay.ipv4(0).to_string());
        let calls = Calls::default();
        let odd = std::thread::scope(|scope| {
            let caller = scope.spawn(|| calls.make(&pods[0], to, &node));
            for _ in 0..5 {
                let before = calls.made.load(Ordering::Relaxed);
                daemons[0].kill();
                daemons[0].restart();
                daemons[0].await_ready();
                await_that("more are made", || calls.made.load(Ordering::Relaxed) > before + 2);
            }
            calls.enough.store(true, Ordering::Relaxed);
            caller.join().unwrap()
        });
        assert!(odd.is_empty(), "EnableNFTables {mode}: {odd:?}");
    }
}
