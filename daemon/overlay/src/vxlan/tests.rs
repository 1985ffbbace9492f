//! From leases to tunnel entries and routes, without a kernel.

use super::*;
use crate::config::BackendConfig;
use crate::desired::{Desired, desired};
use crate::diff::{Change, diff};
use crate::ground::Ends;
use crate::lease::Snapshot;
use crate::reach::Reach;
use crate::removal::Removal;
use crate::route::{Actual, Route};
use crate::tunnel::{Forwarding, Neighbour};

fn config(backend: &str) -> NetworkConfig {
    let text = format!(
        r#"{{"Network":"10.3.0.0/16","EnableIPv6":true,"IPv6Network":"fd03::/48","Backend":{{"Type":"vxlan"{backend}}}}}"#
    );
    NetworkConfig::parse(text.as_bytes()).unwrap()
}

fn vxlan(config: &NetworkConfig) -> VxlanConfig {
    let BackendConfig::Vxlan(vxlan) = config.backend else { panic!("{config:?}") };
    vxlan
}

fn mac(n: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, n])
}

fn uplink() -> Uplink {
    Uplink {
        index: 7,
        name: "eth0".into(),
        v4: vec!["192.0.2.1/24".parse().unwrap()],
        v6: vec!["fd00::1/64".parse().unwrap()],
        mtu: 1500,
    }
}

fn ends() -> Ends {
    let end = |index, n| Some(End { index, mac: Some(mac(n)), mtu: 1450 });
    Ends { v4: end(21, 201), v6: end(22, 202) }
}

fn lease(n: u8, host: &str, data: &str) -> Lease {
    let value = format!(
        r#"{{"PublicIP":"{host}","PublicIPv6":"fd00::{n}","BackendType":"vxlan","BackendData":{data},"BackendV6Data":{{"VNI":1,"VtepMAC":"{}"}}}}"#,
        mac(n + 100)
    );
    Lease {
        subnets: Subnets::parse_key(&format!("10.3.{n}.0-24&fd03:0:0:{n}::-64")).unwrap(),
        attributes: LeaseAttributes::parse(value.as_bytes()).unwrap(),
        reserved: false,
        revision: 1,
    }
}

