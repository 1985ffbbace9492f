//! `vrf` beside the reference's: twin sandboxes are compared, and a node changes sides under a live pod.

use netns_fixtures::{Bins, Network, Pod, Snapshot, Space, Target, needs};
use serde_json::{Value, json};
use tests::{World, merged};

/// What differs on purpose: a part of the line, and why.
const INTENDED: [(&str, &str); 2] = [
    (
        " link blue kind=vrf",
        "the reference sets no length of a queue that the device does not have; ours is the kernel's own",
    ),
    (
        r#""gateway":"#,
        "Debian's reference, 1.1.1, loses the routes that the change of controller takes; newer ones move them",
    ),
];

fn mixed(vrf: &Bins) -> Bins {
    let ours = Bins::only(&["bridge", "host-local"]);
    Bins::mixed(&[("bridge", &ours), ("host-local", &ours), ("vrf", vrf)])
}

/// The plugins before vrf are ours on both sides; the reference's version decides the list's.
fn network(world: &World, settings: &Value) -> Network {
    let ipam = world.ipam(&["10.66.0.0/24", "fd66::/64"]);
    let bridge = world.bridge(&json!({"isGateway": true, "ipam": ipam}));
    bridge.plugin(merged(json!({"type": "vrf", "vrfname": "blue"}), settings)).at("1.0.0")
}

/// The same with routes.
fn routed(world: &World, settings: &Value) -> Network {
    let mut network = network(world, settings);
    network.plugins[0]["ipam"] = merged(
        world.ipam(&["10.66.0.0/24", "fd66::/64"]),
        &json!({"routes": [{"dst": "10.9.0.0/16", "gw": "10.66.0.7"}, {"dst": "fd09::/64", "gw": "fd66::7"}]}),
    );
    network.plugins[0]["isDefaultGateway"] = json!(true);
    network
}

/// The sandbox with MACs, which are nobody's choice, by the name of their link.
fn seen(pod: &Pod) -> Snapshot {
    let links: Value = serde_json::from_str(&pod.run("ip -j link show")).expect("ip prints JSON");
    let names: Vec<(String, String)> = links
        .as_array()
        .expect("a list of links")
        .iter()
        .filter(|link| link["ifname"] != "lo")
        .map(|link| {
            let text = |key: &str| link[key].as_str().unwrap_or_default().to_owned();
            (text("address"), format!("MAC-{}", text("ifname")))
        })
        .collect();
    Snapshot::of(pod).with_names(&names)
}

#[test]
fn a_sandbox_is_as_the_reference_leaves_it_with_a_vrf_and_without() {
    needs!(Vrf);
    for settings in [json!({}), json!({"table": 77})] {
        let sides = [Bins::reference(), Bins::only(&["vrf"])].map(|side| {
            let world = World::with(mixed(&side));
            let (network, pod, runtime) = (routed(&world, &settings), Pod::new(), world.runtime());
            let [eth0, net1] = ["eth0", "net1"].map(|name| Target::new("twin", &pod.path()).ifname(name));
            let mut second = network.clone();
            second.plugins[0]["bridge"] = json!("cni1");
            second.plugins[0]["isDefaultGateway"] = json!(false);
            second.plugins[0]["ipam"] = world.ipam(&["10.67.0.0/24"]);
            let result = runtime.add(&network, &eth0).unwrap_or_else(|failure| panic!("{failure}"));
            runtime.add(&second, &net1).unwrap_or_else(|failure| panic!("{failure}"));
            let with = seen(&pod);
            for (network, target) in [(&second, &net1), (&network, &eth0)] {
                let request = network.request(1, target, runtime.cached(network, target).as_ref());
                let answer = runtime.invocation("DEL", target, &request).run(world.host());
                assert!(answer.succeeded(), "{answer}");
            }
            (result["ips"].clone(), with, seen(&pod))
        });
        let [(their_ips, theirs_with, theirs_after), (our_ips, ours_with, ours_after)] = sides;
        assert_eq!(their_ips, our_ips);
        let differences: Vec<String> =
            [theirs_with.difference(&ours_with), theirs_after.difference(&ours_after)].concat();
        let unlisted: Vec<&String> =
            differences.iter().filter(|line| !INTENDED.iter().any(|(part, _)| line.contains(part))).collect();
        assert!(unlisted.is_empty(), "{settings}: {unlisted:#?}");
    }
}

#[test]
fn a_node_changes_sides_under_a_live_pod() {
    needs!(Vrf);
    let sides = [mixed(&Bins::reference()), mixed(&Bins::only(&["vrf"]))];
    for (from, to) in [(&sides[0], &sides[1]), (&sides[1], &sides[0])] {
        let world = World::with(from.clone());
        let (network, pod, runtime) = (network(&world, &json!({})), Pod::new(), world.runtime());
        let target = Target::new("swapped", &pod.path());
        runtime.add(&network, &target).unwrap_or_else(|failure| panic!("{failure}"));
        pod.run("ping -n -c 1 -W 4 -I blue 10.66.0.1");
        let other = runtime.swapped(to);
        other.check(&network, &target).unwrap_or_else(|failure| panic!("{failure}"));
        other.del(&network, &target).unwrap_or_else(|failure| panic!("{failure}"));
        assert_eq!(pod.link_names(), ["lo"]);
    }
}
