//! The round robin: the reference's own examples, and what holds for any ranges.
use super::*;
use crate::range::RangeConf;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

fn set(subnets: &[&str]) -> RangeSet {
    let confs: Vec<RangeConf> = subnets
        .iter()
        .map(|subnet| RangeConf { subnet: Some(subnet.parse().unwrap()), ..RangeConf::default() })
        .collect();
    RangeSet::check(&confs, 0).unwrap()
}

fn order(subnets: &[&str], last: Option<&str>) -> Vec<String> {
    let last = last.map(|last| last.parse().unwrap());
    candidates(&set(subnets), last).map(|candidate| candidate.address.to_string()).collect()
}

#[test]
fn it_goes_round_from_after_the_last_one_and_skips_the_gateway() {
    let fresh = ["192.168.1.2", "192.168.1.3", "192.168.1.4", "192.168.1.5", "192.168.1.6"];
    assert_eq!(order(&["192.168.1.0/29"], None), fresh);
    let after_3 = ["192.168.1.4", "192.168.1.5", "192.168.1.6", "192.168.1.2", "192.168.1.3"];
    assert_eq!(order(&["192.168.1.0/29"], Some("192.168.1.3")), after_3);
    assert_eq!(order(&["192.168.1.0/29"], Some("10.9.9.9")), fresh, "a stranger counts as none");
    assert_eq!(order(&["192.168.1.0/29"], Some("192.168.1.6")), fresh);
    assert_eq!(order(&["192.168.1.0/29"], Some("192.168.1.1")), fresh, "a gateway is a place too");
    assert_eq!(order(&["fd00::/126"], None), ["fd00::2", "fd00::3"]);
}

#[test]
fn it_goes_on_in_the_next_range_and_from_the_last_to_the_first() {
    let pools = ["10.0.0.0/30", "10.0.1.0/30", "10.0.2.0/30"];
    assert_eq!(order(&pools, None), ["10.0.0.2", "10.0.1.2", "10.0.2.2"]);
    assert_eq!(order(&pools, Some("10.0.0.2")), ["10.0.1.2", "10.0.2.2", "10.0.0.2"]);
    assert_eq!(order(&pools, Some("10.0.2.2")), ["10.0.0.2", "10.0.1.2", "10.0.2.2"]);
}

#[test]
fn a_candidate_comes_with_the_prefix_and_gateway_of_its_own_range() {
    let found: Vec<(u8, String)> =
        candidates(&set(&["10.0.0.0/30", "10.0.1.0/29"]), Some("10.0.0.2".parse().unwrap()))
            .take(1)
            .map(|candidate| (candidate.prefix, candidate.gateway.to_string()))
            .collect();
    assert_eq!(found, [(29, "10.0.1.1".to_owned())]);
}

#[test]
fn a_range_that_is_all_gateway_offers_nothing() {
    let address = Some("10.0.0.9".parse().unwrap());
    let conf = RangeConf {
        subnet: Some("10.0.0.0/24".parse().unwrap()),
        range_start: address,
        range_end: address,
        gateway: address,
    };
    let set = RangeSet::check(&[conf], 0).unwrap();
    assert_eq!(candidates(&set, None).next(), None);
    assert_eq!(candidates(&set, address).next(), None);
}

#[test]
fn the_end_of_the_address_space_is_an_end() {
    assert_eq!(order(&["255.255.255.248/29"], None).len(), 5);
    assert_eq!(order(&["ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffc/126"], None).len(), 2);
}

/// One to four ranges in separate /24 networks, each with its gateway anywhere, in or out of the range.
fn any_set() -> impl Strategy<Value = RangeSet> {
    let range = (1..=254u8, 0..=30u8, 0..=255u8);
    prop::collection::vec(range, 1..5).prop_map(|ranges| {
        let confs: Vec<RangeConf> = ranges
            .into_iter()
            .zip(0..)
            .map(|((start, length, gateway), net)| RangeConf {
                subnet: Some(format!("10.0.{net}.0/24").parse().unwrap()),
                range_start: Some(Ipv4Addr::new(10, 0, net, start).into()),
                range_end: Some(Ipv4Addr::new(10, 0, net, start.saturating_add(length)).into()),
                gateway: Some(Ipv4Addr::new(10, 0, net, gateway).into()),
            })
            .collect();
        RangeSet::check(&confs, 0).unwrap()
    })
}

proptest! {
    #[test]
    fn every_address_but_the_gateways_comes_once_and_the_last_one_last(
        set in any_set(),
        net in 0..6u8,
        host in any::<u8>(),
    ) {
        let last: IpAddr = Ipv4Addr::new(10, 0, net, host).into();
        let mut round = candidates(&set, Some(last));
        let found: Vec<IpAddr> = round.by_ref().map(|candidate| candidate.address).collect();
        prop_assert_eq!(round.next(), None, "once round it stays so");
        let unique: BTreeSet<IpAddr> = found.iter().copied().collect();
        prop_assert_eq!(unique.len(), found.len(), "none comes twice");
        let mut all = BTreeSet::new();
        for range in set.ranges() {
            let mut address = range.start();
            while range.contains(address) {
                if address != range.gateway() {
                    all.insert(address);
                }
                address = successor(address);
            }
        }
        prop_assert_eq!(&unique, &all, "all come");
        if unique.contains(&last) {
            prop_assert_eq!(found.last(), Some(&last));
        }
    }
}
