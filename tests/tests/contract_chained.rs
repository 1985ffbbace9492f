//! The protocol for chained plugins: every verb at every version, refusals with their codes, and nothing left behind.

use netns_fixtures::{Bins, assert_same, needs};
use serde_json::{Value, json};
use tests::contract::{CHAINED, Contract, State, VERSIONS, has, versions};
use tests::merged;

/// A sandbox with an interface, and the result that says so.
fn attached(bins: Bins, version: &str) -> (Contract, Value) {
    let world = Contract::new(bins);
    let result = world.run("bridge", "ADD", &world.config("bridge", version)).result();
    (world, result)
}

/// What a plugin is sent after the bridge, with more keys.
fn config(world: &Contract, plugin: (&str, &str), result: &Value, more: &Value) -> Value {
    let with_result = merged(world.config(plugin.0, plugin.1), &json!({"prevResult": result}));
    merged(with_result, more)
}

#[test]
fn every_verb_is_served_from_its_version_on() {
    for bins in [Bins::multicall(), Bins::separate()] {
        for version in VERSIONS {
            let (world, result) = attached(bins.clone(), version);
            for plugin in CHAINED.into_iter().filter(|plugin| *plugin != "vrf") {
                every_verb(&world, (plugin, version), &result);
            }
        }
    }
}

#[test]
fn every_verb_is_served_by_vrf() {
    needs!(Vrf);
    for version in VERSIONS {
        let (world, result) = attached(Bins::multicall(), version);
        every_verb(&world, ("vrf", version), &result);
    }
}

/// All verbs in the order of an attachment's life, each twice. What is newer than the version is code 1, and so is
/// everything at a version that the plugin does not serve.
fn every_verb(world: &Contract, plugin: (&str, &str), result: &Value) {
    let (name, version) = plugin;
    let before = world.state();
    let config = config(world, plugin, result, &json!({}));
    for verb in ["ADD", "ADD", "CHECK", "STATUS", "DEL", "DEL", "GC", "GC"] {
        let all = json!([{"containerID": "c1", "ifname": "eth0"}]);
        let answer =
            world.run(name, verb, &merged(config.clone(), &json!({"cni.dev/valid-attachments": all})));
        let served = versions(name).contains(&version) && has(version, verb);
        match (served, verb) {
            (true, "ADD") => {
                let added = answer.result();
                assert_eq!(added["cniVersion"], version, "{name}");
                assert_eq!(added["ips"], result["ips"], "{name} at {version}");
                assert_eq!(added["ip4"], result["ip4"], "{name} at {version}");
            }
            (true, _) => answer.silent(),
            (false, _) => assert_eq!(answer.error().code, 1, "{name} {verb} at {version}: {answer}"),
        }
    }
    let after = world.state();
    // Routes that sbr or vrf took out of the main table go with the interface: as in the reference, no DEL puts them back. The
    // kernel makes its own rules with a namespace's first VRF, and leaves them.
    let moved = |section: &str, line: &str| match section {
        "route" => ["sbr", "vrf"].contains(&name),
        "rule" => name == "vrf" && line.contains("l3mdev"),
        _ => false,
    };
    let [before, after] = [before, after].map(|state| State { pod: state.pod.without(moved), ..state });
    before.assert_is(&after, &format!("{name} at {version}"));
}

#[test]
fn gc_removes_what_is_not_valid_and_keeps_what_is() {
    for plugin in CHAINED.into_iter().filter(|plugin| *plugin != "vrf") {
        let (world, result) = attached(Bins::multicall(), "1.1.0");
        let before = world.state();
        let config = config(&world, (plugin, "1.1.0"), &result, &json!({}));
        assert_eq!(world.run(plugin, "ADD", &config).result()["ips"], result["ips"], "{plugin}");
        let added = world.state();
        let gc = |valid: Value| {
            let config = merged(world.config(plugin, "1.1.0"), &json!({"cni.dev/valid-attachments": valid}));
            world.run(plugin, "GC", &config).silent();
        };
        gc(json!([{"containerID": "c1", "ifname": "eth0"}]));
        added.assert_is(&world.state(), &format!("{plugin}: a valid attachment after GC"));
        let other = json!({"name": "other", "cni.dev/valid-attachments": []});
        world.run(plugin, "GC", &merged(world.config(plugin, "1.1.0"), &other)).silent();
        added.assert_is(&world.state(), &format!("{plugin}: after the GC of another network"));
        gc(json!([{"containerID": "c1", "ifname": "net1"}, {"containerID": "c2", "ifname": "eth0"}]));
        let after = world.state();
        assert_eq!(after.files, before.files, "{plugin}: files");
        // What hangs on the interface goes with it: GC of the plugin that made it.
        let hangs = |section: &str, _: &str| section == "qdisc";
        let [before, after] = [before.host, after.host].map(|host| host.without(hangs));
        assert_same(&before, &after, &format!("{plugin}: after GC"));
    }
}

