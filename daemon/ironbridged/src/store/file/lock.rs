//! The lock of a lease directory: only who holds it gets at the files.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep};

use super::clock::Clock;
use super::directory::{Locked, prepare};
use crate::store::StoreError;

const LOCK: &str = "lock";
/// Work under the lock takes milliseconds; who holds it for seconds is stopped or stuck.
const DEADLINE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(5);

/// A lease directory, behind its lock.
#[derive(Debug, Clone)]
pub(super) struct Root {
    path: PathBuf,
    /// Made once, at the first use: one that vanishes later is an outage, and must not come back as an empty one.
    prepared: Arc<OnceLock<()>>,
}

impl Root {
    pub(super) fn new(path: &Path) -> Self {
        Root { path: path.to_owned(), prepared: Arc::default() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the directory at the first call.
    pub(super) fn prepare(&self) -> Result<(), StoreError> {
        if self.prepared.get().is_none() {
            prepare(&self.path)?;
            self.prepared.get_or_init(|| ());
        }
        Ok(())
    }

    /// Runs `work` under the directory's lock, on a thread where it may block, with the time at which it got the lock:
    /// a time from before would make a lease that was written later the older one.
    pub(super) async fn locked<T: Send + 'static>(
        &self,
        clock: &Clock,
        work: impl FnOnce(&Locked, SystemTime) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.prepare()?;
        let (locked, clock) = (Locked::new(self.path.clone(), take(&self.path).await?), clock.clone());
        let done = tokio::task::spawn_blocking(move || work(&locked, locked.time(clock.now())?)).await;
        done.unwrap_or_else(|error| {
            let why = format!("the reader broke off: {error}");
            Err(StoreError::Unreadable { path: self.path.clone(), why })
        })
    }
}

/// `flock(2)` wakes nobody that polls, but it blocks a thread that waits in it beyond any deadline: so this polls.
async fn take(root: &Path) -> Result<File, StoreError> {
    let path = root.join(LOCK);
    let failed = |source| StoreError::File { doing: "lock", path: path.clone(), source };
    let deadline = Instant::now() + DEADLINE;
    while Instant::now() < deadline {
        // Opened for reading where it exists: closing a file opened for writing would wake every watcher.
        let file = match File::open(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                OpenOptions::new().create(true).append(true).open(&path).map_err(failed)?
            }
            opened => opened.map_err(failed)?,
        };
        match file.try_lock() {
            // Who deleted the file between our opening and our locking it let others lock a new one.
            Ok(()) if !is_at(&file, &path) => {}
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => sleep(POLL).await,
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
    }
    Err(StoreError::Locked { path, after: DEADLINE })
}

fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}
