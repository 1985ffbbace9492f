//! What this kernel can do, asked by trying, and skips that leave a trace.

use std::io::Write;

use crate::node::Node;
use crate::space::Space;

/// A kernel feature that some test needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capability {
    /// IEEE 802.1Q links.
    Vlan,
    /// VLAN filtering bridges.
    BridgeVlanFiltering,
    /// VXLAN links.
    Vxlan,
    /// VRF links.
    Vrf,
    /// IPVLAN links.
    Ipvlan,
    /// MACVLAN links.
    Macvlan,
    /// Dummy links.
    Dummy,
    /// IFB links.
    Ifb,
    /// TUN/TAP devices.
    Tap,
    /// IP-in-IP links.
    Ipip,
    /// `WireGuard` links.
    WireGuard,
    /// IPv6.
    Ipv6,
    /// iptables over nftables with the `nat` table.
    IptablesNat,
    /// iptables over the legacy kernel module with the `nat` table.
    IptablesLegacyNat,
    /// The token bucket filter.
    Tbf,
    /// A time of day that the test may set, as `./test-vm` says by `IRONBRIDGE_OWN_CLOCK`: no namespace has one of its own.
    OwnClock,
}

impl Capability {
    /// Whether the kernel has it: the thing is made in a namespace of its own.
    #[must_use]
    pub fn is_present(self) -> bool {
        let node = Node::new("probe");
        let tries: &[&str] = match self {
            Self::Vlan => {
                &["ip link add v0 type veth peer name v1", "ip link add link v0 name v0.5 type vlan id 5"]
            }
            Self::BridgeVlanFiltering => &["ip link add b0 type bridge vlan_filtering 1"],
            Self::Vxlan => &["ip link add x0 type vxlan id 1 dstport 8472 dev lo"],
            Self::Vrf => &["ip link add r0 type vrf table 10"],
            Self::Ipvlan => {
                &["ip link add v0 type veth peer name v1", "ip link add link v0 name i0 type ipvlan mode l2"]
            }
            Self::Macvlan => {
                &["ip link add v0 type veth peer name v1", "ip link add link v0 name m0 type macvlan"]
            }
            Self::Dummy => &["ip link add d0 type dummy"],
            Self::Ifb => &["ip link add i0 type ifb"],
            Self::Tap => &["ip tuntap add mode tap name t0"],
            Self::Ipip => &["ip link add i0 type ipip local 192.0.2.1"],
            Self::WireGuard => &["ip link add w0 type wireguard"],
            Self::Ipv6 => &["ip -6 address add fd00::1/128 dev lo"],
            Self::IptablesNat => &["iptables -t nat -A POSTROUTING -s 192.0.2.1 -j MASQUERADE"],
            Self::IptablesLegacyNat => &["iptables-legacy -t nat -S"],
            Self::Tbf => &["tc qdisc add dev lo root tbf rate 1mbit burst 32k latency 50ms"],
            Self::OwnClock => return std::env::var_os("IRONBRIDGE_OWN_CLOCK").is_some(),
        };
        tries.iter().all(|line| node.succeeds(line))
    }
}

/// Notes a skipped test in the file named by `IRONBRIDGE_SKIPS`; `./test` compares it with tests/expected-skips.txt.
pub fn record_skip(module: &str, reason: &str) {
    let thread = std::thread::current();
    let line = format!("{module}::{}: {reason}\n", thread.name().unwrap_or("?"));
    std::io::stderr().write_all(format!("SKIPPED {line}").as_bytes()).expect("stderr can be written to");
    if let Some(file) = std::env::var_os("IRONBRIDGE_SKIPS") {
        let mut file =
            std::fs::File::options().create(true).append(true).open(file).expect("the list of skips");
        file.write_all(line.as_bytes()).expect("the list of skips can be written to");
    }
}

/// Ends the test as skipped, on the record.
#[macro_export]
macro_rules! skip {
    ($reason:expr) => {{
        $crate::record_skip(module_path!(), $reason);
        return;
    }};
}

/// Skips the test, on the record, unless the kernel has the capability: `needs!(Vxlan)`.
#[macro_export]
macro_rules! needs {
    ($capability:ident) => {
        if !$crate::Capability::$capability.is_present() {
            $crate::skip!(concat!("this kernel has no ", stringify!($capability)));
        }
    };
}
