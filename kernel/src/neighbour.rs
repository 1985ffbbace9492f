//! Neighbours (IP address to MAC address) and forwarding entries (MAC address to port or remote host).

use crate::{
    Error, Mac, Rtnl,
    abi::{af, nda, nlm, rtm},
    error::During,
    route::family_of,
    wire::{Message, Received, attributes, u16_at, u32_at},
};
use std::net::IpAddr;

/// Length of `struct ndmsg`.
const FIXED: usize = 12;
/// `NUD_NOARP`, `NUD_PERMANENT`
const NOARP: u16 = 0x40;
const PERMANENT: u16 = 0x80;
/// `NTF_SELF`, `NTF_MASTER`
const SELF: u8 = 2;
const MASTER: u8 = 4;

/// An entry of the ARP or neighbour discovery table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// The link on which it is.
    pub index: u32,
    /// Its IP address.
    pub address: IpAddr,
    /// Its MAC address, if it is known.
    pub mac: Option<Mac>,
    /// `NUD_*` (`linux/neighbour.h`): 0x02 reachable, 0x04 stale, 0x20 failed, 0x80 permanent.
    pub state: u16,
}

impl Neighbour {
    /// Whether it never ages.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        self.state & PERMANENT != 0
    }

    /// An entry that never ages.
    #[must_use]
    pub fn permanent(index: u32, address: IpAddr, mac: Mac) -> Self {
        Self { index, address, mac: Some(mac), state: PERMANENT }
    }
}

/// Whose forwarding table an entry is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ForwardingTable {
    /// That of the link itself (`self`): a VXLAN device.
    Link,
    /// That of the bridge that the link is a port of (`master`).
    Bridge,
}

/// A forwarding entry: where frames to a MAC address go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Forwarding {
    /// The link: VXLAN device, or port of the bridge.
    pub index: u32,
    /// Whose table.
    pub table: ForwardingTable,
    /// The MAC address; all zero is the default of a VXLAN device.
    pub mac: Mac,
    /// The remote host behind a VXLAN device.
    pub destination: Option<IpAddr>,
    /// `NUD_*`: 0x80 permanent, 0x40 static, others are learnt.
    pub state: u16,
}

impl Forwarding {
    /// Whether it never ages.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        self.state & PERMANENT != 0
    }

    /// An entry of a VXLAN device that never ages.
    #[must_use]
    pub fn permanent(index: u32, mac: Mac, destination: IpAddr) -> Self {
        let table = ForwardingTable::Link;
        Self { index, table, mac, destination: Some(destination), state: PERMANENT | NOARP }
    }
}

impl Rtnl {
    /// Adds a neighbour; `EEXIST` if the link has one with that IP address.
    pub fn add_neighbour(&mut self, neighbour: &Neighbour) -> Result<(), Error> {
        let message = neighbour.message(rtm::NEWNEIGH, nlm::CREATE | nlm::EXCL);
        self.change(message, || neighbour.doing("adding"))
    }

    /// Adds or changes a neighbour.
    pub fn replace_neighbour(&mut self, neighbour: &Neighbour) -> Result<(), Error> {
        self.change(neighbour.replace_message(), || neighbour.doing("setting"))
    }

    /// Deletes a neighbour; `ENOENT` if there is none.
    pub fn delete_neighbour(&mut self, index: u32, address: IpAddr) -> Result<(), Error> {
        let gone = Neighbour { index, address, mac: None, state: 0 };
        self.change(gone.delete_message(), || gone.doing("deleting"))
    }

    /// The neighbours on a link, both families, filtered by the kernel.
    pub fn neighbours(&mut self, index: u32) -> Result<Vec<Neighbour>, Error> {
        let mut message = Message::new(rtm::GETNEIGH, 0, &[0; FIXED]);
        message.put_u32(nda::IFINDEX, index);
        self.channel
            .dump(message, |received, all| all.extend(read_neighbour(received)))
            .during(|| format!("listing the neighbours on link {index}"))
    }

    /// Adds a forwarding entry; `EEXIST` if there is one for the MAC address.
    pub fn add_forwarding(&mut self, entry: &Forwarding) -> Result<(), Error> {
        self.change(entry.message(rtm::NEWNEIGH, nlm::CREATE | nlm::EXCL), || entry.doing("adding"))
    }

    /// Adds a further destination for the same MAC address (VXLAN: frames go to all of them).
    pub fn append_forwarding(&mut self, entry: &Forwarding) -> Result<(), Error> {
        self.change(entry.message(rtm::NEWNEIGH, nlm::CREATE | nlm::APPEND), || entry.doing("appending"))
    }

    /// Adds or changes a forwarding entry.
    pub fn replace_forwarding(&mut self, entry: &Forwarding) -> Result<(), Error> {
        self.change(entry.replace_message(), || entry.doing("setting"))
    }

    /// Deletes a forwarding entry; `ENOENT` if the MAC address has none. (A VXLAN device takes it for success if the
    /// address has other destinations than this.)
    pub fn delete_forwarding(&mut self, entry: &Forwarding) -> Result<(), Error> {
        self.change(entry.delete_message(), || entry.doing("deleting"))
    }

