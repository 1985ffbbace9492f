//! A directory for one run of a target that needs files.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Removed with everything in it when dropped.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

/// What the directories of one process are called.
pub(crate) fn prefix(process: u32) -> String {
    format!("ironbridge-fuzz-{process}-")
}

/// Where they are: memory, where there is a file system of it.
pub(crate) fn home() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
}

impl Scratch {
    /// A new, empty directory.
    pub(crate) fn new() -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = home().join(format!("{}{number}", prefix(std::process::id())));
        fs::create_dir(&path)?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        let Self(path) = self;
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays is swept by the process that started this one.
        fs::remove_dir_all(self.path()).ok();
    }
}

/// Removes what a process that was ended has left.
pub(crate) fn sweep(process: u32) -> io::Result<()> {
    for entry in fs::read_dir(home())? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(&prefix(process)) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}
