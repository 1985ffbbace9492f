//! Pods beside iptables, both kinds of it, and beside kube-proxy's rules: what passes, and what makes the rest pass.

use std::fs;

use netns_fixtures::{Space, needs, tcp_echo};
use serde_json::json;
use tests::neighbours::{FORWARDED, Scene, accept_published_ports, bridged_frames_meet_iptables};
use tests::ports::at;

const NOTHING: [&str; 0] = [];
/// New connections from outside, which the firewall plugin does not accept: nor does the reference's.
const PUBLISHED: [&str; 2] = ["in", "in6"];
const IPTABLES: [&str; 2] = ["iptables", "ip6tables"];
const LEGACY: [&str; 2] = ["iptables-legacy", "ip6tables-legacy"];

/// What kube-proxy writes for one Service, 10.96.0.10:80 and node port 30080 to pod `web`, and for a node port 8080 to `across`,
/// with clusterCIDR 10.64.0.0/13. Facts: Kubernetes, `pkg/proxy/iptables/proxier.go` (`syncProxyRules`, 1.20 and later) and, for
/// KUBE-FIREWALL, `pkg/kubelet/kubelet_network_linux.go`.
const KUBE_PROXY: &str = "\
*filter
:KUBE-FIREWALL - [0:0]
:KUBE-FORWARD - [0:0]
-A INPUT -j KUBE-FIREWALL
-A FORWARD -m comment --comment \"kubernetes forwarding rules\" -j KUBE-FORWARD
-A OUTPUT -j KUBE-FIREWALL
-A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP
-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
-A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT
-A KUBE-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
COMMIT
*nat
:KUBE-SERVICES - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-SVC-WEB - [0:0]
:KUBE-SEP-WEB - [0:0]
:KUBE-SEP-ACROSS - [0:0]
-A PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES
-A OUTPUT -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES
-A POSTROUTING -m comment --comment \"kubernetes postrouting rules\" -j KUBE-POSTROUTING
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --xor-mark 0x4000
-A KUBE-POSTROUTING -j MASQUERADE --random-fully
-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000
-A KUBE-SERVICES -d 10.96.0.10/32 -p tcp -m tcp --dport 80 -j KUBE-SVC-WEB
-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
-A KUBE-NODEPORTS -p tcp -m tcp --dport 30080 -j KUBE-MARK-MASQ
-A KUBE-NODEPORTS -p tcp -m tcp --dport 30080 -j KUBE-SVC-WEB
-A KUBE-SVC-WEB ! -s 10.64.0.0/13 -j KUBE-MARK-MASQ
-A KUBE-SVC-WEB -j KUBE-SEP-WEB
-A KUBE-SEP-WEB -s 10.66.0.2/32 -j KUBE-MARK-MASQ
-A KUBE-SEP-WEB -p tcp -m tcp -j DNAT --to-destination 10.66.0.2:80
-A KUBE-SEP-ACROSS -p tcp -m tcp -j DNAT --to-destination 10.67.0.2:80
COMMIT
";

fn restore(scene: &Scene, rules: &str) {
    let file = scene.world.state.path().join("rules");
    fs::write(&file, rules).unwrap();
    scene.world.host().run(&format!("iptables-restore --noflush {}", file.display()));
}

/// The address that answers to `who` when it connects to `ip`, and `stopped` if none does.
fn seen(who: &impl Space, ip: &str, port: u16) -> String {
    tcp_echo(who, at(ip, port)).map_or_else(|_| "stopped".to_owned(), |address| address.to_string())
}

#[test]
fn a_forward_policy_of_drop_stops_what_is_forwarded_until_the_firewall_plugin_accepts_it() {
    needs!(IptablesNat);
    let mut scene = Scene::new();
    assert_eq!(scene.stopped(), NOTHING);
    for program in IPTABLES {
        scene.world.host().run(&format!("{program} -P FORWARD DROP"));
    }
    assert_eq!((scene.stopped(), scene.missing()), (FORWARDED.to_vec(), vec![]));
    scene.protect(&json!({"backend": "nftables"}));
    assert_eq!(scene.stopped(), FORWARDED, "an accept in another table is none");
    scene.protect(&json!({}));
    assert_eq!((scene.stopped(), scene.missing()), (PUBLISHED.to_vec(), vec![]));
    accept_published_ports(&scene.world, IPTABLES);
    assert_eq!(scene.stopped(), NOTHING);
    for program in IPTABLES {
        scene.world.host().run(&format!("{program} -F"));
    }
    assert_eq!((scene.stopped(), scene.missing()), (FORWARDED.to_vec(), vec!["firewall".to_owned()]));
    // As on a node of Kubernetes, where iptables also sees what stays within a bridge.
    bridged_frames_meet_iptables(&scene.world, "1");
    if scene.world.host().sysctl("net/bridge/bridge-nf-call-iptables").is_some() {
        assert!(scene.stopped().contains(&"beside"));
    }
    scene.protect(&json!({}));
    assert_eq!(scene.stopped(), PUBLISHED);
}

