//! Leases that an administrator wrote into one JSON file, and that no daemon changes.

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use overlay::{Junk, Lease, LeaseAttributes, Snapshot, Subnets};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::Reading;
use super::directory::revision_of;
use crate::store::{ConfigKey, Held, StoreError};

/// The file's text; what is in it is decoded where it is wanted.
struct Text {
    path: PathBuf,
    bytes: Vec<u8>,
}

/// The file's two members.
#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Document<'a> {
    #[serde(borrow)]
    config: Option<&'a RawValue>,
    #[serde(borrow)]
    leases: Values<'a>,
}

/// Values of leases by key.
#[derive(Default)]
struct Values<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

/// The text of the network configuration.
pub(super) async fn config(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    Ok(load(path).await?.document()?.config.map(|config| config.get().as_bytes().to_vec()))
}

/// Everything in the file. All leases are reservations: none of them ends.
pub(super) async fn read(path: &Path, now: SystemTime) -> Result<Reading, StoreError> {
    let text = load(path).await?;
    let document = text.document()?;
    let mut snapshot = Snapshot { revision: revision_of(now), ..Snapshot::default() };
    for (key, value) in document.leases.in_order() {
        match parse(&key, value) {
            Ok(lease) => snapshot.leases.push(lease.into()),
            Err(reason) => snapshot.junk.push(Junk::new(&key, &reason)),
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
    let (text, name) = (load(path).await?, subnets.to_key());
    let values = text.document()?.leases.0;
    let value = values.into_iter().rfind(|(key, _)| *key == name);
    Ok(value.and_then(|(key, value)| parse(&key, value).ok()))
}

fn parse(key: &str, value: &RawValue) -> Result<Lease, String> {
    let subnets = Subnets::parse_key(key).map_err(|e| e.to_string())?;
    let attributes = LeaseAttributes::parse(value.get().as_bytes()).map_err(|e| e.to_string())?;
    // The text is compared where that matters, so that a file written anew with the same content changes nothing.
    Ok(Lease { subnets, attributes, reserved: true, revision: 0 })
}

async fn load(path: &Path) -> Result<Text, StoreError> {
    let path: PathBuf = path.to_owned();
    let reading = path.clone();
    let bytes = tokio::task::spawn_blocking(move || text(&reading))
        .await
        .map_err(|e| StoreError::Unreadable { path: path.clone(), why: e.to_string() })??;
    Ok(Text { path, bytes })
}

impl Text {
    fn document(&self) -> Result<Document<'_>, StoreError> {
        serde_json::from_slice(&self.bytes).map_err(|e| StoreError::Unreadable {
            path: self.path.clone(),
            why: format!("not a lease file: {e}"),
        })
    }
}

impl<'a> Values<'a> {
    /// Sorted as a store sorts its keys; of a key that is there twice the last one counts.
    fn in_order(mut self) -> Vec<(Cow<'a, str>, &'a RawValue)> {
        self.0.sort_by(|(a, _), (b, _)| a.cmp(b));
        self.0.dedup_by(|later, kept| {
            let same = later.0 == kept.0;
            if same {
                kept.1 = later.1;
            }
            same
        });
        self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Values<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Entries)
    }
}

struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = Values<'de>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object of leases by key")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Values<'de>, A::Error> {
        /// A key, borrowed where nothing in it is escaped.
        #[derive(serde::Deserialize)]
        struct Key<'k>(#[serde(borrow)] Cow<'k, str>);
        let mut values = Vec::new();
        while let Some((Key(key), value)) = map.next_entry()? {
            values.push((key, value));
        }
        Ok(Values(values))
    }
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
