//! How we know that nobody changed a network's folder behind the index: a modification time of our own making.
//!
//! The kernel stamps a directory with its clock whenever an entry comes or goes, and a file when it is written; that clock may tick only every 4 to 10 ms:
//! two changes in one tick look alike, so remembering "the" time of our change proves nothing. Instead, when we are done
//! we set the time ourselves, on the folder and on the index alike: today's seconds, and a fraction that is derived from
//! a secret key. Whoever changes one of the two later (the reference, a person, ourselves killed half way) stamps it with the
//! kernel's clock, and the seal is broken. A file system that cannot keep the fraction never shows a seal either:
//! then every call reads the whole folder, which is slow and right.
use crate::owner::fnv1a;
use crate::table::Table;
use std::collections::hash_map::RandomState;
use std::fs::{self, File};
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// What the index was built under: the boot, and the key of its seals.
///
/// It is kept as the target of a symbolic link: written whole or not at all, read by one system call, and short enough to live in
/// the inode itself, so that a power cut cannot leave it empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Identifier of the boot in which the folder was last looked through.
    pub boot: String,
    key: u64,
}

/// First word of the link's target: another layout of the index would be another number.
const LAYOUT: &str = "2";

impl State {
    /// A state with a key that no earlier seal was made with.
    #[must_use]
    pub fn new(boot: &str) -> Self {
        Self { boot: boot.to_owned(), key: RandomState::new().build_hasher().finish() }
    }

    /// Reads the link at `path`; `None` when there is none that we understand.
    #[must_use]
    pub fn read(path: &Path) -> Option<Self> {
        let target = fs::read_link(path).ok()?;
        let mut words = target.to_str()?.split(' ');
        if words.next()? != LAYOUT {
            return None;
        }
        let (boot, key) = (words.next()?, words.next()?);
        Some(Self { boot: boot.to_owned(), key: u64::from_str_radix(key, 16).ok()? })
    }

    /// Replaces the link at `path`.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let draft = path.with_extension("new");
        fs::remove_file(&draft).or_else(absent_is_fine)?;
        symlink(format!("{LAYOUT} {} {:016x}", self.boot, self.key), &draft)?;
        fs::rename(draft, path)
    }

    /// Whether neither of the two was changed since [`State::seal`].
    #[must_use]
    pub fn is_sealed(&self, pair: &Pair) -> bool {
        let (Ok(folder), Ok(table)) = (modified(&pair.folder), modified(pair.table.file())) else {
            return false;
        };
        folder == table
            && folder
                .duration_since(SystemTime::UNIX_EPOCH)
                .is_ok_and(|time| time == self.stamp(time.as_secs()))
    }

    /// Marks the two as agreeing.
    pub fn seal(&self, pair: &Pair) -> io::Result<()> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_err(io::Error::other)?;
        let stamp = SystemTime::UNIX_EPOCH + self.stamp(now.as_secs());
        pair.table.file().set_modified(stamp)?;
        pair.folder.set_modified(stamp)
    }

    /// The time that seals in this second: a whole number of microseconds, but never a whole second.
    fn stamp(&self, seconds: u64) -> Duration {
        let mut material = self.key.to_le_bytes().to_vec();
        material.extend(seconds.to_le_bytes());
        let micros = fnv1a(&material) % 999_999 + 1;
        Duration::from_secs(seconds) + Duration::from_micros(u64::try_from(micros).unwrap_or(1))
    }
}

/// What has to agree, open.
#[derive(Debug)]
pub struct Pair {
    /// `<dataDir>/<network>`: the reservations.
    pub folder: File,
    /// `<dataDir>/.ironbridge/<network>/owners`: the index.
    pub table: Table,
}

impl Pair {
    /// Opens both.
    pub fn open(folder: &Path, owners: &Path) -> io::Result<Self> {
        Ok(Self { folder: File::open(folder)?, table: Table::open(owners)? })
    }
}

fn modified(file: &File) -> io::Result<SystemTime> {
    file.metadata()?.modified()
}

/// For `or_else`: to remove what is not there is done.
pub fn absent_is_fine(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::owner::Owner;
    use crate::table::{Entry, Key};

    struct Place {
        dir: tempfile::TempDir,
        pair: Pair,
    }

    fn place() -> Place {
        let dir = tempfile::tempdir().unwrap();
        let (folder, owners) = (dir.path().join("folder"), dir.path().join("owners"));
        fs::create_dir(&folder).unwrap();
        Table::create(&owners, &[]).unwrap();
        Place { pair: Pair::open(&folder, &owners).unwrap(), dir }
    }

    #[test]
    fn any_change_of_either_breaks_the_seal_even_within_one_tick() {
        let Place { dir, pair } = place();
        let state = State::new("boot");
        assert!(!state.is_sealed(&pair), "nobody has sealed it yet");
        let file = dir.path().join("folder/file");
        let key = Key::of(&Owner::new("abc", "eth0"));
        let entry = Entry { key, address: [10, 0, 0, 2].into() };
        let changes: [(&str, &dyn Fn()); 4] = [
            ("a file came", &|| fs::write(&file, "").unwrap()),
            ("a file left", &|| fs::remove_file(&file).unwrap()),
            ("an entry came", &|| assert!(pair.table.insert(entry).unwrap())),
            ("an entry left", &|| assert!(pair.table.remove(key, |_| true).unwrap())),
        ];
        for round in 0..500 {
            for (what, change) in changes {
                state.seal(&pair).unwrap();
                assert!(state.is_sealed(&pair), "round {round}");
                change();
                assert!(!state.is_sealed(&pair), "round {round}: {what}");
            }
        }
    }

    #[test]
    fn a_seal_is_good_for_its_own_key_alone() {
        let Place { pair, .. } = place();
        State::new("boot").seal(&pair).unwrap();
        assert!(!State::new("boot").is_sealed(&pair));
    }

    #[test]
    fn a_state_is_read_as_written_and_garbage_is_no_state() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        assert_eq!(State::read(&path), None);
        let state = State::new("6e4d7ff2-5fc1-4d4c-a3ac-6e6ab7a0f2f4");
        state.write(&path).unwrap();
        state.write(&path).unwrap();
        assert_eq!(State::read(&path), Some(state));
        assert!(fs::read_link(&path).unwrap().as_os_str().len() < 60, "it fits an ext4 inode");
        for garbage in ["2", "2 boot", "1 boot 00", "2 boot xyz"] {
            fs::remove_file(&path).unwrap();
            symlink(garbage, &path).unwrap();
            assert_eq!(State::read(&path), None, "{garbage}");
        }
    }
}
