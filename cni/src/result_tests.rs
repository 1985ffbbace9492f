//! Every layout to the byte, every conversion, and what is refused. The expected texts were printed by the
//! Go library (containernetworking/cni 3f51e88) from the same results.

use super::*;
use crate::error::Code;

fn cidr(text: &str) -> Cidr {
    text.parse().unwrap()
}

fn full() -> AddResult {
    let text = r#"{"interfaces":[{"name":"cni0","mac":"aa:bb:cc:00:11:22"},{"name":"eth0","mtu":1450,
        "sandbox":"/run/netns/<a&b>","socketPath":"/s","pciID":"0000:01:00.0"}],
        "ips":[{"interface":0,"address":"10.1.0.5/16","gateway":"10.1.0.1"},{"address":"10.2.0.5/16"},
        {"interface":1,"address":"fd00::5/64"}],
        "routes":[{"dst":"0.0.0.0/0","gw":"10.1.0.1","mtu":1400,"advmss":5,"priority":7,"table":0,"scope":0},
        {"dst":"10.3.4.5/8"},{"dst":"::/0"}],
        "dns":{"nameservers":["1.1.1.1"],"domain":"d","search":["a"],"options":["o"]}}"#;
    AddResult::decode(text.as_bytes(), Version::V1_1_0).unwrap()
}

const PLAIN: &str = r#"{
    "cniVersion": "VERSION",
    "dns": {
        "domain": "d",
        "nameservers": [
            "1.1.1.1"
        ],
        "options": [
            "o"
        ],
        "search": [
            "a"
        ]
    },
    "interfaces": [
        {
            "mac": "aa:bb:cc:00:11:22",
            "name": "cni0"
        },
        {
            "mtu": 1450,
            "name": "eth0",
            "pciID": "0000:01:00.0",
            "sandbox": "/run/netns/\u003ca\u0026b\u003e",
            "socketPath": "/s"
        }
    ],
    "ips": [
        {
            "address": "10.1.0.5/16",
            "gateway": "10.1.0.1",
            "interface": 0
        },
        {
            "address": "10.2.0.5/16"
        },
        {
            "address": "fd00::5/64",
            "interface": 1
        }
    ],
    "routes": [
        {
            "advmss": 5,
            "dst": "0.0.0.0/0",
            "gw": "10.1.0.1",
            "mtu": 1400,
            "priority": 7,
            "scope": 0,
            "table": 0
        },
        {
            "dst": "10.3.4.5/8"
        },
        {
            "dst": "::/0"
        }
    ]
}"#;

const VERSIONED: &str = r#"{
    "cniVersion": "VERSION",
    "interfaces": [
        {
            "name": "cni0",
            "mac": "aa:bb:cc:00:11:22"
        },
        {
            "name": "eth0",
            "sandbox": "/run/netns/\u003ca\u0026b\u003e"
        }
    ],
    "ips": [
        {
            "version": "4",
            "interface": 0,
            "address": "10.1.0.5/16",
            "gateway": "10.1.0.1"
        },
        {
            "version": "4",
            "address": "10.2.0.5/16"
        },
        {
            "version": "6",
            "interface": 1,
            "address": "fd00::5/64"
        }
    ],
    "routes": [
        {
            "dst": "0.0.0.0/0",
            "gw": "10.1.0.1",
            "mtu": 1400,
            "advmss": 5,
            "priority": 7,
            "table": 0,
            "scope": 0
        },
        {
            "dst": "10.3.4.5/8"
        },
        {
            "dst": "::/0"
        }
    ],
    "dns": {
        "nameservers": [
            "1.1.1.1"
        ],
        "domain": "d",
        "search": [
            "a"
        ],
        "options": [
            "o"
        ]
    }
}"#;

const PER_FAMILY: &str = r#"{
    "cniVersion": "VERSION",
    "ip4": {
        "ip": "10.1.0.5/16",
        "gateway": "10.1.0.1",
        "routes": [
            {
                "dst": "0.0.0.0/0",
                "gw": "10.1.0.1"
            },
            {
                "dst": "10.3.4.5/8"
            }
        ]
    },
    "ip6": {
        "ip": "fd00::5/64",
        "routes": [
            {
                "dst": "::/0"
            }
        ]
    },
    "dns": {
        "nameservers": [
            "1.1.1.1"
        ],
        "domain": "d",
        "search": [
            "a"
        ],
        "options": [
            "o"
        ]
    }
}"#;

