//! The table of the differential test: requests, and the differences that are meant.

/// One request, put to both sides in a world each.
pub struct Case {
    /// Its name in the tables.
    pub name: &'static str,
    /// Keys of the bridge configuration, added to `bridge` = cni0 and a host-local on 10.66.0.0/24; null removes.
    pub keys: &'static str,
    /// `CNI_ARGS`.
    pub args: &'static str,
    /// Capability arguments.
    pub capabilities: &'static str,
    /// A plugin behind the bridge, without its `dataDir`; empty for none.
    pub behind: &'static str,
}

const fn keys(name: &'static str, keys: &'static str) -> Case {
    Case { name, keys, args: "", capabilities: "{}", behind: "" }
}

const fn asked(name: &'static str, args: &'static str, capabilities: &'static str) -> Case {
    Case {
        name,
        keys: r#"{"capabilities": {"mac": true, "ips": true, "ipRanges": true}}"#,
        args,
        capabilities,
        behind: "",
    }
}

pub mod chained;

/// The requests.
pub const CASES: &[Case] = &[
    keys("plain", "{}"),
    keys("gateway", r#"{"isGateway": true}"#),
    keys("default gateway", r#"{"isDefaultGateway": true}"#),
    keys("masquerade", r#"{"isDefaultGateway": true, "ipMasq": true, "ipMasqBackend": "iptables"}"#),
    keys("hairpin", r#"{"hairpinMode": true}"#),
    keys("promiscuous", r#"{"promiscMode": true}"#),
    keys("both reflections", r#"{"hairpinMode": true, "promiscMode": true}"#),
    keys("mtu", r#"{"mtu": 1400}"#),
    keys("mtu zero", r#"{"mtu": 0}"#),
    keys("mtu too small", r#"{"mtu": 20}"#),
    keys("mtu negative", r#"{"mtu": -1}"#),
    keys("mtu as text", r#"{"mtu": "1400"}"#),
    keys("layer two", r#"{"ipam": null}"#),
    keys("empty ipam", r#"{"ipam": 0}"#),
    keys("dns", r#"{"dns": {"nameservers": ["10.0.0.53"], "domain": "example.org"}}"#),
    keys("force address", r#"{"isGateway": true, "forceAddress": true}"#),
    keys("long bridge name", r#"{"bridge": "a-name-of-16-let"}"#),
    keys("bridge name with a slash", r#"{"bridge": "a/b"}"#),
    keys("keys in capitals", r#"{"ISGATEWAY": true, "MTU": 1300, "Bridge": "cni0"}"#),
    keys("null keys", r#"{"isGateway": true, "hairpinMode": null, "dns": null}"#),
    keys("unknown keys", r#"{"colour": "red", "nested": {"a": [1, 2]}}"#),
    keys("wrong type of a key", r#"{"isGateway": "yes"}"#),
    keys("args mac", r#"{"args": {"cni": {"mac": "02:00:00:00:00:05"}}}"#),
    keys("args mac malformed", r#"{"args": {"cni": {"mac": "02:00"}}}"#),
    keys(
        "dual stack",
        r#"{"isDefaultGateway": true, "ipam": {"ranges": [[{"subnet": "10.66.0.0/24"}], [{"subnet": "fd66::/64"}]]}}"#,
    ),
    keys("ipv6 alone", r#"{"isDefaultGateway": true, "ipam": {"ranges": [[{"subnet": "fd66::/64"}]]}}"#),
    keys(
        "old range form",
        r#"{"ipam": {"ranges": null, "subnet": "10.66.0.0/24", "rangeStart": "10.66.0.10", "rangeEnd": "10.66.0.20", "gateway": "10.66.0.254"}}"#,
    ),
    keys(
        "two addresses of a family",
        r#"{"ipam": {"ranges": [[{"subnet": "10.66.0.0/24"}], [{"subnet": "10.67.0.0/24"}]]}}"#,
    ),
    keys(
        "routes",
        r#"{"isGateway": true, "ipam": {"routes": [{"dst": "10.9.0.0/16"}, {"dst": "10.8.0.0/16", "gw": "10.66.0.7"}]}}"#,
    ),
    keys("a route with host bits", r#"{"isGateway": true, "ipam": {"routes": [{"dst": "10.9.1.2/16"}]}}"#),
    keys("an unreachable route", r#"{"ipam": {"routes": [{"dst": "10.9.0.0/16", "gw": "192.0.2.1"}]}}"#),
    keys("a malformed route", r#"{"ipam": {"routes": [{"dst": "10.9.0.0"}]}}"#),
    keys(
        "bare default route and default gateway",
        r#"{"isDefaultGateway": true, "ipam": {"routes": [{"dst": "0.0.0.0/0"}]}}"#,
    ),
    keys(
        "default route by its gateway",
        r#"{"isDefaultGateway": true, "ipam": {"routes": [{"dst": "0.0.0.0/0", "gw": "10.66.0.1"}]}}"#,
    ),
    keys("no ranges", r#"{"ipam": {"ranges": []}}"#),
    keys("an empty range set", r#"{"ipam": {"ranges": [[]]}}"#),
    keys("subnet with host bits", r#"{"ipam": {"ranges": [[{"subnet": "10.66.0.5/24"}]]}}"#),
    keys("subnet too small", r#"{"ipam": {"ranges": [[{"subnet": "10.66.0.0/31"}]]}}"#),
    keys(
        "overlapping ranges",
        r#"{"ipam": {"ranges": [[{"subnet": "10.66.0.0/24"}, {"subnet": "10.66.0.0/25"}]]}}"#,
    ),
    keys(
        "mixed families in a set",
        r#"{"ipam": {"ranges": [[{"subnet": "10.66.0.0/24"}, {"subnet": "fd66::/64"}]]}}"#,
    ),
    keys(
        "range start outside",
        r#"{"ipam": {"ranges": [[{"subnet": "10.66.0.0/24", "rangeStart": "10.67.0.1"}]]}}"#,
    ),
    keys(
        "range end outside",
        r#"{"ipam": {"ranges": [[{"subnet": "10.66.0.0/24", "rangeEnd": "10.66.1.5"}]]}}"#,
    ),
    keys(
        "range start at the broadcast",
        r#"{"ipam": {"ranges": [[{"subnet": "10.66.0.0/24", "rangeStart": "10.66.0.255"}]]}}"#,
    ),
    keys(
        "gateway elsewhere",
        r#"{"ipam": {"ranges": [[{"subnet": "10.66.0.0/24", "gateway": "192.0.2.1"}]]}}"#,
    ),
    keys(
        "a malformed gateway",
        r#"{"ipam": {"ranges": [[{"subnet": "10.66.0.0/24", "gateway": "10.66.0"}]]}}"#,
    ),
    keys("an address with leading zeros", r#"{"ipam": {"ranges": [[{"subnet": "10.066.0.0/24"}]]}}"#),
    keys("unknown ipam", r#"{"ipam": {"type": "no-such-plugin"}}"#),
    keys("ipam type with a slash", r#"{"ipam": {"type": "../bin/true"}}"#),
    asked("capability mac", "", r#"{"mac": "02:00:00:00:00:0c"}"#),
    asked("capability mac malformed", "", r#"{"mac": "nonsense"}"#),
    asked("capability ips", "", r#"{"ips": ["10.66.0.99"]}"#),
    asked("capability ips outside", "", r#"{"ips": ["192.0.2.9"]}"#),
    asked("capability ips gateway", "", r#"{"ips": ["10.66.0.1"]}"#),
    asked("capability ipRanges", "", r#"{"ipRanges": [[{"subnet": "10.68.0.0/24"}]]}"#),
    asked("arguments MAC and IP", "IgnoreUnknown=1;MAC=02:00:00:00:00:0a;IP=10.66.0.50", "{}"),
    asked("arguments unknown", "COLOUR=red", "{}"),
    asked("arguments in the wrong case", "mac=02:00:00:00:00:0a", "{}"),
    asked("arguments with a trailing semicolon", "IgnoreUnknown=1;", "{}"),
    asked("arguments of kubernetes", "IgnoreUnknown=1;K8S_POD_NAME=a;K8S_POD_NAMESPACE=b", "{}"),
];

/// Differences that may show in any case, by their text (parts apart by " … "), each with its reason.
pub const EVERYWHERE: &[(&str, &str)] = &[
    (
        "result: dns -{} +null",
        "1.1.1 prints an empty dns at 1.0.0; the layout of cni-contract §6.2 leaves it out",
    ),
    (
        "sandbox: link eth0 +txqlen=1000",
        "1.1.1 asks for a queue length of 0; later releases keep the kernel's, as we do",
    ),
    ("host: link HOSTEND +txqlen=1000", "the same at the host's end"),
    ("host: link cni0 +ifalias=\"ironbridge\"", "a bridge that we made, whose MAC address is its own"),
    ("after DEL: link cni0 +ifalias=\"ironbridge\"", "the same"),
    (
        "sysctl net/ipv6/conf/HOSTEND/addr_gen_mode",
        "a bridge port needs no IPv6 address, and each costs all others",
    ),
    (
        "sysctl net/ipv6/conf/HOSTEND/accept_ra",
        "without an address it matters no more: the bridge takes every frame",
    ),
    ("host: link HOSTEND +ifalias=", "our mark: whose the interface is, to be read by DEL, GC and people"),
    (
        "host: link HOSTEND -address=\"MAC0\"",
        "without a gateway the reference's bridge takes the MAC of its first port",
    ),
    ("host: link HOSTEND +address=\"MAC1\"", "our bridge has its own from the start"),
    ("fdb … \"ifname\":\"HOSTEND\"", "the same in the bridge's table"),
    ("host: + fdb … \"ifname\":\"cni0\"", "the same in the bridge's table"),
    (
        "result: interfaces -[{\"mac\":\"MAC0\",\"name\":\"cni0\"},{\"mac\":\"MAC0\",\"name\":\"HOSTEND\"}",
        "the same in the result",
    ),
    (
        "after DEL: link cni0 -address=\"00:00:00:00:00:00\"",
        "the reference's bridge loses its MAC with its last port",
    ),
    ("after DEL: link cni0 +address=\"MAC0\"", "ours keeps it: neighbours' entries stay right"),
    ("after DEL: + fdb … \"ifname\":\"cni0\"", "the same in the bridge's table"),
    ("DEL: -error +ok", "DEL works on a configuration that ADD refuses: weakness 9"),
];

/// Differences of single cases: case, text, reason.
pub const INTENDED: &[(&str, &str, &str)] = &[
    ("layer two", "arp_notify", "an address that somebody adds later is announced too"),
    ("mtu negative", "ADD: -ok +error", "the reference ignores it; no link has such an MTU"),
    ("mtu negative", "CHECK: -ok +-", "follows from ADD"),
    ("layer two", "CHECK: -error +ok", "weakness 16: the reference asks an IPAM plugin without a name"),
    (
        "routes",
        "CHECK: -error +ok",
        "the reference looks for the route's gateway although it was filled in from the address",
    ),
    (
        "a route with host bits",
        "ADD: -error +ok",
        "the destination is masked, as the ip program does; the kernel refuses host bits",
    ),
    ("a route with host bits", "CHECK: -- +ok", "follows from ADD"),
    (
        "bare default route and default gateway",
        "ADD: -error +ok",
        "both ask for the same route: no contradiction",
    ),
    ("bare default route and default gateway", "CHECK: -- +ok", "follows from ADD"),
    (
        "range start at the broadcast",
        "ADD: -ok +error",
        "weakness 6: the reference hands out addresses outside the subnet",
    ),
    ("range start at the broadcast", "CHECK: -ok +-", "follows from ADD"),
    ("dual stack", "keep_addr_on_down", "1.1.1 does not write it yet; 1.9.1 does"),
    ("dual stack", "ndisc_notify", "the new owner of an address is announced"),
    ("ipv6 alone", "keep_addr_on_down", "1.1.1 does not write it yet; 1.9.1 does"),
    ("ipv6 alone", "ndisc_notify", "the new owner of an address is announced"),
];
