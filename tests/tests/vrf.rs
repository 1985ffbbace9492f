//! The vrf plugin behind a bridge. Most of it needs a kernel with VRF; without one it must fail and leave nothing.

use netns_fixtures::{
    Bins, Capability, Echo, Network, Pod, Protocol, Snapshot, Space, Strace, Target, assert_ping,
    assert_same, needs, tcp_echo,
};
use serde_json::{Value, json};
use tests::{World, merged};

const OURS: [&str; 3] = ["bridge", "host-local", "vrf"];

fn world() -> World {
    World::with(Bins::only(&OURS))
}

fn network(world: &World, settings: &Value) -> Network {
    let ipam = world.ipam(&["10.66.0.0/24", "fd66::/64"]);
    world
        .bridge(&json!({"isDefaultGateway": true, "ipam": ipam}))
        .plugin(merged(json!({"type": "vrf", "vrfname": "blue"}), settings))
}

// Traffic goes by sockets that are bound to the VRF: `ip vrf exec` keeps its program in a control group named after the VRF
// alone, which tests that run at once would share.

/// A second network of other addresses for the same pod, on a bridge of its own.
fn second(world: &World) -> Network {
    let mut network = network(world, &json!({}));
    "second".clone_into(&mut network.name);
    network.plugins[0]["bridge"] = json!("cni1");
    network.plugins[0]["isDefaultGateway"] = json!(false);
    network.plugins[0]["isGateway"] = json!(true);
    network.plugins[0]["ipam"] = world.ipam(&["10.67.0.0/24"]);
    network
}

fn table_of(world: &World, pod: &Pod, vrf: &str) -> Value {
    world.link_field(pod, vrf, "/linkinfo/info_data/table")
}

#[test]
fn an_interface_moves_with_its_addresses_and_routes_and_comes_back() {
    needs!(Vrf);
    let world = world();
    let pod = Pod::new();
    let (runtime, target) = (world.runtime(), Target::new("c", &pod.path()));
    let network = network(&world, &json!({"table": 77}));
    runtime.add(&network, &target).unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(world.link_field(&pod, "eth0", "/master"), "blue");
    assert_eq!(pod.addresses("eth0"), ["10.66.0.2/24", "fd66::2/64"]);
    let table = pod.run("ip route show table 77") + &pod.run("ip -6 route show table 77");
    assert!(table.contains("default via 10.66.0.1") && table.contains("default via fd66::1"), "{table}");
    for gateway in ["10.66.0.1", "fd66::1"] {
        pod.run(&format!("ping -n -c 1 -W 4 -I blue {gateway}"));
    }
    runtime.check(&network, &target).unwrap_or_else(|failure| panic!("{failure}"));
    pod.run("ip link set eth0 nomaster");
    assert_eq!(runtime.check(&network, &target).unwrap_err().error().code, 111);
    runtime.del(&network, &target).unwrap_or_else(|failure| panic!("{failure}"));
    assert!(!pod.link_names().contains(&"blue".to_owned()));
}

#[test]
fn two_interfaces_share_a_vrf_and_the_last_takes_it_away() {
    needs!(Vrf);
    let world = world();
    let pod = Pod::new();
    let runtime = world.runtime();
    let (network, second) = (network(&world, &json!({})), second(&world));
    let [eth0, net1] = ["eth0", "net1"].map(|name| Target::new("c", &pod.path()).ifname(name));
    runtime.add(&network, &eth0).unwrap_or_else(|failure| panic!("{failure}"));
    runtime.add(&second, &net1).unwrap_or_else(|failure| panic!("{failure}"));
    for gateway in ["10.66.0.1", "fd66::1", "10.67.0.1"] {
        pod.run(&format!("ping -n -c 1 -W 4 -I blue {gateway}"));
    }
    runtime.del(&second, &net1).unwrap();
    runtime.check(&network, &eth0).unwrap_or_else(|failure| panic!("{failure}"));
    pod.run("ping -n -c 1 -W 4 -I blue 10.66.0.1");
    let other = network.request(1, &eth0, runtime.cached(&network, &eth0).as_ref());
    let other = merged(other, &json!({"table": 4000}));
    assert_eq!(runtime.invocation("ADD", &eth0, &other).run(world.host()).error().code, 7);
    runtime.del(&network, &eth0).unwrap();
    assert_eq!(pod.link_names(), ["lo"]);
}