#[test]
fn status_says_what_is_wrong_with_a_configuration() {
    let world = Contract::new(Bins::multicall());
    for (plugin, more) in [
        ("portmap", json!({"markMasqBit": 32})),
        ("bandwidth", json!({"ingressBurst": 0})),
        ("firewall", json!({"backend": "nonsense"})),
        ("tuning", json!({"mtu": -1})),
        ("sbr", json!({"table": -1})),
        ("vrf", json!({"vrfname": ""})),
    ] {
        let config = merged(world.config(plugin, "1.1.0"), &more);
        let error = world.run(plugin, "STATUS", &config).error();
        assert!([7, 50].contains(&error.code), "{plugin}: {error:?}");
    }
}

/// Requests that are refused: plugin, keys, code, and what the message names.
const REFUSED: &[(&str, &str, u64, &str)] = &[
    (
        "portmap",
        r#"{"runtimeConfig": {"portMappings": [{"hostPort": 65536, "containerPort": 80, "protocol": "tcp"}]}}"#,
        7,
        "65536",
    ),
    (
        "portmap",
        r#"{"runtimeConfig": {"portMappings": [{"hostPort": -1, "containerPort": 80, "protocol": "tcp"}]}}"#,
        7,
        "-1",
    ),
    (
        "portmap",
        r#"{"runtimeConfig": {"portMappings": [{"hostPort": 80, "containerPort": 4294967376, "protocol": "tcp"}]}}"#,
        7,
        "4294967376",
    ),
    (
        "portmap",
        r#"{"runtimeConfig": {"portMappings": [{"hostPort": "80", "containerPort": 80, "protocol": "tcp"}]}}"#,
        7,
        "hostPort",
    ),
    (
        "portmap",
        r#"{"runtimeConfig": {"portMappings": [{"hostPort": 80.5, "containerPort": 80, "protocol": "tcp"}]}}"#,
        7,
        "hostPort",
    ),
    (
        "portmap",
        r#"{"runtimeConfig": {"portMappings": [{"hostPort": 80, "containerPort": 80, "protocol": "icmp"}]}}"#,
        7,
        "icmp",
    ),
    (
        "portmap",
        r#"{"runtimeConfig": {"portMappings": [{"hostPort": 80, "containerPort": 80, "protocol": "tcp", "hostIP": "10.0.0"}]}}"#,
        7,
        "10.0.0",
    ),
    ("portmap", r#"{"runtimeConfig": {"portMappings": {"hostPort": 80}}}"#, 7, "portMappings"),
    ("portmap", r#"{"markMasqBit": 32}"#, 7, "markMasqBit"),
    ("portmap", r#"{"markMasqBit": -1}"#, 7, "markMasqBit"),
    ("portmap", r#"{"markMasqBit": 1e30}"#, 7, "markMasqBit"),
    ("portmap", r#"{"backend": "ipvs"}"#, 7, "ipvs"),
    ("portmap", r#"{"snat": "yes"}"#, 7, "snat"),
    ("portmap", r#"{"conditionsV4": ["ct", "state", "new"]}"#, 2, "conditionsV4"),
    ("portmap", r#"{"conditionsV4": "tcp"}"#, 7, "conditionsV4"),
    ("portmap", r#"{"externalSetMarkChain": "KUBE MARK"}"#, 7, "KUBE MARK"),
    ("bandwidth", r#"{"ingressRate": -1}"#, 7, "ingressRate"),
    ("bandwidth", r#"{"ingressRate": 1.5}"#, 7, "ingressRate"),
    ("bandwidth", r#"{"ingressRate": "1M"}"#, 7, "ingressRate"),
    ("bandwidth", r#"{"ingressRate": 1e300}"#, 7, "ingressRate"),
    ("bandwidth", r#"{"ingressRate": 7}"#, 7, "ingressRate 7"),
    ("bandwidth", r#"{"ingressBurst": 0}"#, 7, "ingressBurst"),
    ("bandwidth", r#"{"egressBurst": 34359738360}"#, 7, "34359738359"),
    ("bandwidth", r#"{"egressBurst": 18446744073709551616}"#, 7, "egressBurst"),
    ("bandwidth", r#"{"shapedSubnets": ["hello"]}"#, 7, "hello"),
    ("bandwidth", r#"{"shapedSubnets": ["10.0.0.0/8"], "unshapedSubnets": ["::/0"]}"#, 7, "exclude"),
    ("firewall", r#"{"backend": "nft"}"#, 7, "nft"),
    ("firewall", r#"{"ingressPolicy": "closed"}"#, 7, "closed"),
    (
        "firewall",
        r#"{"iptablesAdminChainName": "a-name-of-more-than-28-letters"}"#,
        7,
        "iptablesAdminChainName",
    ),
    ("firewall", r#"{"iptablesAdminChainName": 5}"#, 7, "iptablesAdminChainName"),
    ("firewall", r#"{"firewalldZone": ["trusted"]}"#, 7, "firewalldZone"),
    ("tuning", r#"{"mtu": -1}"#, 7, "mtu -1"),
    ("tuning", r#"{"mtu": 65536}"#, 7, "mtu 65536"),
    ("tuning", r#"{"mtu": "1400"}"#, 7, "mtu"),
    ("tuning", r#"{"txQLen": 4294967296}"#, 7, "4294967296"),
    ("tuning", r#"{"mac": "01:00:5e:00:00:01"}"#, 7, "unicast"),
    ("tuning", r#"{"sysctl": {"kernel.hostname": "x"}}"#, 7, "kernel.hostname"),
    ("tuning", r#"{"sysctl": {"net/../kernel/hostname": "x"}}"#, 7, "hostname"),
    ("tuning", r#"{"sysctl": {"net.core.somaxconn": 5}}"#, 7, "sysctl"),
    ("tuning", r#"{"sysctl": ["net.core.somaxconn"]}"#, 7, "sysctl"),
    ("tuning", r#"{"sysctl": {"net.core.no_such": "1"}}"#, 110, "no_such"),
    ("sbr", r#"{"table": -1}"#, 7, "table -1"),
    ("sbr", r#"{"table": 4294967296}"#, 7, "4294967296"),
    ("sbr", r#"{"table": "main"}"#, 7, "table"),
    ("sbr", r#"{"gateways": ["10.0.0"]}"#, 7, "10.0.0"),
    ("sbr", r#"{"gateways": ["10.0.0.1", "10.0.0.2"]}"#, 7, "one a family"),
    ("vrf", r#"{"vrfname": ""}"#, 7, "vrfname"),
    ("vrf", r#"{"vrfname": "sixteen-letters-"}"#, 7, "sixteen"),
    ("vrf", r#"{"vrfname": "a/b"}"#, 7, "a/b"),
    ("vrf", r#"{"table": -1}"#, 7, "table"),
    ("vrf", r#"{"table": 4294967296}"#, 7, "table"),
];

#[test]
fn refused_values_have_their_codes_are_named_and_leave_nothing_behind() {
    let (world, result) = attached(Bins::multicall(), "1.1.0");
    let before = world.state();
    for (plugin, keys, code, named) in REFUSED {
        let more = serde_json::from_str(keys).unwrap_or_else(|error| panic!("{keys}: {error}"));
        let config = config(&world, (plugin, "1.1.0"), &result, &more);
        for verb in ["ADD", "CHECK"] {
            let error = world.run(plugin, verb, &config).error();
            assert_eq!(error.code, *code, "{plugin} {verb} {keys}: {error:?}");
            assert!(error.msg.contains(named), "{plugin} {verb} {keys}: {error:?}");
        }
        // What ADD refuses must not keep a runtime's DEL from ending.
        world.run(plugin, "DEL", &config).silent();
        before.assert_is(&world.state(), &format!("{plugin} {keys}"));
    }
}

#[test]
fn values_at_the_edge_are_served() {
    let (world, result) = attached(Bins::multicall(), "1.1.0");
    let before = world.state();
    for (plugin, keys) in [
        ("bandwidth", r#"{"ingressBurst": 4294967295, "egressBurst": 4294967295}"#),
        ("bandwidth", r#"{"ingressRate": 18446744073709551615, "egressRate": 8}"#),
        (
            "portmap",
            r#"{"runtimeConfig": {"portMappings": [{"hostPort": 65535, "containerPort": 65535, "protocol": "SCTP"}]}}"#,
        ),
        ("portmap", r#"{"markMasqBit": 31}"#),
        ("tuning", r#"{"txQLen": 0, "mtu": 0}"#),
        ("sbr", r#"{"table": 4294967295}"#),
    ] {
        let more = serde_json::from_str(keys).unwrap_or_else(|error| panic!("{keys}: {error}"));
        let config = config(&world, (plugin, "1.1.0"), &result, &more);
        assert_eq!(world.run(plugin, "ADD", &config).result()["ips"], result["ips"], "{plugin}");
        world.run(plugin, "CHECK", &config).silent();
        world.run(plugin, "DEL", &config).silent();
        before.assert_is(&world.state(), &format!("{plugin} {keys}"));
    }
}

#[test]
fn a_huge_value_is_refused_or_served_but_never_breaks_a_plugin() {
    let (world, result) = attached(Bins::multicall(), "1.1.0");
    let before = world.state();
    let huge = "x".repeat(1 << 20);
    for (plugin, more) in [
        ("portmap", json!({"externalSetMarkChain": huge})),
        ("portmap", json!({"conditionsV4": ["-s", huge]})),
        (
            "portmap",
            json!({"runtimeConfig": {"portMappings": [{"hostPort": 1, "containerPort": 1, "protocol": huge}]}}),
        ),
        ("bandwidth", json!({"shapedSubnets": [huge]})),
        ("firewall", json!({"iptablesAdminChainName": huge})),
        ("tuning", json!({"mac": huge})),
        ("tuning", json!({"sysctl": {format!("net.{huge}"): "1"}})),
        ("tuning", json!({"sysctl": {"net.core.somaxconn": huge}})),
        ("tuning", json!({"dataDir": format!("/{huge}")})),
        ("sbr", json!({"gateways": [huge]})),
        ("vrf", json!({"vrfname": huge})),
    ] {
        let config = config(&world, (plugin, "1.1.0"), &result, &more);
        let error = world.run(plugin, "ADD", &config).error();
        assert!([5, 7, 110].contains(&error.code), "{plugin}: code {}", error.code);
        before.assert_is(&world.state(), plugin);
    }
}

#[test]
fn without_a_result_add_and_check_are_refused_and_del_works() {
    let world = Contract::new(Bins::multicall());
    let before = world.state();
    for plugin in CHAINED {
        let config = world.config(plugin, "1.1.0");
        for verb in ["ADD", "CHECK"] {
            let error = world.run(plugin, verb, &config).error();
            assert!(error.code == 7 && error.msg.contains("prevResult"), "{plugin} {verb}: {error:?}");
        }
        world.run(plugin, "DEL", &config).silent();
        before.assert_is(&world.state(), plugin);
    }
}

#[test]
fn a_sandbox_whose_path_leads_to_another_kind_of_namespace_is_gone_for_del() {
    let (world, result) = attached(Bins::multicall(), "1.0.0");
    for plugin in CHAINED.into_iter().filter(|plugin| *plugin != "vrf") {
        let config = config(&world, (plugin, "1.0.0"), &result, &json!({}));
        let added = world.run(plugin, "ADD", &config).result();
        assert_eq!(added["ips"], result["ips"], "{plugin}");
        world.request(plugin, "DEL", &config).netns("/proc/self/ns/uts").run(&world.host).silent();
    }
}
