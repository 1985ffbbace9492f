//! A bridge has 1,023 ports and no more: the ADD that comes too late says so and leaves nothing; the last that fits is
//! announced to all.

use std::fmt::Write;
use std::fs;
use std::time::Duration;

use netns_fixtures::{Network, Pod, Space, Target, assert_same, eventually, ping};
use serde_json::json;
use tests::World;

const PORTS: usize = 1023;

#[test]
fn exhausted_ports_are_a_clear_error_that_leaves_nothing() {
    let world = World::ours();
    let network = world.bridge(&json!({"isGateway": true, "ipMasq": true, "capabilities": {"ips": true}}));
    let (peer, _) = world.attach(&network, "peer");
    let batch = world.state.path().join("ports");
    let mut lines = String::new();
    for port in 1..PORTS {
        writeln!(lines, "link add p{port} master cni0 type veth peer name q{port}").unwrap();
    }
    fs::write(&batch, lines).unwrap();
    world.host().run(&format!("ip -batch {}", batch.display()));
    let before = world.snapshot();
    let pod = Pod::new();
    let (runtime, target) = (world.runtime(), Target::new("late", &pod.path()));
    let failure = runtime.add(&network, &target).unwrap_err();
    let error = failure.answer.error();
    let text = format!("{} {}", error.msg, error.details);
    assert!(error.code != 999 && text.contains("cni0") && text.contains("1,023"), "{error:?}");
    assert_same(&before, &world.snapshot(), "after an ADD without a port");
    assert_eq!(world.reservations("proving").len(), 1, "the peer's");
    // One port less, and the next attachment fits.
    world.host().run("ip link delete p1000");
    runtime.add(&network, &target).unwrap_or_else(|failure| panic!("{failure}"));
    runtime.del(&network, &target).unwrap_or_else(|failure| panic!("{failure}"));
    an_address_given_again_is_soon_known(&world, &network, &peer);
}

/// A stale neighbour entry would be believed for some eight seconds.
fn an_address_given_again_is_soon_known(world: &World, network: &Network, peer: &Pod) {
    for name in ["first", "second"] {
        let pod = Pod::new();
        let target = Target::new(name, &pod.path()).capability("ips", json!(["10.66.0.77"]));
        world.runtime().add(network, &target).unwrap_or_else(|failure| panic!("{failure}"));
        assert!(ping(&pod, "10.66.0.1".parse().unwrap()), "the {name} owner's first packet reaches the node");
        eventually(&format!("the peer reaches the {name} owner"), Duration::from_secs(4), || {
            ping(peer, "10.66.0.77".parse().unwrap()).then_some(())
        });
        world.runtime().del(network, &target).unwrap_or_else(|failure| panic!("{failure}"));
    }
}
