//! Tracked connections: listed by their original destination with the kernel's own filter, and deleted one by one.
//!
//! A connection that is tracked keeps the translation that its first packet met, whatever the rules say now. Numbers
//! in comments (`CTA_...`) are those of `linux/netfilter/nfnetlink_conntrack.h`.

use crate::{
    Course, Error, Family,
    abi::af,
    channel::Channel,
    error::{Absent, During},
    nft::Nft,
    parcel::Parcel,
    sysctl,
    wire::{Attribute, Message, Received, attributes},
};
use netlink_sys::protocols::NETLINK_NETFILTER;
use nix::libc;
use std::net::{IpAddr, SocketAddr};

/// `NFNL_SUBSYS_CTNETLINK`, in the upper byte of a message's kind.
const SUBSYSTEM: u16 = 1 << 8;
/// `IPCTNL_MSG_CT_GET`, `IPCTNL_MSG_CT_DELETE`.
const GET: u16 = SUBSYSTEM | 1;
const DELETE: u16 = SUBSYSTEM | 2;
/// Length of `struct nfgenmsg`.
const FAMILY_HEADER: usize = 4;

/// A tracked connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Where it goes.
    pub course: Course,
    /// `CTA_TUPLE_ORIG` as the kernel gave it: the key.
    tuple: Vec<u8>,
    /// `CTA_ZONE`, if it is not the default one.
    zone: Option<Vec<u8>>,
    /// `CTA_ID`: tells a connection from a later one with the same key.
    id: Option<Vec<u8>>,
}

/// The connections that asked for a port and were led to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Led {
    /// The protocol over IP.
    pub protocol: u8,
    /// The original destination address, if it matters.
    pub address: Option<IpAddr>,
    /// The original destination port.
    pub port: u16,
    /// The target.
    pub answering: SocketAddr,
}

impl Led {
    fn filter(&self) -> FlowFilter {
        FlowFilter {
            family: Some(self.answering.ip().into()),
            protocol: Some(self.protocol),
            port: Some(self.port),
            address: self.address,
        }
    }
}

/// Which connections to list. What is not given does not matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowFilter {
    /// The family.
    pub family: Option<Family>,
    /// The protocol over IP.
    pub protocol: Option<u8>,
    /// The original destination port; the kernel filters by it only where a protocol is given too.
    pub port: Option<u16>,
    /// The original destination address; of the same family.
    pub address: Option<IpAddr>,
}

impl FlowFilter {
    /// The kernel filters since Linux 5.8; before, it gives everything.
    fn wants(&self, flow: &Flow) -> bool {
        let Course { protocol: spoken, destination, .. } = flow.course;
        self.family.is_none_or(|family| family == destination.ip().into())
            && self.protocol.is_none_or(|protocol| protocol == spoken)
            && self.port.is_none_or(|port| port == destination.port())
            && self.address.is_none_or(|address| address == destination.ip())
    }
}

/// A socket to the connection tracking of one network namespace.
#[derive(Debug)]
pub struct Conntrack {
    channel: Channel,
}

/// A netfilter socket serves both. One that deleted rules is better kept than another opened: each waits when it is closed.
impl From<Nft> for Conntrack {
    fn from(nft: Nft) -> Self {
        Self { channel: nft.channel }
    }
}

impl Conntrack {
    /// Opens a socket in the namespace of the calling thread.
    pub fn open() -> Result<Self, Error> {
        let channel =
            Channel::open(NETLINK_NETFILTER).during(|| "opening a connection tracking socket".into())?;
        Ok(Self { channel })
    }

    /// How many connections are tracked in the namespace of the calling thread; none where nothing is tracked at all.
    pub fn count() -> Result<usize, Error> {
        let text = sysctl::read("net/netfilter/nf_conntrack_count").absent_is_none()?;
        Ok(text.and_then(|text| text.parse().ok()).unwrap_or_default())
    }

    /// The connections that the filter wants. The kernel goes through its whole table for each call.
    pub fn flows(&mut self, filter: &FlowFilter) -> Result<Vec<Flow>, Error> {
        let all = self.channel.dump(list_message(filter), |received, list| list.extend(read(received)));
        let mut all = all.during(|| "listing tracked connections".to_owned())?;
        all.retain(|flow| filter.wants(flow));
        Ok(all)
    }

