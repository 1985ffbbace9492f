//! The file's bytes, and reading back what others have scribbled into it.

use super::*;

#[test]
fn the_file_is_flannels_to_the_byte() {
    let config = NetworkConfig::parse(
        br#"{"Network":"10.5.0.0/16","EnableIPv6":true,"IPv6Network":"fd00::/48","Backend":{"Type":"host-gw"}}"#,
    )
    .unwrap();
    let own = Subnets::parse_key("10.5.72.0-24&fd00:0:0:1::-64").unwrap();
    let text = SubnetEnv::new(&config, &own, 1500, Masquerade::ByDaemon).to_string();
    assert_eq!(
        text,
        "FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=10.5.72.1/24\nFLANNEL_IPV6_NETWORK=fd00::/48\n\
         FLANNEL_IPV6_SUBNET=fd00:0:0:1::1/64\nFLANNEL_MTU=1500\nFLANNEL_IPMASQ=true\n"
    );
    let back = Previous::parse(&text);
    assert_eq!(back.subnets, own);
    assert_eq!(back.networks.v4, Some("10.5.0.0/16".parse().unwrap()));
}

#[test]
fn what_cannot_be_read_counts_as_nothing() {
    for text in [
        "",
        "FLANNEL_SUBNET",
        "FLANNEL_SUBNET=",
        "FLANNEL_SUBNET=10.5.72.1",
        "FLANNEL_SUBNET=10.5.1.1/24,10.6.1.1/24",
    ] {
        assert_eq!(Previous::parse(text), Previous::default(), "{text}");
    }
    let text = "# hand-made\nexport FLANNEL_SUBNET = \"10.5.72.1/24\"\nFLANNEL_IPV6_SUBNET=10.5.72.1/24\n";
    assert_eq!(
        Previous::parse(text).subnets,
        Subnets { v4: Some("10.5.72.0/24".parse().unwrap()), v6: None }
    );
}