#[test]
fn two_vrfs_of_one_pod_have_the_same_addresses_and_do_not_meet() {
    needs!(Vrf);
    let world = world();
    let runtime = world.runtime();
    let colours = [("blue", "eth0", "cni0"), ("red", "net1", "cni1")].map(|(vrf, ifname, bridge)| {
        let mut network = network(&world, &json!({"vrfname": vrf}));
        vrf.clone_into(&mut network.name);
        // The node keeps out: it cannot have one address on two bridges.
        network.plugins[0]["bridge"] = json!(bridge);
        network.plugins[0]["isDefaultGateway"] = json!(false);
        let mut plain = network.clone();
        plain.plugins.truncate(1);
        (world.attach(&plain, "peer").0, network, ifname)
    });
    let pod = Pod::new();
    for (_, network, ifname) in &colours {
        let target = Target::new("c", &pod.path()).ifname(ifname);
        runtime.add(network, &target).unwrap_or_else(|failure| panic!("{failure}"));
        assert_eq!(pod.addresses(ifname), ["10.66.0.3/24", "fd66::3/64"]);
    }
    // One server for all VRFs of the pod: each client, of the same address, gets its own answer.
    pod.set_sysctl("net/ipv4/tcp_l3mdev_accept", "1");
    let server = Echo::start(&pod, Protocol::Tcp, 80);
    let inward = |peer: &Pod| {
        for (pods, own) in [("10.66.0.3", "10.66.0.2"), ("fd66::3", "fd66::2")] {
            assert_eq!(tcp_echo(peer, server.at(pods)).unwrap().to_string(), own);
        }
    };
    // Only the blue peer answers; outward, the VRF decides which of the two 10.66.0.2 is meant.
    colours[1].0.set_sysctl("net/ipv4/icmp_echo_ignore_all", "1");
    colours[1].0.set_sysctl("net/ipv6/icmp/echo_ignore_all", "1");
    let outward = |vrf: &str| {
        ["10.66.0.2", "fd66::2"].map(|to| pod.succeeds(&format!("ping -n -c 1 -W 4 -I {vrf} {to}")))
    };
    for (peer, _, _) in &colours {
        inward(peer);
    }
    assert_eq!([outward("blue"), outward("red")], [[true, true], [false, false]]);
    let (_, red, net1) = &colours[1];
    runtime.del(red, &Target::new("c", &pod.path()).ifname(net1)).unwrap();
    assert_eq!(pod.link_names(), ["blue", "eth0", "lo"]);
    inward(&colours[0].0);
    assert_eq!(outward("blue"), [true, true]);
}

#[test]
fn a_chosen_table_is_nobodys_also_when_two_are_chosen_at_once_weakness_57() {
    needs!(Vrf);
    let world = world();
    let pod = Pod::new();
    for line in [
        "ip link add theirs type vrf table 1",
        "ip rule add from 192.0.2.1 table 2",
        "ip -6 rule add from 2001:db8::1 table 3",
        "ip route add blackhole 198.51.100.0/24 table 4",
        "ip -6 route add blackhole 2001:db8::/32 table 5",
    ] {
        pod.run(line);
    }
    let colours: Vec<(Network, Target)> = (0..4)
        .map(|nth| {
            let mut network = network(&world, &json!({"vrfname": format!("vrf{nth}")}));
            network.plugins[0]["isDefaultGateway"] = json!(false);
            (network, Target::new("c", &pod.path()).ifname(&format!("net{nth}")))
        })
        .collect();
    std::thread::scope(|scope| {
        for (network, target) in &colours {
            let world = &world;
            scope.spawn(move || world.runtime().add(network, target).unwrap_or_else(|f| panic!("{f}")));
        }
    });
    let mut tables: Vec<u64> = (0..4)
        .map(|nth| table_of(&world, &pod, &format!("vrf{nth}")).as_u64().expect("it is a vrf"))
        .collect();
    tables.sort_unstable();
    assert_eq!(tables, [6, 7, 8, 9]);
}

#[test]
fn gc_takes_stale_members_and_spares_the_vrf_of_the_living() {
    needs!(Vrf);
    let world = world();
    let pod = Pod::new();
    let runtime = world.runtime();
    let (network, second) = (network(&world, &json!({})), second(&world));
    let [eth0, net1] = ["eth0", "net1"].map(|name| Target::new("c", &pod.path()).ifname(name));
    runtime.add(&network, &eth0).unwrap_or_else(|failure| panic!("{failure}"));
    runtime.add(&second, &net1).unwrap_or_else(|failure| panic!("{failure}"));
    runtime.gc(&network, &[&eth0]).unwrap_or_else(|failure| panic!("{failure}"));
    runtime.gc(&second, &[]).unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(pod.link_names(), ["blue", "eth0", "lo"]);
    pod.run("ping -n -c 1 -W 4 -I blue 10.66.0.1");
    runtime.check(&network, &eth0).unwrap_or_else(|failure| panic!("{failure}"));
    // A runtime that lost the sandbox: the interface goes, the VRF of a namespace that lives on has to wait.
    runtime.gc(&network, &[]).unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(pod.link_names(), ["blue", "lo"]);
    runtime.add(&network, &eth0).unwrap_or_else(|failure| panic!("{failure}"));
    pod.run("ping -n -c 1 -W 4 -I blue 10.66.0.1");
    runtime.del(&network, &eth0).unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(pod.link_names(), ["lo"]);
}

