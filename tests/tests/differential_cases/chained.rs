//! The differential test's requests to chained plugins, and the differences that are meant.

use super::Case;

const fn behind(name: &'static str, behind: &'static str, capabilities: &'static str) -> Case {
    Case { name, keys: r#"{"isDefaultGateway": true}"#, args: "", capabilities, behind }
}

const PORTS: &str = r#"{"portMappings": [
    {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"},
    {"hostPort": 5300, "containerPort": 53, "protocol": "udp", "hostIP": "192.168.50.1"}]}"#;

/// The requests.
pub const CASES: &[Case] = &[
    behind(
        "portmap",
        r#"{"type": "portmap", "backend": "iptables", "capabilities": {"portMappings": true}}"#,
        PORTS,
    ),
    behind(
        "portmap without snat",
        r#"{"type": "portmap", "backend": "iptables", "snat": false, "capabilities": {"portMappings": true}}"#,
        PORTS,
    ),
    behind(
        "portmap for all",
        r#"{"type": "portmap", "backend": "iptables", "masqAll": true, "markMasqBit": 5, "capabilities": {"portMappings": true}}"#,
        PORTS,
    ),
    behind(
        "portmap by conditions",
        r#"{"type": "portmap", "backend": "iptables", "conditionsV4": ["!", "-s", "192.0.2.0/24"], "capabilities": {"portMappings": true}}"#,
        PORTS,
    ),
    behind(
        "portmap without ports",
        r#"{"type": "portmap", "backend": "iptables", "capabilities": {"portMappings": true}}"#,
        "{}",
    ),
    behind(
        "portmap with port 0",
        r#"{"type": "portmap", "backend": "iptables", "capabilities": {"portMappings": true}}"#,
        r#"{"portMappings": [{"hostPort": 0, "containerPort": 80, "protocol": "tcp"}]}"#,
    ),
    behind(
        "portmap above 65535",
        r#"{"type": "portmap", "backend": "iptables", "capabilities": {"portMappings": true}}"#,
        r#"{"portMappings": [{"hostPort": 65536, "containerPort": 80, "protocol": "tcp"}]}"#,
    ),
    behind(
        "portmap with a bad address",
        r#"{"type": "portmap", "backend": "iptables", "capabilities": {"portMappings": true}}"#,
        r#"{"portMappings": [{"hostPort": 80, "containerPort": 80, "protocol": "tcp", "hostIP": "nonsense"}]}"#,
    ),
    behind(
        "portmap with icmp",
        r#"{"type": "portmap", "backend": "iptables", "capabilities": {"portMappings": true}}"#,
        r#"{"portMappings": [{"hostPort": 80, "containerPort": 80, "protocol": "icmp"}]}"#,
    ),
    behind(
        "portmap with two markings",
        r#"{"type": "portmap", "backend": "iptables", "markMasqBit": 5, "externalSetMarkChain": "KUBE-MARK-MASQ", "capabilities": {"portMappings": true}}"#,
        PORTS,
    ),
    behind(
        "portmap with bit 32",
        r#"{"type": "portmap", "backend": "iptables", "markMasqBit": 32, "capabilities": {"portMappings": true}}"#,
        PORTS,
    ),
    behind("firewall", r#"{"type": "firewall", "backend": "iptables"}"#, "{}"),
    behind(
        "firewall with a chain",
        r#"{"type": "firewall", "backend": "iptables", "iptablesAdminChainName": "MY-ADMIN"}"#,
        "{}",
    ),
    behind(
        "firewall same-bridge",
        r#"{"type": "firewall", "backend": "iptables", "ingressPolicy": "same-bridge"}"#,
        "{}",
    ),
    behind(
        "firewall isolated",
        r#"{"type": "firewall", "backend": "iptables", "ingressPolicy": "isolated"}"#,
        "{}",
    ),
    behind("firewall with an unknown backend", r#"{"type": "firewall", "backend": "nonsense"}"#, "{}"),
    behind(
        "firewall with an unknown policy",
        r#"{"type": "firewall", "backend": "iptables", "ingressPolicy": "nonsense"}"#,
        "{}",
    ),
    behind(
        "bandwidth",
        r#"{"type": "bandwidth", "ingressRate": 8000000, "ingressBurst": 800000, "egressRate": 4000000, "egressBurst": 400000}"#,
        "{}",
    ),
    behind("bandwidth in", r#"{"type": "bandwidth", "ingressRate": 8000000, "ingressBurst": 800000}"#, "{}"),
    behind(
        "bandwidth of the runtime",
        r#"{"type": "bandwidth", "capabilities": {"bandwidth": true}}"#,
        r#"{"bandwidth": {"ingressRate": 8000000, "ingressBurst": 4294967295}}"#,
    ),
    behind("bandwidth without limits", r#"{"type": "bandwidth"}"#, "{}"),
    behind("bandwidth by half", r#"{"type": "bandwidth", "ingressRate": 8000000}"#, "{}"),
    behind("bandwidth negative", r#"{"type": "bandwidth", "ingressRate": -1, "ingressBurst": 800000}"#, "{}"),
    behind(
        "bandwidth with a huge burst",
        r#"{"type": "bandwidth", "ingressRate": 8000000, "ingressBurst": 34359738360}"#,
        "{}",
    ),
    behind(
        "tuning",
        r#"{"type": "tuning", "mtu": 1400, "mac": "02:00:00:00:12:34", "promisc": true, "allmulti": true, "sysctl": {"net.ipv4.conf.eth0.arp_notify": "1"}}"#,
        "{}",
    ),
    behind("tuning nothing", r#"{"type": "tuning"}"#, "{}"),
    behind("tuning by a bad address", r#"{"type": "tuning", "mac": "nonsense"}"#, "{}"),
    behind("tuning outside", r#"{"type": "tuning", "sysctl": {"kernel.hostname": "x"}}"#, "{}"),
    behind("tuning what is not there", r#"{"type": "tuning", "sysctl": {"net.no.such": "1"}}"#, "{}"),
    behind("tuning too small", r#"{"type": "tuning", "mtu": 10}"#, "{}"),
    behind("sbr", r#"{"type": "sbr"}"#, "{}"),
];

/// Differences of every request to a chained plugin.
pub const EVERYWHERE: &[(&str, &str)] = &[
    (
        "ironbridge_firewall",
        "our marks: whose an address is, so that no late DEL cuts off its next owner; the table stays",
    ),
    (
        "after DEL: - firewall table {\"family\":\"ip6\",\"name\":\"nat\"}",
        "its DEL makes tables of families that it has nothing in",
    ),
];

/// Differences of single cases: case, text, reason.
pub const INTENDED: &[(&str, &str, &str)] = &[
    ("portmap", "CHECK: -error +ok", "its CHECK looks for a chain in IPv6, where it made none"),
    ("portmap without snat", "CHECK: -error +ok", "the same"),
    ("portmap by conditions", "CHECK: -error +ok", "the same"),
    ("portmap for all", "CHECK: -error +ok", "the same"),
    (
        "portmap for all",
        "host: - firewall iptables-save nat",
        "1.1.1 does not know masqAll, and masquerades by source",
    ),
    ("portmap for all", "host: + firewall iptables-save nat", "1.9.1 does, and so do we"),
    ("portmap for all", "host: - firewall rule ip nat - CNI-DN-", "the same as nft shows it"),
    ("portmap for all", "host: + firewall rule ip nat - CNI-DN-", "the same as nft shows it"),
    (
        "portmap with a bad address",
        "ADD: -ok +error",
        "weakness 43: the reference skips such a mapping in silence",
    ),
    ("portmap with a bad address", "CHECK: -error +-", "follows from ADD"),
    (
        "firewall same-bridge",
        "iptables-save filter … (ingressPolicy: same-bridge)",
        "1.9.1 has another comment than 1.1.1, for both policies",
    ),
    (
        "firewall same-bridge",
        "iptables-save filter … (ingressPolicy: same-bridge|isolated)",
        "ours is that of 1.9.1",
    ),
    (
        "firewall same-bridge",
        "after DEL: - firewall rule ip filter - CNI-ISOLATION-STAGE-",
        "weakness 54: a bridge's rules stay after its last attachment",
    ),
    (
        "firewall same-bridge",
        "after DEL: + firewall rule ip filter - CNI-ISOLATION-STAGE-",
        "the last rule is then the first",
    ),
    ("firewall isolated", "ADD: -error +ok", "1.1.1 does not know the policy; 1.9.1 does"),
    ("firewall isolated", "CHECK: -- +ok", "follows from ADD"),
    (
        "firewall with an unknown backend",
        "ADD: -ok +error",
        "the reference takes any other word for iptables",
    ),
    ("firewall with an unknown backend", "CHECK: -ok +-", "follows from ADD"),
    ("bandwidth", "host: link LIMITER +ifalias=", "our mark, by which GC finds it"),
    ("bandwidth", "host: link LIMITER +txqlen=32", "weakness 49: the reference sets 0"),
    ("bandwidth without limits", "CHECK: -error +ok", "its CHECK crashes where there is no limit"),
    ("sbr", "CHECK: -error +ok", "its bridge's CHECK misses the routes that its sbr has moved"),
    ("sbr", "sandbox: - rule", "the kernel chooses the priority: other programs' rules may come between"),
    ("sbr", "sandbox: + rule", "a priority of the interface's own, and a mark"),
];
