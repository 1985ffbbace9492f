//! IP-in-IP devices: IPv4 packets in IPv4 packets.

use crate::{
    Error, Rtnl,
    abi::{ifla, iptun},
    link::create_message,
    wire::{Attribute, Message},
};
use std::net::{IpAddr, Ipv4Addr};

/// What an IP-in-IP device does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ipip {
    /// Source address of its packets.
    pub local: Option<IpAddr>,
    /// The only remote host. Without, a route's gateway is.
    pub remote: Option<IpAddr>,
}

impl Rtnl {
    /// Makes an IP-in-IP device that is up. Its packets may be fragmented on the way.
    ///
    /// # Errors
    /// `EEXIST` if the name is taken or another device has the same two addresses; `EOPNOTSUPP` if the kernel has no
    /// such devices.
    pub fn create_ipip(&mut self, name: &str, mtu: u32, ipip: &Ipip) -> Result<(), Error> {
        let fill = |message: &mut Message| {
            message.put_text(ifla::IFNAME, name);
            message.put_u32(ifla::MTU, mtu);
        };
        let message = create_message("ipip", fill, |data| {
            if let Some(local) = ipip.local {
                data.put_ip(iptun::LOCAL, local);
            }
            if let Some(remote) = ipip.remote {
                data.put_ip(iptun::REMOTE, remote);
            }
            data.put(iptun::PMTUDISC, &[0]);
        });
        self.change(message, || format!("creating IP-in-IP device {name}"))
    }
}

/// Reads `IFLA_INFO_DATA` of an IP-in-IP device, which has zeros for what is not said.
pub(crate) fn read_ipip(data: &Attribute<'_>) -> Ipip {
    let said = |kind| {
        let found = data.nested().find(|attribute| attribute.kind == kind);
        found.and_then(|attribute| attribute.ip()).filter(|ip| *ip != IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    };
    Ipip { local: said(iptun::LOCAL), remote: said(iptun::REMOTE) }
}
