//! The kernel's forwarding switches: without them a node drops what is for its pods, and sends nothing on from them.

use kernel::sysctl;
use overlay::NetworkConfig;

/// Switches forwarding on for the network's families, also when somebody switched it off meanwhile. The answer has what
/// cannot be written (a read-only `/proc/sys`): the administrator may set it.
pub fn ensure(config: &NetworkConfig, uplink: &str) -> Vec<String> {
    let mut failed = Vec::new();
    let mut set = |path: &str, value: &str| match sysctl::ensure(path, value) {
        Ok(()) => {}
        Err(error) => failed.push(format!("forwarded traffic may be dropped: {error}")),
    };
    if config.v4.is_some() {
        set("net/ipv4/ip_forward", "1");
    }
    if config.v6.is_some() {
        // A forwarding host ignores router advertisements unless `accept_ra` is 2 (`ip-sysctl.rst`): one that has its
        // IPv6 default route from them would lose it.
        let path = format!("net/ipv6/conf/{uplink}/accept_ra");
        if sysctl::read(&path).is_ok_and(|value| value.trim() == "1") {
            set(&path, "2");
        }
        set("net/ipv6/conf/all/forwarding", "1");
    }
    failed
}
