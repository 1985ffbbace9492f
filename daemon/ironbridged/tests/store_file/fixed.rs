//! Fixed leases in one JSON file.

use std::fs;
use std::path::{Path, PathBuf};

use ironbridged::store::{FileStore, LeaseStore, StoreError};

use crate::store_support::nodes::Applicant;
use crate::store_support::{follow, is_live, keys, until};

const FIXED: &str = r#"{
    "config": {"Network": "10.5.0.0/16", "Backend": {"Type": "host-gw"}},
    "leases": {
        "10.5.1.0-24": {"PublicIP": "192.0.2.1", "BackendType": "host-gw"},
        "10.5.2.0-24": {"PublicIP": "192.0.2.2", "BackendType": "host-gw", "Node": "node-2"},
        "junk": 7
    }
}"#;

fn fixed(directory: &Path) -> (PathBuf, FileStore) {
    let path = directory.join("leases.json");
    fs::write(&path, FIXED).unwrap();
    let store = FileStore::new(&path);
    (path, store)
}

/// As an administrator's editor does it.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(&new, path).unwrap();
}

#[tokio::test]
async fn a_json_file_gives_each_node_the_lease_with_its_address() {
    let directory = tempfile::tempdir().unwrap();
    let (path, mut store) = fixed(directory.path());
    for n in [1, 2] {
        let held = Applicant::new(n).acquire(&mut store).await.unwrap();
        assert_eq!(held.lease.subnets.to_key(), format!("10.5.{n}.0-24"));
        assert!(held.lease.reserved);
        assert_eq!(store.renew(&held).await.unwrap(), held);
    }
    let refused = Applicant::new(3).acquire(&mut store).await.unwrap_err();
    assert!(refused.to_string().contains("leases.json holds fixed leases"), "{refused}");
    assert_eq!(fs::read_to_string(&path).unwrap(), FIXED);
}

#[tokio::test]
async fn a_changed_json_file_is_seen_and_a_broken_one_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (path, mut store) = fixed(directory.path());
    let held = Applicant::new(2).acquire(&mut store).await.unwrap();
    let mut seen = follow(&mut store);
    let view = until(&mut seen, "two", |view| keys(view).len() == 2).await;
    assert_eq!(view.snapshot.unwrap().junk.len(), 1);
    replace(&path, &FIXED[..60]);
    let view = until(&mut seen, "stale", |view| !is_live(view)).await;
    assert_eq!(keys(&view).len(), 2);
    replace(&path, &FIXED.replace("node-2", "node-3"));
    until(&mut seen, "live", is_live).await;
    assert!(matches!(store.renew(&held).await, Err(StoreError::Stolen { .. })));
    replace(&path, &FIXED.replace("10.5.2.0-24", "10.5.3.0-24"));
    until(&mut seen, "moved", |view| keys(view) == ["10.5.1.0-24", "10.5.3.0-24"]).await;
    assert!(matches!(store.renew(&held).await, Err(StoreError::Gone { .. })));
}

#[tokio::test]
async fn a_json_file_that_is_not_there_yet_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("later.json");
    let mut store = FileStore::new(&path);
    assert!(store.config().await.unwrap_err().is_outage());
    let mut seen = follow(&mut store);
    replace(&path, FIXED);
    until(&mut seen, "two", |view| keys(view).len() == 2).await;
}
