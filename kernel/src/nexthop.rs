//! Nexthop objects: a gateway and a link under a number that many routes can share.

use crate::{
    Error, Rtnl,
    abi::{af, nha, nlm, rta, rtm},
    error::During,
    route::family_of,
    wire::{Message, Received, attributes, u32_at},
};
use std::net::IpAddr;

/// Length of `struct nhmsg`.
const FIXED: usize = 8;

/// A nexthop object. Inserting routes through objects costs the kernel the same for each, where plain IPv4 routes
/// through distinct gateways on one link cost a time that grows with their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Nexthop {
    /// Its number in its namespace; not 0.
    pub id: u32,
    /// Address of the router. Without, it is the link itself, for IPv4.
    pub gateway: Option<IpAddr>,
    /// Index of the outgoing link.
    pub oif: Option<u32>,
    /// Who made it, as in a route.
    pub protocol: u8,
    /// The gateway is reachable on the link though no route says so.
    pub onlink: bool,
}

impl Rtnl {
    /// Adds an object; `EEXIST` if the number is taken.
    pub fn add_nexthop(&mut self, nexthop: &Nexthop) -> Result<(), Error> {
        self.change(add_message(nexthop), || doing("adding", nexthop))
    }

    /// Adds an object, or changes the one of that number: routes through it follow at once.
    pub fn replace_nexthop(&mut self, nexthop: &Nexthop) -> Result<(), Error> {
        self.change(replace_message(nexthop), || doing("replacing", nexthop))
    }

    /// Deletes an object, and with it all routes through it. `ENOENT` if there is none.
    pub fn delete_nexthop(&mut self, id: u32) -> Result<(), Error> {
        self.change(delete_message(id), || format!("deleting nexthop {id}"))
    }

    /// All objects of the namespace. Groups and blackholes, which have neither gateway nor link, show as such.
    pub fn nexthops(&mut self) -> Result<Vec<Nexthop>, Error> {
        let message = Message::new(rtm::GETNEXTHOP, 0, &[0; FIXED]);
        self.channel
            .dump(message, |received, nexthops| nexthops.extend(read_nexthop(received)))
            .during(|| "listing nexthops".into())
    }
}

pub(crate) fn doing(verb: &str, nexthop: &Nexthop) -> String {
    match nexthop.gateway {
        Some(gateway) => format!("{verb} nexthop {} via {gateway}", nexthop.id),
        None => format!("{verb} nexthop {}", nexthop.id),
    }
}

pub(crate) fn add_message(nexthop: &Nexthop) -> Message {
    message(nexthop, nlm::CREATE | nlm::EXCL)
}

pub(crate) fn replace_message(nexthop: &Nexthop) -> Message {
    message(nexthop, nlm::CREATE | nlm::REPLACE)
}

pub(crate) fn delete_message(id: u32) -> Message {
    let mut message = Message::new(rtm::DELNEXTHOP, 0, &[0; FIXED]);
    message.put_u32(nha::ID, id);
    message
}

fn message(nexthop: &Nexthop, flags: u16) -> Message {
    // struct nhmsg: family, scope (set by the kernel), protocol, reserved; flags
    let family = nexthop.gateway.map_or(af::INET, family_of);
    let flags_of_hop = if nexthop.onlink { rta::ONLINK } else { 0 };
    let fixed = [[family, 0, nexthop.protocol, 0], flags_of_hop.to_ne_bytes()];
    let mut message = Message::new(rtm::NEWNEXTHOP, flags, fixed.as_flattened());
    message.put_u32(nha::ID, nexthop.id);
    if let Some(oif) = nexthop.oif {
        message.put_u32(nha::OIF, oif);
    }
    if let Some(gateway) = nexthop.gateway {
        message.put_ip(nha::GATEWAY, gateway);
    }
    message
}

pub(crate) fn read_nexthop(received: &Received<'_>) -> Option<Nexthop> {
    if !matches!(received.kind, rtm::NEWNEXTHOP | rtm::DELNEXTHOP) {
        return None;
    }
    let mut nexthop = Nexthop {
        id: 0,
        gateway: None,
        oif: None,
        protocol: *received.payload.get(2)?,
        onlink: u32_at(received.payload, 4)? & rta::ONLINK != 0,
    };
    for attribute in attributes(received.payload, FIXED) {
        match attribute.kind {
            nha::ID => nexthop.id = attribute.u32()?,
            nha::OIF => nexthop.oif = attribute.u32(),
            nha::GATEWAY => nexthop.gateway = attribute.ip(),
            _ => {}
        }
    }
    Some(nexthop)
}
