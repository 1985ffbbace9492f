//! The exact text of results at every version: cni-contract §6.2, to the byte.

use netns_fixtures::{Bins, Invocation, Node, Pod, Space};
use serde_json::{Value, json};
use tempfile::TempDir;

const LOOPBACK_OLDEST: &str = r#"{
    "cniVersion": "VERSION",
    "ip4": {
        "ip": "127.0.0.1/8"
    },
    "ip6": {
        "ip": "::1/128"
    },
    "dns": {}
}"#;
const LOOPBACK_MIDDLE: &str = r#"{
    "cniVersion": "VERSION",
    "interfaces": [
        {
            "name": "lo",
            "mac": "00:00:00:00:00:00",
            "sandbox": "SANDBOX"
        }
    ],
    "ips": [
        {
            "version": "4",
            "interface": 0,
            "address": "127.0.0.1/8"
        },
        {
            "version": "6",
            "interface": 0,
            "address": "::1/128"
        }
    ],
    "dns": {}
}"#;
const LOOPBACK_NEWEST: &str = r#"{
    "cniVersion": "VERSION",
    "interfaces": [
        {
            "mac": "00:00:00:00:00:00",
            "name": "lo",
            "sandbox": "SANDBOX"
        }
    ],
    "ips": [
        {
            "address": "127.0.0.1/8",
            "interface": 0
        },
        {
            "address": "::1/128",
            "interface": 0
        }
    ]
}"#;
const IPAM_OLDEST: &str = r#"{
    "cniVersion": "VERSION",
    "ip4": {
        "ip": "10.66.0.2/24",
        "gateway": "10.66.0.1",
        "routes": [
            {
                "dst": "0.0.0.0/0"
            },
            {
                "dst": "10.9.1.2/16",
                "gw": "10.66.0.9"
            }
        ]
    },
    "ip6": {
        "ip": "fd66::1/64",
        "gateway": "fd66::ffff"
    },
    "dns": {
        "nameservers": [
            "10.0.0.53"
        ],
        "domain": "example.org",
        "search": [
            "a.example.org"
        ],
        "options": [
            "ndots:5"
        ]
    }
}"#;
const IPAM_MIDDLE: &str = r#"{
    "cniVersion": "VERSION",
    "ips": [
        {
            "version": "4",
            "address": "10.66.0.2/24",
            "gateway": "10.66.0.1"
        },
        {
            "version": "6",
            "address": "fd66::1/64",
            "gateway": "fd66::ffff"
        }
    ],
    "routes": [
        {
            "dst": "0.0.0.0/0"
        },
        {
            "dst": "10.9.1.2/16",
            "gw": "10.66.0.9",
            "mtu": 1400,
            "priority": 7,
            "table": 0
        },
        {
            "dst": "::/0"
        }
    ],
    "dns": {}
}"#;

fn add(plugin: &str, config: &Value, pod: &Pod) -> String {
    let (host, bins) = (Node::new("host"), Bins::multicall());
    let request =
        Invocation::new(&bins, plugin).verb("ADD").container("c1").ifname("eth0").netns(&pod.path());
    let answer = request.config(config).run(&host);
    assert!(answer.succeeded(), "{answer}");
    answer.stdout
}

#[track_caller]
fn assert_text(version: &str, printed: &str, expected: &str) {
    assert_eq!(printed, expected.replace("VERSION", version), "at {version}");
}

#[test]
fn loopback_has_the_right_layout_at_every_version() {
    let cases: [(&[&str], &str); 3] = [
        (&["0.1.0", "0.2.0"], LOOPBACK_OLDEST),
        (&["0.3.0", "0.3.1", "0.4.0"], LOOPBACK_MIDDLE),
        (&["1.0.0", "1.1.0"], LOOPBACK_NEWEST),
    ];
    for (versions, expected) in cases {
        for version in versions {
            let pod = Pod::new();
            let config = json!({"cniVersion": version, "name": "lo", "type": "loopback"});
            assert_text(version, &add("loopback", &config, &pod), &expected.replace("SANDBOX", &pod.path()));
        }
    }
}

