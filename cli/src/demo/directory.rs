//! The demo's files: one directory, gone at the end unless it is to be kept.

use std::fs;
use std::path::{Path, PathBuf};

use super::error::{At, Error};

/// Directories of demos that were killed bear the process ID of one that is no more.
const PREFIX: &str = "ironbridge-demo.";

/// A directory of the demo's own; dropped, it is removed with all that is in it.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    kept: bool,
}

impl Directory {
    /// A new one among temporary files. Those of killed demos are removed on the occasion.
    pub fn temporary() -> Result<Self, Error> {
        let parent = std::env::temp_dir();
        remove_orphans(&parent);
        Self::at(parent.join(format!("{PREFIX}{}", std::process::id())))
    }

    /// A new one at this path, whose parent exists.
    pub fn at(path: PathBuf) -> Result<Self, Error> {
        fs::create_dir(&path).at("create", &path)?;
        Ok(Self { path, kept: false })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A directory in it, made if need be.
    pub fn make(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.path.join(name);
        fs::create_dir_all(&path).at("create", &path)?;
        Ok(path)
    }

    /// Lets it be when this value is dropped.
    pub fn keep(&mut self) {
        self.kept = true;
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if !self.kept {
            // There is nobody left to tell; the next demo tries again.
            fs::remove_dir_all(&self.path).ok();
        }
    }
}

fn remove_orphans(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|n| n.strip_prefix(PREFIX)).and_then(|id| id.parse::<u32>().ok());
        if owner.is_some_and(|id| !Path::new("/proc").join(id.to_string()).exists()) {
            // Somebody else's, perhaps, and not ours to remove: then it stays.
            fs::remove_dir_all(entry.path()).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_killed_demos_directory_is_removed_and_a_living_ones_is_not() {
        let parent = tempfile::tempdir().unwrap();
        // Process IDs end below 2^22 (PID_MAX_LIMIT).
        let [dead, alive, other] = [format!("{PREFIX}4194305"), format!("{PREFIX}1"), format!("{PREFIX}x")]
            .map(|n| parent.path().join(n));
        for path in [&dead, &alive, &other] {
            fs::create_dir(path).unwrap();
        }
        remove_orphans(parent.path());
        assert!(!dead.exists() && alive.exists() && other.exists());
    }

    #[test]
    fn it_is_gone_with_its_value_unless_kept() {
        let parent = tempfile::tempdir().unwrap();
        let mut directory = Directory::at(parent.path().join("a")).unwrap();
        let inner = directory.make("b/c").unwrap();
        assert!(inner.is_dir());
        directory.keep();
        drop(directory);
        assert!(inner.is_dir());
        drop(Directory::at(parent.path().join("d")).unwrap());
        assert!(!parent.path().join("d").exists());
    }
}