#[test]
fn an_add_that_is_refused_changes_nothing() {
    needs!(Vrf);
    let world = world();
    let (network, runtime, pod) = (network(&world, &json!({})), world.runtime(), Pod::new());
    let target = Target::new("c", &pod.path());
    let mut plain = network.clone();
    plain.plugins.truncate(1);
    let request = |result: &Value| network.request(1, &target, Some(result));
    let first = runtime.add(&plain, &target).unwrap_or_else(|failure| panic!("{failure}"));
    for (prepare, undo, code) in [
        ("ip link add blue type vrf table 9", "ip link delete blue", 7),
        ("ip link add blue type bridge", "ip link delete blue", 110),
        ("ip link add other type vrf table 9", "ip link delete other", 110),
    ] {
        pod.run(prepare);
        if prepare.contains("other") {
            pod.run("ip link set eth0 master other");
        }
        let (before, wanted) = (Snapshot::of(&pod), merged(request(&first), &json!({"table": 8})));
        let error = runtime.invocation("ADD", &target, &wanted).run(world.host()).error();
        assert_eq!(error.code, code, "{prepare}: {}", error.msg);
        assert_same(&before, &Snapshot::of(&pod), prepare);
        pod.run(undo);
    }
}

#[test]
fn an_add_that_fails_half_way_changes_nothing_and_one_that_is_killed_is_cleaned_up() {
    needs!(Vrf);
    let world = world();
    let (network, runtime, pod) = (network(&world, &json!({})), world.runtime(), Pod::new());
    let target = Target::new("c", &pod.path());
    let mut plain = network.clone();
    plain.plugins.truncate(1);
    let request = |result: &Value| network.request(1, &target, Some(result));
    let first = runtime.add(&plain, &target).unwrap_or_else(|failure| panic!("{failure}"));
    let (answer, trace) = Strace::list(&runtime.invocation("ADD", &target, &request(&first)), world.host());
    assert!(answer.succeeded(), "{answer}");
    runtime.del(&network, &target).unwrap_or_else(|failure| panic!("{failure}"));
    // What changes something asks for an acknowledgement.
    let changes = trace.calls.iter().filter(|call| call.text.contains("|NLM_F_ACK"));
    let places: Vec<(&str, usize)> = changes.map(|call| (call.name.as_str(), call.nth)).collect();
    assert!(places.len() >= 4, "VRF, member, address, route: {places:?}");
    for place in places {
        let first = runtime.add(&plain, &target).unwrap_or_else(|failure| panic!("{failure}"));
        let (before, add) = (Snapshot::of(&pod), runtime.invocation("ADD", &target, &request(&first)));
        let (name, nth) = place;
        assert!(!Strace::fail_at(&add, world.host(), (name, nth, "ENOBUFS")).succeeded());
        assert_same(&before, &Snapshot::of(&pod), &format!("{place:?} failed"));
        assert!(!Strace::kill_at(&add, world.host(), place).succeeded());
        runtime.forget(&plain, &target);
        runtime.del(&network, &target).unwrap_or_else(|failure| panic!("{place:?}: {failure}"));
        assert_eq!(pod.link_names(), ["lo"], "{place:?}");
    }
    runtime.add(&network, &target).unwrap_or_else(|failure| panic!("{failure}"));
    pod.run("ping -n -c 1 -W 4 -I blue 10.66.0.1");
}

#[test]
fn without_vrf_in_the_kernel_add_fails_and_leaves_nothing() {
    if Capability::Vrf.is_present() {
        return;
    }
    let world = world();
    let pod = Pod::new();
    let (runtime, target) = (world.runtime(), Target::new("c", &pod.path()));
    let mut plain = network(&world, &json!({}));
    let vrf = plain.plugins.pop().unwrap();
    let first = runtime.add(&plain, &target).unwrap();
    let before = Snapshot::of(&pod);
    let request = plain.plugin(vrf).request(1, &target, Some(&first));
    let error = runtime.invocation("ADD", &target, &request).run(world.host()).error();
    assert_eq!(error.code, 110, "{}", error.msg);
    assert!(error.msg.contains("creating vrf blue"), "{}", error.msg);
    assert_same(&before, &Snapshot::of(&pod), "a failed ADD");
    assert_eq!(runtime.invocation("CHECK", &target, &request).run(world.host()).error().code, 111);
    runtime.invocation("DEL", &target, &request).run(world.host()).silent();
    assert_ping(&pod, "10.66.0.1");
}

#[test]
fn refusals_and_a_del_without_anything() {
    let world = world();
    let pod = Pod::new();
    let (runtime, target) = (world.runtime(), Target::new("c", &pod.path()));
    let mut plain = network(&world, &json!({}));
    plain.plugins.pop();
    let first = runtime.add(&plain, &target).unwrap();
    let unnamed = network(&world, &json!({"vrfname": null})).request(1, &target, Some(&first));
    let taken = network(&world, &json!({"vrfname": "eth0"})).request(1, &target, Some(&first));
    let alone = network(&world, &json!({})).request(1, &target, None);
    for (request, code, named) in
        [(&unnamed, 7, "vrfname"), (&taken, 110, "not a vrf"), (&alone, 7, "prevResult")]
    {
        let error = runtime.invocation("ADD", &target, request).run(world.host()).error();
        assert_eq!(error.code, code, "{}", error.msg);
        assert!(error.msg.contains(named), "{}", error.msg);
    }
    for netns in [String::new(), Pod::missing_path(), pod.path()] {
        let target = target.clone().netns(&netns);
        runtime.invocation("DEL", &target, &alone).run(world.host()).silent();
    }
}
