//! From an owner to its addresses without reading every reservation: one table a network.
//!
//! It stands beside the network folders (`<dataDir>/.ironbridge/<network>/owners`), never inside one: the reference reads every
//! file in there. What an entry says is always verified with the address files; that an entry is absent is believed only under
//! an unbroken seal.
use crate::owner::Owner;
use crate::scan::Reservation;
use crate::seal::absent_is_fine;
use crate::table::{Entry, Key, Table};
use std::fs::{self, DirBuilder};
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Directory of everything that we keep in a data directory beside the reference's files. A network's name begins with a
/// letter or digit, so that none can be called this.
const OURS: &str = ".ironbridge";

/// The index of one network.
#[derive(Debug, Clone)]
pub struct Index {
    home: PathBuf,
}

impl Index {
    /// The index of `network`.
    #[must_use]
    pub fn new(data_dir: &Path, network: &str) -> Self {
        Self { home: data_dir.join(OURS).join(network) }
    }

    /// Where files that are not whole yet are written.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The link that [`crate::seal::State`] is kept in.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.home.join("state")
    }

    /// The table of entries, which is sealed.
    #[must_use]
    pub fn owners(&self) -> PathBuf {
        self.home.join("owners")
    }

    /// Adds an address of an owner; `table` is another one afterwards when the first was full.
    pub fn add(&self, table: &mut Table, owner: &Owner, address: IpAddr) -> io::Result<()> {
        let entry = Entry { key: Key::of(owner), address };
        if !table.insert(entry)? {
            let mut entries = table.entries()?;
            entries.push(entry);
            *table = self.replace(&entries)?;
        }
        Ok(())
    }

    /// A table that says what the reservations say, in the place of whatever was there.
    pub fn rebuild(&self, reservations: &[Reservation]) -> io::Result<Table> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.home)?;
        let entries = reservations.iter().filter_map(|reservation| {
            let key = Key::of(reservation.holder.owner()?);
            Some(Entry { key, address: reservation.address })
        });
        self.replace(&entries.collect::<Vec<_>>())
    }

    /// Written whole under another name first: no kill leaves half a table.
    fn replace(&self, entries: &[Entry]) -> io::Result<Table> {
        let (owners, draft) = (self.owners(), self.home.join("owners.new"));
        fs::remove_file(&draft).or_else(absent_is_fine)?;
        let table = Table::create(&draft, entries)?;
        match fs::rename(&draft, &owners) {
            // Development builds had a directory here.
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
                fs::remove_dir_all(&owners)?;
                fs::rename(&draft, &owners)?;
            }
            renamed => renamed?,
        }
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::Holder;
    use std::time::SystemTime;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn of(table: &Table, owner: &Owner) -> Vec<IpAddr> {
        let key = Key::of(owner);
        let entries = table.of_container(key).unwrap();
        entries.iter().filter(|entry| entry.key == key).map(|entry| entry.address).collect()
    }

    #[test]
    fn a_table_that_is_full_makes_way_for_a_larger_one_with_the_same_entries() {
        let dir = tempfile::tempdir().unwrap();
        let index = Index::new(dir.path(), "net");
        let mut table = index.rebuild(&[]).unwrap();
        let before = fs::metadata(index.owners()).unwrap().len();
        let owners: Vec<Owner> = (0..2000).map(|at| Owner::new(&format!("c{at}"), "eth0")).collect();
        let address = |at: u32| IpAddr::from((0x0a00_0000 + at).to_be_bytes());
        for (owner, at) in owners.iter().zip(0..) {
            index.add(&mut table, owner, address(at)).unwrap();
        }
        assert!(fs::metadata(index.owners()).unwrap().len() > before);
        let table = Table::open(&index.owners()).unwrap();
        for (owner, at) in owners.iter().zip(0..) {
            assert_eq!(of(&table, owner), [address(at)]);
        }
        assert_eq!(fs::read_dir(index.home()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn a_rebuild_leaves_what_the_reservations_say_whatever_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let index = Index::new(dir.path(), "net");
        let owner = |id: &str| Owner::new(id, "eth0");
        let held = [("10.0.0.2", Some("same")), ("fd00::4", Some("new")), ("10.0.0.5", None)];
        let since = SystemTime::UNIX_EPOCH;
        let found = held.map(|(address, id)| {
            let holder = id.map_or(Holder::Nobody, |id| Holder::Owner(owner(id)));
            Reservation { address: ip(address), holder, since }
        });
        for before in ["nothing", "a directory", "a torn table", "a draft", "a table"] {
            match before {
                "a directory" => {
                    fs::remove_file(index.owners()).unwrap();
                    fs::create_dir_all(index.owners().join("same:eth0")).unwrap();
                }
                "a torn table" => fs::write(index.owners(), "ironid").unwrap(),
                "a draft" => fs::write(index.home().join("owners.new"), "ironid").unwrap(),
                "a table" => {
                    let mut table = Table::open(&index.owners()).unwrap();
                    index.add(&mut table, &owner("gone"), ip("10.0.0.9")).unwrap();
                }
                _ => {}
            }
            index.rebuild(&found).unwrap();
            let table = Table::open(&index.owners()).unwrap();
            assert!(table.is_whole(), "over {before}");
            assert_eq!(of(&table, &owner("same")), [ip("10.0.0.2")], "over {before}");
            assert_eq!(of(&table, &owner("new")), [ip("fd00::4")], "over {before}");
            assert_eq!(table.entries().unwrap().len(), 2, "over {before}");
        }
    }
}
