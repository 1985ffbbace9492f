//! Reservations of host-local, how many a network can have, and every address that some sandbox really has.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use host_local::range::{RangeConf, RangeSet};
use ipnetwork::IpNetwork;
use kernel::{Netns, Rtnl};
use serde_json::Value;

use super::super::node::{Node, Reserved};
use crate::ipam;

/// All of them.
pub fn reservations(data_dir: &Path) -> Result<Vec<Reserved>, ipam::Error> {
    let mut all = Vec::new();
    for network in ipam::networks(data_dir)? {
        for found in host_local::reservations(data_dir, &network)? {
            all.push(Reserved {
                network: network.clone(),
                address: found.address,
                owner: found.holder.owner().cloned(),
                age: SystemTime::now().duration_since(found.since).unwrap_or_default(),
            });
        }
    }
    Ok(all)
}

/// How many addresses each network of the runtime's configurations can give out.
pub fn capacities(conf_dir: &Path, node: &Node) -> Vec<(String, u64)> {
    let files = fs::read_dir(conf_dir).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
    let lists = files.filter(|path| path.extension().is_some_and(|e| e == "conflist" || e == "conf"));
    let documents = lists.filter_map(|path| serde_json::from_slice::<Value>(&fs::read(path).ok()?).ok());
    documents.filter_map(|list| capacity(&list, node)).collect()
}

fn capacity(list: &Value, node: &Node) -> Option<(String, u64)> {
    let name = list.get("name")?.as_str()?.to_owned();
    let plugins =
        list.get("plugins").and_then(Value::as_array).cloned().unwrap_or_else(|| vec![list.clone()]);
    let of = |plugin: &Value| match plugin.get("type").and_then(Value::as_str) {
        Some("flannel") => node.env.subnets.iter().next().map(of_subnet),
        _ => plugin
            .get("ipam")
            .filter(|ipam| ipam.get("type").and_then(Value::as_str) == Some("host-local"))
            .and_then(of_ranges),
    };
    Some((name, plugins.iter().find_map(of)?))
}

/// flannel's plugin leaves the network's own address, the gateway and the broadcast address out.
fn of_subnet(subnet: IpNetwork) -> u64 {
    let bits: u8 = if subnet.is_ipv4() { 32 } else { 128 };
    let addresses = 1_u64.checked_shl(u32::from(bits.saturating_sub(subnet.prefix()))).unwrap_or(u64::MAX);
    addresses.saturating_sub(3)
}

/// The smallest of the range sets: each pod takes one address of each.
fn of_ranges(ipam: &Value) -> Option<u64> {
    let mut sets: Vec<Vec<RangeConf>> =
        ipam.get("ranges").and_then(|ranges| serde_json::from_value(ranges.clone()).ok()).unwrap_or_default();
    if ipam.get("subnet").is_some() {
        sets.push(vec![serde_json::from_value(ipam.clone()).ok()?]);
    }
    let checked = RangeSet::check_all(&sets).ok()?;
    checked.iter().map(|set| set.ranges().iter().map(size).fold(0, u64::saturating_add)).min()
}

/// The gateway is never given out.
fn size(range: &host_local::range::Range) -> u64 {
    let number = |address: IpAddr| match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    };
    let all = number(range.end()).saturating_sub(number(range.start())).saturating_add(1);
    let gateway = u128::from(range.contains(range.gateway()));
    u64::try_from(all.saturating_sub(gateway)).unwrap_or(u64::MAX)
}

/// The addresses in every network namespace that a process or a mount keeps.
pub fn lived() -> Result<BTreeSet<IpAddr>, kernel::Error> {
    let mut seen = BTreeSet::new();
    let mut addresses = BTreeSet::new();
    for path in namespaces() {
        // A namespace may go while it is looked for.
        let Ok(inode) = fs::metadata(&path).map(|file| file.ino()) else { continue };
        if !seen.insert(inode) {
            continue;
        }
        let Ok(netns) = Netns::open(&path) else { continue };
        let all = Rtnl::open_in(&netns)?.all_addresses()?;
        addresses.extend(all.into_iter().map(|address| address.network.ip()));
    }
    Ok(addresses)
}

fn namespaces() -> Vec<PathBuf> {
    let processes = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    let processes = processes.filter(|entry| {
        entry.file_name().to_str().is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
    });
    let mounts: io::Result<String> = fs::read_to_string("/proc/self/mountinfo");
    let kept = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        let point = before.split(' ').nth(4)?;
        after.starts_with("nsfs ").then(|| PathBuf::from(point))
    };
    let mounted: Vec<PathBuf> = mounts.unwrap_or_default().lines().filter_map(kept).collect();
    mounted.into_iter().chain(processes.map(|entry| entry.path().join("ns/net"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_networks_capacity_is_what_host_local_can_give_out() {
        let ipam = |ranges: Value| of_ranges(&json!({"type": "host-local", "ranges": ranges}));
        assert_eq!(ipam(json!([[{"subnet": "10.1.0.0/24"}]])), Some(253));
        assert_eq!(
            ipam(json!([[{"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.10", "rangeEnd": "10.1.0.19"}]])),
            Some(10)
        );
        assert_eq!(
            ipam(json!([[{"subnet": "10.1.0.0/24"}, {"subnet": "10.2.0.0/29"}], [{"subnet": "fd00::/64"}]])),
            Some(258)
        );
        assert_eq!(of_ranges(&json!({"subnet": "10.1.0.0/30"})), Some(1));
        assert_eq!(of_subnet("10.1.0.0/24".parse().unwrap()), 253);
    }

    #[test]
    fn a_flannel_network_has_the_nodes_subnet() {
        let mut node = Node::default();
        let list = json!({"name": "cbr0", "plugins": [{"type": "flannel"}, {"type": "portmap"}]});
        assert_eq!(capacity(&list, &node), None);
        node.env = overlay::Previous::parse("FLANNEL_SUBNET=10.244.3.1/26\n");
        assert_eq!(capacity(&list, &node), Some(("cbr0".to_owned(), 61)));
    }
}
