//! Hands on the kernel's state beside the daemon's: what is deleted or flushed comes back, what is foreign stays.

use std::time::Duration;

use netns_fixtures::{
    Daemon, DaemonOptions, Echo, Etcd, Pinger, Protocol, Space, assert_blocked, assert_ping, eventually,
    tcp_echo, within,
};
use tests::cluster::{Attached, Cluster, DUAL, SOON, V4, await_that, lease_key, options, readyz, subnet};

/// Daemons on all nodes, with a pod on each of the first two.
fn populated<'w>(cluster: &'w Cluster, etcd: &Etcd) -> (Vec<Daemon<'w>>, [Attached; 2]) {
    let daemons = cluster.daemons(&options(etcd));
    let pods = [0, 1].map(|n| cluster.attach(n, &daemons[n], &format!("pod{n}")));
    (daemons, pods)
}

/// A loose bound: events are mended within a second on a quiet machine.
#[track_caller]
fn assert_short(what: &str, pinger: Pinger) {
    pinger.await_answers(5);
    let loss = pinger.stop();
    eprintln!("{what}: {loss:?}");
    assert!(loss.longest < SOON, "{what}: {loss:?}");
}

#[test]
fn routes_that_are_deleted_or_flushed_are_back_at_once_issue_1070() {
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(DUAL);
    let (daemons, pods) = populated(&cluster, &etcd);
    let want = cluster.await_routes(0, &[(&daemons[1], 1)]);
    let node = cluster.node(0);
    let (v4, v6) = (subnet(&daemons[1], "FLANNEL_SUBNET"), subnet(&daemons[1], "FLANNEL_IPV6_SUBNET"));
    let (v4, v6) = (v4.unwrap(), v6.unwrap());
    for (change, pod) in [
        (format!("ip route del {v4}"), 0),
        (format!("ip route del {v6}"), 1),
        ("ip route flush proto 73".to_owned(), 0),
        ("ip -6 route flush proto 73".to_owned(), 1),
        // With our mark on it, so that nothing but who made it tells it from ours.
        (format!("ip route replace {v4} via 192.168.50.78 proto 73"), 0),
    ] {
        let pinger = Pinger::start(&pods[0].pod, &pods[1].addresses[pod]);
        node.run(&change);
        let took = await_that(&format!("mended after `{change}`"), || cluster.routes(0) == want);
        eprintln!("`{change}`: mended in {took:?}");
        assert_short(&change, pinger);
    }
}

#[test]
fn a_foreign_route_is_reported_not_fought_over_and_replaced_when_it_goes() {
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(V4);
    let first = Daemon::ready(cluster.node(0), options(&etcd));
    let mut second = Daemon::ready(cluster.node(1), options(&etcd));
    cluster.await_routes(0, &[(&second, 1)]);
    let theirs = subnet(&second, "FLANNEL_SUBNET").unwrap();
    // The peer goes, an administrator routes its subnet elsewhere, the peer comes back.
    second.kill();
    etcd.ctl(&["del", &lease_key(&second)]);
    await_that("the route is gone", || cluster.routes(0).is_empty());
    let node = cluster.node(0);
    node.run(&format!("ip route add {theirs} via 192.168.50.77 proto static"));
    second.restart();
    second.await_ready();
    assert_eq!(subnet(&second, "FLANNEL_SUBNET").unwrap(), theirs, "a node keeps its last subnet");
    await_that("the foreign route is named", || {
        readyz(node).1["problems"]
            .to_string()
            .contains("somebody else's route is in its place (via 192.168.50.77")
    });
    let listed = || node.run(&format!("ip route show {theirs}"));
    assert!(listed().contains("via 192.168.50.77") && listed().contains("proto static"), "{}", listed());
    assert_eq!(readyz(node).0, 200, "one peer's trouble does not make the node unready:\n{}", first.log());
    node.run(&format!("ip route del {theirs} via 192.168.50.77"));
    cluster.await_routes(0, &[(&second, 1)]);
    await_that("the problem is gone", || readyz(node).1["problems"] == serde_json::json!([]));
    // The same when somebody replaces our route in its place.
    node.run(&format!("ip route replace {theirs} via 192.168.50.78"));
    await_that("the replacement is named", || {
        readyz(node).1["problems"]
            .to_string()
            .contains("somebody else's route is in its place (via 192.168.50.78")
    });
    node.run(&format!("ip route del {theirs} via 192.168.50.78"));
    cluster.await_routes(0, &[(&second, 1)]);
}

