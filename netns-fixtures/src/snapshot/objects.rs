//! Links, addresses, routes, rules, neighbours, FDB, VLANs and queueing disciplines as lines.

use std::collections::BTreeMap;

use serde_json::Value;

use super::json;
use crate::space::Space;

/// What of a link is compared; the rest are counters, limits of the driver and the kernel's own business.
const LINK: [&str; 9] =
    ["address", "master", "mtu", "promiscuity", "ifalias", "link", "link_netnsid", "txqlen", "group"];
const BRIDGE: [&str; 9] = [
    "ageing_time",
    "stp_state",
    "priority",
    "vlan_filtering",
    "vlan_default_pvid",
    "group_fwd_mask",
    "mcast_snooping",
    "nf_call_iptables",
    "nf_call_ip6tables",
];
const PORT: [&str; 12] = [
    "hairpin",
    "isolated",
    "guard",
    "root_block",
    "fastleave",
    "learning",
    "flood",
    "mcast_flood",
    "bcast_flood",
    "neigh_suppress",
    "proxy_arp",
    "vlan_tunnel",
];
/// What of a route depends on the moment: carrier of its device and, for IPv6, the age of an exception.
const MOMENTARY: [&str; 3] = ["flags", "expires", "cache"];

pub(super) fn read(space: &impl Space) -> BTreeMap<&'static str, Vec<String>> {
    let mut rules = json(space, "ip -j -4 rule show");
    rules.extend(json(space, "ip -j -6 rule show").into_iter().map(|rule| tagged(rule, "inet6")));
    BTreeMap::from([
        ("link", json(space, "ip -j -d link show").iter().map(link).collect()),
        ("address", json(space, "ip -j address show").iter().flat_map(addresses).collect()),
        ("route", routes(space)),
        ("rule", rules.iter().map(Value::to_string).collect()),
        ("neighbour", neighbours(space)),
        ("fdb", fdb(space)),
        ("vlan", json(space, "bridge -j vlan show").iter().map(Value::to_string).collect()),
        ("qdisc", json(space, "tc -j qdisc show").iter().map(qdisc).collect()),
    ])
}

fn tagged(mut value: Value, family: &str) -> Value {
    value["family"] = family.into();
    value
}

fn picked(from: &Value, keys: &[&str]) -> String {
    let present = keys.iter().filter(|key| !from[**key].is_null());
    let fields: Vec<String> = present.map(|key| format!(" {key}={}", from[*key])).collect();
    fields.concat()
}

fn link(link: &Value) -> String {
    let info = &link["linkinfo"];
    let kind = info["info_kind"].as_str().unwrap_or("-");
    let flags: Vec<&str> = link["flags"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let up: Vec<&&str> =
        flags.iter().filter(|flag| ["UP", "PROMISC", "ALLMULTI", "NOARP"].contains(flag)).collect();
    let mut text = format!("{} kind={kind} flags={up:?}", link["ifname"].as_str().unwrap_or("?"));
    text.push_str(&picked(link, &LINK));
    if kind == "bridge" {
        text.push_str(&picked(&info["info_data"], &BRIDGE));
    }
    if info["info_slave_kind"] == "bridge" {
        text.push_str(&picked(&info["info_slave_data"], &PORT));
    }
    text
}

fn addresses(link: &Value) -> Vec<String> {
    let name = link["ifname"].as_str().unwrap_or("?");
    let of_link = link["addr_info"].as_array().into_iter().flatten();
    let lasting = of_link.filter(|a| !(a["family"] == "inet6" && a["scope"] == "link"));
    let keys = ["prefixlen", "scope", "broadcast", "secondary", "noprefixroute", "valid_life_time"];
    lasting
        .map(|address| {
            format!("{name} {}{}", address["local"].as_str().unwrap_or("?"), picked(address, &keys))
        })
        .collect()
}

fn routes(space: &impl Space) -> Vec<String> {
    let mut found = json(space, "ip -j -4 route show table all");
    found
        .extend(json(space, "ip -j -6 route show table all").into_iter().map(|route| tagged(route, "inet6")));
    found.retain(|route| {
        let own = route["protocol"] == "kernel";
        let link_local =
            route["dst"].as_str().is_some_and(|dst| dst.starts_with("fe80:") || dst.starts_with("ff"));
        !(own && (route["table"] == "local" || link_local))
    });
    for route in &mut found {
        let on_link = route["flags"].as_array().is_some_and(|flags| flags.contains(&"onlink".into()));
        if let Some(fields) = route.as_object_mut() {
            fields.retain(|key, _| !MOMENTARY.contains(&key.as_str()));
            if on_link {
                fields.insert("onlink".to_owned(), true.into());
            }
        }
    }
    found.iter().map(Value::to_string).collect()
}

fn neighbours(space: &impl Space) -> Vec<String> {
    let mut found = json(space, "ip -j neigh show nud permanent");
    found.extend(json(space, "ip -j neigh show proxy"));
    found.iter().map(Value::to_string).collect()
}

fn fdb(space: &impl Space) -> Vec<String> {
    let found = json(space, "bridge -j fdb show");
    // A link's own multicast memberships are listed too: they follow from its addresses.
    let made = found.iter().filter(|entry| {
        let multicast =
            entry["mac"].as_str().is_some_and(|mac| mac.starts_with("33:33:") || mac.starts_with("01:"));
        ["permanent", "static"].iter().any(|state| entry["state"] == *state) && !multicast
    });
    made.map(Value::to_string).collect()
}

fn qdisc(qdisc: &Value) -> String {
    let mut qdisc = qdisc.clone();
    if let Some(fields) = qdisc.as_object_mut() {
        fields.remove("refcnt");
    }
    qdisc.to_string()
}
