//! Lists of plugins as nodes have them: everything in one chain, and the stock lists of Kubernetes, k3s and podman.

use netns_fixtures::Network;
use serde_json::{Value, json};

use crate::World;

/// Every plugin that may follow a bridge (a kernel without VRF has no `vrf`), with all that each can own.
#[must_use]
pub fn whole(world: &World) -> Network {
    let ipam = world.ipam(&["10.66.0.0/24", "fd66::/64"]);
    let bridge = json!({
        "isDefaultGateway": true, "ipMasq": true, "hairpinMode": true, "macspoofchk": true, "ipam": ipam,
    });
    world
        .bridge(&bridge)
        .plugin(json!({"type": "portmap", "backend": "nftables", "capabilities": {"portMappings": true}}))
        .plugin(bandwidth())
        .plugin(json!({"type": "firewall", "backend": "nftables", "ingressPolicy": "same-bridge"}))
        .plugin(tuning(world))
        .plugin(json!({"type": "sbr", "addSourceHints": true}))
}

/// What nodes run: a bridge of both families, published ports, limits, parameters and a firewall that chooses by itself.
#[must_use]
pub fn kubernetes(world: &World) -> Network {
    let ipam = world.ipam(&["10.66.0.0/24", "fd66::/64"]);
    let bridge = json!({"isDefaultGateway": true, "ipMasq": true, "hairpinMode": true, "forceAddress": true, "ipam": ipam});
    world
        .bridge(&bridge)
        .plugin(json!({"type": "portmap", "capabilities": {"portMappings": true}}))
        .plugin(bandwidth())
        .plugin(tuning(world))
        .plugin(json!({"type": "firewall"}))
}

/// k3s's `10-flannel.conflist` as it ships, but for where state is. The daemon's file is there but no daemon, so it is the
/// plugins that have to masquerade.
#[must_use]
pub fn k3s(world: &World) -> Network {
    let at = |name: &str| world.state.path().join(name);
    let subnet =
        "FLANNEL_NETWORK=10.42.0.0/16\nFLANNEL_SUBNET=10.42.0.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n";
    std::fs::write(at("subnet.env"), subnet).expect("a file can be written");
    let delegate = json!({"hairpinMode": true, "forceAddress": true, "isDefaultGateway": true});
    Network::new("cbr0", "1.0.0")
        .plugin(json!({
            "type": "flannel", "delegate": delegate, "subnetFile": at("subnet.env"), "dataDir": at("flannel"),
            "ipam": {"dataDir": world.state.path()},
        }))
        .plugin(json!({"type": "portmap", "capabilities": {"portMappings": true}}))
        .plugin(json!({"type": "bandwidth", "capabilities": {"bandwidth": true}}))
}

/// podman's `87-podman-bridge.conflist` as it ships, but for where state is.
#[must_use]
pub fn podman(world: &World) -> Network {
    let ipam = json!({
        "type": "host-local", "dataDir": world.state.path(), "routes": [{"dst": "0.0.0.0/0"}],
        "ranges": [[{"subnet": "10.88.0.0/16", "gateway": "10.88.0.1"}]],
    });
    Network::new("podman", "0.4.0")
        .plugin(json!({
            "type": "bridge", "bridge": "cni-podman0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
            "ipam": ipam,
        }))
        .plugin(json!({"type": "portmap", "capabilities": {"portMappings": true}}))
        .plugin(json!({"type": "firewall"}))
        .plugin(json!({"type": "tuning"}))
}

/// A limit both ways.
fn bandwidth() -> Value {
    let rate = 100_000_000;
    json!({
        "type": "bandwidth", "ingressRate": rate, "ingressBurst": rate, "egressRate": rate, "egressBurst": rate,
    })
}

/// Parameters of the interface and of the sandbox.
fn tuning(world: &World) -> Value {
    json!({
        "type": "tuning", "dataDir": world.state.path().join("tuning"), "mtu": 1400,
        "sysctl": {"net.ipv4.conf.IFNAME.arp_notify": "1", "net.ipv4.conf.all.rp_filter": "2"},
    })
}
