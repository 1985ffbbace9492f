//! `last_reserved_ip.<n>`: where the round robin of a range set goes on.
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::net::IpAddr;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The place of one range set's round robin; the file stays open between reading and moving it.
#[derive(Debug)]
pub struct Cursor {
    path: PathBuf,
    file: Option<File>,
    length: usize,
    last: Option<IpAddr>,
}

impl Cursor {
    /// Reads the cursor of range set `set`. Whatever is not an address (a torn write) counts as none: the round
    /// robin then begins anew, which is all that is lost.
    #[must_use]
    pub fn read(folder: &Path, set: usize) -> Self {
        let path = folder.join(format!("last_reserved_ip.{set}"));
        let mut cursor = Self { path, file: None, length: 0, last: None };
        let Ok(mut file) = OpenOptions::new().read(true).write(true).open(&cursor.path) else {
            return cursor;
        };
        let mut text = [0; 64];
        cursor.length = file.read(&mut text).unwrap_or(0);
        let text = text.get(..cursor.length).and_then(|text| str::from_utf8(text).ok());
        cursor.last = text.and_then(|text| text.trim().parse().ok()).map(|last: IpAddr| last.to_canonical());
        cursor.file = Some(file);
        cursor
    }

    /// The address that was reserved last.
    #[must_use]
    pub fn last(&self) -> Option<IpAddr> {
        self.last
    }

    /// Moves it to `address`: written over what was there, then cut, so that at no moment the file is missing.
    pub fn advance(self, address: IpAddr) -> io::Result<()> {
        let text = address.to_string();
        let file = match self.file {
            Some(file) => file,
            None => {
                OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(self.path)?
            }
        };
        file.write_all_at(text.as_bytes(), 0)?;
        if text.len() < self.length { file.set_len(text.len() as u64) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_file_holds_the_address_alone_whatever_was_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("last_reserved_ip.3");
        for before in
            [None, Some(""), Some("10.0.0.2"), Some("10.0.0.254\n"), Some("255.255.255.255 and more")]
        {
            if let Some(before) = before {
                fs::write(&path, before).unwrap();
            }
            let address: IpAddr = "10.0.0.11".parse().unwrap();
            Cursor::read(dir.path(), 3).advance(address).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), "10.0.0.11", "over {before:?}");
            assert_eq!(Cursor::read(dir.path(), 3).last(), Some(address));
        }
    }

    #[test]
    fn a_torn_cursor_is_none() {
        let dir = tempfile::tempdir().unwrap();
        for torn in ["", "10.0.0", "10.0.0.2\u{0}", "x"] {
            fs::write(dir.path().join("last_reserved_ip.0"), torn).unwrap();
            assert_eq!(Cursor::read(dir.path(), 0).last(), None, "{torn:?}");
        }
    }
}
