//! The files of a lease directory, as far as whoever holds the lock may touch them.
//!
//! Every write goes to a temporary name and is renamed or linked into place after an fsync, so a kill or a power
//! cut at any moment leaves whole files. A lease's end is written before the lease and removed after it: a crash
//! between the two leaves an end without a lease, which the next read removes, and never a lease without its end.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use overlay::{Junk, Lease, LeaseAttributes, Snapshot, Subnets};

use super::Reading;
use super::clock::Moment;
use super::count::{CLOCK, Count};
use crate::store::{ConfigKey, StoreError};

pub(super) const CONFIG: &str = "config";
pub(super) const SUBNETS: &str = "subnets";
const EXPIRY: &str = "expiry";
/// One name is enough: only who holds the lock writes, so one that is found is a crash's.
const TEMPORARY: &str = ".new";

/// A lease directory under its lock.
pub(super) struct Locked {
    root: PathBuf,
    _lock: File,
}

/// One lease's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) value: Vec<u8>,
    pub(super) revision: i64,
    /// When it ends; `None` for a reservation.
    pub(super) end: Option<SystemTime>,
}

/// Makes the directory and its parts.
pub(super) fn prepare(root: &Path) -> Result<(), StoreError> {
    for path in [root.join(SUBNETS), root.join(EXPIRY)] {
        fs::create_dir_all(&path).map_err(|source| StoreError::File {
            doing: "make the directory",
            path,
            source,
        })?;
    }
    Ok(())
}

impl Locked {
    pub(super) fn new(root: PathBuf, lock: File) -> Self {
        Locked { root, _lock: lock }
    }

    /// The time that counts here, whatever the time of day was set to: see [`super::count`].
    pub(super) fn time(&self, moment: Moment) -> Result<SystemTime, StoreError> {
        if let Some(count) = Count::read(&self.root) {
            return Ok(count.at(moment));
        }
        let count = Count::begin(moment);
        self.write(&self.root.join(CLOCK), &count.text(), moment.day)?;
        Ok(count.at(moment))
    }

