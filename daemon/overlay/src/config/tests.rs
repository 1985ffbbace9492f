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
        (r#","Backend":null"#, ""),
        (r#","Backend":{}"#, ""),
        (r#","Backend":{"Type":"Tencent-VPC"}"#, "Tencent-VPC"),
    ] {
        let text = format!(r#"{{"Network":"10.3.0.0/16"{backend}}}"#);
        let error = NetworkConfig::parse(text.as_bytes()).unwrap_err();
        assert!(
            matches!(&error, ConfigError::UnsupportedBackend { name: found, .. } if found == name),
            "{error:?}"
        );
        assert!(error.to_string().contains("host-gw"), "{error}");
    }
    let loud = br#"{"NETWORK":"10.3.0.0/16","BACKEND":{"type":"Host-GW"}}"#;
    assert_eq!(NetworkConfig::parse(loud).unwrap().backend, BackendConfig::HostGw);
}

fn vxlan(keys: &str) -> Result<BackendConfig, ConfigError> {
    let text = format!(
        r#"{{"Network":"10.3.0.0/16","EnableIPv6":true,"IPv6Network":"fd03::/48","Backend":{{"Type":"vxlan"{keys}}}}}"#
    );
    NetworkConfig::parse(text.as_bytes()).map(|config| config.backend)
}

#[test]
fn vxlan_has_flannels_keys_and_defaults() {
    let plain =
        VxlanConfig { vni: 1, port: None, mtu: None, gbp: false, learning: false, direct_routing: false };
    assert_eq!(vxlan(""), Ok(BackendConfig::Vxlan(plain)));
    let all = r#","vni":4096,"PORT":4789,"mtu":1400,"gbp":true,"Learning":true,"directrouting":true"#;
    let want = VxlanConfig {
        vni: 4096,
        port: Some(4789),
        mtu: Some(1400),
        gbp: true,
        learning: true,
        direct_routing: true,
    };
    assert_eq!(vxlan(all), Ok(BackendConfig::Vxlan(want)));
    assert_eq!(vxlan(r#","Port":0,"MTU":0,"VNI":null"#), Ok(BackendConfig::Vxlan(plain)));
}

#[test]
fn vxlan_keys_that_no_device_can_have_are_refused() {
    for (keys, word) in [
        (r#","VNI":16777216"#, "no VXLAN network identifier"),
        (r#","VNI":-1"#, "VNI in the network configuration"),
        (r#","VNI":10000"#, "flannel-v6.10000"),
        (r#","Port":65536"#, "Port in the network configuration"),
        (r#","MTU":100"#, "no room for a tunnel"),
        (r#","GBP":1"#, "GBP in the network configuration"),
    ] {
        let error = vxlan(keys).unwrap_err().to_string();
        assert!(error.contains(word), "{keys}: {error}");
    }
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
