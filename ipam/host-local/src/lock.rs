//! The network's lock: flock(2) on the file that the reference locks too, with a deadline.
use crate::error::Error;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Held until dropped: closing the description ends an flock(2).
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock at `path`, waiting for its holder for at most `patience`.
    ///
    /// `Ok(None)` when the directory of `path` does not exist.
    pub fn take(path: &Path, patience: Duration) -> Result<Option<Self>, Error> {
        loop {
            let Some(file) = open(path).map_err(Error::io("open lock file", path))? else { return Ok(None) };
            match file.try_lock() {
                Ok(()) => return Ok(Some(Self { _file: file })),
                Err(TryLockError::WouldBlock) => {
                    wait(&file, path, patience)?;
                    // Whoever held it may have removed the directory and somebody made it anew: that lock is another file.
                    if is_still(&file, path) {
                        return Ok(Some(Self { _file: file }));
                    }
                }
                Err(TryLockError::Error(source)) => {
                    return Err(Error::Io { doing: "lock", path: path.to_owned(), source });
                }
            }
        }
    }
}

/// Opens for reading, as the reference does, so that a lock file made by either suits both.
fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        opened => return opened.map(Some),
    }
    match OpenOptions::new().append(true).create(true).mode(0o750).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        made => made.map(Some),
    }
}

/// Waits in flock(2) on a thread of its own, since the call has no deadline. When we give up first, the thread gets the
/// lock some day, finds nobody listening and lets go of it.
fn wait(file: &File, path: &Path, patience: Duration) -> Result<(), Error> {
    let same = file.try_clone().map_err(Error::io("duplicate lock file", path))?;
    let (done, outcome) = mpsc::channel();
    let waiter = thread::Builder::new().name("lock".to_owned()).spawn(move || {
        let result = loop {
            match same.lock() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        // An error here means that nobody listens any more.
        done.send(result).ok();
    });
    waiter.map_err(Error::io("wait for lock", path))?;
    match outcome.recv_timeout(patience) {
        Ok(result) => result.map_err(Error::io("lock", path)),
        Err(_) => Err(Error::LockTimeout { path: path.to_owned(), waited: patience }),
    }
}

fn is_still(file: &File, path: &Path) -> bool {
    let identity = |found: fs::Metadata| (found.dev(), found.ino());
    match (file.metadata(), fs::metadata(path)) {
        (Ok(held), Ok(there)) => identity(held) == identity(there),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_lock_is_waited_for_until_the_deadline_and_named_in_the_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = Lock::take(&path, Duration::from_secs(5)).unwrap().unwrap();
        let error = Lock::take(&path, Duration::from_millis(20)).unwrap_err();
        assert_eq!(error.code(), cni::Code::TRY_AGAIN_LATER);
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        let other = thread::spawn({
            let path = path.clone();
            move || Lock::take(&path, Duration::from_secs(20)).unwrap().is_some()
        });
        drop(held);
        assert!(other.join().unwrap(), "the next in line gets it");
    }

    #[test]
    fn a_lock_that_cannot_be_opened_is_an_error_not_a_lock() {
        // Weakness 8 of the reference: it ignores what Lock() returns.
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        std::os::unix::fs::symlink("lock", &path).unwrap();
        assert_eq!(Lock::take(&path, Duration::from_secs(5)).unwrap_err().code(), cni::Code::IO);
    }

    #[test]
    fn a_missing_directory_is_no_lock() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Lock::take(&dir.path().join("gone/lock"), Duration::from_secs(5)).unwrap().is_none());
    }
}
