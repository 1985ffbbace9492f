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
