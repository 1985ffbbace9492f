//! A bridge has 1,023 ports and no more: the ADD that comes too late says so and leaves nothing.

use std::fmt::Write;
use std::fs;

use netns_fixtures::{Pod, Space, Target, assert_same};
use serde_json::json;
use tests::World;

const PORTS: usize = 1023;

#[test]
fn exhausted_ports_are_a_clear_error_that_leaves_nothing() {
    let world = World::ours();
    let network = world.bridge(&json!({"isGateway": true, "ipMasq": true}));
    world.warm(&network);
    let batch = world.state.path().join("ports");
    let mut lines = String::new();
    for port in 0..PORTS {
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
    assert_eq!(world.reservations("proving"), Vec::<String>::new());
    // One port less, and the next attachment fits.
    world.host().run("ip link delete p0");
    runtime.add(&network, &target).unwrap_or_else(|failure| panic!("{failure}"));
}
