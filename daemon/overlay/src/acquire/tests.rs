//! flannel's acquisition tests, and the cases where flannel gives two nodes one subnet or loses a node's subnet.

use proptest::prelude::*;

use super::*;
use crate::lease::LeaseAttributes;

fn config(extra: &str) -> NetworkConfig {
    let text = format!(r#"{{"Network":"10.3.0.0/16","Backend":{{"Type":"host-gw"}}{extra}}}"#);
    NetworkConfig::parse(text.as_bytes()).unwrap()
}

fn lease(key: &str, ip: &str) -> Lease {
    let attributes = LeaseAttributes {
        public_ip: ip.parse().unwrap(),
        public_ipv6: None,
        backend_type: "host-gw".into(),
        backend_data: None,
        backend_v6_data: None,
        node: None,
    };
    Lease { subnets: Subnets::parse_key(key).unwrap(), attributes, reserved: false, revision: 1 }
}

fn named(key: &str, ip: &str, name: &str) -> Lease {
    let mut lease = lease(key, ip);
    lease.attributes.node = Some(name.into());
    lease
}

fn node(ip: &str) -> Node {
    Node { public_ip: ip.parse().unwrap(), public_ipv6: None, name: None, previous: None, pods: None }
}

fn snapshot(leases: Vec<Lease>) -> Snapshot {
    Snapshot { revision: 1, leases: leases.into_iter().map(Into::into).collect(), junk: Vec::new() }
}

fn decide(config: &NetworkConfig, leases: Vec<Lease>, node: &Node) -> Result<Claim, AcquireError> {
    claim(config, &snapshot(leases), node, &mut |_| 0)
}

fn create(key: &str) -> Claim {
    Claim::Create(Subnets::parse_key(key).unwrap())
}

#[test]
fn the_first_subnet_is_skipped_and_taken_ones_too() {
    let leases = vec![lease("10.3.1.0-24", "10.0.0.1"), lease("10.3.2.0-23", "10.0.0.2")];
    assert_eq!(decide(&config(""), leases, &node("10.0.0.9")), Ok(create("10.3.4.0-24")));
}

#[test]
fn a_subnet_is_never_taken_from_pods_that_run_issue_520() {
    let pods = |key: &str| Some(Pods { subnets: Subnets::parse_key(key).unwrap(), bridge: "cni0".into() });
    let had = Subnets::parse_key("10.3.7.0-24").ok();
    let me = Node { previous: had, pods: pods("10.3.7.0-24"), ..node("10.0.0.9") };
    assert_eq!(decide(&config(""), vec![], &me), Ok(create("10.3.7.0-24")), "it is free");
    let taken = vec![lease("10.3.7.0-24", "10.0.0.1")];
    let error = decide(&config(""), taken, &me).unwrap_err().to_string();
    for text in ["cni0 hold addresses of 10.3.7.0/24", "get 10.3.1.0/24", "10.3.7.0/24 of 10.0.0.1"] {
        assert!(error.contains(text), "{error}");
    }
    let other = vec![lease("10.3.9.0-24", "10.0.0.9")];
    let error = decide(&config(""), other, &me).unwrap_err().to_string();
    assert!(error.contains("this node's lease is 10.3.9.0/24"), "{error}");
    let error = decide(&config(r#","SubnetLen":25"#), vec![], &me).unwrap_err().to_string();
    assert!(error.contains("does not admit it any more"), "{error}");
}

#[test]
fn a_name_made_of_the_hosts_and_one_that_was_given_may_mean_one_node() {
    for (a, b, same) in [
        ("a", "a", true),
        ("a/1", "a", true),
        ("a", "a/1", true),
        ("a/1", "a/1", true),
        ("a/1", "a/2", false),
        ("a", "b/1", false),
    ] {
        assert_eq!(same_name(a, b), same, "{a} {b}");
    }
}

#[test]
fn a_node_finds_its_lease_by_address() {
    let mine = lease("10.3.7.0-24", "10.0.0.9");
    let leases = vec![lease("10.3.1.0-24", "10.0.0.1"), mine.clone()];
    assert_eq!(decide(&config(""), leases, &node("10.0.0.9")), Ok(Claim::Retake(mine)));
}

#[test]
fn issue_760_a_named_node_keeps_its_subnet_when_its_address_changes() {
    let mine = named("10.3.7.0-24", "10.0.0.9", "b");
    let moved = Node { name: Some("b".into()), ..node("10.0.0.77") };
    assert_eq!(decide(&config(""), vec![mine.clone()], &moved), Ok(Claim::Retake(mine)));
}

#[test]
fn issue_51_two_named_nodes_with_one_address_do_not_share_a_lease() {
    let held = named("10.3.7.0-24", "10.0.2.15", "a");
    let second = Node { name: Some("b".into()), ..node("10.0.2.15") };
    let error = decide(&config(""), vec![held], &second).unwrap_err();
    assert_eq!(error, AcquireError::AddressHeld { holder: "a".into(), key: "10.3.7.0-24".into() });
}

#[test]
fn a_lease_without_name_at_my_address_is_mine_as_flanneld_wrote_it() {
    let mine = lease("10.3.7.0-24", "10.0.0.9");
    let me = Node { name: Some("b".into()), ..node("10.0.0.9") };
    assert_eq!(decide(&config(""), vec![mine.clone()], &me), Ok(Claim::Retake(mine)));
}

#[test]
fn the_previous_subnet_is_taken_only_when_free_and_fitting() {
    let me = |key: &str| Node { previous: Some(Subnets::parse_key(key).unwrap()), ..node("10.0.0.9") };
    assert_eq!(decide(&config(""), vec![], &me("10.3.99.0-24")), Ok(create("10.3.99.0-24")));
    assert_eq!(decide(&config(""), vec![], &me("10.9.99.0-24")), Ok(create("10.3.1.0-24")));
    let other = vec![lease("10.3.99.0-25", "10.0.0.1")];
    assert_eq!(decide(&config(""), other, &me("10.3.99.0-24")), Ok(create("10.3.1.0-24")));
}

#[test]
fn a_lease_that_fits_no_more_is_replaced_and_its_good_half_kept() {
    let old = lease("10.3.7.0-24", "10.0.0.9");
    let dual = config(r#","EnableIPv6":true,"IPv6Network":"fc00::/48""#);
    let create = Subnets::parse_key("10.3.7.0-24&fc00:0:0:1::-64").unwrap();
    let want = Claim::Replace { delete: old.clone(), create };
    assert_eq!(decide(&dual, vec![old.clone()], &node("10.0.0.9")), Ok(want));
    let moved = config(r#","SubnetMin":"10.3.8.0""#);
    let create = Subnets::parse_key("10.3.8.0-24").unwrap();
    let want = Claim::Replace { delete: old.clone(), create };
    assert_eq!(decide(&moved, vec![old], &node("10.0.0.9")), Ok(want));
}

#[test]
fn issue_1329_a_reservation_is_retaken_and_never_deleted() {
    let fits = Lease { reserved: true, ..lease("10.3.7.0-24", "10.0.0.9") };
    assert_eq!(decide(&config(""), vec![fits.clone()], &node("10.0.0.9")), Ok(Claim::Retake(fits)));
    let outside = Lease { reserved: true, ..lease("10.9.7.0-24", "10.0.0.9") };
    assert_eq!(decide(&config(""), vec![outside], &node("10.0.0.9")), Ok(create("10.3.1.0-24")));
}

#[test]
fn ipv6_only_nodes_are_told_apart_by_their_ipv6_address() {
    let text =
        br#"{"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"fc00::/48","Backend":{"Type":"host-gw"}}"#;
    let config = NetworkConfig::parse(text).unwrap();
    let mut first = lease("0.0.0.0-0&fc00:0:0:1::-64", "0.0.0.0");
    first.attributes.public_ipv6 = Some("fd00::1".parse().unwrap());
    let at = |ip: &str| Node { public_ipv6: Some(ip.parse().unwrap()), ..node("0.0.0.0") };
    assert_eq!(decide(&config, vec![first.clone()], &at("fd00::1")), Ok(Claim::Retake(first.clone())));
    assert_eq!(decide(&config, vec![first], &at("fd00::2")), Ok(create("0.0.0.0-0&fc00:0:0:2::-64")));
    assert_eq!(decide(&config, vec![], &node("10.0.0.1")), Err(AcquireError::NoIdentity));
}

#[test]
fn a_full_network_says_so_with_its_limits() {
    let config = config(r#","SubnetMin":"10.3.4.0","SubnetMax":"10.3.5.0""#);
    let leases = vec![lease("10.3.4.0-24", "10.0.0.1"), lease("10.3.5.128-25", "10.0.0.2")];
    let error = decide(&config, leases, &node("10.0.0.9")).unwrap_err().to_string();
    assert!(error.contains("all 2 subnets of /24 between 10.3.4.0 and 10.3.5.0"), "{error}");
}

proptest! {
    #[test]
    fn a_pick_is_never_taken_and_always_admitted(
        taken in prop::collection::vec((0u8..16, 22u8..30), 0..40),
        chance in any::<usize>(),
    ) {
        let config = config(r#","SubnetMax":"10.3.15.0""#);
        let family = config.v4.unwrap();
        let leases: Vec<Lease> = taken
            .iter()
            .map(|(third, len)| IpNetwork::new(Ipv4Addr::new(10, 3, *third, 0).into(), *len).unwrap())
            .map(|n| lease(&format!("{}-{}", n.network(), n.prefix()), "10.0.0.1"))
            .collect();
        let free = (1..=15u8).filter(|third| {
            let slot = IpNetwork::new(Ipv4Addr::new(10, 3, *third, 0).into(), 24).unwrap();
            !leases.iter().any(|l| range::overlap(l.subnets.v4.unwrap(), slot))
        }).count();
        match claim(&config, &snapshot(leases.clone()), &node("10.0.0.9"), &mut |n| { assert_eq!(n, free); chance % n }) {
            Ok(Claim::Create(subnets)) => {
                prop_assert!(family.admits(subnets.v4.unwrap()));
                prop_assert!(!leases.iter().any(|l| l.subnets.overlaps(&subnets)));
            }
            other => prop_assert_eq!((free, other.is_err()), (0, true)),
        }
    }
}

#[test]
fn free_subnets_are_those_that_no_lease_touches() {
    let leases = vec![lease("10.3.1.0-24", "10.0.0.1"), lease("10.3.2.0-23", "10.0.0.2")];
    let family = config("").v4.unwrap();
    assert_eq!(free_subnets(&family, &snapshot(vec![])), (255, 255));
    assert_eq!(free_subnets(&family, &snapshot(leases)), (255, 252));
}
