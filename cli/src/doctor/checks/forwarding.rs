//! What the node's own kernel does to packets of pods: drops them, or lets them past the rules.

use ipnetwork::IpNetwork;

use super::super::finding::Finding;
use super::super::node::{Accept, ForwardChain, Node, covers};

const FORWARD_V4: &str = "net/ipv4/ip_forward";
const FORWARD_V6: &str = "net/ipv6/conf/all/forwarding";
const BRIDGE_CALL: &str = "net/bridge/bridge-nf-call-iptables";
/// `rp_filter`: the reply must leave by the link that the packet came in by (RFC 3704, strict).
const STRICT: i64 = 1;

/// A node that forwards nothing has no pods that anybody can reach.
pub fn switched_off(node: &Node) -> Vec<Finding> {
    let networks = node.pod_networks();
    let v4 = networks.iter().any(IpNetwork::is_ipv4).then_some(FORWARD_V4);
    let v6 = networks.iter().any(IpNetwork::is_ipv6).then_some(FORWARD_V6);
    let needed = v4.into_iter().chain(v6).filter(|_| node.forwards());
    let finding = |path: &str| {
        let name = path.replace('/', ".");
        Finding::new(
            "forwarding-off",
            format!("{name} is 0: nothing is forwarded to or from pods of this node"),
            format!("sysctl -w {name}=1, and look for what switched it off in /etc/sysctl.d"),
        )
    };
    needed.filter(|path| node.parameter(path) == Some(0)).map(finding).collect()
}

/// A chain whose policy is to drop and that has no rule for pods: what Docker does to a node.
pub fn dropped(node: &Node) -> Vec<Finding> {
    if !node.forwards() {
        return Vec::new();
    }
    let bridges = node.bridges();
    let mut findings = Vec::new();
    for chain in node.forward.iter().filter(|chain| chain.drops) {
        let networks =
            node.pod_networks().into_iter().filter(|network| chain.families.contains(&network.ip().into()));
        for network in networks.filter(|network| !accepts(chain, *network, &bridges)) {
            findings.push(Finding::new(
                "forward-drop",
                format!(
                    "{} has the policy DROP and no rule that accepts {network}: packets between pods and other hosts are dropped",
                    chain.name
                ),
                format!(
                    "accept them there (iptables -I FORWARD -s {network} -j ACCEPT; iptables -I FORWARD -d {network} -j ACCEPT), \
                     chain the `firewall` plugin with the backend iptables, or set the policy to ACCEPT"
                ),
            ));
        }
    }
    findings
}

fn accepts(chain: &ForwardChain, network: IpNetwork, bridges: &[&str]) -> bool {
    chain.accepts.iter().any(|accept| match accept {
        Accept::Everything => true,
        Accept::Link(link) => bridges.contains(&link.as_str()),
        // A whole network, or, as the `firewall` plugin does, the pods one by one.
        Accept::Network(accepted) => covers(*accepted, network) || covers(network, *accepted),
    })
}

/// A strict reverse path filter drops what comes in by a link by which the reply would not leave.
pub fn strict_reverse_path(node: &Node) -> Vec<Finding> {
    let Some(overview) = &node.overview else { return Vec::new() };
    let name = &overview.node.uplink;
    let Some(uplink) = node.links.iter().find(|link| link.name == *name) else { return Vec::new() };
    let of = |link: &str| node.parameter(&format!("net/ipv4/conf/{link}/rp_filter")).unwrap_or(0);
    if of("all").max(of(name)) != STRICT {
        return Vec::new();
    }
    let elsewhere = node.ways.iter().filter(|(_, way)| *way != uplink.index);
    let link_name = |index: u32| {
        let link = node.links.iter().find(|link| link.index == index);
        link.map_or_else(|| index.to_string(), |link| link.name.clone())
    };
    elsewhere
        .map(|(peer, way)| {
            let other = link_name(*way);
            Finding::new(
                "rp-filter",
                format!(
                    "packets of peer {peer} that arrive by {name} are dropped: rp_filter is strict there, and the route back leaves by {other}"
                ),
                format!("sysctl -w net.ipv4.conf.{name}.rp_filter=2 (and all.rp_filter, if that is 1), or route {peer} by {name}"),
            )
        })
        .collect()
}

/// kube-proxy's rules see packets between two pods of one bridge only through `br_netfilter`.
pub fn bridge_netfilter(node: &Node) -> Vec<Finding> {
    let bridges = node.bridges();
    if !node.kube_proxy || bridges.is_empty() || node.parameter(BRIDGE_CALL) == Some(1) {
        return Vec::new();
    }
    let is = match node.parameter(BRIDGE_CALL) {
        Some(_) => "net.bridge.bridge-nf-call-iptables is 0",
        None => "the kernel module br_netfilter is not loaded",
    };
    vec![Finding::new(
        "br-netfilter",
        format!(
            "{is}: replies of a pod behind a Service to a pod on the same bridge ({}) do not pass kube-proxy's rules and are not recognised",
            bridges.join(", ")
        ),
        "modprobe br_netfilter && sysctl -w net.bridge.bridge-nf-call-iptables=1, and put both into /etc/modules-load.d and /etc/sysctl.d",
    )]
}
