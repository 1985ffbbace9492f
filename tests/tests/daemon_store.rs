//! A store that fails, lies or is tampered with, under traffic: the data path stays, and what was missed is seen later.

use std::collections::BTreeMap;

use netns_fixtures::{Daemon, Etcd, Pinger, eventually};
use tests::cluster::{
    Attached, Cluster, HEARD, V4, await_that, config_key, lease_key, leases_prefix, options, peers, put_all,
    readyz,
};

/// Two nodes on an etcd with a pod on each, which ping.
struct Pair<'w> {
    cluster: &'w Cluster,
    daemons: Vec<Daemon<'w>>,
    pods: Vec<Attached>,
    routes: Vec<BTreeMap<String, String>>,
}

impl<'w> Pair<'w> {
    fn new(cluster: &'w Cluster, etcd: &Etcd) -> Self {
        let daemons = cluster.daemons(&options(etcd));
        let routes =
            vec![cluster.await_routes(0, &[(&daemons[1], 1)]), cluster.await_routes(1, &[(&daemons[0], 0)])];
        let pods = vec![cluster.attach(0, &daemons[0], "a"), cluster.attach(1, &daemons[1], "b")];
        Self { cluster, daemons, pods, routes }
    }

    fn pinger(&self) -> Pinger {
        Pinger::start(&self.pods[0].pod, self.pods[1].ip())
    }

    #[track_caller]
    fn assert_unharmed(&self, pinger: Pinger) {
        pinger.await_answers(10);
        assert_eq!(self.routes, [self.cluster.routes(0), self.cluster.routes(1)]);
        let loss = pinger.stop();
        assert_eq!(loss.lost, 0, "{loss:?}; {}", self.daemons[0].log());
    }
}

fn put_peer(etcd: &Etcd, subnet: &str) {
    let value = r#"{"PublicIP":"192.168.50.77","PublicIPv6":null,"BackendType":"host-gw"}"#;
    etcd.put(&format!("{}{subnet}-24", leases_prefix()), value);
}

#[track_caller]
fn await_peer(cluster: &Cluster, subnet: &str) {
    let route = format!("{subnet}/24");
    eventually(&format!("a route to {route}"), HEARD, || {
        (0..2).all(|n| cluster.routes(n).contains_key(&route)).then_some(())
    });
}

/// Both nodes hear of what changes in the store.
#[track_caller]
fn a_peer_comes_and_goes(cluster: &Cluster, etcd: &Etcd) {
    put_peer(etcd, "10.244.251.0");
    await_peer(cluster, "10.244.251.0");
    etcd.delete_prefix(&format!("{}10.244.251.0", leases_prefix()));
    await_that("the route is gone", || cluster.routes(0).len() == 1 && cluster.routes(1).len() == 1);
}

/// The first node says that its store does not answer, and stays ready: an outage of the store changes nothing.
#[track_caller]
fn await_outage(cluster: &Cluster) {
    eventually("/readyz names the outage", HEARD, || {
        let (status, told) = readyz(cluster.node(0));
        assert_eq!(status, 200, "{told}");
        told["store"].is_string().then_some(())
    });
}

#[test]
fn an_etcd_that_is_killed_and_started_again_costs_no_packet() {
    let cluster = Cluster::new(2);
    let mut etcd = cluster.etcd(V4);
    let pair = Pair::new(&cluster, &etcd);
    let pinger = pair.pinger();
    etcd.kill();
    await_outage(&cluster);
    pinger.await_answers(50);
    etcd.restart();
    a_peer_comes_and_goes(&cluster, &etcd);
    pair.assert_unharmed(pinger);
}

#[test]
fn an_etcd_that_hangs_is_noticed_and_costs_no_packet() {
    let cluster = Cluster::new(2);
    let mut etcd = cluster.etcd(V4);
    let pair = Pair::new(&cluster, &etcd);
    let pinger = pair.pinger();
    etcd.hang();
    await_outage(&cluster);
    etcd.resume();
    a_peer_comes_and_goes(&cluster, &etcd);
    pair.assert_unharmed(pinger);
}

