//! Addresses, routes, nexthops, neighbours and batches of them, read back by us and by iproute2.
#![allow(clippy::unwrap_used, reason = "in the functions beside the tests")]

mod world;

use kernel::{
    Dad, Family, Forwarding, ForwardingTable, Group, Link, Mac, Monitor, Neighbour, Nexthop, PortState,
    Route, RouteFilter, Rtnl,
};
use std::{
    net::IpAddr,
    thread,
    time::{Duration, Instant},
};
use world::{Node, net};

/// A node with a pod behind `eth0`, which has `10.9.0.1/24` and `fd09::1/64`.
fn node() -> (Node, Node, u32) {
    let (mut node, mut pod) = (Node::new(), Node::new());
    let (here, _) = node.cable("eth0", &mut pod, "eth0");
    let lo = node.index("lo");
    node.nl.set_link_up(lo).unwrap();
    node.nl.add_address(here, net("10.9.0.1/24"), Dad::Run).unwrap();
    node.nl.add_address(here, net("fd09::1/64"), Dad::Skip).unwrap();
    (node, pod, here)
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn mine(node: &mut Node) -> Vec<Route> {
    let mut routes = node.nl.routes(RouteFilter { protocol: Some(99), ..RouteFilter::default() }).unwrap();
    routes.sort();
    routes
}

fn via(destination: &str, gateway: &str) -> Route {
    Route { gateway: Some(ip(gateway)), protocol: 99, ..Route::to(net(destination)) }
}

#[test]
fn addresses_come_back_with_flags_and_broadcast() {
    let (mut node, _pod, here) = node();
    node.nl.add_address(here, net("10.9.0.2/24"), Dad::Run).unwrap();
    node.nl.add_address(here, net("10.8.0.0/31"), Dad::Run).unwrap();
    node.nl.add_address(here, net("fd0a::1/64"), Dad::Run).unwrap();
    let all = node.nl.addresses(here).unwrap();
    let get = |text: &str| all.iter().find(|a| a.network == net(text)).unwrap();
    assert!(get("10.9.0.1/24").permanent && !get("10.9.0.1/24").secondary);
    assert!(get("10.9.0.2/24").secondary);
    assert!(!get("fd09::1/64").tentative, "no detection was asked for");
    assert!(get("fd0a::1/64").tentative && !get("fd0a::1/64").dad_failed);
    assert!(all.iter().all(|a| a.index == here), "the kernel filters by link");
    let shown = node.run("ip -4 -o addr show dev eth0");
    assert!(
        shown.contains("10.9.0.1/24 brd 10.9.0.255") && shown.contains("10.8.0.0/31 scope global"),
        "{shown}"
    );
    assert!(node.run("ip -6 -o addr show dev eth0").contains("fd09::1/64 scope global nodad"));
    assert!(node.nl.all_addresses().unwrap().len() > all.len());
}

#[test]
fn adding_twice_and_deleting_twice_are_told() {
    let (mut node, _pod, here) = node();
    assert!(node.nl.add_address(here, net("10.9.0.1/24"), Dad::Run).unwrap_err().is_present());
    assert!(
        node.nl.delete_address(here, net("10.9.0.1/16")).unwrap_err().is_absent(),
        "another prefix length"
    );
    for text in ["10.9.0.1/24", "fd09::1/64"] {
        node.nl.delete_address(here, net(text)).unwrap();
        let error = node.nl.delete_address(here, net(text)).unwrap_err();
        assert!(error.is_absent(), "{error}");
    }
    assert!(node.nl.addresses(4711).unwrap_err().is_absent());
}

#[test]
fn every_field_of_a_route_comes_back() {
    let (mut node, _pod, here) = node();
    let base = |to: &str| Route { protocol: 99, oif: Some(here), ..Route::to(net(to)) };
    let plain4 =
        Route { metric: Some(7), mtu: Some(1400), advmss: Some(1360), ..via("10.1.0.0/16", "10.9.0.9") };
    let routes = [
        Route { oif: Some(here), prefsrc: Some(ip("10.9.0.1")), ..plain4 },
        Route { scope: 253, ..base("10.2.0.0/16") },
        Route { gateway: Some(ip("192.0.2.1")), onlink: true, table: 1000, ..base("0.0.0.0/0") },
        Route { gateway: Some(ip("fe80::5")), ..base("10.3.0.0/16") },
        Route {
            gateway: Some(ip("fd09::9")),
            metric: Some(9),
            mtu: Some(1300),
            advmss: Some(1240),
            ..base("fd01::/48")
        },
        Route { gateway: Some(ip("fe80::1")), metric: Some(1), table: 300, ..base("::/0") },
    ];
    for route in &routes {
        node.nl.add_route(route).unwrap();
        assert!(node.nl.add_route(route).unwrap_err().is_present());
    }
    let mut want = routes.to_vec();
    want.sort();
    assert_eq!(mine(&mut node), want);
    let shown = node.run("ip route show 10.1.0.0/16");
    for part in ["via 10.9.0.9 dev eth0 proto openr src 10.9.0.1 metric 7", "mtu 1400", "advmss 1360"] {
        assert!(shown.contains(part), "{shown}");
    }
    for route in mine(&mut node) {
        node.nl.delete_route(&route).unwrap();
        assert!(node.nl.delete_route(&route).unwrap_err().is_absent());
    }
    assert!(mine(&mut node).is_empty());
}

#[test]
fn blackholes_and_filters() {
    let (mut node, _pod, here) = node();
    node.nl.add_route(&Route { kind: 6, protocol: 99, ..Route::to(net("10.5.0.0/16")) }).unwrap();
    node.nl.add_route(&Route { table: 500, ..via("10.6.0.0/16", "10.9.0.9") }).unwrap();
    node.nl.add_route(&via("fd06::/64", "fd09::9")).unwrap();
    assert_eq!(mine(&mut node).len(), 3);
    let mut count = |filter| node.nl.routes(filter).unwrap().len();
    let all = RouteFilter::default();
    assert_eq!(count(RouteFilter { table: Some(500), ..all }), 1);
    assert_eq!(count(RouteFilter { table: Some(501), ..all }), 0, "a table that is not there has no routes");
    assert_eq!(count(RouteFilter { protocol: Some(99), family: Some(Family::V6), ..all }), 1);
    assert_eq!(count(RouteFilter { protocol: Some(99), oif: Some(here), ..all }), 2);
    assert_eq!(count(RouteFilter { oif: Some(4711), ..all }), 0);
    assert!(count(all) > 6);
}

#[test]
fn replacing_changes_the_gateway_and_appending_keeps_both() {
    let (mut node, _pod, _) = node();
    for (to, first, second) in [("10.1.0.0/16", "10.9.0.8", "10.9.0.9"), ("fd01::/48", "fd09::8", "fd09::9")]
    {
        let gateways = |node: &mut Node| mine(node).iter().filter_map(|r| r.gateway).collect::<Vec<_>>();
        node.nl.add_route(&via(to, first)).unwrap();
        node.nl.replace_route(&via(to, second)).unwrap();
        assert_eq!(gateways(&mut node), [ip(second)]);
        node.nl.append_route(&via(to, first)).unwrap();
        assert_eq!(gateways(&mut node), [ip(first), ip(second)], "a multipath route is read as its hops");
        assert!(node.nl.append_route(&via(to, first)).unwrap_err().is_present());
        for route in mine(&mut node) {
            node.nl.delete_route(&route).unwrap();
        }
    }
}

#[test]
fn the_kernels_own_words_are_kept() {
    let (mut node, _pod, here) = node();
    let error = node.nl.add_route(&via("10.66.0.0/16", "203.0.113.1")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "adding route to 10.66.0.0/16 via 203.0.113.1: Network is unreachable: Nexthop has invalid gateway"
    );
    let bits = Route { oif: Some(here), ..Route::to(net("10.1.0.0/16")) };
    let host_bits = Route { destination: net("10.1.2.3/16"), ..bits };
    assert!(
        node.nl
            .add_route(&host_bits)
            .unwrap_err()
            .to_string()
            .contains("Invalid prefix for given prefix length")
    );
}

#[test]
fn the_way_of_a_packet_is_found() {
    let (mut node, _pod, here) = node();
    node.nl.add_route(&via("10.1.0.0/16", "10.9.0.9")).unwrap();
    let found = node.nl.route_to(ip("10.1.2.3")).unwrap().unwrap();
    assert_eq!(
        (found.gateway, found.oif, found.prefsrc),
        (Some(ip("10.9.0.9")), Some(here), Some(ip("10.9.0.1")))
    );
    let found = node.nl.route_to(ip("fd09::77")).unwrap().unwrap();
    assert_eq!((found.gateway, found.oif), (None, Some(here)));
    assert_eq!(node.nl.route_to(ip("203.0.113.1")).unwrap(), None);
    assert_eq!(node.nl.route_to(ip("2001:db8::1")).unwrap(), None);
}

#[test]
fn routes_follow_their_nexthop_object() {
    let (mut node, _pod, here) = node();
    let hop = Nexthop { id: 70, gateway: Some(ip("10.9.0.9")), oif: Some(here), protocol: 99, onlink: false };
    node.nl.add_nexthop(&hop).unwrap();
    assert!(node.nl.add_nexthop(&hop).unwrap_err().is_present());
    let route = Route { nexthop_id: Some(70), protocol: 99, ..Route::to(net("10.1.0.0/16")) };
    node.nl.add_route(&route).unwrap();
    let shown = Route { gateway: hop.gateway, oif: hop.oif, ..route };
    assert_eq!(mine(&mut node), std::slice::from_ref(&shown));
    node.nl.replace_route(&shown).unwrap();

    let moved = Nexthop { gateway: Some(ip("10.9.0.10")), ..hop };
    node.nl.replace_nexthop(&moved).unwrap();
    assert_eq!(mine(&mut node)[0].gateway, moved.gateway);
    let six = Nexthop { id: 71, gateway: Some(ip("fd09::9")), ..hop };
    node.nl.add_nexthop(&six).unwrap();
    assert_eq!(node.nl.nexthops().unwrap(), [moved, six]);
    node.nl.delete_nexthop(70).unwrap();
    assert!(mine(&mut node).is_empty());
    assert!(node.nl.delete_nexthop(70).unwrap_err().is_absent());
}

#[test]
fn neighbours_come_and_go() {
    let (mut node, _pod, here) = node();
    let mac = Mac([2, 0, 0, 0, 9, 1]);
    for address in [ip("10.9.0.9"), ip("fd09::9")] {
        let entry = Neighbour::permanent(here, address, mac);
        node.nl.add_neighbour(&entry).unwrap();
        assert!(node.nl.add_neighbour(&entry).unwrap_err().is_present());
        let other = Neighbour { mac: Some(Mac([2, 0, 0, 0, 9, 2])), ..entry };
        node.nl.replace_neighbour(&other).unwrap();
        assert!(node.nl.neighbours(here).unwrap().contains(&other));
        node.nl.delete_neighbour(here, address).unwrap();
        assert!(node.nl.neighbours(here).unwrap().iter().all(|n| n.address != address));
    }
    assert!(node.nl.delete_neighbour(here, ip("10.9.0.99")).unwrap_err().is_absent());
}

#[test]
fn forwarding_entries_of_a_vxlan_device_have_several_destinations() {
    let (mut node, _pod, _) = node();
    node.run("ip link add vx0 type vxlan id 1 dstport 8472 local 10.9.0.1 nolearning");
    let vx = node.index("vx0");
    let entry = Forwarding::permanent(vx, Mac([0; 6]), ip("192.0.2.7"));
    let second = Forwarding { destination: Some(ip("192.0.2.8")), ..entry };
    node.nl.add_forwarding(&entry).unwrap();
    node.nl.append_forwarding(&second).unwrap();
    let single = Forwarding::permanent(vx, Mac([2, 0, 0, 0, 9, 1]), ip("192.0.2.9"));
    node.nl.replace_forwarding(&single).unwrap();
    let moved = Forwarding { destination: Some(ip("192.0.2.10")), ..single };
    node.nl.replace_forwarding(&moved).unwrap();
    let mut found = node.nl.forwardings(vx).unwrap();
    found.sort();
    let strip = |f: &Forwarding| (f.mac, f.destination, f.table);
    assert_eq!(
        found.iter().map(strip).collect::<Vec<_>>(),
        [entry, second, moved].iter().map(strip).collect::<Vec<_>>()
    );
    node.nl.delete_forwarding(&second).unwrap();
    assert_eq!(node.nl.forwardings(vx).unwrap().len(), 2);
    node.nl.delete_forwarding(&moved).unwrap();
    assert!(node.nl.delete_forwarding(&moved).unwrap_err().is_absent());
}

#[test]
fn what_a_bridge_has_learnt_can_be_forgotten() {
    let (mut node, mut pod) = (Node::new(), Node::new());
    node.run("ip link add br0 up type bridge");
    let (here, _) = node.cable("veth0", &mut pod, "eth0");
    let br = node.index("br0");
    let mut monitor = Monitor::open_in(&node.ns, &[Group::Link]).unwrap();
    node.nl.set_link_controller(here, Some(br)).unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    let forwards = |link: Option<&Link>| link.is_some_and(|l| l.port_state == Some(PortState::Forwarding));
    node.nl.wait_link(&mut monitor, (here, deadline), forwards).unwrap();
    node.run("bridge fdb add 02:00:00:00:09:01 dev veth0 master dynamic");
    let mac = Mac([2, 0, 0, 0, 9, 1]);
    let learnt = node.nl.bridge_forwardings(br).unwrap().into_iter().find(|f| f.mac == mac).unwrap();
    assert_eq!((learnt.index, learnt.table), (here, ForwardingTable::Bridge));
    assert!(node.nl.forwardings(here).unwrap().contains(&learnt));
    node.nl.delete_forwarding(&learnt).unwrap();
    assert!(node.nl.bridge_forwardings(br).unwrap().iter().all(|f| f.mac != mac));
}

#[test]
fn a_batch_reports_each_failure_by_its_place_and_does_the_rest() {
    let (mut node, _pod, _) = node();
    // Over several sendmsg; some in the middle, the first and the very last of a round and of all fail.
    let bad = [0usize, 127, 128, 200, 299];
    let mut batch = node.nl.batch();
    for n in 0..300usize {
        let gateway = if bad.contains(&n) { "203.0.113.1" } else { "10.9.0.9" };
        batch.add_route(&via(&format!("10.{}.{}.0/24", 100 + n / 200, n % 200), gateway));
    }
    assert_eq!(batch.len(), 300);
    let failed = batch.commit().unwrap();
    assert!(batch.is_empty() && batch.commit().unwrap().is_empty());
    assert_eq!(failed.iter().map(|(at, _)| *at).collect::<Vec<_>>(), bad);
    assert!(
        failed[3]
            .1
            .to_string()
            .starts_with("adding route to 10.101.0.0/24 via 203.0.113.1: Network is unreachable")
    );
    assert_eq!(mine(&mut node).len(), 295);
}

#[test]
fn a_batch_in_which_everything_fails_is_answered_in_full() {
    let (mut node, _pod, _) = node();
    let mut batch = node.nl.batch();
    for n in 0..1000 {
        batch.add_route(&via(&format!("10.{}.{}.0/24", 100 + n / 200, n % 200), "203.0.113.1"));
    }
    assert_eq!(batch.commit().unwrap().len(), 1000);
    assert!(mine(&mut node).is_empty());
    let one =
        Nexthop { id: 5, gateway: Some(ip("203.0.113.1")), oif: Some(4711), protocol: 99, onlink: false };
    let error = node.nl.batch().add_nexthop(&one).delete_nexthop(6).commit_all().unwrap_err();
    assert!(error.to_string().starts_with("adding nexthop 5 via 203.0.113.1: "), "{error}");
    node.nl.link("eth0").unwrap().unwrap(); // the socket is in step
}

#[test]
fn ten_thousand_routes_through_nexthops() {
    let (mut node, _pod, here) = node();
    node.nl.add_address(here, net("10.200.0.1/16"), Dad::Run).unwrap();
    let count = 10_000u32;
    let mut batch = node.nl.batch();
    for n in 0..count {
        let gateway = Some(IpAddr::from((0x0ac8_0100 + n).to_be_bytes()));
        batch.add_nexthop(&Nexthop { id: n + 1, gateway, oif: Some(here), protocol: 99, onlink: false });
        let to = format!("11.{}.{}.0/24", n >> 8, n & 255);
        batch.add_route(&Route { nexthop_id: Some(n + 1), protocol: 99, ..Route::to(net(&to)) });
    }
    let started = Instant::now();
    assert!(batch.commit().unwrap().is_empty());
    eprintln!("10,000 routes and nexthops in {:?}", started.elapsed());
    let started = Instant::now();
    assert_eq!(mine(&mut node).len(), count as usize);
    eprintln!("listed in {:?}", started.elapsed());
    node.nl.nexthops().unwrap();
}

/// Over a dump of 4,000 addresses with a writer beside it: whole, or an error that says to try again; never a part.
#[test]
fn an_interrupted_dump_is_never_a_part() {
    let (mut node, _pod, here) = node();
    for n in 0..4000u32 {
        node.nl.add_address(here, net(&format!("10.{}.{}.1/32", 20 + n / 250, n % 250)), Dad::Run).unwrap();
    }
    let mut writer = Rtnl::open_in(&node.ns).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let whole = |found: &[kernel::Address]| found.iter().filter(|a| a.network.prefix() == 32).count() == 4000;
    let mut seen = (0, 0);
    thread::scope(|s| {
        s.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                writer.add_address(here, net("172.16.0.1/24"), Dad::Run).unwrap();
                writer.delete_address(here, net("172.16.0.1/24")).unwrap();
            }
        });
        for _ in 0..20 {
            match node.nl.all_addresses() {
                Ok(found) if whole(&found) => seen.0 += 1,
                Err(error) if error.is_transient() => seen.1 += 1,
                other => {
                    stop.store(true, std::sync::atomic::Ordering::Relaxed);
                    panic!("{:?}", other.map(|found| found.len()));
                }
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    eprintln!("{} whole, {} to be tried again", seen.0, seen.1);
    assert!(whole(&node.nl.addresses(here).unwrap()));
}

#[test]
fn clients_on_two_threads_do_not_disturb_each_other() {
    let (node, _pod, _) = node();
    thread::scope(|s| {
        for thread in 0..2u8 {
            let ns = &node.ns;
            s.spawn(move || {
                let mut nl = Rtnl::open_in(ns).unwrap();
                for n in 0..200u8 {
                    let route = via(&format!("10.{}.{n}.0/24", 100 + thread), "10.9.0.9");
                    nl.add_route(&route).unwrap();
                    let found = nl.routes(RouteFilter { protocol: Some(99), ..RouteFilter::default() });
                    assert!(
                        found.is_err() || found.unwrap().iter().any(|r| r.destination == route.destination)
                    );
                }
            });
        }
    });
}
