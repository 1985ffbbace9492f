//! Many at once on one network: no race loses an attachment, an address or a rule.

use std::collections::BTreeSet;

use netns_fixtures::{Bins, Network, Pod, Runtime, Space, Target, assert_ping, assert_same};
use serde_json::{Value, json};
use tests::chains::kubernetes;
use tests::ports::mapping;
use tests::{World, address};

const MANY: usize = 32;

/// Dual stack, default gateway and masquerade: everything that attachments share.
fn full(world: &World) -> Network {
    let ipam = world.ipam(&["10.66.0.0/24", "fd66::/64"]);
    world.bridge(&json!({"isDefaultGateway": true, "ipMasq": true, "forceAddress": true, "ipam": ipam}))
}

/// One thread an attachment.
fn at_once<T: Send>(
    runtime: &Runtime,
    targets: &[Target],
    act: impl Fn(&Runtime, &Target) -> T + Sync,
) -> Vec<T> {
    std::thread::scope(|scope| {
        let workers: Vec<_> = targets.iter().map(|target| scope.spawn(|| act(runtime, target))).collect();
        workers.into_iter().map(|worker| worker.join().expect("no worker panics")).collect()
    })
}

/// ADD of all at once, traffic, DEL of all at once.
fn round(world: &World, network: &Network, number: usize) {
    let pods: Vec<Pod> = (0..MANY).map(|_| Pod::new()).collect();
    let target = |(n, pod): (u16, &Pod)| {
        let ports = json!([mapping("tcp", 8000 + n, 80), mapping("udp", 5000 + n, 53)]);
        Target::new(&format!("r{number}p{n}"), &pod.path()).capability("portMappings", ports)
    };
    let targets: Vec<Target> = (0..).zip(&pods).map(target).collect();
    let runtime = world.runtime();
    let results = at_once(&runtime, &targets, |runtime, target| runtime.add(network, target));
    let results: Vec<Value> =
        results.into_iter().map(|r| r.unwrap_or_else(|failure| panic!("{failure}"))).collect();
    for family in 0..2 {
        let distinct: BTreeSet<String> = results.iter().map(|result| address(result, family)).collect();
        assert_eq!(distinct.len(), MANY, "every attachment has its own address");
    }
    for (pod, result) in pods.iter().zip(results.iter().cycle().skip(1)).step_by(7) {
        assert_ping(pod, &address(result, 0));
        assert_ping(pod, &address(result, 1));
    }
    for target in &targets {
        runtime.check(network, target).unwrap_or_else(|failure| panic!("{failure}"));
    }
    for deleted in at_once(&runtime, &targets, |runtime, target| runtime.del(network, target)) {
        deleted.unwrap_or_else(|failure| panic!("{failure}"));
    }
    assert!(pods.iter().all(|pod| pod.link_names() == ["lo"]), "every sandbox is empty again");
}

#[test]
fn thirty_two_first_adds_and_dels_at_once_twice_weakness_12() {
    for bins in [Bins::multicall(), Bins::separate()] {
        let world = World::with(bins);
        let network = full(&world);
        // The first round makes bridge, gateway and tables, all 32 at the same time.
        round(&world, &network, 1);
        let before = world.snapshot();
        round(&world, &network, 2);
        assert_same(&before, &world.snapshot(), "after the second round");
        assert_eq!(world.reservations("proving"), Vec::<String>::new());
    }
}

#[test]
fn thirty_two_adds_and_dels_of_a_whole_chain_at_once_twice() {
    for bins in [Bins::multicall(), Bins::separate()] {
        let world = World::with(bins);
        let network = kubernetes(&world);
        round(&world, &network, 1);
        let (before, files) = (world.snapshot(), world.files());
        round(&world, &network, 2);
        assert_same(&before, &world.snapshot(), "after the second round");
        assert_eq!(world.files(), files);
        assert_eq!(world.reservations("proving"), Vec::<String>::new());
    }
}

#[test]
fn adds_and_dels_interleave() {
    let world = World::ours();
    let network = full(&world);
    world.warm(&network);
    let before = world.snapshot();
    let runtime = world.runtime();
    std::thread::scope(|scope| {
        for worker in 0..8 {
            let (runtime, network) = (&runtime, &network);
            scope.spawn(move || {
                for turn in 0..6 {
                    let pod = Pod::new();
                    let target = Target::new(&format!("w{worker}t{turn}"), &pod.path());
                    runtime.add(network, &target).unwrap_or_else(|failure| panic!("{failure}"));
                    runtime.del(network, &target).unwrap_or_else(|failure| panic!("{failure}"));
                }
            });
        }
    });
    assert_same(&before, &world.snapshot(), "after 48 attachments by 8 workers");
}

#[test]
fn loopback_beside_the_main_chain_in_one_sandbox() {
    let world = World::ours();
    let main = full(&world);
    world.warm(&main);
    let loopback = Network::new("cni-loopback", "0.3.1").plugin(json!({"type": "loopback"}));
    for turn in 0..8 {
        let (pod, runtime) = (Pod::new(), world.runtime());
        let name = format!("pod{turn}");
        let (eth0, lo) = (Target::new(&name, &pod.path()), Target::new(&name, &pod.path()).ifname("lo"));
        std::thread::scope(|scope| {
            let first = scope.spawn(|| runtime.add(&main, &eth0));
            let second = scope.spawn(|| runtime.add(&loopback, &lo));
            first.join().unwrap().unwrap_or_else(|failure| panic!("{failure}"));
            second.join().unwrap().unwrap_or_else(|failure| panic!("{failure}"));
        });
        assert_ping(&pod, "127.0.0.1");
        assert_ping(&pod, "10.66.0.1");
        runtime.del(&main, &eth0).unwrap_or_else(|failure| panic!("{failure}"));
        runtime.del(&loopback, &lo).unwrap_or_else(|failure| panic!("{failure}"));
    }
}
