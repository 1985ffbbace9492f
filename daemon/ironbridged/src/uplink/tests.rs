//! Which link is chosen among several, and how a choice that cannot work is refused.

use super::*;

fn config(families: &str) -> NetworkConfig {
    let text = match families {
        "v4" => r#"{"Network":"10.3.0.0/16","Backend":{"Type":"host-gw"}}"#,
        "v6" => {
            r#"{"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"fd03::/48","Backend":{"Type":"host-gw"}}"#
        }
        _ => {
            r#"{"Network":"10.3.0.0/16","EnableIPv6":true,"IPv6Network":"fd03::/48","Backend":{"Type":"host-gw"}}"#
        }
    };
    NetworkConfig::parse(text.as_bytes()).unwrap()
}

fn link(index: u32, name: &str, v4: &[&str], v6: &[&str]) -> Candidate {
    let networks = |texts: &[&str]| texts.iter().map(|t| t.parse().unwrap()).collect();
    Candidate {
        uplink: Uplink { index, name: name.into(), v4: networks(v4), v6: networks(v6), mtu: 1500 },
        usable_v4: v4.iter().map(|t| t.split('/').next().unwrap().parse().unwrap()).collect(),
        usable_v6: v6.iter().map(|t| t.split('/').next().unwrap().parse().unwrap()).collect(),
    }
}

fn node() -> Node {
    Node {
        links: vec![
            link(2, "eth0", &["10.0.2.15/24"], &["fd00:2::1/64"]),
            link(3, "eth1", &["192.0.2.1/24", "192.0.2.9/24"], &["fd00:3::1/64"]),
            link(4, "eth2", &[], &[]),
        ],
        default_v4: Some(2),
        default_v6: Some(3),
        routes: vec![("198.51.100.1".parse().unwrap(), 3)],
    }
}

fn wish(wish: Wish) -> UplinkChoice {
    UplinkChoice { wishes: vec![wish], ..UplinkChoice::default() }
}

fn name(choice: &UplinkChoice, families: &str) -> Result<String, String> {
    choose(&node(), choice, &config(families)).map(|c| c.uplink.name).map_err(|e| e.to_string())
}

#[test]
fn without_a_wish_the_default_route_decides() {
    let chosen = choose(&node(), &UplinkChoice::default(), &config("v4")).unwrap();
    assert_eq!((chosen.uplink.index, chosen.v4, chosen.v6), (2, Some("10.0.2.15".parse().unwrap()), None));
    assert_eq!(name(&UplinkChoice::default(), "v6"), Ok("eth1".into()));
    let error = name(&UplinkChoice::default(), "dual").unwrap_err();
    assert!(error.contains("IPv4 (eth0) and IPv6 (eth1) use different links"), "{error}");
}

#[test]
fn without_a_wish_the_owner_of_the_public_address_comes_first() {
    let public = UplinkChoice { public_ip: Some("192.0.2.9".parse().unwrap()), ..UplinkChoice::default() };
    let chosen = choose(&node(), &public, &config("v4")).unwrap();
    assert_eq!((chosen.uplink.name.as_str(), chosen.v4), ("eth1", public.public_ip));
    let nobody = UplinkChoice { public_ip: Some("203.0.113.1".parse().unwrap()), ..UplinkChoice::default() };
    assert!(name(&nobody, "v4").unwrap_err().contains("no link has the public address 203.0.113.1"));
}

#[test]
fn every_kind_of_wish_finds_its_link() {
    for (kind, want) in [
        (Wish::Name("eth1".into()), "eth1"),
        (Wish::Address("192.0.2.9".parse().unwrap()), "eth1"),
        (Wish::Pattern(regex_lite::Regex::new("^192\\.").unwrap()), "eth1"),
        (Wish::Pattern(regex_lite::Regex::new("^eth0$").unwrap()), "eth0"),
        (Wish::Reach("198.51.100.1".parse().unwrap()), "eth1"),
    ] {
        let text = kind.to_string();
        assert_eq!(name(&wish(kind), "v4"), Ok(want.into()), "{text}");
    }
}

#[test]
fn the_first_wish_that_fits_wins_and_none_is_an_error_with_the_links() {
    let choice = UplinkChoice {
        wishes: vec![Wish::Name("bond0".into()), Wish::Name("eth1".into())],
        ..UplinkChoice::default()
    };
    assert_eq!(name(&choice, "v4"), Ok("eth1".into()));
    let error = name(&wish(Wish::Name("bond0".into())), "v4").unwrap_err();
    assert!(error.contains("bond0") && error.contains("eth0 (10.0.2.15/24 fd00:2::1/64)"), "{error}");
}

#[test]
fn an_uplink_that_cannot_serve_is_refused() {
    let error = name(&wish(Wish::Name("eth2".into())), "v4").unwrap_err();
    assert!(error.contains("eth2 has no IPv4 address"), "{error}");
    let mut nat = wish(Wish::Name("eth0".into()));
    nat.public_ip = Some("203.0.113.1".parse().unwrap());
    let error = name(&nat, "v4").unwrap_err();
    assert!(error.contains("--public-ip 203.0.113.1 is not an address of uplink eth0"), "{error}");
}
