//! The extension backend: which of the operator's commands are to be run for which peer.

use std::collections::BTreeMap;

use crate::config::NetworkConfig;
use crate::lease::{Lease, LeaseAttributes, Snapshot, Subnets};

/// One command to be run for a peer.
#[derive(Debug, Clone, PartialEq)]
pub enum Errand {
    /// `SubnetAddCommand`.
    Add(Lease),
    /// `SubnetRemoveCommand`, with what the peer had published.
    Remove(Subnets, LeaseAttributes),
}

/// What turns the peers that were `known` to the commands into those of a snapshot, removals first. A peer that
/// publishes something else is removed and added.
#[must_use]
pub fn errands(
    config: &NetworkConfig,
    known: &BTreeMap<Subnets, LeaseAttributes>,
    snapshot: &Snapshot,
    own: &Subnets,
) -> Vec<Errand> {
    let is_peer = |lease: &&Lease| {
        lease.subnets != *own && lease.attributes.backend_type == config.backend.lease_type()
    };
    let peers: BTreeMap<Subnets, &Lease> =
        snapshot.iter().filter(is_peer).map(|lease| (lease.subnets, lease)).collect();
    let is_as_known = |subnets: &Subnets, attributes: &LeaseAttributes| {
        peers.get(subnets).is_some_and(|lease| lease.attributes == *attributes)
    };
    let gone = known.iter().filter(|(subnets, attributes)| !is_as_known(subnets, attributes));
    let removes = gone.map(|(subnets, attributes)| Errand::Remove(*subnets, attributes.clone()));
    let new = peers.values().filter(|lease| known.get(&lease.subnets) != Some(&lease.attributes));
    removes.chain(new.map(|lease| Errand::Add((*lease).clone()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(n: u8, data: &str) -> Lease {
        let value = format!(
            r#"{{"PublicIP":"192.0.2.{n}","PublicIPv6":null,"BackendType":"extension","BackendData":"{data}"}}"#
        );
        Lease {
            subnets: Subnets::parse_key(&format!("10.3.{n}.0-24")).unwrap(),
            attributes: LeaseAttributes::parse(value.as_bytes()).unwrap(),
            reserved: false,
            revision: 1,
        }
    }

    #[test]
    fn peers_come_go_and_change_and_the_own_lease_and_other_backends_are_no_errand() {
        let config =
            NetworkConfig::parse(br#"{"Network":"10.3.0.0/16","Backend":{"Type":"extension"}}"#).unwrap();
        let own = lease(1, "me");
        let mut other = lease(9, "");
        other.attributes.backend_type = "vxlan".into();
        let (stays, moved, gone) = (lease(2, "a"), lease(3, "b"), lease(4, "c"));
        let known = [&stays, &moved, &gone].map(|l| (l.subnets, l.attributes.clone())).into();
        let anew = lease(3, "new");
        let all = vec![own.clone(), stays, anew.clone(), lease(5, "d"), other];
        let snapshot =
            Snapshot { revision: 1, leases: all.into_iter().map(Into::into).collect(), junk: vec![] };
        let want = [
            Errand::Remove(moved.subnets, moved.attributes),
            Errand::Remove(gone.subnets, gone.attributes),
            Errand::Add(anew),
            Errand::Add(lease(5, "d")),
        ];
        assert_eq!(errands(&config, &known, &snapshot, &own.subnets), want);
    }
}
