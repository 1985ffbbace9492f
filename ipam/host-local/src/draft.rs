//! A reservation that is written whole before it has an address: a kill can then never leave a file without its owner.
use crate::error::Error;
use crate::owner::Owner;
use crate::seal::absent_is_fine;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Name of the one draft of a network: its writer holds the network's lock. No address is called this.
pub const NAME: &str = ".ironbridge-reservation";

/// A file with an owner's content, to be linked to an address; removed when dropped.
#[derive(Debug)]
pub struct Draft {
    path: PathBuf,
    content: String,
}

impl Draft {
    /// Writes the draft in `directory`. One that a killed process left there makes way.
    pub fn write(directory: &Path, owner: &Owner) -> Result<Self, Error> {
        let draft = Self { path: directory.join(NAME), content: owner.content() };
        draft.create().map_err(Error::io("write reservation", &draft.path))?;
        Ok(draft)
    }

    /// Gives the draft the name `target` as well; `Ok(false)` when that is taken.
    ///
    /// `folder` is where `target` is: the draft moves there if it has been on another file system.
    pub fn link(&mut self, target: &Path, folder: &Path) -> Result<bool, Error> {
        let linked = match fs::hard_link(&self.path, target) {
            Err(error) if error.kind() == ErrorKind::CrossesDevices => {
                let near = Self { path: folder.join(NAME), content: self.content.clone() };
                near.create().map_err(Error::io("write reservation", &near.path))?;
                *self = near;
                fs::hard_link(&self.path, target)
            }
            linked => linked,
        };
        match linked {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(Error::io("link reservation", target)(error)),
        }
    }

    fn create(&self) -> io::Result<()> {
        let open = || OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.path);
        let mut file = match open() {
            // Never written over: what lies there may be an address' file as well, by a link.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                fs::remove_file(&self.path)?;
                open()?
            }
            opened => opened?,
        };
        file.write_all(self.content.as_bytes())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // One that stays is swept by the next draft.
        fs::remove_file(&self.path).or_else(absent_is_fine).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draft_left_by_a_kill_never_changes_a_reservation_that_shares_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (dir.path().join("10.0.0.2"), dir.path().join("10.0.0.3"));
        let mut killed = Draft::write(dir.path(), &Owner::new("abc", "eth0")).unwrap();
        assert!(killed.link(&first, dir.path()).unwrap());
        std::mem::forget(killed);
        let mut next = Draft::write(dir.path(), &Owner::new("def", "eth0")).unwrap();
        assert!(!next.link(&first, dir.path()).unwrap(), "taken");
        assert!(next.link(&second, dir.path()).unwrap());
        drop(next);
        assert_eq!(fs::read_to_string(first).unwrap(), "abc\r\neth0");
        assert_eq!(fs::read_to_string(second).unwrap(), "def\r\neth0");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "no draft is left");
    }
}