    /// The text of the network configuration.
    pub(super) fn config(&self) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.root.join(CONFIG);
        present(fs::read(&path)).map_err(|source| StoreError::File { doing: "read", path, source })
    }

    /// Everything, after removing what has ended.
    pub(super) fn read_all(&self, now: SystemTime) -> Result<Reading, StoreError> {
        let mut snapshot = Snapshot { revision: revision_of(now), ..Snapshot::default() };
        let mut next_end: Option<SystemTime> = None;
        let names = self.names(SUBNETS)?;
        for name in &names {
            let key = name.to_string_lossy().into_owned();
            let stored = match self.get(&key, now) {
                Ok(Some(stored)) => stored,
                Ok(None) => continue,
                Err(error) => {
                    snapshot.junk.push(Junk::new(&key, &error.to_string()));
                    continue;
                }
            };
            next_end = [next_end, stored.end].into_iter().flatten().min();
            // What an administrator writes is as old as the time of day says.
            snapshot.revision = snapshot.revision.max(stored.revision);
            match parse(&key, &stored) {
                Ok(lease) => snapshot.leases.push(lease.into()),
                Err(reason) => snapshot.junk.push(Junk::new(&key, &reason)),
            }
        }
        self.sweep(&names)?;
        let config = if self.root.join(CONFIG).exists() { ConfigKey::Present } else { ConfigKey::Absent };
        let next_end = next_end.map(|end| end.duration_since(now).unwrap_or_default());
        Ok(Reading { snapshot, config, next_end })
    }

    /// How long each lease still lasts, by its key.
    pub(super) fn ends(&self, now: SystemTime) -> Result<BTreeMap<String, Duration>, StoreError> {
        let mut left = BTreeMap::new();
        for name in self.names(EXPIRY)? {
            let key = name.to_string_lossy().into_owned();
            if let Some(end) = self.end(&key)? {
                left.insert(key, end.duration_since(now).unwrap_or_default());
            }
        }
        Ok(left)
    }

    /// One lease. One that has ended is removed and not there.
    pub(super) fn get(&self, key: &str, now: SystemTime) -> Result<Option<Stored>, StoreError> {
        let path = self.lease(key);
        let read = || -> io::Result<Option<(Vec<u8>, i64)>> {
            let Some(metadata) = present(fs::metadata(&path))? else { return Ok(None) };
            let revision =
                metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec());
            Ok(present(fs::read(&path))?.map(|value| (value, revision)))
        };
        let found =
            read().map_err(|source| StoreError::File { doing: "read", path: path.clone(), source })?;
        let Some((value, revision)) = found else { return Ok(None) };
        let end = self.end(key)?;
        if end.is_some_and(|end| end <= now) {
            self.remove(key)?;
            return Ok(None);
        }
        Ok(Some(Stored { value, revision, end }))
    }

    /// Writes a lease that must not exist: `false` if it does.
    pub(super) fn put_new(&self, key: &str, value: &str, at: Times) -> Result<bool, StoreError> {
        if self.lease(key).symlink_metadata().is_ok() {
            return Ok(false);
        }
        self.put(key, value, at)?;
        Ok(true)
    }

    /// Writes a lease, its end first.
    pub(super) fn put(&self, key: &str, value: &str, at: Times) -> Result<(), StoreError> {
        self.put_end(key, at)?;
        self.write(&self.lease(key), value, at.now)
    }

    /// Writes a lease's end. A reservation has none.
    pub(super) fn put_end(&self, key: &str, at: Times) -> Result<(), StoreError> {
        let Some(end) = at.end else { return Ok(()) };
        let seconds = end.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64().ceil();
        self.write(&self.root.join(EXPIRY).join(key), &format!("{seconds:.0}\n"), at.now)
    }

    /// Removes a lease, its end last.
    pub(super) fn remove(&self, key: &str) -> Result<(), StoreError> {
        for path in [self.lease(key), self.root.join(EXPIRY).join(key)] {
            present(fs::remove_file(&path)).map_err(|source| StoreError::File {
                doing: "remove",
                path,
                source,
            })?;
        }
        Ok(())
    }

    fn lease(&self, key: &str) -> PathBuf {
        self.root.join(SUBNETS).join(key)
    }

    /// An end that does not parse is treated as none: a lease that stays too long harms less than one that vanishes.
    fn end(&self, key: &str) -> Result<Option<SystemTime>, StoreError> {
        let path = self.root.join(EXPIRY).join(key);
        let text = present(fs::read_to_string(&path)).map_err(|source| StoreError::File {
            doing: "read",
            path,
            source,
        })?;
        Ok(text.and_then(|text| text.trim().parse().ok()).map(|s| UNIX_EPOCH + Duration::from_secs(s)))
    }

    /// Removes ends without leases.
    fn sweep(&self, leases: &[OsString]) -> Result<(), StoreError> {
        for name in self.names(EXPIRY)? {
            if leases.binary_search(&name).is_err() {
                let path = self.root.join(EXPIRY).join(name);
                present(fs::remove_file(&path)).map_err(|source| StoreError::File {
                    doing: "remove",
                    path,
                    source,
                })?;
            }
        }
        Ok(())
    }

    /// The names in a part of the directory, sorted. A part that is missing is empty; a missing root is an error,
    /// since a file system that is not mounted looks the same.
    fn names(&self, part: &str) -> Result<Vec<OsString>, StoreError> {
        let path = self.root.join(part);
        let list = || -> io::Result<Vec<OsString>> {
            let Some(entries) = present(fs::read_dir(&path))? else { return Ok(Vec::new()) };
            let mut names =
                entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<OsString>>>()?;
            names.sort();
            Ok(names)
        };
        list().map_err(|source| StoreError::File { doing: "list", path: path.clone(), source })
    }

    /// Writes a file whole. Its modification time, which is a lease's revision, is the store's clock.
    fn write(&self, path: &Path, text: &str, now: SystemTime) -> Result<(), StoreError> {
        let temporary = self.root.join(TEMPORARY);
        let write = || -> io::Result<()> {
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            let mut file = File::create(&temporary)?;
            file.write_all(text.as_bytes())?;
            file.set_modified(now)?;
            file.sync_all()?;
            fs::rename(&temporary, path)
        };
        write().map_err(|source| StoreError::File { doing: "write", path: path.to_owned(), source })
    }
}

/// When a lease is written and when it ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub(super) now: SystemTime,
    pub(super) end: Option<SystemTime>,
}

/// The revision that a moment stands for: nanoseconds since 1970.
pub(super) fn revision_of(now: SystemTime) -> i64 {
    let nanos = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    i64::try_from(nanos).unwrap_or(i64::MAX)
}

fn parse(key: &str, stored: &Stored) -> Result<Lease, String> {
    let subnets = Subnets::parse_key(key).map_err(|e| e.to_string())?;
    let attributes = LeaseAttributes::parse(&stored.value).map_err(|e| e.to_string())?;
    Ok(Lease { subnets, attributes, reserved: stored.end.is_none(), revision: stored.revision })
}

fn present<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}
