//! Which subnet should this node have? flannel's order of preference (its own lease, its previous subnet, a free one), told as data.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;

use crate::config::{FamilyConfig, NetworkConfig};
use crate::lease::{Lease, Snapshot, Subnets, same_name};
use crate::range;

/// The node that wants a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The IPv4 address that peers shall use; 0.0.0.0 when there is none.
    pub public_ip: Ipv4Addr,
    /// The IPv6 address that peers shall use.
    pub public_ipv6: Option<Ipv6Addr>,
    /// The node's name, when it has one: it finds the lease again after a change of address, and tells two nodes with one address apart.
    pub name: Option<String>,
    /// The subnets of the last run, from `subnet.env`.
    pub previous: Option<Subnets>,
    /// Pods that run already.
    pub pods: Option<Pods>,
}

/// Pods of an earlier run, which keep their addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pods {
    /// The subnets of the last run that their bridge still has an address in.
    pub subnets: Subnets,
    /// The bridge that they are attached to.
    pub bridge: String,
}

/// What to do to get a lease.
#[derive(Debug, Clone, PartialEq)]
pub enum Claim {
    /// This lease is mine and fits: write my attributes into it if it is still as I read it.
    Retake(Lease),
    /// Nobody has these subnets: create their key if it still does not exist.
    Create(Subnets),
    /// This lease is mine but does not fit the configuration any more: delete it, then create.
    Replace {
        /// The lease to delete.
        delete: Lease,
        /// The subnets to create; a family that still fits keeps its subnet.
        create: Subnets,
    },
}

/// Why there is no subnet for this node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the message of each variant is its documentation")]
pub enum AcquireError {
    #[error(
        "all {slots} subnets of /{subnet_len} between {min} and {max} in {network} are leased; delete the key of a node that left, or widen SubnetMin and SubnetMax"
    )]
    Exhausted { network: IpNetwork, subnet_len: u8, min: IpAddr, max: IpAddr, slots: u128 },
    #[error(
        "the public address of this node is in use by node {holder} with the lease {key}; give each node its own --public-ip, or delete that key if {holder} is gone"
    )]
    AddressHeld { holder: String, key: String },
    #[error(
        "pods on bridge {bridge} hold addresses of {had}, but this node would now get {wanted}: {why}. Free {had} to keep them, or remove the pods and `ip link delete {bridge}` to go on with {wanted}"
    )]
    PodsWouldMove { bridge: String, had: String, wanted: String, why: String },
    #[error(
        "this node has no public address of a family that the network uses, so its lease could not be told from others"
    )]
    NoIdentity,
}

/// Decides by one snapshot. `random(n)` gives a number below `n`. Pods that run never lose their subnet in silence: a
/// claim that would take it from them is an error.
pub fn claim(
    config: &NetworkConfig,
    snapshot: &Snapshot,
    node: &Node,
    random: &mut dyn FnMut(usize) -> usize,
) -> Result<Claim, AcquireError> {
    let claim = choose(config, snapshot, node, random)?;
    let wanted = match &claim {
        Claim::Retake(lease) => lease.subnets,
        Claim::Create(subnets) | Claim::Replace { create: subnets, .. } => *subnets,
    };
    let moved = |pods: &&Pods| pods.subnets.iter().any(|had| wanted.iter().all(|subnet| subnet != had));
    match node.pods.as_ref().filter(moved) {
        None => Ok(claim),
        Some(Pods { subnets: had, bridge }) => Err(AcquireError::PodsWouldMove {
            bridge: bridge.clone(),
            had: had.to_string(),
            wanted: wanted.to_string(),
            why: why_not(config, snapshot, had, &wanted),
        }),
    }
}

/// Why the subnets of the last run are not to be had.
fn why_not(config: &NetworkConfig, snapshot: &Snapshot, had: &Subnets, wanted: &Subnets) -> String {
    let holder = snapshot.leases.iter().find(|lease| lease.subnets.overlaps(had));
    match holder {
        Some(lease) => format!("the lease {lease} has it (key {})", lease.subnets.to_key()),
        None if !admits(config, had) => "the network configuration does not admit it any more".to_owned(),
        None => format!("this node's lease is {wanted}"),
    }
}

fn choose(
    config: &NetworkConfig,
    snapshot: &Snapshot,
    node: &Node,
    random: &mut dyn FnMut(usize) -> usize,
) -> Result<Claim, AcquireError> {
    if !node.identifies(config) {
        return Err(AcquireError::NoIdentity);
    }
    let mine = mine(snapshot, node)?;
    if let Some(lease) = mine.iter().find(|lease| admits(config, &lease.subnets)) {
        return Ok(Claim::Retake((*lease).clone()));
    }
    // A reservation that does not fit stays where its administrator put it.
    let outgrown = mine.into_iter().find(|lease| !lease.reserved);
    let others: Vec<Subnets> = snapshot.iter().filter(|l| Some(*l) != outgrown).map(|l| l.subnets).collect();
    let wish = outgrown.map(|l| l.subnets).or(node.previous).unwrap_or_default();
    let create = Subnets {
        v4: config.v4.map(|c| pick(&c, wish.v4, &taken(&others, |s| s.v4), random)).transpose()?,
        v6: config.v6.map(|c| pick(&c, wish.v6, &taken(&others, |s| s.v6), random)).transpose()?,
    };
    Ok(match outgrown {
        Some(lease) => Claim::Replace { delete: lease.clone(), create },
        None => Claim::Create(create),
    })
}

impl Node {
    fn identifies(&self, config: &NetworkConfig) -> bool {
        (config.v4.is_some() && !self.public_ip.is_unspecified())
            || (config.v6.is_some() && self.public_ipv6.is_some())
    }

