//! What the desired state stands on: the uplink, the tunnel devices and the neighbourhood as the kernel has them now.

use crate::mac::Mac;
use crate::reach::Reach;
use crate::uplink::Uplink;

/// This node as it is at the moment of a decision.
#[derive(Debug, Clone, Copy)]
pub struct Ground<'a> {
    /// The link to the other nodes.
    pub uplink: &'a Uplink,
    /// Our tunnel ends.
    pub ends: &'a Ends,
    /// Who is a neighbour.
    pub reach: &'a Reach,
}

/// The tunnel ends of both families, where the backend has them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ends {
    /// That of IPv4 subnets.
    pub v4: Option<End>,
    /// That of IPv6 subnets.
    pub v6: Option<End>,
}

/// A tunnel device that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// Its interface index.
    pub index: u32,
    /// Its hardware address, where it has one.
    pub mac: Option<Mac>,
    /// Its MTU in bytes, as the kernel has it.
    pub mtu: u32,
}

impl Ends {
    /// Both, or those that there are.
    pub fn iter(&self) -> impl Iterator<Item = &End> {
        self.v4.iter().chain(&self.v6)
    }
}
