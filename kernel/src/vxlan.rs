//! VXLAN devices: Ethernet frames in UDP packets to hosts that forwarding entries name.

use crate::{
    Error, Mac, Rtnl,
    abi::{ifla, vxlan},
    link::create_message,
    wire::{Attribute, Message},
};
use std::net::IpAddr;

/// What a VXLAN device does, as given at its creation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vxlan {
    /// The network identifier that its packets carry.
    pub vni: u32,
    /// UDP port, its own and that of the remote hosts. Without, the kernel takes 8472.
    pub port: Option<u16>,
    /// Index of the link that its packets leave by.
    pub parent: Option<u32>,
    /// Source address of its packets.
    pub local: Option<IpAddr>,
    /// Default remote host or multicast group.
    pub group: Option<IpAddr>,
    /// Forwarding entries are learnt from what arrives.
    pub learning: bool,
    /// Group policy extension: firewall marks travel with packets.
    pub gbp: bool,
    /// Frames to unknown addresses are reported instead of dropped in silence.
    pub l2miss: bool,
}

/// A VXLAN device to be made.
#[derive(Clone, Copy, Debug)]
pub struct NewVxlan<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its MAC address. One that is given is left alone by udev.
    pub mac: Mac,
    /// Largest packet in bytes. The kernel lowers it to what fits the link below.
    pub mtu: u32,
    /// What it does.
    pub parameters: Vxlan,
}

impl Rtnl {
    /// Makes a VXLAN device that is up.
    ///
    /// # Errors
    /// `EEXIST` if the name is taken, or if another device has the same identifier, port and family.
    pub fn create_vxlan(&mut self, new: &NewVxlan<'_>) -> Result<(), Error> {
        let fill = |message: &mut Message| {
            message.put_text(ifla::IFNAME, new.name);
            message.put(ifla::ADDRESS, &new.mac.0);
            message.put_u32(ifla::MTU, new.mtu);
        };
        let message = create_message("vxlan", fill, |data| new.parameters.put(data));
        self.change(message, || format!("creating VXLAN device {}", new.name))
    }
}

impl Vxlan {
    fn put(&self, data: &mut Message) {
        data.put_u32(vxlan::ID, self.vni);
        if let Some(parent) = self.parent {
            data.put_u32(vxlan::LINK, parent);
        }
        put_host(data, self.local, (vxlan::LOCAL, vxlan::LOCAL6));
        put_host(data, self.group, (vxlan::GROUP, vxlan::GROUP6));
        data.put(vxlan::LEARNING, &[u8::from(self.learning)]);
        data.put(vxlan::L2MISS, &[u8::from(self.l2miss)]);
        if let Some(port) = self.port {
            data.put(vxlan::PORT, &port.to_be_bytes());
        }
        if self.gbp {
            data.put(vxlan::GBP, &[]);
        }
    }
}

fn put_host(data: &mut Message, host: Option<IpAddr>, (v4, v6): (u16, u16)) {
    match host {
        Some(ip @ IpAddr::V4(_)) => data.put_ip(v4, ip),
        Some(ip @ IpAddr::V6(_)) => data.put_ip(v6, ip),
        None => {}
    }
}

/// Reads `IFLA_INFO_DATA` of a VXLAN device.
pub(crate) fn read_vxlan(data: &Attribute<'_>) -> Vxlan {
    let mut found = Vxlan::default();
    let is_on = |attribute: &Attribute<'_>| attribute.u8() == Some(1);
    for attribute in data.nested() {
        match attribute.kind {
            vxlan::ID => found.vni = attribute.u32().unwrap_or_default(),
            vxlan::LINK => found.parent = attribute.u32(),
            vxlan::LOCAL | vxlan::LOCAL6 => found.local = attribute.ip(),
            vxlan::GROUP | vxlan::GROUP6 => found.group = attribute.ip(),
            vxlan::LEARNING => found.learning = is_on(&attribute),
            vxlan::L2MISS => found.l2miss = is_on(&attribute),
            vxlan::PORT => found.port = attribute.value.first_chunk().copied().map(u16::from_be_bytes),
            vxlan::GBP => found.gbp = true,
            _ => {}
        }
    }
    found
}
