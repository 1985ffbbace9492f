//! Which leases become routes, and what is said about those that do not.

use super::*;
use crate::ground::Ends;
use crate::lease::Junk;
use crate::reach::Reach;

fn config() -> NetworkConfig {
    NetworkConfig::parse(
        br#"{"Network":"10.3.0.0/16","EnableIPv6":true,"IPv6Network":"fd03::/48","Backend":{"Type":"host-gw"}}"#,
    )
    .unwrap()
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

fn lease(key: &str, v4: &str, v6: &str) -> Lease {
    let attributes = LeaseAttributes {
        public_ip: v4.parse().unwrap_or(std::net::Ipv4Addr::UNSPECIFIED),
        public_ipv6: v6.parse().ok(),
        backend_type: "host-gw".into(),
        backend_data: None,
        backend_v6_data: None,
        node: None,
    };
    Lease { subnets: Subnets::parse_key(key).unwrap(), attributes, reserved: false, revision: 1 }
}

fn decide(leases: Vec<Lease>) -> Desired {
    let own = Subnets::parse_key("10.3.1.0-24&fd03:0:0:1::-64").unwrap();
    on_ground(
        &Snapshot { revision: 1, leases: leases.into_iter().map(Into::into).collect(), junk: vec![] },
        &own,
    )
}

fn on_ground(snapshot: &Snapshot, own: &Subnets) -> Desired {
    let (uplink, ends, reach) = (uplink(), Ends::default(), Reach::default());
    desired(&config(), snapshot, own, Ground { uplink: &uplink, ends: &ends, reach: &reach })
}

fn hop(gateway: &str) -> Hop {
    Hop { gateway: gateway.parse().ok(), oif: 7, onlink: false }
}

#[test]
fn both_families_of_a_peer_are_routed_and_the_own_lease_is_not() {
    let own = lease("10.3.1.0-24&fd03:0:0:1::-64", "192.0.2.1", "fd00::1");
    let peer = lease("10.3.2.0-24&fd03:0:0:2::-64", "192.0.2.2", "fd00::2");
    let wanted = decide(vec![own, peer]);
    assert_eq!(wanted.problems, []);
    let routes = [("10.3.2.0/24", hop("192.0.2.2")), ("fd03:0:0:2::/64", hop("fd00::2"))];
    assert_eq!(wanted.routes, routes.map(|(n, h)| (n.parse().unwrap(), h)).into());
}

#[test]
fn a_next_hop_that_is_not_on_link_is_named_and_the_others_stay() {
    let wanted =
        decide(vec![lease("10.3.2.0-24", "198.51.100.2", ""), lease("10.3.3.0-24", "192.0.2.3", "")]);
    assert_eq!(wanted.routes.len(), 1);
    let text = wanted.problems[0].to_string();
    assert!(text.contains("198.51.100.2 is not on-link at uplink eth0"), "{text}");
}

#[test]
fn leases_that_must_not_become_routes_are_reported() {
    let mut vxlan = lease("10.3.4.0-24", "192.0.2.4", "");
    vxlan.attributes.backend_type = "vxlan".into();
    for (bad, word) in [
        (vxlan, "its backend is \"vxlan\", this network's is host-gw"),
        (
            lease("10.9.2.0-24", "192.0.2.2", ""),
            "10.9.2.0/24: it is not inside the cluster network 10.3.0.0/16",
        ),
        (lease("10.3.1.128-25", "192.0.2.2", ""), "overlaps this node's own subnet"),
        (lease("10.3.5.0-24", "192.0.2.1", ""), "this node's own address"),
        (lease("10.3.5.0-24", "", "fd00::5"), "publishes no address of that family"),
    ] {
        let wanted = decide(vec![bad]);
        assert_eq!(wanted.routes.len(), 0, "{word}");
        assert_eq!(wanted.other_backends, usize::from(word.starts_with("its backend")));
        assert!(wanted.problems[0].to_string().contains(word), "{}", wanted.problems[0]);
    }
}

#[test]
fn issue_805_shared_addresses_and_shared_subnets_are_found() {
    let wanted = decide(vec![
        lease("10.3.2.0-24", "192.0.2.2", ""),
        lease("10.3.2.0-24&fd03:0:0:2::-64", "192.0.2.3", "fd00::3"),
        lease("10.3.4.0-24", "192.0.2.2", ""),
    ]);
    assert_eq!(wanted.routes[&"10.3.2.0/24".parse::<IpNetwork>().unwrap()], hop("192.0.2.2"));
    let texts: Vec<String> = wanted.problems.iter().map(ToString::to_string).collect();
    assert!(texts[0].starts_with("two leases have the same subnet 10.3.2.0/24"), "{texts:?}");
    assert!(texts[1].starts_with("two leases have the same public address 192.0.2.2"), "{texts:?}");
}

#[test]
fn junk_is_named_and_changes_no_route() {
    let own = Subnets::parse_key("10.3.1.0-24").unwrap();
    let junk = vec![Junk { key: "/x/subnets/hello".into(), reason: "not a lease".into() }];
    let snapshot = Snapshot { revision: 1, leases: vec![lease("10.3.2.0-24", "192.0.2.2", "").into()], junk };
    let wanted = on_ground(&snapshot, &own);
    assert_eq!((wanted.routes.len(), wanted.problems.len()), (1, 1));
}