    /// Forgets the connections that were led to targets. Those of IPv4 the kernel finds by itself since Linux 6.8, in a
    /// tenth of a millisecond; the others are listed and deleted one by one, and a list takes 10 ms.
    pub fn forget(&mut self, led: &[Led]) -> Result<(), Error> {
        let doing = || "deleting tracked connections".to_owned();
        let (found, listed): (Vec<&Led>, Vec<&Led>) = led.iter().partition(|led| led.answering.is_ipv4());
        let mut parcel = Parcel::default();
        for led in &found {
            parcel.push(forget_message(led));
        }
        for (at, cause) in self.channel.batch(parcel).during(doing)? {
            match (found.get(at), cause.errno()) {
                // The kernel took it for the key of one connection, and misses the source in it.
                (Some(led), Some(libc::EINVAL)) => self.forget_listed(led)?,
                _ => return Err(cause).during(doing),
            }
        }
        listed.into_iter().try_for_each(|led| self.forget_listed(led))
    }

    fn forget_listed(&mut self, led: &Led) -> Result<(), Error> {
        let all = self.flows(&led.filter())?;
        let mut gone = all.iter().filter(|flow| flow.course.answering == led.answering);
        gone.try_for_each(|flow| self.delete(flow))
    }

    /// Forgets a connection: its next packet meets the rules as they are then. One that has ended is fine.
    pub fn delete(&mut self, flow: &Flow) -> Result<(), Error> {
        let mut message = request(DELETE, Some(flow.course.destination.ip().into()));
        message.put(TUPLE_ORIGINAL | NESTED, &flow.tuple);
        for (kind, value) in [(ZONE, &flow.zone), (ID, &flow.id)] {
            if let Some(value) = value {
                message.put(kind, value);
            }
        }
        let done = self.channel.ack(message);
        done.during(|| format!("deleting the tracked connection to {}", flow.course.destination))
            .absent_is_none()?;
        Ok(())
    }
}

fn request(kind: u16, family: Option<Family>) -> Message {
    let family = match family {
        None => af::UNSPEC,
        Some(Family::V4) => af::INET,
        Some(Family::V6) => af::INET6,
    };
    Message::new(kind, 0, &[family, 0, 0, 0])
}

