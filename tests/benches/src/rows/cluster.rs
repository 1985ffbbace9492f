//! The clusters whose leases are simulated: what their configuration and their nodes' leases say, and what a route is then.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::{Value, json};

use super::daemon::subnet;

/// How its nodes reach each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cluster {
    /// Routes through the nodes' own addresses.
    HostGw,
    /// A tunnel for IPv4.
    Vxlan,
    /// A tunnel for each family.
    VxlanDualStack,
}

impl Cluster {
    /// The backend's name, and what else tells it from others.
    pub fn name(self) -> &'static str {
        match self {
            Self::HostGw => "host-gw",
            Self::Vxlan => "vxlan",
            Self::VxlanDualStack => "vxlan, dual stack",
        }
    }

    /// The network configuration.
    pub fn config(self) -> Value {
        let config = json!({"Network": "20.0.0.0/8", "SubnetLen": 24, "Backend": {"Type": self.backend()}});
        let v6 = json!({"EnableIPv6": true, "IPv6Network": "fd20::/32", "IPv6SubnetLen": 64});
        if self == Self::VxlanDualStack { super::with(config, &v6) } else { config }
    }

    /// The last part of the key of that peer's lease.
    pub fn key(self, number: u32) -> String {
        let v4 = format!("{}-24", Ipv4Addr::from(subnet(number)));
        let v6 = format!("&fd20:0:0:{:x}::-64", number + 1);
        if self == Self::VxlanDualStack { v4 + &v6 } else { v4 }
    }

    /// That peer's lease; another `version` is another address.
    pub fn lease(self, number: u32, version: u32) -> Value {
        let lease = json!({
            "PublicIP": address(number, version).to_string(), "PublicIPv6": null, "BackendType": self.backend(),
        });
        let data = |family: u8| json!({"VNI": 1, "VtepMAC": mac(family, number)});
        match self {
            Self::HostGw => lease,
            Self::Vxlan => super::with(lease, &json!({"BackendData": data(0)})),
            Self::VxlanDualStack => {
                let v6 = format!("fd50::{:x}", number + 0x1000);
                let more = json!({"PublicIPv6": v6, "BackendData": data(0), "BackendV6Data": data(1)});
                super::with(lease, &more)
            }
        }
    }

    /// Through whom that peer's subnet is reached.
    pub fn gateway(self, number: u32, version: u32) -> IpAddr {
        match self {
            Self::HostGw => address(number, version).into(),
            Self::Vxlan | Self::VxlanDualStack => Ipv4Addr::from(subnet(number)).into(),
        }
    }

    fn backend(self) -> &'static str {
        match self {
            Self::HostGw => "host-gw",
            Self::Vxlan | Self::VxlanDualStack => "vxlan",
        }
    }
}

/// Where that peer is.
fn address(number: u32, version: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 200, 0, 2)) + number + 20_000 * version)
}

fn mac(family: u8, number: u32) -> String {
    let [_, high, middle, low] = number.to_be_bytes();
    format!("02:{family:02x}:00:{high:02x}:{middle:02x}:{low:02x}")
}
