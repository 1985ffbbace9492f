//! Whole snapshots out of one listing and the events after it.

use std::collections::BTreeMap;
use std::sync::Arc;

use overlay::{Junk, Lease, LeaseAttributes, Snapshot, Subnets};

/// A key as etcd holds it.
pub(super) struct Entry<'a> {
    pub(super) key: &'a [u8],
    pub(super) value: &'a [u8],
    pub(super) revision: i64,
    /// The etcd lease of the key; 0 is none (etcd's `mvccpb.KeyValue`), which makes it a reservation.
    pub(super) lease: i64,
}

/// Everything under the leases' prefix, as of the last event.
#[derive(Debug, Clone)]
pub(super) struct Fold {
    prefix: String,
    revision: i64,
    listed: i64,
    known: BTreeMap<Vec<u8>, Result<Arc<Lease>, Junk>>,
}

impl Fold {
    pub(super) fn new(prefix: &str, revision: i64) -> Self {
        Fold { prefix: prefix.to_owned(), revision, listed: revision, known: BTreeMap::new() }
    }

    /// Whether an event of this revision is part of the listing already.
    pub(super) fn has_seen(&self, revision: i64) -> bool {
        revision <= self.listed
    }

    pub(super) fn revision(&self) -> i64 {
        self.revision
    }

    /// Progress without events.
    pub(super) fn advance(&mut self, revision: i64) {
        self.revision = self.revision.max(revision);
    }

    /// A key was written. What cannot be read is kept as junk: it takes the place of the lease whose key it destroyed,
    /// and of no other.
    pub(super) fn put(&mut self, entry: &Entry) {
        self.advance(entry.revision);
        let read = read(&self.name(entry.key), entry);
        self.known.insert(entry.key.to_vec(), read);
    }

    /// A key was deleted or expired.
    pub(super) fn delete(&mut self, key: &[u8], revision: i64) {
        self.advance(revision);
        self.known.remove(key);
    }

    pub(super) fn has_leases(&self) -> bool {
        self.known.values().any(Result::is_ok)
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let leases = self.known.values().filter_map(|known| known.as_ref().ok()).cloned().collect();
        let junk = self.known.values().filter_map(|known| known.as_ref().err()).cloned().collect();
        Snapshot { revision: self.revision, leases, junk }
    }

    fn name(&self, key: &[u8]) -> String {
        let key = String::from_utf8_lossy(key);
        key.strip_prefix(self.prefix.as_str()).map_or_else(|| key.to_string(), ToOwned::to_owned)
    }
}

fn read(name: &str, entry: &Entry) -> Result<Arc<Lease>, Junk> {
    let (subnets, attributes) = match (Subnets::parse_key(name), LeaseAttributes::parse(entry.value)) {
        (Ok(subnets), Ok(attributes)) => (subnets, attributes),
        (Err(e), _) => return Err(Junk::new(name, &e.to_string())),
        (_, Err(e)) => return Err(Junk::new(name, &e.to_string())),
    };
    Ok(Arc::new(Lease { subnets, attributes, reserved: entry.lease == 0, revision: entry.revision }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREFIX: &str = "/net/subnets/";

    fn put(fold: &mut Fold, name: &str, value: &str, at: (i64, i64)) {
        let key = format!("{PREFIX}{name}");
        let (revision, lease) = at;
        fold.put(&Entry { key: key.as_bytes(), value: value.as_bytes(), revision, lease });
    }

    #[test]
    fn junk_removes_nobody_but_the_lease_whose_key_it_took() {
        let mut fold = Fold::new(PREFIX, 1);
        put(&mut fold, "10.5.1.0-24", r#"{"PublicIP":"192.0.2.1"}"#, (2, 77));
        put(&mut fold, "10.5.2.0-24", r#"{"PublicIP":"192.0.2.2"}"#, (3, 0));
        put(&mut fold, "garbage", "x", (4, 0));
        put(&mut fold, "10.5.3.0-24", "not json", (5, 0));
        let snapshot = fold.snapshot();
        assert_eq!(snapshot.leases.iter().map(|l| l.reserved).collect::<Vec<_>>(), [false, true]);
        assert_eq!(
            snapshot.junk.iter().map(|j| j.key.as_str()).collect::<Vec<_>>(),
            ["10.5.3.0-24", "garbage"]
        );
        put(&mut fold, "10.5.1.0-24", "", (6, 77));
        assert_eq!(fold.snapshot().leases.len(), 1);
    }

    #[test]
    fn a_new_value_under_a_known_key_is_seen() {
        let mut fold = Fold::new(PREFIX, 1);
        put(&mut fold, "10.5.1.0-24", r#"{"PublicIP":"192.0.2.1"}"#, (2, 77));
        put(&mut fold, "10.5.1.0-24", r#"{"PublicIP":"192.0.2.9"}"#, (3, 77));
        let snapshot = fold.snapshot();
        assert_eq!(
            snapshot.leases[0].attributes.public_ip,
            "192.0.2.9".parse::<std::net::Ipv4Addr>().unwrap()
        );
        assert_eq!((snapshot.revision, snapshot.leases[0].revision), (3, 3));
    }

    #[test]
    fn a_key_that_is_no_text_is_junk() {
        let mut fold = Fold::new(PREFIX, 1);
        fold.put(&Entry { key: b"/net/subnets/\xff\xfe", value: b"{}", revision: 2, lease: 0 });
        assert_eq!(fold.snapshot().junk.len(), 1);
        fold.delete(b"/net/subnets/\xff\xfe", 3);
        assert!(fold.snapshot().junk.is_empty() && !fold.has_leases());
    }
}