/// Both families, routes with and without a gateway, and DNS.
fn host_local(version: &str, state: &TempDir) -> Value {
    let resolv = state.path().join("resolv.conf");
    std::fs::write(
        &resolv,
        "nameserver 10.0.0.53\ndomain example.org\nsearch a.example.org\noptions ndots:5\n",
    )
    .unwrap();
    json!({
        "cniVersion": version, "name": "layouts", "type": "host-local",
        "ipam": {
            "type": "host-local", "dataDir": state.path().join("ipam"), "resolvConf": resolv,
            "ranges": [[{"subnet": "10.66.0.0/24"}], [{"subnet": "fd66::/64", "gateway": "fd66::ffff"}]],
            "routes": [{"dst": "0.0.0.0/0"}, {"dst": "10.9.1.2/16", "gw": "10.66.0.9", "mtu": 1400, "priority": 7, "table": 0},
                {"dst": "::/0"}],
        },
    })
}

#[test]
fn an_ipam_result_has_the_right_layout_in_the_oldest_versions() {
    for version in ["0.1.0", "0.2.0"] {
        let state = TempDir::new().unwrap();
        let mut config = host_local(version, &state);
        // Before 0.3.0 a result holds one address a family.
        config["ipam"]["routes"] =
            json!([{"dst": "0.0.0.0/0"}, {"dst": "10.9.1.2/16", "gw": "10.66.0.9", "mtu": 1400}]);
        assert_text(version, &add("host-local", &config, &Pod::new()), IPAM_OLDEST);
    }
}

#[test]
fn an_ipam_result_has_the_right_layout_in_the_middle_versions() {
    for version in ["0.3.0", "0.3.1", "0.4.0"] {
        let state = TempDir::new().unwrap();
        let mut config = host_local(version, &state);
        config["ipam"]["resolvConf"] = Value::Null;
        assert_text(version, &add("host-local", &config, &Pod::new()), IPAM_MIDDLE);
    }
}

#[test]
fn an_ipam_result_has_sorted_keys_in_the_newest_versions() {
    for version in ["1.0.0", "1.1.0"] {
        let state = TempDir::new().unwrap();
        let printed = add("host-local", &host_local(version, &state), &Pod::new());
        let read: Value = serde_json::from_str(&printed).unwrap();
        // serde_json keeps keys sorted: printing what was read again gives the same text, indented by four.
        assert_eq!(printed, four_spaces(&read), "at {version}");
        assert_eq!(
            read["routes"][1],
            json!({"dst": "10.9.1.2/16", "gw": "10.66.0.9", "mtu": 1400, "priority": 7, "table": 0})
        );
        assert_eq!(read["dns"]["options"], json!(["ndots:5"]));
        assert!(read["ips"][0].get("version").is_none() && read["ips"][0].get("interface").is_none());
    }
}

fn four_spaces(value: &Value) -> String {
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut printer = serde_json::Serializer::with_formatter(&mut text, formatter);
    serde::Serialize::serialize(value, &mut printer).unwrap();
    String::from_utf8(text).unwrap()
}

#[test]
fn a_bridge_result_lists_bridge_host_end_and_sandbox_end() {
    let state = TempDir::new().unwrap();
    for version in ["0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        let pod = Pod::new();
        let ipam =
            json!({"type": "host-local", "dataDir": state.path().join(version), "subnet": "10.66.0.0/24"});
        let config =
            json!({"cniVersion": version, "name": "b", "type": "bridge", "isGateway": true, "ipam": ipam});
        let result: Value = serde_json::from_str(&add("bridge", &config, &pod)).unwrap();
        let interfaces = result["interfaces"].as_array().unwrap();
        assert_eq!(interfaces.len(), 3, "{result:#}");
        assert_eq!(interfaces[0]["name"], "cni0");
        assert!(interfaces[1]["name"].as_str().unwrap().starts_with("veth"), "{result:#}");
        assert_eq!(interfaces[2]["name"], "eth0");
        let sandboxes: Vec<&Value> = interfaces.iter().map(|interface| &interface["sandbox"]).collect();
        assert_eq!(sandboxes, [&Value::Null, &Value::Null, &json!(pod.path())], "{result:#}");
        assert_eq!(result["ips"][0]["interface"], 2);
        assert_eq!(result["ips"][0]["gateway"], "10.66.0.1");
        let shown = pod.run("ip -j link show dev eth0");
        assert!(shown.contains(interfaces[2]["mac"].as_str().unwrap()), "{shown}");
    }
}
