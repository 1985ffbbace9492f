//! flannel's defaults and limits (its `subnet/config_test.go` and flannel-behaviour §4), and what we refuse beyond them.

use super::*;

fn host_gw(rest: &str) -> Result<NetworkConfig, ConfigError> {
    NetworkConfig::parse(format!(r#"{{{rest}, "Backend":{{"Type":"host-gw"}}}}"#).as_bytes())
}

fn v4(rest: &str) -> FamilyConfig {
    host_gw(rest).unwrap().v4.unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn a_network_alone_gets_flannels_defaults() {
    let family = v4(r#""network":"10.3.0.0/16""#);
    assert_eq!((family.subnet_len, family.min, family.max), (24, ip("10.3.1.0"), ip("10.3.255.0")));
    let config = host_gw(r#""enableIPv4":false,"enableIPv6":true,"ipv6Network":"fc00::/48""#).unwrap();
    assert_eq!(config.v4, None);
    let family = config.v6.unwrap();
    assert_eq!((family.subnet_len, family.min, family.max), (64, ip("fc00:0:0:1::"), ip("fc00:0:0:ffff::")));
}

#[test]
fn a_small_network_is_cut_into_four() {
    let family = v4(r#""Network":"10.3.0.0/28""#);
    assert_eq!((family.subnet_len, family.min, family.max), (30, ip("10.3.0.4"), ip("10.3.0.12")));
    assert_eq!(
        host_gw(r#""Network":"10.3.0.0/29""#),
        Err(ConfigError::NetworkTooSmall { network: "10.3.0.0/29".parse().unwrap(), longest: 28 })
    );
}

#[test]
fn the_largest_networks_have_limits_too() {
    let family = v4(r#""Network":"0.0.0.0/0","SubnetLen":2"#);
    assert_eq!((family.min, family.max), (ip("64.0.0.0"), ip("192.0.0.0")));
    let config =
        host_gw(r#""EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"::/0","IPv6SubnetLen":2"#).unwrap();
    assert_eq!(config.v6.unwrap().max, ip("c000::"));
}

#[test]
fn host_bits_are_cleared_and_given_limits_kept() {
    let family =
        v4(r#""Network":"10.3.7.9/16","SubnetLen":28,"SubnetMin":"10.3.5.0","SubnetMax":"10.3.8.16""#);
    assert_eq!(family.network, "10.3.0.0/16".parse().unwrap());
    assert_eq!((family.subnet_len, family.min, family.max), (28, ip("10.3.5.0"), ip("10.3.8.16")));
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    for (rest, word) in [
        (r#""SubnetLen":24"#, "Network is missing"),
        (r#""Network":"fc00::/48""#, "not a network of that family"),
        (r#""Network":"10.0.0.0""#, "not a network of that family"),
        (r#""Network":"10.3.0.0/16","SubnetLen":31"#, "SubnetLen 31 is too long"),
        (r#""Network":"10.3.0.0/16","SubnetLen":300"#, "SubnetLen 300 is too long"),
        (r#""Network":"10.3.0.0/16","SubnetLen":17"#, "at least four subnets"),
        (r#""Network":"10.3.0.0/16","SubnetLen":"24""#, "SubnetLen in the network configuration"),
        (r#""Network":"10.3.0.0/16","SubnetMin":"10.4.0.0""#, "SubnetMin 10.4.0.0 is not inside"),
        (r#""Network":"10.3.0.0/16","SubnetMin":"10.3.1.8""#, "not the first address"),
        (
            r#""Network":"10.3.0.0/16","SubnetMin":"10.3.9.0","SubnetMax":"10.3.2.0""#,
            "SubnetMin 10.3.9.0 is above",
        ),
        (r#""EnableIPv4":false"#, "no address family"),
    ] {
        let error = host_gw(rest).unwrap_err().to_string();
        assert!(error.contains(word), "{rest}: {error}");
    }
}

#[test]
fn a_backend_of_a_later_version_is_refused_by_name() {
    for (backend, name) in [
        ("", "udp"),
        (r#","Backend":null"#, ""),
        (r#","Backend":{}"#, ""),
        (r#","Backend":{"Type":"VXLAN"}"#, "VXLAN"),
    ] {
        let text = format!(r#"{{"Network":"10.3.0.0/16"{backend}}}"#);
        let error = NetworkConfig::parse(text.as_bytes()).unwrap_err();
        assert_eq!(error, ConfigError::UnsupportedBackend { name: name.into() }, "{text}");
        assert!(error.to_string().contains("host-gw"), "{error}");
    }
    let loud = br#"{"NETWORK":"10.3.0.0/16","BACKEND":{"type":"Host-GW"}}"#;
    assert_eq!(NetworkConfig::parse(loud).unwrap().backend, BackendConfig::HostGw);
}

#[test]
fn a_lease_is_admitted_by_length_alignment_and_limits() {
    let family = v4(r#""Network":"10.3.0.0/16","SubnetMin":"10.3.4.0","SubnetMax":"10.3.8.0""#);
    for (subnet, admitted) in [
        ("10.3.4.0/24", true),
        ("10.3.8.0/24", true),
        ("10.3.3.0/24", false),
        ("10.3.9.0/24", false),
        ("10.3.4.0/25", false),
        ("10.3.4.1/24", false),
        ("fd00::/24", false),
    ] {
        assert_eq!(family.admits(subnet.parse().unwrap()), admitted, "{subnet}");
    }
}