#[test]
fn a_drop_of_iptables_legacy_is_lifted_by_iptables_legacy_alone() {
    needs!(IptablesNat);
    needs!(IptablesLegacyNat);
    let mut scene = Scene::new();
    for program in LEGACY {
        scene.world.host().run(&format!("{program} -P FORWARD DROP"));
    }
    assert_eq!(scene.stopped(), FORWARDED);
    scene.protect(&json!({}));
    // The node's iptables is iptables-nft: it speaks elsewhere, and finds its rules there.
    assert_eq!((scene.stopped(), scene.missing()), (FORWARDED.to_vec(), vec![]));
    let programs = tempfile::tempdir().unwrap();
    for name in IPTABLES {
        for part in ["", "-restore", "-save"] {
            let link = programs.path().join(format!("{name}{part}"));
            std::os::unix::fs::symlink(format!("/usr/sbin/{name}-legacy{part}"), link).unwrap();
        }
    }
    scene.path = format!("{}:{}", programs.path().display(), scene.path);
    scene.protect(&json!({}));
    assert_eq!(scene.stopped(), PUBLISHED);
    accept_published_ports(&scene.world, LEGACY);
    assert_eq!(scene.stopped(), NOTHING);
}

#[test]
fn services_of_kube_proxy_and_published_ports_live_on_one_node() {
    needs!(IptablesNat);
    let mut scene = Scene::new();
    restore(&scene, KUBE_PROXY);
    assert_eq!(scene.stopped(), NOTHING);
    let hub = "192.168.50.254";
    let services = |scene: &Scene| {
        [
            seen(&scene.across, "10.96.0.10", 80),
            seen(&scene.web, "10.96.0.10", 80),
            seen(scene.world.host(), "10.96.0.10", 80),
            seen(scene.world.underlay.hub(), "192.168.50.1", 30080),
            seen(scene.world.underlay.hub(), "192.168.50.1", 8080),
        ]
    };
    // The network's own masquerade hides `across` from another network.
    let whole = ["10.66.0.1", "10.66.0.1", "10.66.0.1", "10.66.0.1", hub].map(str::to_owned);
    assert_eq!(services(&scene), whole);
    // A node port on the number of a published port: the Service is asked first.
    let taken = "*nat\n-A KUBE-NODEPORTS -p tcp -m tcp --dport 8080 -j KUBE-MARK-MASQ\n\
                 -A KUBE-NODEPORTS -p tcp -m tcp --dport 8080 -j KUBE-SEP-ACROSS\nCOMMIT\n";
    restore(&scene, taken);
    assert_eq!(seen(scene.world.underlay.hub(), "192.168.50.1", 8080), "10.67.0.1");
    // A restart begins with its chains empty, and ends as before.
    for chain in ["KUBE-NODEPORTS", "KUBE-SERVICES", "KUBE-POSTROUTING"] {
        scene.world.host().run(&format!("iptables -t nat -F {chain}"));
    }
    assert_eq!(scene.stopped(), NOTHING);
    scene.world.host().run("iptables -t nat -F");
    scene.world.host().run("iptables -F");
    restore(&scene, KUBE_PROXY);
    assert_eq!(services(&scene), whole);
    // With a node that drops, its own rules accept what is marked, and nothing of ours.
    scene.world.host().run("iptables -P FORWARD DROP");
    assert_eq!(scene.stopped(), ["across", "in", "out"]);
    let marked = ["stopped", "10.66.0.1", "10.66.0.1", "10.66.0.1", "stopped"].map(str::to_owned);
    assert_eq!(services(&scene), marked);
    scene.protect(&json!({}));
    assert_eq!(scene.stopped(), ["in"]);
    accept_published_ports(&scene.world, IPTABLES);
    assert_eq!(scene.stopped(), NOTHING);
    assert_eq!(services(&scene), whole);
}
