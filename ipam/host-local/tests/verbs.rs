//! The five verbs as a runtime sees them.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]
mod plugin;
use plugin::{Net, OURS, on};
use serde_json::json;
use std::fs;

#[test]
fn add_answers_with_addresses_gateways_routes_and_dns() {
    let net = Net::dual();
    fs::write(net.scratch("resolv.conf"), "nameserver 10.0.0.53\nsearch a.b\n").unwrap();
    let mut config = net.with_ipam(
        "routes",
        json!([{"dst": "0.0.0.0/0"}, {"dst": "10.0.0.0/8", "gw": "10.1.0.9", "mtu": 1400, "table": 7}]),
    );
    config["ipam"]["resolvConf"] = json!(net.scratch("resolv.conf"));
    let expected = json!({
        "cniVersion": "1.0.0",
        "ips": [
            {"address": "10.1.0.2/24", "gateway": "10.1.0.1"},
            {"address": "fd00::2/64", "gateway": "fd00::1"},
        ],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "10.0.0.0/8", "gw": "10.1.0.9", "mtu": 1400, "table": 7}],
        "dns": {"nameservers": ["10.0.0.53"], "search": ["a.b"]},
    });
    let added = on(&config, "ADD", "a");
    assert_eq!(added.json, expected);
    config["cniVersion"] = json!("0.2.0");
    let added = on(&config, "ADD", "b");
    assert_eq!(added.json["ip4"]["ip"], "10.1.0.3/24");
    assert_eq!(added.json["ip6"]["gateway"], "fd00::1");
}

#[test]
fn a_resolv_conf_that_is_missing_fails_before_anything_is_reserved() {
    let net = Net::dual();
    let failed = on(&net.with_ipam("resolvConf", json!("/nonexistent/resolv.conf")), "ADD", "a");
    assert_eq!((failed.code(), failed.msg().contains("/nonexistent/resolv.conf")), (5, true));
    assert!(net.snapshot().is_empty());
}

#[test]
fn del_succeeds_twice_without_a_data_directory_and_with_broken_ranges() {
    let net = Net::dual();
    assert!(net.ours("DEL", "a").success);
    assert!(net.snapshot().is_empty(), "nothing is made");
    net.ours("ADD", "keep");
    let before = net.snapshot();
    for ranges in [
        json!([[{"subnet": "10.9.0.0/24"}]]),
        json!([[]]),
        json!("rubbish"),
        json!([[{"subnet": "10.1.0.0/31"}]]),
    ] {
        net.ours("ADD", "a");
        for _ in 0..2 {
            let deleted = on(&net.with_ipam("ranges", ranges.clone()), "DEL", "a");
            assert!(deleted.success, "{ranges}: {deleted:?}");
            assert_eq!(net.snapshot(), before, "{ranges}");
        }
    }
}

