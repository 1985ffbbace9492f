//! The built `loopback` binary, run as a runtime runs it, in namespaces of the test's own.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed, which is its job")]

use std::io::Write;
use std::process::{Command, Stdio};

use ipnetwork::IpNetwork;
use kernel::{Dad, Netns, Rtnl};
use serde_json::{Value, json};

const MAC: &str = "00:00:00:00:00:00";

struct World {
    sandbox: Netns,
}

impl World {
    fn new() -> Self {
        Self { sandbox: Netns::new_nameless().unwrap() }
    }

    fn path(&self) -> String {
        self.sandbox.path().to_str().unwrap().to_owned()
    }

    fn rtnl(&self) -> Rtnl {
        Rtnl::open_in(&self.sandbox).unwrap()
    }

    fn is_up(&self) -> bool {
        self.rtnl().link("lo").unwrap().unwrap().up
    }

    fn call(&self, verb: &str, config: &Value) -> (bool, String) {
        call(verb, &self.path(), config)
    }
}

fn call(verb: &str, netns: &str, config: &Value) -> (bool, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_loopback"))
        .env_clear()
        .envs([
            ("CNI_COMMAND", verb),
            ("CNI_CONTAINERID", "c1"),
            ("CNI_IFNAME", "lo"),
            ("CNI_PATH", "/nowhere"),
        ])
        .env("CNI_NETNS", netns)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(config.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.success(), String::from_utf8(output.stdout).unwrap())
}

fn config(version: &str) -> Value {
    json!({"cniVersion": version, "name": "lonet", "type": "loopback"})
}

fn add(world: &World, config: &Value) -> Value {
    let (success, text) = world.call("ADD", config);
    assert!(success, "{text}");
    serde_json::from_str(&text).unwrap()
}

#[test]
fn every_version_gets_its_own_layout() {
    for version in ["0.1.0", "0.2.0"] {
        let world = World::new();
        let result = add(&world, &config(version));
        let expected =
            json!({"cniVersion": version, "ip4": {"ip": "127.0.0.1/8"}, "ip6": {"ip": "::1/128"}, "dns": {}});
        assert_eq!(result, expected);
    }
    for version in ["0.3.0", "0.3.1", "0.4.0"] {
        let world = World::new();
        let result = add(&world, &config(version));
        let interface = json!({"name": "lo", "mac": MAC, "sandbox": world.path()});
        let ips = json!([
            {"version": "4", "interface": 0, "address": "127.0.0.1/8"},
            {"version": "6", "interface": 0, "address": "::1/128"}]);
        assert_eq!(result, json!({"cniVersion": version, "interfaces": [interface], "ips": ips, "dns": {}}));
    }
    for version in ["1.0.0", "1.1.0"] {
        let world = World::new();
        let result = add(&world, &config(version));
        let interface = json!({"name": "lo", "mac": MAC, "sandbox": world.path()});
        let ips = json!([{"interface": 0, "address": "127.0.0.1/8"}, {"interface": 0, "address": "::1/128"}]);
        assert_eq!(result, json!({"cniVersion": version, "interfaces": [interface], "ips": ips}));
    }
}

#[test]
fn without_ipv6_only_the_ipv4_address_is_reported() {
    let world = World::new();
    world.sandbox.run(|| kernel::sysctl::write("net/ipv6/conf/lo/disable_ipv6", "1")).unwrap().unwrap();
    let result = add(&world, &config("1.0.0"));
    assert_eq!(result["ips"], json!([{"interface": 0, "address": "127.0.0.1/8"}]));
}

#[test]
fn add_check_del_and_all_of_it_twice() {
    let world = World::new();
    let result = add(&world, &config("1.0.0"));
    assert_eq!(add(&world, &config("1.0.0")), result);
    let mut with_result = config("1.0.0");
    with_result["prevResult"] = result;
    assert_eq!(world.call("CHECK", &with_result), (true, String::new()));
    for _ in 0..2 {
        assert_eq!(world.call("DEL", &with_result), (true, String::new()));
        assert!(!world.is_up());
    }
    let (success, text) = world.call("CHECK", &with_result);
    let error: Value = serde_json::from_str(&text).unwrap();
    assert!(!success && error["code"] == 111, "{text}");
}

#[test]
fn a_missing_or_ordinary_file_is_success_for_del_and_told_apart_by_add_and_check() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let ordinary = file.path().to_str().unwrap();
    for netns in ["/run/netns/no-such", ordinary] {
        assert_eq!(call("DEL", netns, &config("1.0.0")), (true, String::new()), "{netns}");
        for (verb, code) in [("ADD", 8), ("CHECK", 3)] {
            let (success, text) = call(verb, netns, &config("1.0.0"));
            let error: Value = serde_json::from_str(&text).unwrap();
            assert!(!success && error["code"] == code && text.contains(netns), "{verb} {netns}: {text}");
        }
    }
    assert_eq!(call("DEL", "", &config("1.0.0")), (true, String::new()));
}

#[test]
fn a_previous_result_is_passed_through() {
    let world = World::new();
    let mut config = config("0.4.0");
    config["prevResult"] = json!({
        "interfaces": [{"name": "eth0", "sandbox": "x"}],
        "ips": [{"version": "4", "interface": 0, "address": "10.0.0.2/24"}]});
    let result = add(&world, &config);
    assert_eq!(result["ips"], json!([{"version": "4", "interface": 0, "address": "10.0.0.2/24"}]));
    assert!(world.is_up());
}

#[test]
fn a_foreign_address_on_lo_is_an_error_that_changes_nothing() {
    let world = World::new();
    let address: IpNetwork = "10.9.9.9/32".parse().unwrap();
    world.rtnl().add_address(1, address, Dad::Skip).unwrap();
    let (success, text) = world.call("ADD", &config("1.0.0"));
    assert!(!success && text.contains("10.9.9.9/32"), "{text}");
    assert!(!world.is_up());
}

#[test]
fn safe_beside_a_parallel_main_chain() {
    let world = World::new();
    world.rtnl().set_link_up(1).unwrap();
    std::thread::scope(|scope| {
        let adds: Vec<_> = (0..8).map(|_| scope.spawn(|| add(&world, &config("0.3.1")))).collect();
        for added in adds {
            assert_eq!(added.join().unwrap()["ips"].as_array().unwrap().len(), 2);
        }
    });
}

#[test]
fn gc_and_status_have_nothing_to_do() {
    for verb in ["GC", "STATUS"] {
        assert_eq!(call(verb, "", &config("1.1.0")), (true, String::new()));
    }
}

#[test]
fn the_hosts_own_loopback_is_never_taken_down() {
    let own = "/proc/self/ns/net";
    for verb in ["ADD", "DEL"] {
        let (success, text) = call(verb, own, &config("1.0.0"));
        let error: Value = serde_json::from_str(&text).unwrap();
        assert!(!success && error["code"] == 8, "{text}");
    }
}
