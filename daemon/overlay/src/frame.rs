//! flannel's frames: each UDP datagram is one IPv4 packet, whole and with nothing before it. What becomes of a packet
//! that leaves this node, and of one that arrives.
//!
//! Everything here is asked for each packet: no memory is taken, and the bytes may be anybody's.

mod header;
mod reply;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddrV4};

use ipnetwork::{IpNetwork, Ipv4Network};

use header::Header;
pub use reply::Reply;

/// Why a packet goes no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LossReason {
    /// It has no room for an IPv4 header.
    Short,
    /// It is no IPv4 packet, its lengths contradict one another, or its header's checksum is wrong.
    Malformed,
    /// It comes from an address that no lease publishes.
    UnknownNode,
    /// It comes from another node with an address of this one, or one that nobody can have.
    ForeignSource,
    /// It comes from another node and is for none of this node's pods.
    ForeignDestination,
    /// No lease has the subnet that it is for.
    NoPeer,
    /// Its time to live is over.
    Expired,
}

/// What the sender of a lost packet is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// ICMP network unreachable.
    NetUnreachable,
    /// ICMP time exceeded.
    TimeExceeded,
}

/// A packet that goes no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// Why.
    pub reason: LossReason,
    /// What its sender is to be told.
    pub answer: Option<Answer>,
}

impl From<LossReason> for Loss {
    fn from(reason: LossReason) -> Self {
        Loss { reason, answer: None }
    }
}

/// The table by which packets are carried, and this node's place in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Post {
    own: Ipv4Network,
    /// For each length of subnets, the longest first: its mask, and the nodes by the first address of their subnets.
    nodes: Vec<(u32, HashMap<u32, SocketAddrV4>)>,
    /// Who may send to us.
    senders: HashSet<Ipv4Addr>,
}

impl Post {
    /// For a node with that subnet, and these subnets of others. IPv6 is not carried.
    #[must_use]
    pub fn new(own: Ipv4Network, carried: &BTreeMap<IpNetwork, SocketAddrV4>) -> Self {
        let mut nodes: BTreeMap<u32, HashMap<u32, SocketAddrV4>> = BTreeMap::new();
        for (subnet, node) in carried {
            if let IpNetwork::V4(subnet) = subnet {
                let of_length = nodes.entry(subnet.mask().to_bits()).or_default();
                of_length.insert(subnet.network().to_bits(), *node);
            }
        }
        let senders = carried.values().map(|node| *node.ip()).collect();
        Post { own, nodes: nodes.into_iter().rev().collect(), senders }
    }

    /// The node whose subnet has that address.
    #[must_use]
    pub fn node_of(&self, address: Ipv4Addr) -> Option<SocketAddrV4> {
        let bits = address.to_bits();
        self.nodes.iter().find_map(|(mask, of_length)| of_length.get(&(bits & mask)).copied())
    }

    /// A packet of this node for another one: where it goes. Its time to live is one less then.
    pub fn outward(&self, packet: &mut [u8]) -> Result<SocketAddrV4, Loss> {
        let header = Header::parse(packet)?;
        let node = self.node_of(header.destination).ok_or_else(|| {
            let answer = header.may_be_answered(packet).then_some(Answer::NetUnreachable);
            Loss { reason: LossReason::NoPeer, answer }
        })?;
        hop(header, packet)?;
        Ok(node)
    }

    /// A frame from that address: so many of its bytes are the packet for this node. Its time to live is one less then.
    pub fn inward(&self, from: Ipv4Addr, frame: &mut [u8]) -> Result<usize, Loss> {
        if !self.senders.contains(&from) {
            return Err(LossReason::UnknownNode.into());
        }
        let header = Header::parse(frame)?;
        if !self.own.contains(header.destination) {
            return Err(LossReason::ForeignDestination.into());
        }
        // The kernel refuses this node's other addresses from the device.
        if self.own.contains(header.source) || !header.has_real_source() {
            return Err(LossReason::ForeignSource.into());
        }
        hop(header, frame)?;
        Ok(header.total)
    }

    /// What the sender of that lost packet is told. This node's tunnel end, the first address of its subnet, says it.
    #[must_use]
    pub fn reply(&self, answer: Answer, lost: &[u8]) -> Option<Reply> {
        Reply::new(answer, self.own.network(), lost)
    }
}

/// One hop, as at any router.
fn hop(header: Header, packet: &mut [u8]) -> Result<(), Loss> {
    if header.decrement(packet) {
        return Ok(());
    }
    let answer = header.may_be_answered(packet).then_some(Answer::TimeExceeded);
    Err(Loss { reason: LossReason::Expired, answer })
}

#[cfg(test)]
mod tests;
