//! The entries of tunnel devices: the difference between those that should be and those that are.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use crate::desired::Desired;
use crate::diff::Change;
use crate::key::Key;
use crate::mac::Mac;
use crate::route::Actual;
use crate::wireguard::FoundPeer;

/// A neighbour entry of one of our tunnel devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Neighbour {
    /// The device.
    pub index: u32,
    /// The peer's tunnel address.
    pub address: IpAddr,
    /// Its hardware address, if the kernel knows one.
    pub mac: Option<Mac>,
    /// It never ages; others are the kernel's own affair.
    pub permanent: bool,
}

/// A forwarding entry of one of our tunnel devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Forwarding {
    /// The device.
    pub index: u32,
    /// The peer's hardware address.
    pub mac: Mac,
    /// The host that it is on.
    pub host: Option<IpAddr>,
    /// It never ages; others were learnt.
    pub permanent: bool,
}

/// What to write before the routes, and what to delete after them.
#[derive(Debug, Default)]
pub struct Difference {
    /// Entries to make or change.
    pub puts: Vec<Change>,
    /// Entries that nobody asks for.
    pub deletes: Vec<Change>,
}

/// The devices are ours alone, so every permanent entry that no lease asks for goes.
pub fn difference(desired: &Desired, actual: &Actual) -> Difference {
    let right: HashSet<&Neighbour> = actual.neighbours.iter().collect();
    let wanted = |(&(index, address), &mac): (&(u32, IpAddr), &Mac)| Neighbour {
        index,
        address,
        mac: Some(mac),
        permanent: true,
    };
    let neighbours = desired.neighbours.iter().map(wanted).filter(|n| !right.contains(n));
    let placed: HashSet<&Forwarding> = actual.forwardings.iter().collect();
    let wanted = |(&(index, mac), &host): (&(u32, Mac), &IpAddr)| Forwarding {
        index,
        mac,
        host: Some(host),
        permanent: true,
    };
    let forwardings = desired.forwardings.iter().map(wanted).filter(|f| !placed.contains(f));
    let known: HashMap<(u32, Key), &FoundPeer> = actual.peers.iter().map(|p| ((p.index, p.key), p)).collect();
    let peers = desired
        .peers
        .iter()
        .filter(|(end, peer)| !known.get(end).is_some_and(|found| peer.is(found)))
        .map(|(&(index, key), peer)| Change::PutPeer { index, key, peer: peer.clone() });
    let carried = desired.carried.iter().filter(|(subnet, node)| actual.carried.get(subnet) != Some(node));
    let carried = carried.map(|(subnet, node)| Change::PutCarried { subnet: *subnet, node: *node });
    Difference {
        puts: neighbours
            .map(Change::PutNeighbour)
            .chain(forwardings.map(Change::PutForwarding))
            .chain(peers)
            .chain(carried)
            .collect(),
        deletes: deletes(desired, actual),
    }
}

fn deletes(desired: &Desired, actual: &Actual) -> Vec<Change> {
    let forwarding = |f: &&Forwarding| {
        f.permanent
            && f.mac.is_unicast()
            && desired.forwardings.get(&(f.index, f.mac)).is_none_or(|host| Some(*host) != f.host)
    };
    let neighbour = |n: &&Neighbour| n.permanent && !desired.neighbours.contains_key(&(n.index, n.address));
    let peers = actual
        .peers
        .iter()
        .filter(|p| !desired.peers.contains_key(&(p.index, p.key)))
        .map(|p| Change::DeletePeer { index: p.index, key: p.key });
    let carried = actual.carried.keys().filter(|subnet| !desired.carried.contains_key(subnet));
    let carried = carried.map(|subnet| Change::DeleteCarried { subnet: *subnet });
    let forwardings = actual.forwardings.iter().filter(forwarding);
    let neighbours = actual.neighbours.iter().filter(neighbour);
    forwardings
        .map(|f| Change::DeleteForwarding(*f))
        .chain(neighbours.map(|n| Change::DeleteNeighbour(*n)))
        .chain(peers)
        .chain(carried)
        .collect()
}
