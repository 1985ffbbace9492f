//! Bridges and their ports.

use crate::{
    Error, Link, Mac, Rtnl,
    abi::{af, ifla, rtm},
    link::fixed,
    new_link::create_message,
    wire::{Attribute, Message},
};

/// A bridge to be made.
#[derive(Clone, Copy, Debug)]
pub struct Bridge<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its MAC address. A bridge that was given one keeps it; without, it takes the lowest of its ports' and so
    /// changes as they come and go.
    pub mac: Option<Mac>,
    /// Largest packet in bytes. A bridge that was given one keeps it; without, it follows its ports.
    pub mtu: Option<u32>,
}

/// What a request to create found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Creation {
    /// The object is new.
    Made,
    /// An object of that name was there; it was not touched, and may be of another kind.
    Existed,
}

/// Flags of a port of a bridge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BridgePort {
    /// A frame may leave by the port that it came in by.
    pub hairpin: bool,
    /// No traffic with other isolated ports.
    pub isolated: bool,
}

/// Spanning-tree state of a port (`linux/if_bridge.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortState {
    /// Without carrier, or switched off.
    Disabled,
    /// Spanning tree is in progress.
    Listening,
    /// Spanning tree is in progress; addresses are learnt.
    Learning,
    /// Carries traffic.
    Forwarding,
    /// Shut by spanning tree.
    Blocking,
}

impl Rtnl {
    /// Makes a bridge that is up, unless something has that name already. Safe when many do it at once.
    pub fn create_bridge(&mut self, bridge: &Bridge<'_>) -> Result<Creation, Error> {
        let fill = |message: &mut Message| {
            message.put_text(ifla::IFNAME, bridge.name);
            if let Some(mac) = bridge.mac {
                message.put(ifla::ADDRESS, &mac.0);
            }
            if let Some(mtu) = bridge.mtu {
                message.put_u32(ifla::MTU, mtu);
            }
        };
        let message = create_message("bridge", fill, |_| ());
        match self.change(message, || format!("creating bridge {}", bridge.name)) {
            Ok(()) => Ok(Creation::Made),
            Err(e) if e.is_present() => Ok(Creation::Existed),
            Err(e) => Err(e),
        }
    }

    /// Sets both flags of a port, and spares it an IPv6 address of its own: the bridge takes every
    /// frame that comes in by a port, so such an address only costs, with each further port more (multicast reports and
    /// duplicate detection are flooded to all). One request. The port must not have had carrier yet.
    ///
    /// # Errors
    /// `EINVAL` or `EOPNOTSUPP` if the link is not the port of a bridge.
    pub fn dress_bridge_port(&mut self, name: &str, port: BridgePort) -> Result<(), Error> {
        let mut message = Message::new(rtm::NEWLINK, 0, fixed(0, 0, 0).as_flattened());
        message.put_text(ifla::IFNAME, name);
        message.nest(ifla::LINKINFO, |info| {
            info.put_text(ifla::INFO_SLAVE_KIND, "bridge");
            info.nest(ifla::INFO_SLAVE_DATA, |data| {
                data.put(ifla::BRPORT_MODE, &[u8::from(port.hairpin)]);
                data.put(ifla::BRPORT_ISOLATED, &[u8::from(port.isolated)]);
            });
        });
        message.nest(ifla::AF_SPEC, |families| {
            families.nest(u16::from(af::INET6), |v6| {
                v6.put(ifla::INET6_ADDR_GEN_MODE, &[ifla::ADDR_GEN_NONE]);
            });
        });
        self.change(message, || format!("setting the flags of bridge port {name}"))
    }
}

/// Reads `IFLA_INFO_SLAVE_DATA` of a bridge port.
pub(crate) fn read_port(data: &Attribute<'_>, link: &mut Link) {
    let mut port = BridgePort::default();
    for attribute in data.nested() {
        match attribute.kind {
            ifla::BRPORT_MODE => port.hairpin = attribute.u8() == Some(1),
            ifla::BRPORT_ISOLATED => port.isolated = attribute.u8() == Some(1),
            ifla::BRPORT_STATE => link.port_state = port_state(attribute.u8()),
            ifla::BRPORT_NO => link.port_number = attribute.u16(),
            _ => {}
        }
    }
    link.port = Some(port);
}

fn port_state(value: Option<u8>) -> Option<PortState> {
    match value? {
        0 => Some(PortState::Disabled),
        1 => Some(PortState::Listening),
        2 => Some(PortState::Learning),
        3 => Some(PortState::Forwarding),
        4 => Some(PortState::Blocking),
        _ => None,
    }
}
