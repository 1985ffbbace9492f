//! A lease that this node holds, and how to see that it does not any more.

use std::time::{Duration, Instant};

use overlay::{Lease, LeaseAttributes, Snapshot};

use super::{StoreError, same_address};

/// This node's lease.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    /// The lease as it was last written or found.
    pub lease: Lease,
    /// The time to live that each renewal starts anew.
    pub ttl: Duration,
    /// When the store drops it unless it is renewed, counted from before the request was sent; `None` for a reservation.
    pub expires: Option<Instant>,
}

impl Held {
    /// When to renew, `margin` before the end, but not before half of the time to live is over. A reservation is
    /// looked at just as often, although nothing expires: that is how its theft is noticed.
    #[must_use]
    pub fn renew_at(&self, margin: Duration) -> Instant {
        let end = self.expires.unwrap_or_else(|| Instant::now() + self.ttl);
        let margin = margin.min(self.ttl / 2);
        end.checked_sub(margin).unwrap_or(end)
    }

    /// Whether this snapshot still has the lease. One that is older than the lease says nothing about it.
    /// [`StoreError::Changed`]: somebody wrote something unreadable in its place; a renewal puts the lease back.
    pub fn check(&self, snapshot: &Snapshot) -> Result<(), StoreError> {
        if snapshot.revision < self.lease.revision {
            return Ok(());
        }
        let subnets = self.lease.subnets;
        let found = snapshot.iter().find(|lease| lease.subnets == subnets);
        match found {
            Some(lease) => self.check_owner(&lease.attributes),
            None if snapshot.junk.iter().any(|junk| junk.key == subnets.to_key()) => {
                Err(StoreError::Changed { subnets })
            }
            None => Err(StoreError::Gone { subnets }),
        }
    }

    /// Whether these attributes, found in the lease's place, are this node's.
    pub(super) fn check_owner(&self, found: &LeaseAttributes) -> Result<(), StoreError> {
        if is_same_node(&self.lease.attributes, found) {
            return Ok(());
        }
        Err(StoreError::Stolen { subnets: self.lease.subnets, by: describe(found) })
    }
}

/// What this node wrote has its own address in it: another one under its name is a twin's, a machine that was given the
/// same name. flannel writes no name, so with it the public address decides.
pub(super) fn is_same_node(a: &LeaseAttributes, b: &LeaseAttributes) -> bool {
    let names_agree = a.node.as_ref().zip(b.node.as_ref()).is_none_or(|(a, b)| overlay::same_name(a, b));
    names_agree && same_address(a, b)
}

fn describe(of: &LeaseAttributes) -> String {
    let address = match (of.public_v4(), of.public_ipv6) {
        (Some(ip), _) => ip.to_string(),
        (None, Some(ip)) => ip.to_string(),
        (None, None) => "no address".to_owned(),
    };
    match &of.node {
        Some(node) => format!("node {node} at {address}"),
        None => format!("the node at {address}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(json: &str) -> LeaseAttributes {
        LeaseAttributes::parse(json.as_bytes()).unwrap()
    }

    fn lease(json: &str, revision: i64) -> Lease {
        let subnets = overlay::Subnets::parse_key("10.5.1.0-24").unwrap();
        Lease { subnets, attributes: attributes(json), reserved: false, revision }
    }

    fn held(json: &str) -> Held {
        let expires = Some(Instant::now() + Duration::from_secs(100));
        Held { lease: lease(json, 7), ttl: Duration::from_secs(100), expires }
    }

    #[test]
    fn a_name_tells_nodes_with_one_address_apart_and_an_address_twins_with_one_name() {
        let same = |a: &str, b: &str| is_same_node(&attributes(a), &attributes(b));
        assert!(same(r#"{"PublicIP":"192.0.2.1","Node":"a"}"#, r#"{"PublicIP":"192.0.2.1","Node":"a/1"}"#));
        assert!(!same(r#"{"PublicIP":"192.0.2.1","Node":"a"}"#, r#"{"PublicIP":"192.0.2.9","Node":"a"}"#));
        assert!(!same(r#"{"PublicIP":"192.0.2.1","Node":"a"}"#, r#"{"PublicIP":"192.0.2.1","Node":"b"}"#));
        assert!(same(r#"{"PublicIP":"192.0.2.1","Node":"a"}"#, r#"{"PublicIP":"192.0.2.1"}"#));
        assert!(!same(r#"{"PublicIP":"192.0.2.1"}"#, r#"{"PublicIP":"192.0.2.2"}"#));
    }

    #[test]
    fn ipv6_only_nodes_are_not_one_node_although_all_publish_0_0_0_0() {
        let a = attributes(r#"{"PublicIP":"0.0.0.0","PublicIPv6":"fd00::1"}"#);
        let b = attributes(r#"{"PublicIP":"0.0.0.0","PublicIPv6":"fd00::2"}"#);
        assert!(is_same_node(&a, &a) && !is_same_node(&a, &b));
    }

    #[test]
    fn a_snapshot_without_the_lease_is_its_end_only_if_it_is_newer() {
        let held = held(r#"{"PublicIP":"192.0.2.1"}"#);
        let empty = |revision| Snapshot { revision, ..Snapshot::default() };
        assert!(held.check(&empty(6)).is_ok());
        assert!(matches!(held.check(&empty(8)), Err(StoreError::Gone { .. })));
    }

    #[test]
    fn garbage_in_our_place_is_neither_the_end_nor_theft() {
        let junk = overlay::Junk { key: "10.5.1.0-24".to_owned(), reason: "no JSON".to_owned() };
        let snapshot = Snapshot { revision: 9, leases: vec![], junk: vec![junk] };
        assert!(matches!(held("{}").check(&snapshot), Err(StoreError::Changed { .. })));
    }

    #[test]
    fn another_nodes_attributes_in_our_place_are_theft_issue_1343() {
        let theirs = lease(r#"{"PublicIP":"192.0.2.9","Node":"thief"}"#, 9);
        let snapshot = Snapshot { revision: 9, leases: vec![theirs.into()], junk: vec![] };
        let stolen = held(r#"{"PublicIP":"192.0.2.1","Node":"me"}"#).check(&snapshot).unwrap_err();
        assert_eq!(stolen.to_string(), "the lease for 10.5.1.0/24 now belongs to node thief at 192.0.2.9");
    }

    #[test]
    fn renewal_comes_a_margin_before_the_end_but_never_at_once() {
        let held = held("{}");
        let end = held.expires.unwrap();
        assert_eq!(held.renew_at(Duration::from_secs(10)), end.checked_sub(Duration::from_secs(10)).unwrap());
        assert_eq!(held.renew_at(Duration::from_hours(1)), end.checked_sub(Duration::from_secs(50)).unwrap());
    }
}
