//! The sysctls that a plugin, the daemon or a careless rival may touch.

use std::fs;
use std::path::Path;

use crate::space::Space;

const GLOBAL: [&str; 4] = [
    "net/ipv4/ip_forward",
    "net/ipv4/conf/all/forwarding",
    "net/ipv6/conf/all/forwarding",
    "net/ipv6/conf/all/disable_ipv6",
];
const IPV4: [&str; 7] =
    ["forwarding", "arp_notify", "arp_ignore", "arp_announce", "proxy_arp", "rp_filter", "route_localnet"];
const IPV6: [&str; 9] = [
    "forwarding",
    "accept_ra",
    "accept_dad",
    "enhanced_dad",
    "disable_ipv6",
    "keep_addr_on_down",
    "proxy_ndp",
    "ndisc_notify",
    "addr_gen_mode",
];

pub(super) fn read(space: &impl Space) -> Vec<String> {
    space.inside(|| {
        let mut lines: Vec<String> = GLOBAL.iter().filter_map(|key| line(Path::new(key))).collect();
        for (family, keys) in [("net/ipv4/conf", IPV4.as_slice()), ("net/ipv6/conf", IPV6.as_slice())] {
            // Without IPv6 in the kernel there is no such directory, and nothing to compare.
            let Ok(folders) = fs::read_dir(Path::new("/proc/sys").join(family)) else { continue };
            for entry in folders.flatten() {
                let folder = Path::new(family).join(entry.file_name());
                lines.extend(keys.iter().filter_map(|key| line(&folder.join(key))));
            }
        }
        lines
    })
}

fn line(key: &Path) -> Option<String> {
    let value = fs::read_to_string(Path::new("/proc/sys").join(key)).ok()?;
    Some(format!("{} = {}", key.display(), value.trim()))
}
