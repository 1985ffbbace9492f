//! `bridge` CHECK: it passes on what ADD made, names whatever was altered, and tolerates what later plugins add.

use netns_fixtures::{Network, Pod, Space, Target, needs};
use serde_json::{Value, json};
use tests::World;

const MISMATCH: u64 = 111;
const UNKNOWN_CONTAINER: u64 = 3;

/// Everything that CHECK can ask about.
fn full(world: &World) -> Network {
    let ipam = world.ipam(&["10.66.0.0/24", "fd66::/64"]);
    world.bridge(&json!({
        "isDefaultGateway": true, "ipMasq": true, "hairpinMode": true, "portIsolation": true, "mtu": 1400, "ipam": ipam,
    }))
}

/// One attachment, altered and asked: `None` when CHECK still passes, else its error's code and text.
fn checked_after(
    network: &dyn Fn(&World) -> Network,
    alter: &dyn Fn(&World, &Pod, &str),
) -> Option<(u64, String)> {
    let (world, pod) = (World::ours(), Pod::new());
    let network = network(&world);
    let (runtime, target) = (world.runtime(), Target::new("a", &pod.path()));
    let result = runtime.add(&network, &target).unwrap_or_else(|failure| panic!("{failure}"));
    runtime.check(&network, &target).unwrap_or_else(|failure| panic!("before: {failure}"));
    alter(&world, &pod, &world.host_end(&result));
    let failure = runtime.check(&network, &target).err()?;
    let error = failure.answer.error();
    Some((error.code, format!("{} {}", error.msg, error.details)))
}

/// Runs shell-like lines, `;` between them, `PORT` standing for the host's end.
fn commands(space: &impl Space, lines: &str, port: &str) {
    for line in lines.split(';') {
        space.run(&line.replace("PORT", port));
    }
}

#[test]
fn whatever_is_altered_in_the_sandbox_is_found() {
    let mut unfound = Vec::new();
    for (what, lines) in [
        ("the IPv4 address is gone", "ip address delete 10.66.0.2/24 dev eth0"),
        ("the IPv6 address is gone", "ip address delete fd66::2/64 dev eth0"),
        (
            "the prefix differs",
            "ip address delete 10.66.0.2/24 dev eth0; ip address add 10.66.0.2/25 dev eth0",
        ),
        ("the default route is gone", "ip route delete default"),
        ("the IPv6 default route is gone", "ip -6 route delete default"),
        ("the default route leads elsewhere", "ip route replace default via 10.66.0.9 dev eth0"),
        ("the MAC differs", "ip link set eth0 address 02:00:00:00:00:99"),
        ("the link is down", "ip link set eth0 down"),
    ] {
        let found = checked_after(&full, &|_, pod, port| commands(pod, lines, port));
        if found.as_ref().map(|(code, _)| *code) != Some(MISMATCH) {
            unfound.push(format!("{what}: {found:?}"));
        }
    }
    assert_eq!(unfound, Vec::<String>::new(), "CHECK gave another answer than a mismatch");
}

#[test]
fn whatever_is_altered_on_the_node_is_found() {
    let mut unfound = Vec::new();
    for (what, lines) in [
        ("the port left the bridge", "ip link set PORT nomaster"),
        ("the port is down", "ip link set PORT down"),
        ("hairpin is off", "ip link set PORT type bridge_slave hairpin off"),
        ("isolation is off", "ip link set PORT type bridge_slave isolated off"),
        ("the gateway address is gone", "ip address delete 10.66.0.1/24 dev cni0"),
        ("the bridge is down", "ip link set cni0 down"),
        (
            "the bridge is another",
            "ip link delete cni0; ip link add cni0 type bridge; ip link set PORT master cni0",
        ),
        ("forwarding is off", "sysctl -qw net.ipv4.ip_forward=0"),
        ("masquerade was flushed", "nft flush ruleset"),
    ] {
        let found = checked_after(&full, &|world, _, port| commands(world.host(), lines, port));
        if found.as_ref().map(|(code, _)| *code) != Some(MISMATCH) {
            unfound.push(format!("{what}: {found:?}"));
        }
    }
    assert_eq!(unfound, Vec::<String>::new(), "CHECK gave another answer than a mismatch");
}