#[test]
fn a_failed_add_leaves_no_reservation() {
    let net = Net::new(json!({"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "10.2.0.0/30"}]]}));
    assert_eq!(net.ours("ADD", "a").addresses(), ["10.1.0.2/24", "10.2.0.2/30"]);
    let before = net.snapshot();
    assert_eq!(net.ours("ADD", "b").code(), 100);
    assert_eq!(net.ours("ADD", "a").code(), 101);
    assert_eq!(net.with_args("IP=10.1.0.2", "ADD", "b").code(), 101);
    assert_eq!(net.with_args("IP=10.1.0.1", "ADD", "b").code(), 7);
    assert_eq!(net.with_args("IP=10.9.0.1", "ADD", "b").code(), 7);
    assert_eq!(net.snapshot(), before);
}

#[test]
fn a_requested_address_comes_by_each_of_the_three_ways() {
    let net = Net::dual();
    assert_eq!(net.with_args("IP=10.1.0.10", "ADD", "a").addresses(), ["10.1.0.10/24", "fd00::2/64"]);
    let by_args = net.with("args", json!({"cni": {"ips": ["10.1.0.20/16", "fd00::20"]}}));
    assert_eq!(on(&by_args, "ADD", "b").addresses(), ["10.1.0.20/24", "fd00::20/64"]);
    let by_capability = net.with("runtimeConfig", json!({"ips": ["fd00::30"]}));
    assert_eq!(on(&by_capability, "ADD", "c").addresses(), ["10.1.0.21/24", "fd00::30/64"]);
}

#[test]
fn check_compares_and_names_what_differs() {
    let net = Net::dual();
    let (one, two) = (net.ours("ADD", "a"), net.ours("ADD", "b"));
    assert!(net.check(OURS, "a", &one).success);
    let swapped = net.check(OURS, "a", &two);
    assert_eq!(swapped.code(), 111);
    assert!(swapped.msg().contains("10.1.0.3") && swapped.msg().contains("container b"), "{}", swapped.msg());
    net.ours("DEL", "a");
    assert_eq!(net.check(OURS, "a", &one).code(), 3);
}

#[test]
fn status_is_50_when_a_set_is_exhausted() {
    let net = Net::new(json!({"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "10.2.0.0/30"}]]}));
    let config = net.with("cniVersion", json!("1.1.0"));
    assert!(on(&config, "STATUS", "").success, "no data directory yet");
    net.ours("ADD", "a");
    let full = on(&config, "STATUS", "");
    assert_eq!(full.code(), 50);
    assert!(full.msg().contains("10.2.0.1-10.2.0.2"), "{}", full.msg());
    net.ours("DEL", "a");
    assert!(on(&config, "STATUS", "").success);
}

#[test]
fn gc_keeps_what_is_valid_and_does_nothing_without_the_list() {
    let net = Net::dual();
    for id in ["a", "b", "c"] {
        net.ours("ADD", id);
    }
    fs::write(net.file("10.1.0.77"), "").unwrap();
    let mut config = net.with("cniVersion", json!("1.1.0"));
    let all = net.snapshot();
    assert!(on(&config, "GC", "").success);
    assert_eq!(net.snapshot(), all, "no list is no information");
    config["cni.dev/valid-attachments"] =
        json!([{"containerID": "b", "ifname": "eth0"}, {"containerID": "c", "ifname": "eth1"}]);
    let collected = on(&config, "GC", "");
    assert!(collected.success, "{collected:?}");
    assert_eq!(net.reserved(), ["10.1.0.3", "fd00::3"]);
    assert!(net.ours("ADD", "a").success);
}

#[test]
fn a_configuration_that_is_refused_names_the_range() {
    let net = Net::dual();
    let refused = on(
        &net.with_ipam(
            "ranges",
            json!([[{"subnet": "10.1.0.0/24"}], [{"subnet": "10.2.0.0/24", "rangeEnd": "10.2.1.9"}]]),
        ),
        "ADD",
        "a",
    );
    assert_eq!(refused.code(), 7);
    assert_eq!(refused.msg(), "range set 1, range 0 (10.2.0.0/24): rangeEnd 10.2.1.9 is not in the network");
}

#[test]
fn a_data_directory_that_cannot_be_made_is_named() {
    let net = Net::dual();
    fs::write(net.scratch("file"), "").unwrap();
    let failed = on(&net.with_ipam("dataDir", json!(net.scratch("file"))), "ADD", "a");
    assert_eq!(failed.code(), 5);
    assert!(failed.msg().contains(net.scratch("file").to_str().unwrap()), "{}", failed.msg());
}

#[test]
fn networks_do_not_see_each_other() {
    let net = Net::dual();
    let other = net.with("name", json!("other"));
    assert_eq!(net.ours("ADD", "a").addresses(), on(&other, "ADD", "a").addresses());
    net.ours("DEL", "a");
    assert_eq!(on(&other, "ADD", "a").code(), 101, "still there");
}
