//! Networks with published ports, for the tests of `portmap`.

use std::net::{IpAddr, SocketAddr};

use netns_fixtures::{Bins, Failure, Network, Pod, Runtime, Space, Target};
use serde_json::{Value, json};

use crate::{World, merged};

/// The plugins of such a network, as `cargo build` makes them.
pub fn bins() -> Bins {
    Bins::only(&["bridge", "host-local", "portmap"])
}

/// A bridge of both families with masquerade, and `portmap` behind it; `more` adds to the configuration of portmap.
pub fn published(world: &World, more: &Value) -> Network {
    let ipam = world.ipam(&["10.66.0.0/24", "fd66::/64"]);
    let portmap = json!({"type": "portmap", "capabilities": {"portMappings": true}});
    let bridge = json!({"isDefaultGateway": true, "ipMasq": true, "hairpinMode": true, "ipam": ipam});
    world.bridge(&bridge).plugin(merged(portmap, more))
}

/// One entry of `portMappings`.
pub fn mapping(protocol: &str, host: u16, container: u16) -> Value {
    json!({"hostPort": host, "containerPort": container, "protocol": protocol})
}

/// The same on one address of the host.
pub fn mapping_at(ip: &str, protocol: &str, host: u16, container: u16) -> Value {
    merged(mapping(protocol, host, container), &json!({"hostIP": ip}))
}

/// A container in a pod with these ports published.
pub fn target(container: &str, pod: &Pod, mappings: &[Value]) -> Target {
    Target::new(container, &pod.path()).capability("portMappings", json!(mappings))
}

/// Attaches; the test fails with the plugin's answer if that fails.
#[track_caller]
pub fn add(runtime: &Runtime<'_>, network: &Network, target: &Target) -> Value {
    runtime.add(network, target).unwrap_or_else(|failure| panic!("{failure}"))
}

/// Detaches; the test fails with the plugin's answer if that fails.
#[track_caller]
pub fn del(runtime: &Runtime<'_>, network: &Network, target: &Target) {
    runtime.del(network, target).unwrap_or_else(|failure| panic!("{failure}"));
}

/// A refusal with this code.
#[track_caller]
pub fn assert_refused(outcome: Result<Value, Failure>, code: u64, text: &str) {
    let failure = outcome.expect_err("it is refused");
    let error = failure.error();
    assert_eq!((error.code, error.msg.contains(text)), (code, true), "{failure}");
}

/// An address and a port.
pub fn at(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse::<IpAddr>().expect("an address"), port)
}