#[test]
fn a_missing_reservation_is_found() {
    let found = checked_after(&full, &|world, _, _| {
        std::fs::remove_file(world.state.path().join("proving/10.66.0.2")).unwrap();
    });
    assert!(
        found.as_ref().is_some_and(|(code, _)| [MISMATCH, UNKNOWN_CONTAINER].contains(code)),
        "{found:?}"
    );
}

#[test]
fn a_missing_interface_is_an_unknown_container() {
    let found = checked_after(&full, &|_, pod, port| commands(pod, "ip link delete eth0", port));
    assert_eq!(found.as_ref().map(|(code, _)| *code), Some(UNKNOWN_CONTAINER), "{found:?}");
}

#[test]
fn iptables_masquerade_is_asked_about_too() {
    needs!(IptablesNat);
    let network = |world: &World| {
        world.bridge(&json!({"isDefaultGateway": true, "ipMasq": true, "ipMasqBackend": "iptables"}))
    };
    let found = checked_after(&network, &|world, _, port| {
        commands(world.host(), "iptables -t nat -F POSTROUTING", port);
    });
    assert_eq!(found.as_ref().map(|(code, _)| *code), Some(MISMATCH), "{found:?}");
}

#[test]
fn promiscuity_is_asked_about() {
    let network = |world: &World| world.bridge(&json!({"promiscMode": true}));
    let found = checked_after(&network, &|world, _, port| {
        commands(world.host(), "ip link set cni0 promisc off", port);
    });
    assert_eq!(found.as_ref().map(|(code, _)| *code), Some(MISMATCH), "{found:?}");
}

#[test]
fn what_later_plugins_add_is_tolerated() {
    let found = checked_after(&full, &|_, pod, port| {
        let lines = "ip address add 192.0.2.9/24 dev eth0; ip route add 198.51.100.0/24 dev eth0; ip rule add from 10.66.0.2 \
                     table 100; tc qdisc add dev eth0 root pfifo";
        commands(pod, lines, port);
    });
    assert_eq!(found, None);
}

#[test]
fn a_chained_plugins_own_interfaces_in_the_result_are_tolerated() {
    let (world, pod) = (World::ours(), Pod::new());
    let network = full(&world);
    let (runtime, target) = (world.runtime(), Target::new("a", &pod.path()));
    let mut result = runtime.add(&network, &target).unwrap();
    result["interfaces"].as_array_mut().unwrap().push(json!({"name": "ifb0", "mac": "02:00:00:00:00:07"}));
    let request = network.request(0, &target, Some(&result));
    runtime.invocation("CHECK", &target, &request).run(world.host()).silent();
}

#[test]
fn a_check_without_a_previous_result_says_so() {
    let (world, pod) = (World::ours(), Pod::new());
    let network = full(&world);
    let (runtime, target) = (world.runtime(), Target::new("a", &pod.path()));
    runtime.add(&network, &target).unwrap();
    let request = network.request(0, &target, None);
    let error = runtime.invocation("CHECK", &target, &request).run(world.host()).error();
    assert_eq!(error.code, 7, "{error:?}");
    assert!(error.msg.contains("prevResult"), "{error:?}");
}

#[test]
fn another_spelling_of_the_sandbox_is_the_same_sandbox() {
    let (world, pod) = (World::ours(), Pod::new());
    let network = full(&world);
    let (runtime, target) = (world.runtime(), Target::new("a", &pod.path()));
    let result: Value = runtime.add(&network, &target).unwrap();
    let link = world.state.path().join("sandbox");
    std::os::unix::fs::symlink(pod.path(), &link).unwrap();
    let other = Target::new("a", &link.display().to_string());
    let request = network.request(0, &other, Some(&result));
    runtime.invocation("CHECK", &other, &request).run(world.host()).silent();
}
