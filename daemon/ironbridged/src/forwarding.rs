//! The kernel's forwarding switches: without them a node drops what is for its pods.

use kernel::sysctl;
use overlay::NetworkConfig;

/// Switches forwarding on for the network's families. What cannot be written (a read-only `/proc/sys`) is a warning: the
/// administrator may have set it already, or will.
pub fn enable(config: &NetworkConfig, uplink: &str) {
    if config.v4.is_some() {
        ensure("net/ipv4/ip_forward", "1");
    }
    if config.v6.is_some() {
        keep_router_advertisements(uplink);
        ensure("net/ipv6/conf/all/forwarding", "1");
    }
}

/// A forwarding host ignores router advertisements unless `accept_ra` is 2 (`ip-sysctl.rst`): one that has its IPv6
/// default route from them would lose it.
fn keep_router_advertisements(uplink: &str) {
    let path = format!("net/ipv6/conf/{uplink}/accept_ra");
    if sysctl::read(&path).is_ok_and(|value| value.trim() == "1") {
        ensure(&path, "2");
    }
}

fn ensure(path: &str, value: &str) {
    if let Err(error) = sysctl::ensure(path, value) {
        tracing::warn!(%error, "a kernel parameter cannot be set: forwarded traffic may be dropped");
    }
}