#[test]
fn changes_before_a_compaction_that_the_daemon_slept_through_are_seen() {
    let cluster = Cluster::new(2);
    let mut etcd = cluster.etcd(V4);
    let mut pair = Pair::new(&cluster, &etcd);
    put_peer(&etcd, "10.244.250.0");
    await_peer(&cluster, "10.244.250.0");
    let pinger = pair.pinger();
    // The daemon sees nothing of this: a peer comes, one goes, one moves, and the history is thrown away.
    pair.daemons[0].sleep();
    put_peer(&etcd, "10.244.251.0");
    etcd.delete_prefix(&format!("{}10.244.250.0", leases_prefix()));
    etcd.compact();
    etcd.kill();
    etcd.restart();
    pair.daemons[0].wake();
    eventually("the changes are seen", HEARD, || {
        let routes = cluster.routes(0);
        (routes.contains_key("10.244.251.0/24") && !routes.contains_key("10.244.250.0/24")).then_some(())
    });
    // And the watch goes on from there.
    etcd.put("elsewhere", "a revision");
    etcd.compact();
    etcd.delete_prefix(&format!("{}10.244.251.0", leases_prefix()));
    eventually("the next change is seen too", HEARD, || (cluster.routes(0).len() == 1).then_some(()));
    eventually("by both", HEARD, || (cluster.routes(1).len() == 1).then_some(()));
    pair.assert_unharmed(pinger);
}

#[test]
fn issue_904_an_own_key_that_is_deleted_comes_back_and_costs_no_packet() {
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(V4);
    let pair = Pair::new(&cluster, &etcd);
    let pinger = pair.pinger();
    let key = lease_key(&pair.daemons[1]);
    let value = etcd.get(&key);
    // At once again: the second loss may look like the first one, to whoever looks at the state alone.
    for _ in 0..8 {
        etcd.ctl(&["del", &key]);
        await_that("the lease is back", || etcd.get(&key) == value);
    }
    // With its etcd lease, as when it expires.
    let leases = etcd.ctl(&["lease", "list"]);
    for id in leases.lines().filter(|line| line.len() >= 15 && !line.contains("found")) {
        etcd.ctl(&["lease", "revoke", id]);
    }
    await_that("the lease is back", || etcd.get(&key) == value);
    assert!(pair.daemons[1].log().contains("put back"));
    pair.assert_unharmed(pinger);
}

#[test]
fn a_wiped_store_costs_no_packet_and_heals_with_its_configuration() {
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(V4);
    let pair = Pair::new(&cluster, &etcd);
    let pinger = pair.pinger();
    let keys = etcd.keys(&leases_prefix());
    etcd.delete_prefix("/coreos.com");
    eventually("the leases are back", HEARD, || (etcd.keys(&leases_prefix()) == keys).then_some(()));
    pinger.await_answers(50);
    assert_eq!(etcd.get(&config_key()), None);
    etcd.put(&config_key(), V4);
    pair.assert_unharmed(pinger);
}

#[test]
fn an_etcd_that_lost_its_disk_costs_no_packet_and_gets_the_leases_back() {
    let cluster = Cluster::new(2);
    let mut first = cluster.etcd(V4);
    let pair = Pair::new(&cluster, &first);
    let keys = first.keys(&leases_prefix());
    let pinger = pair.pinger();
    first.kill();
    drop(first);
    // The new cluster counts its revisions from 1.
    let second = cluster.etcd(V4);
    eventually("the leases are back", HEARD, || (second.keys(&leases_prefix()) == keys).then_some(()));
    pair.assert_unharmed(pinger);
}

#[test]
fn issue_1343_a_stolen_lease_is_noticed_loudly_and_the_data_path_stays() {
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(V4);
    let pair = Pair::new(&cluster, &etcd);
    // The thief takes the second node's subnet; the second node must not overwrite it, nor pull its routes.
    let key = lease_key(&pair.daemons[1]);
    let ours = etcd.get(&key).unwrap();
    let thief = ours.replace("192.168.50.2", "192.168.50.99");
    etcd.put(&key, &thief);
    eventually("/readyz names the thief", HEARD, || {
        let (status, told) = readyz(cluster.node(1));
        (status == 503 && told["waiting"].to_string().contains("192.168.50.99")).then_some(())
    });
    assert!(pair.daemons[1].log().contains("ERROR"), "{}", pair.daemons[1].log());
    assert_eq!(etcd.get(&key).unwrap(), thief, "the thief's lease is not overwritten");
    assert_eq!(cluster.routes(1), pair.routes[1], "the data path of the robbed node stays");
    await_that("the others follow the store", || {
        cluster.routes(0).values().any(|via| via == "192.168.50.99")
    });
    etcd.put(&key, &ours);
    eventually("the node is ready again", HEARD, || (readyz(cluster.node(1)).0 == 200).then_some(()));
    await_that("the others are back", || cluster.routes(0) == pair.routes[0]);
    let pinger = pair.pinger();
    pair.assert_unharmed(pinger);
}