#[test]
fn an_uplink_that_goes_down_loses_carrier_or_is_made_anew_is_mended_issue_1759() {
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(V4);
    let (daemons, pods) = populated(&cluster, &etcd);
    let underlay = &cluster.underlay;
    let want = cluster.await_routes(0, &[(&daemons[1], 1)]);
    let talk = |what: &str| {
        let took = await_that(&format!("routes after {what}"), || cluster.routes(0) == want);
        eprintln!("{what}: routes back in {took:?}");
        assert_ping(&pods[0].pod, pods[1].ip());
        assert_ping(&pods[1].pod, pods[0].ip());
    };
    underlay.link_down(0);
    await_that("the kernel drops the routes", || cluster.routes(0).is_empty());
    assert_blocked(&pods[0].pod, pods[1].ip());
    underlay.link_up(0);
    talk("down and up");
    underlay.unplug(0);
    underlay.plug(0);
    talk("cable out and in");
    for _ in 0..3 {
        underlay.recreate_uplink(0);
        talk("deleted and made anew");
    }
    cluster.node(0).run("ip address flush dev eth0");
    await_that("an uplink without address is reported", || {
        readyz(cluster.node(0)).1["problems"].to_string().contains("uplink eth0")
    });
    underlay.link_up(0);
    talk("addresses flushed and put back");
    let node = cluster.node(0);
    for line in ["ip link set eth0 down", "ip link set eth0 name uplink", "ip link set uplink up"] {
        node.run(line);
    }
    talk("renamed");
    let pinger = Pinger::start(&pods[0].pod, pods[1].ip());
    assert_short("quiet afterwards", pinger);
}

#[test]
fn rules_that_somebody_flushes_are_back_at_once_and_masquerade_works_again() {
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(DUAL);
    let (daemons, pods) = populated(&cluster, &etcd);
    let (node, hub) = (cluster.node(0), cluster.underlay.hub());
    let outside = Echo::start(hub, Protocol::Tcp, 7004);
    let rules = || node.run("nft list table inet ironbridged");
    let want = rules();
    for line in ["nft flush ruleset", "nft delete table inet ironbridged", "nft flush table inet ironbridged"]
    {
        node.run(line);
        let took = await_that(&format!("the rules are back after `{line}`"), || {
            node.succeeds("nft list table inet ironbridged") && rules() == want
        });
        eprintln!("`{line}`: mended in {took:?}");
    }
    let chain = want.split_whitespace().find(|word| word.starts_with("masquerade_")).unwrap().to_owned();
    node.run(&format!("nft insert rule inet ironbridged {chain} counter accept"));
    await_that("a rule that somebody put among ours is gone", || rules() == want);
    for (to, seen) in [("192.168.50.254", cluster.underlay.ipv4(0)), ("fd50::fe", cluster.underlay.ipv6(0))] {
        assert_eq!(tcp_echo(&pods[0].pod, outside.at(to)).unwrap(), seen);
    }
    assert_ping(&pods[0].pod, pods[1].ip());
    assert!(daemons[0].log().contains("nftables rules put in place"));
}

#[test]
fn tables_of_others_are_left_alone_and_rules_of_flags_that_were_taken_away_go() {
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(V4);
    let (mut daemons, pods) = populated(&cluster, &etcd);
    let node = cluster.node(0);
    node.run("nft add table inet theirs");
    node.run("nft add chain inet theirs c");
    node.run("nft add rule inet theirs c counter");
    let theirs = node.run("nft list table inet theirs");
    daemons[0].kill();
    node.run("nft delete table inet ironbridged");
    daemons[0].restart();
    daemons[0].await_ready();
    assert_eq!(node.run("nft list table inet theirs"), theirs);
    assert!(node.run("nft list table inet ironbridged").contains("hook forward"));
    assert_ping(&pods[0].pod, pods[1].ip());
    let _without = {
        daemons[0].terminate();
        let quiet = DaemonOptions::etcd(&etcd.endpoint()).flag("--iptables-forward-rules=false");
        Daemon::ready(node, quiet)
    };
    eventually("rules of flags that were taken away go", SOON, || {
        let left = node.run("nft list ruleset");
        (!left.contains("masquerade_") && !left.contains("forward_")).then_some(())
    });
}

#[test]
fn an_uplink_that_is_lost_while_a_route_waits_for_its_removal_costs_no_processor_time() {
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(V4);
    let mut first = Daemon::ready(cluster.node(0), options(&etcd));
    let mut second = Daemon::ready(cluster.node(1), options(&etcd));
    cluster.await_routes(0, &[(&second, 1)]);
    second.kill();
    etcd.ctl(&["del", &lease_key(&second)]);
    // The route stays for 0.4 s, in case that its node puts the lease back.
    within(Duration::from_millis(150), || None::<()>);
    cluster.node(0).run("ip address flush dev eth0");
    let before = first.ticks();
    within(Duration::from_secs(2), || None::<()>);
    let used = first.ticks() - before;
    assert!(used < 40, "{used} of 200 ticks");
    cluster.underlay.link_up(0);
    await_that("the route goes when the uplink is back", || cluster.routes(0).is_empty());
}
