//! Getting a lease: decide by a snapshot, write with a comparison, and begin again when another node was faster.

use std::collections::HashSet;
use std::time::Duration;

use overlay::{Claim, Lease, LeaseAttributes, NetworkConfig, Node, Snapshot, Subnets};

use super::backoff::random_below;
use super::{Backoff, Held, LeaseStore, StoreError};

/// What a node asks for.
#[derive(Clone, Copy)]
pub struct Application<'a> {
    /// The network that the subnet comes from.
    pub config: &'a NetworkConfig,
    /// Who asks, and what it had before.
    pub node: &'a Node,
    /// What the lease shall tell the peers, given the one that the node has already.
    pub publish: &'a (dyn Fn(Option<&Lease>) -> LeaseAttributes + Sync),
    /// How long it lasts without renewal.
    pub ttl: Duration,
}

/// In each round that is lost somebody else has won, so this bounds a crowd of this size that wants the last free subnets.
const ATTEMPTS: usize = 64;

/// Gets the node's lease: its present one, its previous one, or a free one. A lost race is decided anew on a fresh
/// snapshot, up to 64 times (flannel gives up at the first, flannel-behaviour §5.4). An outage is returned at once:
/// how long to wait for a store is the caller's business.
pub async fn acquire<S: LeaseStore>(
    store: &mut S,
    application: &Application<'_>,
) -> Result<Held, StoreError> {
    let mut backoff = Backoff::new(Duration::from_millis(5), Duration::from_millis(200));
    let mut defeat = None;
    for _ in 0..ATTEMPTS {
        match attempt(store, application).await {
            Err(lost) if lost.is_race() => {
                tracing::debug!(%lost, "another node was faster: deciding anew");
                defeat = Some(lost);
            }
            done => return done,
        }
        tokio::time::sleep(backoff.pause()).await;
    }
    match defeat {
        Some(last) => Err(StoreError::Contended { attempts: ATTEMPTS, last: Box::new(last) }),
        None => attempt(store, application).await,
    }
}

async fn attempt<S: LeaseStore>(store: &mut S, application: &Application<'_>) -> Result<Held, StoreError> {
    let Application { config, node, publish, ttl } = *application;
    let snapshot = store.snapshot().await?;
    let claim = overlay::claim(config, &snapshot, node, &mut random_below)?;
    let (create, attributes) = match claim {
        Claim::Retake(lease) => return store.retake(&lease, &publish(Some(&lease)), ttl).await,
        Claim::Create(subnets) => (subnets, publish(None)),
        Claim::Replace { delete, create } => {
            tracing::warn!(lease = %delete, "the lease does not fit the network configuration any more: replacing it");
            store.delete(&delete).await?;
            (create, publish(Some(&delete)))
        }
    };
    let held = store.create(&create, &attributes, ttl).await?;
    match collision(&snapshot, &store.snapshot_at(held.lease.revision).await?, &held) {
        None => Ok(held),
        Some(other) => {
            tracing::warn!(ours = %held.lease, %other, "another lease came to be at the same time: withdrawing ours");
            store.delete(&held.lease).await?;
            Err(StoreError::Taken { subnets: create })
        }
    }
}

/// A key guards only itself. Two nodes that start together may create different keys which share a family's subnet
/// (dual stack), or one public address; whoever wrote later sees the other one here and yields.
fn collision<'a>(before: &Snapshot, after: &'a Snapshot, held: &Held) -> Option<&'a Lease> {
    let ours = &held.lease;
    let clashes = |other: &Lease| {
        other.subnets.overlaps(&ours.subnets) || same_address(&ours.attributes, &other.attributes)
    };
    let known: HashSet<Subnets> = before.leases.iter().map(|lease| lease.subnets).collect();
    let is_new = |other: &&Lease| !known.contains(&other.subnets);
    after
        .iter()
        .filter(|other| other.subnets != ours.subnets && other.revision <= ours.revision)
        .filter(is_new)
        .find(|other| clashes(other))
}

/// The IPv4 address is what tells nodes apart; the IPv6 address where there is no other.
#[must_use]
pub fn same_address(a: &LeaseAttributes, b: &LeaseAttributes) -> bool {
    match (a.public_v4(), b.public_v4()) {
        (None, None) => a.public_ipv6.is_some() && a.public_ipv6 == b.public_ipv6,
        (a, b) => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(key: &str, ip: &str, revision: i64) -> Lease {
        Lease {
            subnets: overlay::Subnets::parse_key(key).unwrap(),
            attributes: LeaseAttributes::parse(format!(r#"{{"PublicIP":"{ip}"}}"#).as_bytes()).unwrap(),
            reserved: false,
            revision,
        }
    }

    fn collides(ours: &Lease, theirs: Lease) -> bool {
        let snapshot =
            Snapshot { revision: 9, leases: vec![ours.clone().into(), theirs.into()], junk: vec![] };
        let held = Held { lease: ours.clone(), ttl: Duration::from_secs(1), expires: None };
        collision(&Snapshot::default(), &snapshot, &held).is_some()
    }

    #[test]
    fn a_lease_that_the_decision_knew_of_is_no_collision() {
        let ours = lease("10.5.1.0-24", "192.0.2.1", 6);
        let reservation = lease("10.9.0.0-24", "192.0.2.1", 5);
        let before = Snapshot { revision: 5, leases: vec![reservation.clone().into()], junk: vec![] };
        let after =
            Snapshot { revision: 6, leases: vec![ours.clone().into(), reservation.into()], junk: vec![] };
        let held = Held { lease: ours, ttl: Duration::from_secs(1), expires: None };
        assert!(collision(&before, &after, &held).is_none());
    }

    #[test]
    fn of_two_dual_stack_leases_that_share_only_the_ipv6_subnet_the_later_one_yields() {
        let first = lease("10.5.1.0-24&fd00:1::-64", "192.0.2.1", 5);
        let second = lease("10.5.2.0-24&fd00:1::-64", "192.0.2.2", 6);
        assert!(collides(&second, first.clone()));
        assert!(!collides(&first, second));
    }

    #[test]
    fn of_two_nodes_with_one_address_that_start_together_the_later_one_yields_issue_51() {
        let first = lease("10.5.1.0-24", "10.0.2.15", 5);
        let second = lease("10.5.2.0-24", "10.0.2.15", 6);
        assert!(collides(&second, first.clone()));
        assert!(!collides(&first, second));
        assert!(!collides(&first, lease("10.5.2.0-24", "10.0.2.16", 4)));
    }
}