#[test]
fn weakness_1_a_junk_key_never_removes_peers() {
    let cluster = Cluster::new(2);
    let etcd = cluster.etcd(V4);
    etcd.put(&format!("{}zzz", leases_prefix()), "junk before the start");
    let mut pair = Pair::new(&cluster, &etcd);
    let pinger = pair.pinger();
    for (name, value) in [
        ("junk", "{"),
        ("10.244.227.0-24", "not json"),
        ("10.244.228.0-24", r#"{"PublicIP":"999.1.2.3"}"#),
        ("10.244.229.0-99", r#"{"PublicIP":"192.168.50.9"}"#),
        ("0.0.0.0-0", r#"{"PublicIP":"192.168.50.9","BackendType":"host-gw"}"#),
        ("10.0.0.0-8", r#"{"PublicIP":"192.168.50.9","BackendType":"host-gw"}"#),
        ("10.244.230.0-24/more", r#"{"PublicIP":"192.168.50.9"}"#),
        ("", "empty"),
    ] {
        etcd.put(&format!("{}{name}", leases_prefix()), value);
    }
    await_that("each is named", || {
        let told = readyz(cluster.node(0)).1["problems"].to_string();
        ["junk", "zzz", "10.244.227.0-24", "10.244.228.0-24", "10.244.229.0-99", "10.0.0.0/8"]
            .iter()
            .all(|name| told.contains(name))
    });
    pair.daemons[0].kill();
    pair.daemons[0].restart();
    pair.daemons[0].await_ready();
    pair.assert_unharmed(pinger);
}

#[test]
fn nothing_is_removed_before_the_first_snapshot_and_issue_2554_stale_routes_are_after_it() {
    let cluster = Cluster::new(3);
    let mut etcd = cluster.etcd(V4);
    let mut daemons = cluster.daemons(&options(&etcd));
    let full = cluster.await_routes(0, &[(&daemons[1], 1), (&daemons[2], 2)]);
    let pods = [cluster.attach(0, &daemons[0], "a"), cluster.attach(1, &daemons[1], "b")];
    daemons[0].kill();
    daemons[2].kill();
    etcd.ctl(&["del", &lease_key(&daemons[2])]);
    etcd.kill();
    let pinger = Pinger::start(&pods[0].pod, pods[1].ip());
    daemons[0].restart();
    eventually("the daemon waits for its store", HEARD, || {
        readyz(cluster.node(0)).1["waiting"].to_string().contains("etcd at").then_some(())
    });
    pinger.await_answers(50);
    assert_eq!(cluster.routes(0), full, "before the first snapshot");
    etcd.restart();
    daemons[0].await_ready();
    cluster.await_routes(0, &[(&daemons[1], 1)]);
    pinger.await_answers(10);
    let loss = pinger.stop();
    assert_eq!(loss.lost, 0, "{loss:?}; {}", daemons[0].log());
}

#[test]
fn five_hundred_leases_that_appear_at_once_are_all_routed_and_all_go_at_once() {
    let cluster = Cluster::new(1);
    let etcd = cluster.large_etcd();
    let _daemon = Daemon::ready(cluster.node(0), options(&etcd));
    put_all(cluster.underlay.hub(), &peers(500));
    let took = await_that("all are routed", || cluster.routes(0).len() == 500);
    eprintln!("500 leases to routes in {took:?}");
    etcd.delete_prefix(&format!("{}10.2", leases_prefix()));
    await_that("all are gone", || cluster.routes(0).is_empty());
}
