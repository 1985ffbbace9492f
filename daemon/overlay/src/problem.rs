//! What the daemon cannot or will not put right by itself, each with the objects by name and what to do about it.

use std::net::IpAddr;

use ipnetwork::IpNetwork;

use crate::key::Key;
use crate::mac::Mac;

/// A finding to report. Ordered, so that a set of them can be compared with the last one and only news is logged.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[expect(missing_docs, reason = "the message of each variant is its documentation")]
pub enum Problem {
    #[error(
        "no route to {subnet}: its next hop {gateway} is not on-link at uplink {uplink} (lease {lease}); host-gw needs all nodes in one layer-2 network"
    )]
    NotOnLink { subnet: IpNetwork, gateway: IpAddr, uplink: String, lease: String },
    #[error(
        "no route to {subnet}: the BackendData of the lease {lease} cannot be used: {why}; restart that node's daemon, or delete the lease if the node is gone"
    )]
    BackendData { subnet: IpNetwork, why: String, lease: String },
    #[error(
        "no route to {subnet}: its tunnel end {mac} on {host} (lease {lease}) is also that of {other}: one of the two nodes must get another (delete its tunnel device and its lease, and restart its daemon)"
    )]
    SharedMac { subnet: IpNetwork, mac: Mac, host: IpAddr, other: IpAddr, lease: String },
    #[error(
        "no route to {subnet}: the public key {key} on {host} (lease {lease}) is also that of {other}: the two nodes share a key file, one of them must get another"
    )]
    SharedKey { subnet: IpNetwork, key: Key, host: IpAddr, other: IpAddr, lease: String },
    #[error("no route to {subnet}: the lease {lease} publishes no address of that family")]
    NoGateway { subnet: IpNetwork, lease: String },
    #[error("lease {lease} is ignored: its backend is {backend:?}, this network's is {expected}")]
    OtherBackend { lease: String, backend: String, expected: &'static str },
    #[error("no route to {subnet}: it is not inside the cluster network {network} (lease {lease})")]
    Outside { subnet: IpNetwork, network: IpNetwork, lease: String },
    #[error(
        "no route to {subnet}: it overlaps this node's own subnet (lease {lease}); one of the two nodes must get another subnet"
    )]
    OverlapsOwn { subnet: IpNetwork, lease: String },
    #[error(
        "no route to {subnet}: the lease {lease} publishes {address}, which is this node's own address; two nodes claim it, or the lease is left over from an earlier life of this node"
    )]
    OwnAddress { subnet: IpNetwork, address: IpAddr, lease: String },
    #[error(
        "two leases have the same public address {address}: {first} and {second}; give each node its own --public-ip"
    )]
    SharedAddress { address: IpAddr, first: String, second: String },
    #[error(
        "two leases have the same subnet {subnet}: {kept} is routed, {ignored} is not; delete the key of the one that is wrong"
    )]
    SharedSubnet { subnet: IpNetwork, kept: String, ignored: String },
    #[error("the key {key:?} is no lease and is skipped: {reason}")]
    Junk { key: String, reason: String },
    #[error(
        "no route to {destination} through {wanted}: somebody else's route is in its place ({found}); it is left alone, delete it if it is stale"
    )]
    ForeignRoute { destination: IpNetwork, wanted: String, found: String },
}
