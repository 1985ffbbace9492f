//! `bridge` where somebody else was at work: other firewalls, other networks, dead owners, odd sandboxes.

use std::net::IpAddr;

use netns_fixtures::{
    Echo, Network, Pod, Protocol, Space, Strace, Target, assert_same, needs, ping, tcp_echo,
};
use serde_json::json;
use tests::{World, address};

const INVALID_NETNS: u64 = 8;

fn dual(world: &World, more: &serde_json::Value) -> Network {
    let ipam = world.ipam(&["10.66.0.0/24", "fd66::/64"]);
    world.bridge(&tests::merged(json!({"isDefaultGateway": true, "ipam": ipam}), more))
}

/// Attaches a pod with the addresses of an earlier one, after that one is gone.
fn reused(world: &World, more: &serde_json::Value) {
    let network = dual(world, &tests::merged(json!({"capabilities": {"ips": true}}), more));
    let (peer, _) = world.attach(&network, "peer");
    let first = Pod::new();
    let ips = json!(["10.66.0.77", "fd66::77"]);
    let target = |name: &str, pod: &Pod| Target::new(name, &pod.path()).capability("ips", ips.clone());
    let runtime = world.runtime();
    runtime.add(&network, &target("first", &first)).unwrap_or_else(|failure| panic!("{failure}"));
    let both: [IpAddr; 2] = ["10.66.0.77".parse().unwrap(), "fd66::77".parse().unwrap()];
    for ip in both {
        assert!(ping(&peer, ip) && ping(world.host(), ip), "the first owner of {ip} is known");
    }
    runtime.del(&network, &target("first", &first)).unwrap_or_else(|failure| panic!("{failure}"));
    let second = Pod::new();
    runtime.add(&network, &target("second", &second)).unwrap_or_else(|failure| panic!("{failure}"));
    for ip in both {
        assert!(ping(&peer, ip), "a neighbour reaches the new owner of {ip}");
        assert!(ping(world.host(), ip), "the node reaches the new owner of {ip}");
    }
}

#[test]
fn the_new_owner_of_an_address_is_reached_at_once_issue_858() {
    reused(&World::ours(), &json!({}));
}

#[test]
fn it_is_so_with_duplicate_address_detection_too() {
    reused(&World::ours(), &json!({"enabledad": true}));
}

#[test]
fn the_node_reaches_it_even_where_announcements_are_dropped() {
    let world = World::ours();
    world.warm(&dual(&world, &json!({})));
    world
        .host()
        .run("sysctl -qw net.ipv4.conf.all.drop_gratuitous_arp=1 net.ipv4.conf.cni0.drop_gratuitous_arp=1");
    reused(&world, &json!({}));
}

#[test]
fn an_add_after_half_of_the_table_was_flushed_masquerades_and_check_tells() {
    for damage in ["flush table inet", "flush chain inet", "delete chain inet"] {
        let world = World::ours();
        let network = dual(&world, &json!({"ipMasq": true}));
        let (pod, runtime) = (Pod::new(), world.runtime());
        let target = Target::new("before", &pod.path());
        runtime.add(&network, &target).unwrap_or_else(|failure| panic!("{failure}"));
        let chain = if damage.contains("chain") { "postrouting" } else { "" };
        world.host().run(&format!("nft {damage} ironbridge_masquerade {chain}"));
        let failure = runtime.check(&network, &target).expect_err("CHECK finds the rules gone");
        assert_eq!(failure.answer.error().code, 111, "{failure}");
        let (after, _) = world.attach(&network, "after");
        let echo = Echo::start(world.underlay.hub(), Protocol::Tcp, 80);
        let seen =
            tcp_echo(&after, echo.at(world.underlay.hub_ip())).unwrap_or_else(|e| panic!("{damage}: {e}"));
        assert_eq!(seen, world.underlay.ipv4(0), "{damage}");
    }
}

#[test]
fn the_del_that_a_failed_add_is_owed_spares_another_networks_interface() {
    let world = World::ours();
    let (one, two) = (
        world.bridge(&json!({})),
        Network::new("other", "1.1.0").plugin(json!({
            "type": "bridge", "bridge": "cni1", "ipam": world.ipam(&["10.67.0.0/24"]),
        })),
    );
    let (pod, result) = world.attach(&one, "a");
    let (runtime, target) = (world.runtime(), Target::new("a", &pod.path()));
    let failure = runtime.add(&two, &target).expect_err("the interface is taken");
    assert!(failure.answer.error().msg.contains("already exists"), "{failure}");
    runtime.del(&two, &target).unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(pod.addresses("eth0"), [format!("{}/24", address(&result, 0))]);
}