    /// flannel's identity is the IPv4 address alone, which all IPv6-only nodes would share as 0.0.0.0.
    fn shares_address(&self, lease: &Lease) -> bool {
        match lease.attributes.public_v4() {
            Some(v4) => v4 == self.public_ip,
            None => self.public_ipv6.is_some() && lease.attributes.public_ipv6 == self.public_ipv6,
        }
    }
}

/// This node's leases: by name first, which survives a change of address, then by address.
fn mine<'a>(snapshot: &'a Snapshot, node: &Node) -> Result<Vec<&'a Lease>, AcquireError> {
    let mut named = Vec::new();
    let mut addressed = Vec::new();
    let mut held_by = None;
    for lease in snapshot.iter() {
        match (&lease.attributes.node, &node.name) {
            (Some(theirs), Some(ours)) if same_name(theirs, ours) => named.push(lease),
            (Some(theirs), Some(_)) if node.shares_address(lease) => held_by = Some((theirs, lease)),
            _ if node.shares_address(lease) => addressed.push(lease),
            _ => {}
        }
    }
    match held_by {
        Some((holder, lease)) if named.is_empty() => {
            Err(AcquireError::AddressHeld { holder: holder.clone(), key: lease.subnets.to_key() })
        }
        _ => Ok(named.into_iter().chain(addressed).collect()),
    }
}

fn admits(config: &NetworkConfig, subnets: &Subnets) -> bool {
    let fits = |family: Option<FamilyConfig>, subnet: Option<IpNetwork>| match (family, subnet) {
        (Some(family), Some(subnet)) => family.admits(subnet),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    };
    fits(config.v4, subnets.v4) && fits(config.v6, subnets.v6)
}

fn taken(others: &[Subnets], family: fn(&Subnets) -> Option<IpNetwork>) -> Vec<IpNetwork> {
    others.iter().filter_map(family).collect()
}

/// The wished subnet when it fits and is free, else any free one with equal chance: flannel's choice among the lowest hundred
/// hands out a subnet again while its former peers may still route it to the node that left.
fn pick(
    family: &FamilyConfig,
    wish: Option<IpNetwork>,
    taken: &[IpNetwork],
    random: &mut dyn FnMut(usize) -> usize,
) -> Result<IpNetwork, AcquireError> {
    if let Some(wish) = wish
        && family.admits(wish)
        && !taken.iter().any(|t| range::overlap(*t, wish))
    {
        return Ok(wish);
    }
    let gaps = gaps(family, taken);
    let free = gaps.iter().map(Gap::len).fold(0, u128::saturating_add);
    let mut nth = match usize::try_from(free).unwrap_or(usize::MAX) {
        0 => return Err(exhausted(family)),
        free => random(free) as u128 % free as u128,
    };
    for gap in gaps {
        if nth < gap.len() {
            return subnet_at(family, gap.first + nth).ok_or_else(|| exhausted(family));
        }
        nth -= gap.len();
    }
    Err(exhausted(family))
}

/// How many subnets of a family nodes can lease, and how many of them no lease touches.
#[must_use]
pub fn free_subnets(family: &FamilyConfig, snapshot: &Snapshot) -> (u128, u128) {
    let of_family: fn(&Subnets) -> Option<IpNetwork> =
        if family.network.is_ipv4() { |s| s.v4 } else { |s| s.v6 };
    let taken: Vec<IpNetwork> =
        snapshot.leases.iter().filter_map(|lease| of_family(&lease.subnets)).collect();
    let free = gaps(family, &taken).iter().map(Gap::len).fold(0, u128::saturating_add);
    (slots(family), free)
}

/// A run of free slots; slot 0 is the subnet at `min`.
struct Gap {
    first: u128,
    end: u128,
}

impl Gap {
    fn len(&self) -> u128 {
        self.end - self.first
    }
}

/// The runs of slots that no lease touches, whatever the lengths of those leases.
fn gaps(family: &FamilyConfig, taken: &[IpNetwork]) -> Vec<Gap> {
    let (min, size) = (range::number(family.min), slot_size(family));
    let last = range::number(family.max) + (size - 1);
    let mut used: Vec<(u128, u128)> = taken
        .iter()
        .map(|network| range::bounds(*network))
        .filter(|(first, end)| *end >= min && *first <= last)
        .map(|(first, end)| ((first.max(min) - min) / size, (end.min(last) - min) / size + 1))
        .collect();
    used.sort_unstable();
    let mut gaps = Vec::new();
    let mut next = 0;
    for (first, end) in used.into_iter().chain([(slots(family), slots(family))]) {
        if first > next {
            gaps.push(Gap { first: next, end: first });
        }
        next = next.max(end);
    }
    gaps
}

fn slot_size(family: &FamilyConfig) -> u128 {
    // The configuration's limits leave at least two host bits and two network bits, so neither end of the range overflows.
    range::last_offset(family.min, family.subnet_len).saturating_add(1)
}

fn slots(family: &FamilyConfig) -> u128 {
    (range::number(family.max) - range::number(family.min)) / slot_size(family) + 1
}

fn subnet_at(family: &FamilyConfig, slot: u128) -> Option<IpNetwork> {
    let base = range::address(family.min, range::number(family.min) + slot * slot_size(family))?;
    IpNetwork::new(base, family.subnet_len).ok()
}

fn exhausted(family: &FamilyConfig) -> AcquireError {
    AcquireError::Exhausted {
        network: family.network,
        subnet_len: family.subnet_len,
        min: family.min,
        max: family.max,
        slots: slots(family),
    }
}

#[cfg(test)]
mod tests;
