//! Another program flushes or deletes our tables, whole or in part: a later ADD makes them again, and no DEL minds.

use netns_fixtures::{Bins, Echo, Network, Pod, Protocol, Space, Target, assert_ping, tcp_echo};
use serde_json::{Value, json};
use tests::ports::{add, at, bins, del, mapping, published, target};
use tests::{World, address};

const NODE: &str = "192.168.50.1";

/// Damages a table of ours between two ADDs; the second attachment's CHECK says that everything is there again.
fn survives(world: &World, network: &Network, damage: &str) {
    let (first, second, runtime) = (Pod::new(), Pod::new(), world.runtime());
    let of = |container: &str, pod: &Pod| Target::new(container, &pod.path());
    let (one, two) = (of("one", &first), of("two", &second));
    runtime.add(network, &one).unwrap_or_else(|failure| panic!("{damage}: {failure}"));
    world.host().run(damage);
    runtime.add(network, &two).unwrap_or_else(|failure| panic!("{damage}: {failure}"));
    runtime.check(network, &two).unwrap_or_else(|failure| panic!("{damage}: {failure}"));
    for target in [one, two] {
        runtime.del(network, &target).unwrap_or_else(|failure| panic!("{damage}: {failure}"));
    }
}

#[test]
fn ports_are_reached_after_the_next_add() {
    let table = "inet ironbridge_portmap";
    for (damage, first_too) in [
        (format!("nft flush table {table}"), true),
        (format!("nft flush chain {table} dispatch"), true),
        (format!("nft flush chain {table} any-10.66.0.0/24"), true),
        (format!("nft delete chain {table} prerouting"), true),
        (format!("nft delete table {table}"), false),
        ("nft flush ruleset".to_owned(), false),
    ] {
        let world = World::with(bins());
        let (network, runtime) = (published(&world, &json!({})), world.runtime());
        let pods = [Pod::new(), Pod::new()];
        let ports = |host: u16| -> Vec<Value> { vec![mapping("tcp", host, 80)] };
        let [one, two] = [("one", &pods[0], 8080), ("two", &pods[1], 8081)]
            .map(|(container, pod, host)| target(container, pod, &ports(host)));
        add(&runtime, &network, &one);
        let _servers = pods.each_ref().map(|pod| Echo::start(pod, Protocol::Tcp, 80));
        world.host().run(&damage);
        let result = add(&runtime, &network, &two);
        assert_ping(world.host(), &address(&result, 0));
        let reached = |port| tcp_echo(world.underlay.hub(), at(NODE, port)).is_ok();
        assert!(reached(8081), "{damage}");
        assert_eq!(reached(8080), first_too, "{damage}: the first attachment's");
        del(&runtime, &network, &one);
        del(&runtime, &network, &two);
        assert!(!reached(8081), "{damage}");
    }
}

#[test]
fn the_firewalls_table_comes_back() {
    let world = World::with(Bins::only(&["bridge", "host-local", "firewall"]));
    let firewall = json!({"type": "firewall", "backend": "nftables", "ingressPolicy": "isolated"});
    let network = world.bridge(&json!({"isDefaultGateway": true})).plugin(firewall);
    for damage in [
        "nft flush table inet ironbridge_firewall",
        "nft flush table bridge ironbridge_firewall",
        "nft delete table inet ironbridge_firewall",
        "nft flush ruleset",
    ] {
        survives(&world, &network, damage);
    }
}

#[test]
fn the_spoof_checks_table_comes_back() {
    let world = World::ours();
    let network = world.bridge(&json!({"isDefaultGateway": true, "macspoofchk": true}));
    for damage in [
        "nft flush table bridge ironbridge_guard",
        "nft flush chain bridge ironbridge_guard source",
        "nft delete table bridge ironbridge_guard",
        "nft flush ruleset",
    ] {
        survives(&world, &network, damage);
    }
}