impl From<IpAddr> for Family {
    fn from(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

fn list_message(filter: &FlowFilter) -> Message {
    let mut message = request(GET, filter.family);
    let flags = put_original(&mut message, filter);
    if flags == 0 {
        return request(GET, filter.family);
    }
    message.nest(FILTER, |inner| inner.put_u32(FILTER_ORIGINAL, flags));
    message
}

/// A deletion by filter. One without any condition would be about all connections there are: a target has always
/// an address and a port.
fn forget_message(led: &Led) -> Message {
    let mut message = request(DELETE, Some(led.answering.ip().into()));
    let original = put_original(&mut message, &led.filter());
    message.nest(TUPLE_REPLY, |tuple| {
        tuple.nest(TUPLE_IP, |ip| ip.put_ip(V4_SOURCE, led.answering.ip()));
        tuple.nest(TUPLE_PROTOCOL, |inner| {
            inner.put(PROTOCOL_NUMBER, &[led.protocol]);
            inner.put(PORT_SOURCE, &led.answering.port().to_be_bytes());
        });
    });
    message.nest(FILTER, |inner| {
        inner.put_u32(FILTER_ORIGINAL, original);
        inner.put_u32(FILTER_REPLY, filter_by::SOURCE | filter_by::PROTOCOL | filter_by::PORT_SOURCE);
    });
    message
}

/// The original tuple of a filter; the answer says what of it counts.
fn put_original(message: &mut Message, filter: &FlowFilter) -> u32 {
    let mut flags = 0;
    message.nest(TUPLE_ORIGINAL, |tuple| {
        // Not of IPv6: `ctnetlink_filter_match_tuple` takes those addresses that differ for those that are the same.
        if let Some(address) = filter.address.filter(IpAddr::is_ipv4) {
            flags |= filter_by::DESTINATION;
            tuple.nest(TUPLE_IP, |ip| ip.put_ip(V4_DESTINATION, address));
        }
        let Some(protocol) = filter.protocol else { return };
        flags |= filter_by::PROTOCOL | filter.port.map_or(0, |_| filter_by::PORT_DESTINATION);
        tuple.nest(TUPLE_PROTOCOL, |inner| {
            inner.put(PROTOCOL_NUMBER, &[protocol]);
            if let Some(port) = filter.port {
                inner.put(PORT_DESTINATION, &port.to_be_bytes());
            }
        });
    });
    flags
}

/// Reads a connection; `None` for one of a protocol without ports.
fn read(received: &Received<'_>) -> Option<Flow> {
    let all = || attributes(received.payload, FAMILY_HEADER);
    let find = |kind| all().find(|attribute| attribute.kind == kind);
    let original = find(TUPLE_ORIGINAL)?;
    let (protocol, destination) = end(&original, [V4_DESTINATION, V6_DESTINATION], PORT_DESTINATION)?;
    let (_, answering) = end(&find(TUPLE_REPLY)?, [V4_SOURCE, V6_SOURCE], PORT_SOURCE)?;
    let bytes = |kind| find(kind).map(|attribute| attribute.value.to_vec());
    Some(Flow {
        course: Course { protocol, destination, answering },
        tuple: original.value.to_vec(),
        zone: bytes(ZONE),
        id: bytes(ID),
    })
}

/// The protocol of a tuple, and one of its ends.
fn end(tuple: &Attribute<'_>, addresses: [u16; 2], port: u16) -> Option<(u8, SocketAddr)> {
    let inner = |kind| tuple.nested().find(|attribute| attribute.kind == kind);
    let (ip, protocol) = (inner(TUPLE_IP)?, inner(TUPLE_PROTOCOL)?);
    let address = ip.nested().find(|attribute| addresses.contains(&attribute.kind))?.ip()?;
    let number = protocol.nested().find(|attribute| attribute.kind == PROTOCOL_NUMBER)?.u8()?;
    let port = protocol.nested().find(|attribute| attribute.kind == port)?;
    let port = u16::from_be_bytes(port.value.try_into().ok()?);
    Some((number, SocketAddr::new(address, port)))
}

/// `NLA_F_NESTED`
const NESTED: u16 = 1 << 15;
/// `enum ctattr_type`.
const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const ID: u16 = 12;
const ZONE: u16 = 18;
const FILTER: u16 = 25;
/// `enum ctattr_tuple`.
const TUPLE_IP: u16 = 1;
const TUPLE_PROTOCOL: u16 = 2;
/// `enum ctattr_ip`.
const V4_SOURCE: u16 = 1;
const V4_DESTINATION: u16 = 2;
const V6_SOURCE: u16 = 3;
const V6_DESTINATION: u16 = 4;
/// `enum ctattr_l4proto`.
const PROTOCOL_NUMBER: u16 = 1;
const PORT_SOURCE: u16 = 2;
const PORT_DESTINATION: u16 = 3;
/// `CTA_FILTER_ORIG_FLAGS`.
const FILTER_ORIGINAL: u16 = 1;
/// `CTA_FILTER_REPLY_FLAGS`.
const FILTER_REPLY: u16 = 2;

/// `CTA_FILTER_F_*` of the kernel's `net/netfilter/nf_internals.h`.
mod filter_by {
    pub(super) const SOURCE: u32 = 1 << 0;
    pub(super) const DESTINATION: u32 = 1 << 1;
    pub(super) const PROTOCOL: u32 = 1 << 3;
    pub(super) const PORT_SOURCE: u32 = 1 << 4;
    pub(super) const PORT_DESTINATION: u32 = 1 << 5;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Netns, Rtnl};
    use std::{
        net::{SocketAddr, UdpSocket},
        process::Command,
    };

    /// Tracking is switched on by any rule that asks for a connection's state.
    fn tracked_world<T: Send>(act: impl FnOnce() -> T + Send) -> T {
        let world = Netns::new_nameless().unwrap();
        world
            .run(|| {
                let mut rtnl = Rtnl::open().unwrap();
                let index = rtnl.link("lo").unwrap().unwrap().index;
                rtnl.set_link_up(index).unwrap();
                let rules = "add table inet t; add chain inet t c { type filter hook output priority 0; }; \
                             add rule inet t c ct state new counter";
                assert!(Command::new("nft").arg(rules).status().unwrap().success());
                act()
            })
            .unwrap()
    }

    fn send(to: &str) {
        let to: SocketAddr = to.parse().unwrap();
        let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        UdpSocket::bind(any).unwrap().send_to(b"x", to).unwrap();
    }

    #[test]
    fn the_filter_is_by_family_protocol_port_and_address_and_only_those_go() {
        tracked_world(|| {
            for to in ["127.0.0.1:53", "127.0.0.2:53", "127.0.0.1:54", "[::1]:53"] {
                send(to);
            }
            assert_eq!(Conntrack::count().unwrap(), 4);
            let mut conntrack = Conntrack::open().unwrap();
            let filter =
                FlowFilter { family: Some(Family::V4), protocol: Some(17), port: Some(53), address: None };
            let found = conntrack.flows(&filter).unwrap();
            assert_eq!(found.len(), 2, "{found:?}");
            let one = FlowFilter { address: "127.0.0.2".parse().ok(), ..filter };
            let found = conntrack.flows(&one).unwrap();
            assert_eq!(found.len(), 1);
            assert_eq!(found[0].course.destination, "127.0.0.2:53".parse().unwrap());
            assert!(!found[0].course.is_translated());
            assert!(conntrack.flows(&FlowFilter { protocol: Some(6), ..filter }).unwrap().is_empty());
            let all = FlowFilter::default();
            assert_eq!(conntrack.flows(&all).unwrap().len(), 4);
            assert_eq!(conntrack.flows(&FlowFilter { port: Some(54), ..all }).unwrap().len(), 1);
            conntrack.delete(&found[0]).unwrap();
            conntrack.delete(&found[0]).unwrap();
            let six = FlowFilter { family: Some(Family::V6), ..filter };
            let sixth = conntrack.flows(&six).unwrap().remove(0);
            conntrack.delete(&sixth).unwrap();
            assert_eq!(Conntrack::count().unwrap(), 2);
            assert_eq!(conntrack.flows(&FlowFilter { port: None, ..filter }).unwrap().len(), 2);
            send("[::1]:53");
            let one = FlowFilter { address: "::1".parse().ok(), ..six };
            assert_eq!(conntrack.flows(&one).unwrap().len(), 1, "an address of IPv6 as well");
        });
    }

    #[test]
    fn connections_led_to_a_target_go_and_others_to_the_port_stay() {
        tracked_world(|| {
            for to in ["127.0.0.1:53", "127.0.0.2:53", "127.0.0.1:54", "[::1]:53"] {
                send(to);
            }
            let mut conntrack = Conntrack::open().unwrap();
            let led = |to: &str, address: Option<&str>| Led {
                protocol: 17,
                address: address.map(|address| address.parse().unwrap()),
                port: 53,
                answering: to.parse().unwrap(),
            };
            let count = || (Conntrack::count().unwrap(), Course::listed().unwrap().unwrap().len());
            conntrack.forget(&[led("127.0.0.1:54", None), led("127.0.0.2:53", Some("127.0.0.1"))]).unwrap();
            assert_eq!(count(), (4, 4), "led elsewhere");
            conntrack.forget(&[led("127.0.0.1:53", None), led("[::1]:53", Some("::1"))]).unwrap();
            assert_eq!(count(), (2, 2));
            // As before Linux 6.8.
            conntrack.forget_listed(&led("127.0.0.2:53", None)).unwrap();
            assert_eq!(count(), (1, 1));
            conntrack.forget(&[]).unwrap();
        });
    }

    #[test]
    fn a_deletion_never_meets_a_later_connection_with_the_same_key() {
        tracked_world(|| {
            send("127.0.0.1:53");
            let mut conntrack = Conntrack::open().unwrap();
            let filter =
                FlowFilter { family: Some(Family::V4), protocol: Some(17), port: Some(53), address: None };
            let mut flow = conntrack.flows(&filter).unwrap().remove(0);
            flow.id = Some(vec![0, 0, 0, 1]);
            conntrack.delete(&flow).unwrap();
            assert_eq!(conntrack.flows(&filter).unwrap().len(), 1);
        });
    }
}
