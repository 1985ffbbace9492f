//! What a change takes away for good, by which it can be put off.

use std::net::IpAddr;

use ipnetwork::IpNetwork;

use crate::desired::Desired;
use crate::diff::Change;
use crate::key::Key;
use crate::mac::Mac;

/// What a change takes away because no lease asks for it any more, by identity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Removal {
    /// The route to there.
    Route(IpNetwork),
    /// That neighbour of that link.
    Neighbour(u32, IpAddr),
    /// That hardware address behind that link.
    Forwarding(u32, Mac),
    /// The peer with that key of that `WireGuard` device.
    Peer(u32, Key),
    /// What the daemon carries to that subnet itself.
    Carried(IpNetwork),
}

impl Change {
    /// What it takes away, unless something takes its place.
    #[must_use]
    pub fn removal(&self, desired: &Desired) -> Option<Removal> {
        match self {
            Change::DeleteRoute(route) => {
                let to = route.destination;
                (!desired.routes.contains_key(&to)).then_some(Removal::Route(to))
            }
            Change::DeleteNeighbour(n) => Some(Removal::Neighbour(n.index, n.address)),
            Change::DeleteForwarding(f) => {
                let is_unwanted = !desired.forwardings.contains_key(&(f.index, f.mac));
                is_unwanted.then_some(Removal::Forwarding(f.index, f.mac))
            }
            Change::DeletePeer { index, key } => Some(Removal::Peer(*index, *key)),
            Change::DeleteCarried { subnet } => Some(Removal::Carried(*subnet)),
            Change::AddNexthop { .. }
            | Change::PutPeer { .. }
            | Change::PutCarried { .. }
            | Change::PutRoute { .. }
            | Change::PutNeighbour(_)
            | Change::PutForwarding(_)
            | Change::DeleteNexthop { .. } => None,
        }
    }
}
