//! Leases that an administrator wrote into one JSON file, and that no daemon changes.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use overlay::{Junk, Lease, LeaseAttributes, Snapshot, Subnets};
use serde_json::{Map, Value};

use super::Reading;
use super::directory::revision_of;
use crate::store::{ConfigKey, Held, StoreError};

/// The file's two members.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
struct Document {
    config: Option<Value>,
    leases: Map<String, Value>,
}

/// The text of the network configuration.
pub(super) async fn config(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    Ok(load(path).await?.config.map(|config| config.to_string().into_bytes()))
}

/// Everything in the file. All leases are reservations: none of them ends.
pub(super) async fn read(path: &Path, now: SystemTime) -> Result<Reading, StoreError> {
    let document = load(path).await?;
    let mut snapshot = Snapshot { revision: revision_of(now), ..Snapshot::default() };
    for (key, value) in &document.leases {
        match parse(key, value) {
            Ok(lease) => snapshot.leases.push(lease),
            Err(reason) => snapshot.junk.push(Junk { key: key.clone(), reason }),
        }
    }
    let config = if document.config.is_some() { ConfigKey::Present } else { ConfigKey::Absent };
    Ok(Reading { snapshot, config, next_end: None })
}

/// Holds a lease of the file as it is written there.
pub(super) async fn retake(path: &Path, lease: &Lease, ttl: Duration) -> Result<Held, StoreError> {
    match find(path, &lease.subnets).await? {
        Some(found) if found.attributes == lease.attributes => Ok(Held { lease: found, ttl, expires: None }),
        Some(_) => Err(StoreError::Changed { subnets: lease.subnets }),
        None => Err(StoreError::Gone { subnets: lease.subnets }),
    }
}

/// Looks whether the file still gives the lease to this node, and takes over what else it says by now.
pub(super) async fn renew(path: &Path, held: &Held) -> Result<Held, StoreError> {
    let subnets = held.lease.subnets;
    let found = find(path, &subnets).await?.ok_or(StoreError::Gone { subnets })?;
    held.check_owner(&found.attributes)?;
    Ok(Held { lease: found, ttl: held.ttl, expires: None })
}

async fn find(path: &Path, subnets: &Subnets) -> Result<Option<Lease>, StoreError> {
    let leases = load(path).await?.leases;
    Ok(leases.get(&subnets.to_key()).and_then(|value| parse(&subnets.to_key(), value).ok()))
}

fn parse(key: &str, value: &Value) -> Result<Lease, String> {
    let subnets = Subnets::parse_key(key).map_err(|e| e.to_string())?;
    let attributes = LeaseAttributes::parse(value.to_string().as_bytes()).map_err(|e| e.to_string())?;
    // The text is compared where that matters, so that a file written anew with the same content changes nothing.
    Ok(Lease { subnets, attributes, reserved: true, revision: 0 })
}

async fn load(path: &Path) -> Result<Document, StoreError> {
    let path: PathBuf = path.to_owned();
    let why = |why: String| StoreError::Unreadable { path: path.clone(), why };
    let reading = path.clone();
    let text =
        tokio::task::spawn_blocking(move || text(&reading)).await.map_err(|e| why(e.to_string()))??;
    serde_json::from_slice(&text).map_err(|e| why(format!("not a lease file: {e}")))
}

/// Reads under a shared lock, for those who change the file in place under an exclusive one. Whoever holds that is at
/// work, so this is an outage until the next try rather than a wait.
fn text(path: &Path) -> Result<Vec<u8>, StoreError> {
    let failed = |source| StoreError::File { doing: "read", path: path.to_owned(), source };
    let mut file = File::open(path).map_err(failed)?;
    if file.try_lock_shared().is_err() {
        return Err(StoreError::Locked { path: path.to_owned(), after: Duration::ZERO });
    }
    let mut text = Vec::new();
    file.read_to_end(&mut text).map_err(failed)?;
    Ok(text)
}