#[test]
fn every_version_is_written_in_its_own_layout() {
    for version in Version::ALL {
        let layout = match version.layout() {
            Layout::PerFamily => PER_FAMILY,
            Layout::Versioned => VERSIONED,
            Layout::Plain => PLAIN,
        };
        assert_eq!(full().encode(version).unwrap(), layout.replace("VERSION", version.as_str()));
    }
}

#[test]
fn an_empty_result_prints_dns_only_before_1_0_0() {
    let empty = AddResult::default();
    for version in [Version::V0_3_0, Version::V0_3_1, Version::V0_4_0] {
        assert_eq!(
            empty.encode(version).unwrap(),
            format!("{{\n    \"cniVersion\": \"{version}\",\n    \"dns\": {{}}\n}}")
        );
    }
    for version in [Version::V1_0_0, Version::V1_1_0] {
        assert_eq!(empty.encode(version).unwrap(), format!("{{\n    \"cniVersion\": \"{version}\"\n}}"));
    }
}

#[test]
fn without_an_address_the_oldest_versions_have_no_result() {
    for version in [Version::V0_1_0, Version::V0_2_0] {
        let error =
            AddResult { ips: vec![], ..full() }.encode(version).expect_err("a result without an address");
        assert_eq!(error.code, Code::INVALID_CONFIG);
        assert_eq!(error.msg, "cannot convert: no valid IP addresses");
    }
}

#[test]
fn zero_and_empty_are_left_out_except_where_go_has_a_pointer() {
    let result = AddResult {
        interfaces: vec![Interface { mac: Some(String::new()), mtu: Some(0), ..Interface::default() }],
        routes: vec![Route {
            mtu: Some(0),
            advmss: Some(0),
            priority: Some(0),
            table: Some(0),
            scope: Some(0),
            ..Route::to(cidr("::/0"))
        }],
        ..AddResult::default()
    };
    let text = result.encode(Version::V1_1_0).unwrap().replace([' ', '\n'], "");
    assert_eq!(
        text,
        r#"{"cniVersion":"1.1.0","interfaces":[{"name":""}],"routes":[{"dst":"::/0","scope":0,"table":0}]}"#
    );
}

#[test]
fn what_was_written_reads_back_as_what_that_version_can_say() {
    for version in Version::ALL {
        let text = full().encode(version).unwrap();
        let seen = full().seen_at(version).unwrap();
        assert_eq!(AddResult::decode(text.as_bytes(), Version::V0_3_1).unwrap(), seen, "{version}");
        assert_eq!(seen.seen_at(version).unwrap(), seen, "{version}");
    }
    assert_eq!(full().seen_at(Version::V1_0_0).unwrap(), full());
    assert_eq!(full().seen_at(Version::V0_4_0).unwrap().interfaces[1].mtu, None);
    assert_eq!(full().seen_at(Version::V0_2_0).unwrap().ips.len(), 2);
}

#[test]
fn the_oldest_layout_gives_ip4_then_ip6_and_their_routes_in_that_order() {
    let text = br#"{"ip6":{"ip":"fd00::1/64","routes":[{"dst":"::/0"}]},
        "ip4":{"ip":"10.0.0.2/24","gateway":"10.0.0.1","routes":[{"dst":"0.0.0.0/0","mtu":9}]}}"#;
    let result = AddResult::decode(text, Version::V0_1_0).unwrap();
    let ip = |address, gateway: Option<&str>| Ip {
        address: cidr(address),
        gateway: gateway.map(|ip| ip.parse().unwrap()),
        interface: None,
    };
    assert_eq!(result.ips, [ip("10.0.0.2/24", Some("10.0.0.1")), ip("fd00::1/64", None)]);
    let routes = [Route { mtu: Some(9), ..Route::to(cidr("0.0.0.0/0")) }, Route::to(cidr("::/0"))];
    assert_eq!(result.routes, routes);
}

