//! Ranges: what is filled in, what is refused and how the refusal names it.
use super::*;

fn conf(subnet: &str, start: &str, end: &str) -> RangeConf {
    let address = |text: &str| (!text.is_empty()).then(|| text.parse().unwrap());
    RangeConf {
        subnet: Some(subnet.parse().unwrap()),
        range_start: address(start),
        range_end: address(end),
        gateway: None,
    }
}

fn check(subnet: &str, start: &str, end: &str) -> Result<String, String> {
    let range = Range::check(&conf(subnet, start, end), Place { set: 1, range: 2 });
    range.map(|range| format!("{range} via {}", range.gateway())).map_err(|error| {
        assert_eq!(error.code(), cni::Code::INVALID_CONFIG);
        error.to_string()
    })
}

#[test]
fn what_is_not_given_is_the_references_default() {
    assert_eq!(check("10.0.0.0/29", "", "").unwrap(), "10.0.0.1-10.0.0.6 via 10.0.0.1");
    assert_eq!(check("10.0.0.0/30", "", "").unwrap(), "10.0.0.1-10.0.0.2 via 10.0.0.1");
    assert_eq!(check("0.0.0.0/0", "", "").unwrap(), "0.0.0.1-255.255.255.254 via 0.0.0.1");
    assert_eq!(check("fd00::/126", "", "").unwrap(), "fd00::1-fd00::3 via fd00::1");
    assert_eq!(check("10.0.0.0/24", "10.0.0.0", "10.0.0.255").unwrap(), "10.0.0.0-10.0.0.255 via 10.0.0.1");
}

#[test]
fn a_refusal_names_the_range_and_the_value() {
    let refusals = [
        (
            check("10.0.0.0/31", "", ""),
            "(10.0.0.0/31): the network is too small to allocate from (at least two host bits are needed)",
        ),
        (
            check("fd00::/127", "", ""),
            "(fd00::/127): the network is too small to allocate from (at least two host bits are needed)",
        ),
        (
            check("10.0.0.4/24", "", ""),
            "(10.0.0.4/24): the network has host bits set; its network address is 10.0.0.0/24",
        ),
        (check("10.0.0.0/24", "10.0.1.1", ""), "(10.0.0.0/24): rangeStart 10.0.1.1 is not in the network"),
        (check("10.0.0.0/24", "fd00::1", ""), "(10.0.0.0/24): rangeStart fd00::1 is not in the network"),
        (check("10.0.0.0/24", "", "10.0.1.1"), "(10.0.0.0/24): rangeEnd 10.0.1.1 is not in the network"),
        (
            check("10.0.0.0/24", "10.0.0.9", "10.0.0.8"),
            "(10.0.0.0/24): rangeStart 10.0.0.9 is after the end of the range, 10.0.0.8",
        ),
    ];
    for (outcome, text) in refusals {
        assert_eq!(outcome.unwrap_err(), format!("range set 1, range 2 {text}"));
    }
    let bare = Range::check(&RangeConf::default(), Place { set: 0, range: 0 }).unwrap_err();
    assert_eq!(bare.to_string(), "range set 0, range 0 has no `subnet`");
}

#[test]
fn weakness_6_a_start_beyond_the_default_end_is_refused() {
    // The reference accepts it and hands out 10.0.0.255, 10.0.1.0, 10.0.1.1, ...
    let refusal = check("10.0.0.0/24", "10.0.0.255", "").unwrap_err();
    assert!(
        refusal.ends_with("rangeStart 10.0.0.255 is after the end of the range, 10.0.0.254"),
        "{refusal}"
    );
}

#[test]
fn overlaps_and_mixed_families_are_refused_within_a_set_and_overlaps_among_sets() {
    let (low, high) = (conf("10.0.0.0/24", "", "10.0.0.99"), conf("10.0.0.0/24", "10.0.0.100", ""));
    let (whole, v6) = (conf("10.0.0.0/24", "", ""), conf("fd00::/64", "", ""));
    let check = |sets: &[Vec<&RangeConf>]| {
        let sets: Vec<Vec<RangeConf>> =
            sets.iter().map(|set| set.iter().copied().cloned().collect()).collect();
        RangeSet::check_all(&sets).map(|sets| sets.len()).map_err(|error| error.to_string())
    };
    assert_eq!(check(&[vec![&low, &high], vec![&v6]]), Ok(2));
    assert_eq!(
        check(&[vec![&v6], vec![&low, &whole]]).unwrap_err(),
        "range set 1: the ranges 10.0.0.1-10.0.0.99 and 10.0.0.1-10.0.0.254 overlap"
    );
    assert_eq!(
        check(&[vec![&high], vec![&whole]]).unwrap_err(),
        "range sets 0 (10.0.0.100-10.0.0.254) and 1 (10.0.0.1-10.0.0.254) overlap"
    );
    let mixed = check(&[vec![&low, &v6]]).unwrap_err();
    assert!(mixed.contains("range set 0 mixes address families"), "{mixed}");
    assert_eq!(check(&[vec![&low], vec![]]).unwrap_err(), "range set 1 is empty");
    assert!(check(&[]).unwrap_err().starts_with("no IP ranges specified"));
}