fn data(n: u8) -> String {
    format!(r#"{{"VNI":1,"VtepMAC":"{}"}}"#, mac(n))
}

fn decide(backend: &str, leases: Vec<Lease>) -> Desired {
    let mut reach = Reach::default();
    reach.learn("192.0.2.0/24".parse().unwrap(), 0, Some(7));
    reach.learn("0.0.0.0/0".parse().unwrap(), 0, None);
    let own = Subnets::parse_key("10.3.1.0-24&fd03:0:0:1::-64").unwrap();
    let (uplink, ends) = (uplink(), ends());
    let ground = Ground { uplink: &uplink, ends: &ends, reach: &reach };
    desired(
        &config(backend),
        &Snapshot { revision: 1, leases: leases.into_iter().map(Into::into).collect(), junk: vec![] },
        &own,
        ground,
    )
}

fn net(text: &str) -> IpNetwork {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn a_peer_is_a_neighbour_an_entry_and_an_onlink_route_in_each_family() {
    let wanted = decide("", vec![lease(2, "198.51.100.2", &data(2))]);
    assert_eq!(wanted.problems, []);
    let hop = |gateway: &str, oif| Hop { gateway: Some(ip(gateway)), oif, onlink: true };
    let routes =
        [(net("10.3.2.0/24"), hop("10.3.2.0", 21)), (net("fd03:0:0:2::/64"), hop("fd03:0:0:2::", 22))];
    assert_eq!(wanted.routes, routes.into());
    let neighbours = [((21, ip("10.3.2.0")), mac(2)), ((22, ip("fd03:0:0:2::")), mac(102))];
    assert_eq!(wanted.neighbours, neighbours.into());
    let forwardings = [((21, mac(2)), ip("198.51.100.2")), ((22, mac(102)), ip("fd00::2"))];
    assert_eq!(wanted.forwardings, forwardings.into());
}

#[test]
fn direct_routing_takes_neighbours_of_the_uplink_and_nobody_else() {
    let peers = || vec![lease(2, "192.0.2.2", &data(2)), lease(3, "198.51.100.3", &data(3))];
    let tunnelled = decide("", peers());
    assert_eq!(tunnelled.routes[&net("10.3.2.0/24")].oif, 21);
    let direct = decide(r#","directrouting":true"#, peers());
    assert_eq!(
        direct.routes[&net("10.3.2.0/24")],
        Hop { gateway: Some(ip("192.0.2.2")), oif: 7, onlink: false }
    );
    assert_eq!(direct.routes[&net("10.3.3.0/24")].oif, 21);
    assert_eq!(direct.neighbours.keys().filter(|(oif, _)| *oif == 21).count(), 1);
}

#[test]
fn a_lease_whose_data_is_broken_is_named_and_the_others_stay() {
    for (bad, word) in [
        (r#"{"VNI":1}"#.to_owned(), "VtepMAC is missing"),
        (r#"{"VNI":1,"VtepMAC":"zz"}"#.to_owned(), "\"zz\" is no hardware address"),
        (r#"{"VNI":5,"VtepMAC":"02:00:00:00:00:02"}"#.to_owned(), "its VNI is 5, this network's is 1"),
        (data(201), "also this node's own"),
        (r#""text""#.to_owned(), "is no JSON object"),
        ("null".to_owned(), "there is none"),
    ] {
        let wanted = decide("", vec![lease(2, "198.51.100.2", &bad), lease(3, "198.51.100.3", &data(3))]);
        assert!(!wanted.routes.contains_key(&net("10.3.2.0/24")), "{word}");
        assert!(wanted.routes.contains_key(&net("10.3.3.0/24")), "{word}");
        let text = wanted.problems[0].to_string();
        assert!(text.contains(word) && text.contains("10.3.2.0/24"), "{text}");
    }
}

#[test]
fn of_two_hosts_with_one_hardware_address_the_second_is_named() {
    let wanted = decide("", vec![lease(2, "198.51.100.2", &data(9)), lease(3, "198.51.100.3", &data(9))]);
    assert!(!wanted.routes.contains_key(&net("10.3.3.0/24")));
    assert!(wanted.problems[0].to_string().contains("is also that of 198.51.100.2"), "{:?}", wanted.problems);
}

fn entries(wanted: &Desired) -> Actual {
    let routes = wanted.routes.iter().map(|(destination, hop)| Route {
        destination: *destination,
        gateway: hop.gateway,
        oif: Some(hop.oif),
        metric: if destination.is_ipv4() { 0 } else { 1024 },
        onlink: hop.onlink,
        nexthop: None,
        protocol: crate::ROUTE_PROTOCOL,
    });
    let neighbours = wanted.neighbours.iter().map(|(&(index, address), &mac)| Neighbour {
        index,
        address,
        mac: Some(mac),
        permanent: true,
    });
    let forwardings = wanted.forwardings.iter().map(|(&(index, mac), &host)| Forwarding {
        index,
        mac,
        host: Some(host),
        permanent: true,
    });
    Actual {
        routes: routes.collect(),
        neighbours: neighbours.collect(),
        forwardings: forwardings.collect(),
        ..Actual::default()
    }
}

#[test]
fn issue_533_a_new_hardware_address_replaces_the_old_one_and_leaves_nothing() {
    let before = entries(&decide("", vec![lease(2, "198.51.100.2", &data(2))]));
    let wanted = decide("", vec![lease(2, "198.51.100.2", &data(8))]);
    let neighbour = Neighbour { index: 21, address: ip("10.3.2.0"), mac: Some(mac(8)), permanent: true };
    let entry = |n| Forwarding { index: 21, mac: mac(n), host: Some(ip("198.51.100.2")), permanent: true };
    let want = [
        Change::PutNeighbour(neighbour),
        Change::PutForwarding(entry(8)),
        Change::DeleteForwarding(entry(2)),
    ];
    assert_eq!(diff(&wanted, &before), want);
    assert_eq!(want[2].removal(&wanted), Some(Removal::Forwarding(21, mac(2))));
}

#[test]
fn a_peer_that_moved_and_one_that_left_are_followed_in_the_order_that_traffic_needs() {
    let before =
        entries(&decide("", vec![lease(2, "198.51.100.2", &data(2)), lease(3, "198.51.100.3", &data(3))]));
    let moved = decide("", vec![lease(2, "198.51.100.9", &data(2))]);
    let kinds: Vec<&str> = diff(&moved, &before)
        .iter()
        .map(|change| match change {
            Change::PutForwarding(_) => "put entry",
            Change::DeleteRoute(_) => "delete route",
            Change::DeleteForwarding(_) => "delete entry",
            Change::DeleteNeighbour(_) => "delete neighbour",
            Change::AddNexthop { .. }
            | Change::PutRoute { .. }
            | Change::PutNeighbour(_)
            | Change::PutPeer { .. }
            | Change::DeletePeer { .. }
            | Change::PutCarried { .. }
            | Change::DeleteCarried { .. }
            | Change::DeleteNexthop { .. } => panic!("{change:?}"),
        })
        .collect();
    let want = [
        "put entry",
        "delete route",
        "delete route",
        "delete entry",
        "delete entry",
        "delete entry",
        "delete neighbour",
        "delete neighbour",
    ];
    assert_eq!(kinds, want);
    assert_eq!(diff(&moved, &entries(&moved)), []);
}

#[test]
fn entries_that_the_kernel_learnt_or_needs_for_multicast_are_left_alone() {
    let wanted = decide("", vec![lease(2, "198.51.100.2", &data(2))]);
    let mut there = entries(&wanted);
    let index = 21;
    there.neighbours.push(Neighbour { index, address: ip("ff02::1"), mac: None, permanent: false });
    there.forwardings.push(Forwarding {
        index,
        mac: mac(77),
        host: Some(ip("192.0.2.77")),
        permanent: false,
    });
    assert_eq!(diff(&wanted, &there), []);
}

#[test]
fn devices_have_flannels_names_the_published_addresses_and_the_mtu_of_their_family() {
    let config = config(r#","VNI":9,"Port":4789,"MTU":9000"#);
    let published = lease(1, "192.0.2.1", &data(1)).attributes;
    let own = Subnets::parse_key("10.3.1.0-24&fd03:0:0:1::-64").unwrap();
    let devices = devices((&config, &vxlan(&config)), &own, &published, &uplink());
    let shown: Vec<_> = devices
        .iter()
        .map(|d| (d.name.as_str(), d.mtu, d.homes[0].address.to_string(), d.mac.unwrap()))
        .collect();
    let want = [
        ("flannel.9", 1450, "10.3.1.0/32".to_owned(), mac(1)),
        ("flannel-v6.9", 1430, "fd03:0:0:1::/128".to_owned(), mac(101)),
    ];
    assert_eq!(shown, want, "the underlay's MTU bounds a larger one that was configured");
    let Tunnel::Vxlan(link) = devices[0].tunnel else { panic!("{:?}", devices[0]) };
    assert_eq!((link.vni, link.port, link.parent, link.local), (9, 4789, Some(7), Some(ip("192.0.2.1"))));
}
