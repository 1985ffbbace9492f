//! How a link is read from netlink.

use crate::{
    Link, Operstate,
    abi::{iff, ifla, rtm},
    bridge::read_port,
    ipip::read_ipip,
    vxlan::read_vxlan,
    wire::{Attribute, Received, attributes, u32_at},
};

/// Length of `struct ifinfomsg`.
const FIXED: usize = 16;

pub(crate) fn collect(received: &Received<'_>, links: &mut Vec<Link>) {
    links.extend(read_link(received));
}

/// Reads an `RTM_NEWLINK` or `RTM_DELLINK`.
pub(crate) fn read_link(received: &Received<'_>) -> Option<Link> {
    if !matches!(received.kind, rtm::NEWLINK | rtm::DELLINK) {
        return None;
    }
    let flags = u32_at(received.payload, 8)?;
    let mut link = Link {
        index: u32_at(received.payload, 4)?,
        up: flags & iff::UP != 0,
        promiscuous: flags & iff::PROMISC != 0,
        all_multicast: flags & iff::ALLMULTI != 0,
        ..Link::default()
    };
    for attribute in attributes(received.payload, FIXED) {
        read_attribute(&mut link, &attribute);
    }
    Some(link)
}

fn read_attribute(link: &mut Link, attribute: &Attribute<'_>) {
    match attribute.kind {
        ifla::IFNAME => link.name = attribute.text(),
        ifla::ADDRESS => link.mac = attribute.mac(),
        ifla::MTU => link.mtu = attribute.u32().unwrap_or_default(),
        ifla::TXQLEN => link.txqlen = attribute.u32().unwrap_or_default(),
        ifla::OPERSTATE => link.running = operstate(attribute.u8()),
        ifla::MASTER => link.controller = attribute.u32(),
        ifla::LINK => link.peer_index = attribute.u32(),
        ifla::LINK_NETNSID => link.peer_netns = attribute.u32().map(u32::cast_signed),
        ifla::PROMISCUITY => link.promiscuity = attribute.u32().unwrap_or_default(),
        ifla::IFALIAS => link.alias = Some(attribute.text()),
        ifla::LINKINFO => read_info(link, attribute),
        _ => {}
    }
}

fn read_info(link: &mut Link, info: &Attribute<'_>) {
    let mut controller_kind = String::new();
    for attribute in info.nested() {
        match attribute.kind {
            ifla::INFO_KIND => link.kind = Some(attribute.text()),
            ifla::INFO_DATA if link.kind.as_deref() == Some("vrf") => {
                let table = attribute.nested().find(|inner| inner.kind == ifla::VRF_TABLE);
                link.vrf_table = table.and_then(|table| table.u32());
            }
            ifla::INFO_DATA if link.kind.as_deref() == Some("vxlan") => {
                link.vxlan = Some(read_vxlan(&attribute));
            }
            ifla::INFO_DATA if link.kind.as_deref() == Some("ipip") => {
                link.ipip = Some(read_ipip(&attribute));
            }
            ifla::INFO_SLAVE_KIND => controller_kind = attribute.text(),
            ifla::INFO_SLAVE_DATA if controller_kind == "bridge" => {
                read_port(&attribute, link);
            }
            _ => {}
        }
    }
}

/// `linux/if.h`: `IF_OPER_*`
fn operstate(value: Option<u8>) -> Operstate {
    match value {
        Some(1) => Operstate::NotPresent,
        Some(2) => Operstate::Down,
        Some(3) => Operstate::LowerLayerDown,
        Some(4) => Operstate::Testing,
        Some(5) => Operstate::Dormant,
        Some(6) => Operstate::Up,
        _ => Operstate::Unknown,
    }
}
