//! Keys and values against flannel's own tests and against what it would choke on.

use super::*;

fn subnets(v4: &str, v6: &str) -> Subnets {
    Subnets { v4: v4.parse().ok(), v6: v6.parse().ok() }
}

fn bare() -> LeaseAttributes {
    LeaseAttributes {
        public_ip: "1.2.3.4".parse().unwrap(),
        public_ipv6: None,
        backend_type: String::new(),
        backend_data: None,
        backend_v6_data: None,
        node: None,
    }
}

#[test]
fn keys_round_trip_in_all_three_forms() {
    for (key, want) in [
        ("10.5.52.0-24", subnets("10.5.52.0/24", "")),
        ("10.12.13.0-24&fd00:12:13::-56", subnets("10.12.13.0/24", "fd00:12:13::/56")),
        ("0.0.0.0-0&fd00:12:13::-56", subnets("", "fd00:12:13::/56")),
    ] {
        assert_eq!(Subnets::parse_key(key), Ok(want), "{key}");
        assert_eq!(want.to_key(), key);
    }
}

#[test]
fn malformed_keys_are_named_not_obeyed() {
    for key in [
        "",
        "10.5.34.0",
        "10.5.34.300-24",
        "10.5.34.0-24a",
        "10.5.34.0-",
        "fc00::-64",
        "&fc00::-64",
        "10.5.34.0-24&",
        "10.5.34.0-24&fc00::",
        "10.5.34.0-24&zz::-64",
        "10.5.34.0-24&10.6.0.0-24",
        "10.5.34.1-24",
        "10.5.34.0-32",
        "10.5.34.0-024",
        "10.5.34.0-+24",
        "0.0.0.0-0",
        "0.0.0.0-0&::-0",
        "10.5.34.0-24&fc00::-128",
        "10.0.0.0-24&fc00::-64&x",
    ] {
        assert!(Subnets::parse_key(key).is_err(), "{key}");
    }
}

#[test]
fn values_have_flannels_bytes() {
    assert_eq!(bare().to_json(), r#"{"PublicIP":"1.2.3.4","PublicIPv6":null}"#);
    let full = LeaseAttributes {
        public_ipv6: Some("fd00::1".parse().unwrap()),
        backend_type: "vxlan".into(),
        backend_data: Some(serde_json::json!({"VNI": 1}).into()),
        node: Some("a".into()),
        ..bare()
    };
    let text = r#"{"PublicIP":"1.2.3.4","PublicIPv6":"fd00::1","BackendType":"vxlan","BackendData":{"VNI":1},"Node":"a"}"#;
    assert_eq!(full.to_json(), text);
    assert_eq!(LeaseAttributes::parse(text.as_bytes()), Ok(full));
}

#[test]
fn values_are_read_in_any_order_and_letter_case() {
    let text = br#" {"backendtype":"host-gw","publicipv6":null,"PUBLICIP":"1.2.3.4","unknown":[1]} "#;
    let want = LeaseAttributes { backend_type: "host-gw".into(), ..bare() };
    assert_eq!(LeaseAttributes::parse(text), Ok(want));
    assert_eq!(LeaseAttributes::parse(b"{}").unwrap().public_v4(), None);
}

#[test]
fn a_value_that_is_no_lease_says_what_is_wrong() {
    for (text, word) in [
        (&b""[..], "not a JSON object"),
        (b"[]", "not a JSON object"),
        (br#"{"PublicIP":"1.2.3"}"#, "PublicIP"),
        (br#"{"PublicIP":"1.2.3.4","PublicIPv6":"1.2.3.4"}"#, "PublicIPv6"),
        (br#"{"PublicIP":"1.2.3.4","BackendType":7}"#, "BackendType"),
    ] {
        let error = LeaseAttributes::parse(text).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn overlap_is_judged_in_each_family() {
    let dual = subnets("10.1.0.0/24", "fd00:1::/64");
    assert!(dual.overlaps(&subnets("10.1.0.0/16", "")));
    assert!(dual.overlaps(&subnets("10.2.0.0/24", "fd00:1::/80")));
    assert!(!dual.overlaps(&subnets("10.2.0.0/24", "fd00:2::/64")));
}
