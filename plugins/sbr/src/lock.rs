//! One sbr at a time in a sandbox: the choice of a table and its use are one act.

use std::fs::File;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use attach::Error;

use crate::Cause;

/// How long another one may take. It needs milliseconds.
const DEADLINE: Duration = Duration::from_secs(10);

/// The lock of a sandbox; it is free again when this is dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Locks the namespace itself, as the reference does, so that both keep each other out. The file is opened for reading:
    /// none is made where there is no namespace.
    pub fn take(sandbox: &str) -> Result<Self, Error> {
        let failed = |source| Cause::Lock { sandbox: sandbox.to_owned(), source };
        let file = File::open(sandbox).map_err(failed)?;
        if file.try_lock().is_ok() {
            return Ok(Self { _file: file });
        }
        let (done, outcome) = mpsc::channel();
        // A lock that comes too late goes with the thread, and that with the process.
        thread::spawn(move || done.send(file.lock().map(|()| file)).ok());
        match outcome.recv_timeout(DEADLINE) {
            Ok(locked) => Ok(Self { _file: locked.map_err(failed)? }),
            Err(_) => Err(Cause::Locked { sandbox: sandbox.to_owned(), seconds: DEADLINE.as_secs() }.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weakness_56_no_file_is_made_where_there_is_no_namespace() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gone");
        assert!(Lock::take(path.to_str().unwrap()).is_err());
        assert!(!path.exists());
    }

    #[test]
    fn a_second_one_waits_for_the_first() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap().to_owned();
        let first = Lock::take(&path).unwrap();
        let second = thread::spawn(move || Lock::take(&path).map(drop));
        assert!(!second.is_finished());
        drop(first);
        second.join().unwrap().unwrap();
    }
}