#[test]
fn keys_of_results_fold_and_fields_newer_than_the_version_are_dropped() {
    let text = br#"{"CNIVERSION":"0.4.0","Interfaces":[{"NAME":"eth0","mtu":1500}],"IPS":[{"Address":"10.0.0.1/8","gateway":"","interface":null}]}"#;
    let result = AddResult::decode(text, Version::V1_1_0).unwrap();
    assert_eq!(result.interfaces, [Interface { name: "eth0".into(), ..Interface::default() }]);
    assert_eq!(result.ips, [Ip { address: cidr("10.0.0.1/8"), gateway: None, interface: None }]);
}

#[test]
fn null_is_an_empty_result_of_the_assumed_version() {
    for text in ["null", "{}", r#"{"cniVersion":""}"#, r#"{"cniVersion":null,"ips":null,"dns":null}"#] {
        assert_eq!(
            AddResult::decode(text.as_bytes(), Version::V0_4_0).unwrap(),
            AddResult::default(),
            "{text}"
        );
    }
}

#[test]
fn an_empty_version_in_a_delegates_result_is_the_configurations() {
    let text = br#"{"cniVersion":"","ips":[{"address":"10.0.0.1/8"}]}"#;
    assert_eq!(AddResult::decode(text, Version::V0_4_0).unwrap().ips.len(), 1);
    assert_eq!(AddResult::decode(text, Version::V0_2_0).unwrap().ips.len(), 0);
}

#[test]
fn mapped_addresses_are_ipv4() {
    let text = br#"{"ips":[{"address":"::ffff:10.0.0.1/120","gateway":"::ffff:10.0.0.2"}]}"#;
    let result = AddResult::decode(text, Version::V1_0_0).unwrap();
    assert_eq!(result.ips[0].address, cidr("10.0.0.1/24"));
    let text = result.encode(Version::V0_4_0).unwrap().replace([' ', '\n'], "");
    assert!(text.contains(r#"{"version":"4","address":"10.0.0.1/24","gateway":"10.0.0.2"}"#), "{text}");
}

#[test]
fn a_result_that_does_not_decode_is_code_6() {
    for text in [
        "",
        "[]",
        "\"x\"",
        "{",
        r#"{"cniVersion":1}"#,
        r#"{"cniVersion":"9.9.9"}"#,
        r#"{"cniVersion":"1.1"}"#,
        r#"{"ips":[{"address":"10.0.0.1"}]}"#,
        r#"{"ips":[{}]}"#,
        r#"{"ips":{}}"#,
        r#"{"ips":[{"address":"10.0.0.1/8","gateway":"x"}]}"#,
        r#"{"ips":[{"address":"10.0.0.1/8","interface":-1}]}"#,
        r#"{"interfaces":[{"name":1}]}"#,
        r#"{"routes":[{"dst":"10.0.0.0/8","mtu":1.5}]}"#,
        r#"{"cniVersion":"0.2.0","ip4":{"gateway":"10.0.0.1"}}"#,
        r#"{"cniVersion":"0.2.0","ip4":[]}"#,
    ] {
        let error = AddResult::decode(text.as_bytes(), Version::V1_1_0).expect_err(text);
        assert_eq!(error.code, Code::DECODE, "{text}");
    }
}

#[test]
fn prev_result_belongs_to_the_layout_of_the_configuration() {
    let previous = |version: &str, config| {
        let node = Node::parse(format!(r#"{{"cniVersion":"{version}"}}"#).as_bytes()).unwrap();
        AddResult::previous(&node, config).is_ok()
    };
    for config in Version::ALL {
        for version in Version::ALL {
            assert_eq!(previous(version.as_str(), config), version.layout() == config.layout());
        }
        assert_eq!(previous("", config), config.layout() == Layout::PerFamily);
        assert!(!previous("2.0.0", config));
        assert_eq!(
            AddResult::previous(&Node::Object(vec![]), config).expect("a version-less one"),
            AddResult::default()
        );
    }
}

proptest::proptest! {
    #[test]
    fn decoding_never_panics_and_what_decodes_can_be_written(text in r#"[\[\]{}":,0-9a-z./ ]{0,60}"#) {
        if let Ok(result) = AddResult::decode(text.as_bytes(), Version::V1_1_0) {
            let written = result.encode(Version::V1_1_0).expect("every result has this layout");
            proptest::prop_assert_eq!(AddResult::decode(written.as_bytes(), Version::V0_1_0), Ok(result));
        }
    }
}