#[test]
fn a_namespace_of_another_kind_is_code_8_and_makes_no_bridge() {
    let world = World::ours();
    let before = world.snapshot();
    for path in ["/proc/self/ns/uts", "/proc/self/status", "/proc/1"] {
        let target = Target::new("odd", path);
        let failure = world.runtime().add(&world.bridge(&json!({})), &target).expect_err("no sandbox");
        assert_eq!(failure.answer.error().code, INVALID_NETNS, "{path}: {failure}");
        world.runtime().del(&world.bridge(&json!({})), &target).unwrap_or_else(|failure| panic!("{failure}"));
    }
    assert_same(&before, &world.snapshot(), "after ADDs to what is no network namespace");
}

#[test]
fn a_kernel_without_nftables_does_not_keep_del_from_its_work() {
    let world = World::ours();
    let network = world.bridge(&json!({}));
    world.warm(&network);
    let before = world.snapshot();
    let (pod, runtime) = (Pod::new(), world.runtime());
    let target = Target::new("a", &pod.path());
    runtime.add(&network, &target).unwrap_or_else(|failure| panic!("{failure}"));
    let request = network.request(0, &target, None);
    // Masquerade and spoof check share one socket; it is the first that DEL opens.
    let answer = Strace::fail_at(
        &runtime.invocation("DEL", &target, &request),
        world.host(),
        ("socket", 1, "EPROTONOSUPPORT"),
    );
    answer.silent();
    assert_same(&before, &world.snapshot(), "after DEL without nftables");
}

#[test]
fn legacy_tables_without_a_program_for_them_do_not_keep_del_from_its_work() {
    needs!(IptablesLegacyNat);
    let world = World::ours();
    let network = world.bridge(&json!({"ipMasq": true, "isGateway": true}));
    world.warm(&network);
    world.host().run("iptables-legacy -t nat -S");
    let (pod, runtime) = (Pod::new(), world.runtime());
    let target = Target::new("a", &pod.path());
    runtime.add(&network, &target).unwrap_or_else(|failure| panic!("{failure}"));
    let request = network.request(0, &target, None);
    runtime.invocation("DEL", &target, &request).env("PATH", "/nowhere").run(world.host()).silent();
    assert_eq!(world.reservations("proving"), Vec::<String>::new());
}

#[test]
fn a_bridge_of_somebody_elses_gets_a_mac_address_that_stays_issue_30783() {
    let world = World::ours();
    world.host().run("ip link add cni0 type bridge");
    world.host().run("ip address add 10.66.0.1/24 dev cni0");
    let network = world.bridge(&json!({"isGateway": true}));
    let mac = |world: &World| world.link_field(world.host(), "cni0", "/address");
    let (_one, result) = world.attach(&network, "one");
    assert_eq!(result["interfaces"][0]["mac"], mac(&world));
    let first = mac(&world);
    let (pod, runtime) = (Pod::new(), world.runtime());
    let target = Target::new("two", &pod.path());
    runtime.add(&network, &target).unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(mac(&world), first);
    runtime.del(&network, &target).unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(mac(&world), first);
}

#[test]
fn force_address_replaces_two_addresses_of_one_subnet() {
    let world = World::ours();
    world.host().run("ip link add cni0 type bridge");
    world.host().run("ip address add 10.66.0.5/24 dev cni0");
    world.host().run("ip address add 10.66.0.6/24 dev cni0");
    let network = world.bridge(&json!({"isGateway": true, "forceAddress": true}));
    world.attach(&network, "a");
    let addresses = world.host().run("ip -4 -o address show dev cni0");
    assert!(addresses.contains("10.66.0.1/24") && addresses.lines().count() == 1, "{addresses}");
}

#[test]
fn an_add_after_a_del_that_was_killed_takes_its_address_over() {
    let world = World::ours();
    let network = world.bridge(&json!({}));
    let (pod, runtime) = (Pod::new(), world.runtime());
    let target = Target::new("a", &pod.path());
    runtime.add(&network, &target).unwrap_or_else(|failure| panic!("{failure}"));
    // What a DEL leaves that died between the pair and the address.
    pod.run("ip link delete eth0");
    runtime.add(&network, &target).unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(world.reservations("proving").len(), 1);
    runtime.del(&network, &target).unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(world.reservations("proving"), Vec::<String>::new());
}