    /// The forwarding entries of one link: of the VXLAN device, or those of its bridge that name this port.
    pub fn forwardings(&mut self, index: u32) -> Result<Vec<Forwarding>, Error> {
        // struct ndmsg: family, padding; index. The table of forwarding entries is filtered by the header's index.
        let fixed = [[af::BRIDGE, 0, 0, 0], index.to_ne_bytes(), [0; 4]];
        let message = Message::new(rtm::GETNEIGH, 0, fixed.as_flattened());
        self.list_forwardings(message, || format!("listing the forwarding entries of link {index}"))
    }

    /// The forwarding entries of a bridge: its own and those of its ports.
    pub fn bridge_forwardings(&mut self, bridge: u32) -> Result<Vec<Forwarding>, Error> {
        let fixed = [[af::BRIDGE, 0, 0, 0], [0; 4], [0; 4]];
        let mut message = Message::new(rtm::GETNEIGH, 0, fixed.as_flattened());
        message.put_u32(nda::MASTER, bridge);
        self.list_forwardings(message, || format!("listing the forwarding entries of bridge {bridge}"))
    }

    fn list_forwardings(
        &mut self,
        message: Message,
        doing: impl FnOnce() -> String,
    ) -> Result<Vec<Forwarding>, Error> {
        self.channel.dump(message, |received, all| all.extend(read_forwarding(received))).during(doing)
    }
}

impl Neighbour {
    pub(crate) fn replace_message(&self) -> Message {
        self.message(rtm::NEWNEIGH, nlm::CREATE | nlm::REPLACE)
    }

    pub(crate) fn delete_message(&self) -> Message {
        Self { mac: None, state: 0, ..*self }.message(rtm::DELNEIGH, 0)
    }

    pub(crate) fn doing(&self, verb: &str) -> String {
        format!("{verb} neighbour {} on link {}", self.address, self.index)
    }

    fn message(&self, kind: u16, flags: u16) -> Message {
        let mut message =
            Message::new(kind, flags, &fixed(family_of(self.address), self.index, self.state, 0));
        message.put_ip(nda::DST, self.address);
        if let Some(mac) = self.mac {
            message.put(nda::LLADDR, &mac.0);
        }
        message
    }
}

impl Forwarding {
    pub(crate) fn replace_message(&self) -> Message {
        self.message(rtm::NEWNEIGH, nlm::CREATE | nlm::REPLACE)
    }

    pub(crate) fn delete_message(&self) -> Message {
        self.message(rtm::DELNEIGH, 0)
    }

    fn message(&self, kind: u16, flags: u16) -> Message {
        let table = match self.table {
            ForwardingTable::Link => SELF,
            ForwardingTable::Bridge => MASTER,
        };
        let mut message = Message::new(kind, flags, &fixed(af::BRIDGE, self.index, self.state, table));
        message.put(nda::LLADDR, &self.mac.0);
        if let Some(destination) = self.destination {
            message.put_ip(nda::DST, destination);
        }
        message
    }

    pub(crate) fn doing(&self, verb: &str) -> String {
        format!("{verb} forwarding entry {} of link {}", self.mac, self.index)
    }
}

/// `struct ndmsg`
fn fixed(family: u8, index: u32, state: u16, flags: u8) -> [u8; FIXED] {
    let ([a, b, c, d], [low, high]) = (index.to_ne_bytes(), state.to_ne_bytes());
    [family, 0, 0, 0, a, b, c, d, low, high, flags, 0]
}

/// Reads an `RTM_NEWNEIGH` or `RTM_DELNEIGH` of an IP family.
pub(crate) fn read_neighbour(received: &Received<'_>) -> Option<Neighbour> {
    if !matches!(received.kind, rtm::NEWNEIGH | rtm::DELNEIGH) || family(received) == Some(af::BRIDGE) {
        return None;
    }
    let (mut address, mut mac) = (None, None);
    for attribute in attributes(received.payload, FIXED) {
        match attribute.kind {
            nda::DST => address = attribute.ip(),
            nda::LLADDR => mac = attribute.mac(),
            _ => {}
        }
    }
    let (index, state) = (u32_at(received.payload, 4)?, u16_at(received.payload, 8)?);
    Some(Neighbour { index, address: address?, mac, state })
}

/// Reads an `RTM_NEWNEIGH` or `RTM_DELNEIGH` of the bridge family.
pub(crate) fn read_forwarding(received: &Received<'_>) -> Option<Forwarding> {
    if !matches!(received.kind, rtm::NEWNEIGH | rtm::DELNEIGH) || family(received) != Some(af::BRIDGE) {
        return None;
    }
    let (mut destination, mut mac) = (None, None);
    for attribute in attributes(received.payload, FIXED) {
        match attribute.kind {
            nda::DST => destination = attribute.ip(),
            nda::LLADDR => mac = attribute.mac(),
            _ => {}
        }
    }
    // A bridge's own table is told by NTF_MASTER; entries of the bridge device itself have neither flag.
    let own = received.payload.get(10)? & SELF != 0;
    Some(Forwarding {
        index: u32_at(received.payload, 4)?,
        table: if own { ForwardingTable::Link } else { ForwardingTable::Bridge },
        mac: mac?,
        destination,
        state: u16_at(received.payload, 8)?,
    })
}

fn family(received: &Received<'_>) -> Option<u8> {
    received.payload.first().copied()
}
