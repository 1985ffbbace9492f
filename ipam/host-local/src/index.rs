//! From an owner to its addresses without reading every reservation: one symbolic link an owner.
//!
//! It stands beside the network folders (`<dataDir>/.ironbridge/<network>/`), never inside one: the reference reads every file
//! in there. `owners/<container id>:<ifname>` points to `10.1.0.5,fd00::5`: made, read and removed by one system call each.
//! What an entry says is always verified with the address files; that an entry is absent is believed only under
//! an unbroken seal.
use crate::owner::Owner;
use crate::scan::Reservation;
use crate::seal::absent_is_fine;
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, symlink};
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

    /// The directory of entries, which is sealed.
    #[must_use]
    pub fn owners(&self) -> PathBuf {
        self.home.join("owners")
    }

    /// The addresses that an owner's entry names; none when it has no entry.
    pub fn lookup(&self, owner: &Owner) -> io::Result<Vec<IpAddr>> {
        match fs::read_link(self.entry(owner)) {
            Ok(target) => Ok(addresses(&target)),
            Err(error) => absent_is_fine(error).map(|()| Vec::new()),
        }
    }

    /// Adds an address to an owner's entry.
    pub fn add(&self, owner: &Owner, address: IpAddr) -> io::Result<()> {
        let entry = self.entry(owner);
        match symlink(address.to_string(), &entry) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made,
        }
        let mut known = addresses(&fs::read_link(&entry)?);
        known.retain(|other| *other != address);
        known.push(address);
        fs::remove_file(&entry)?;
        symlink(target(&known), &entry)
    }

    /// Takes addresses out of an owner's entry, which goes with its last.
    pub fn subtract(&self, owner: &Owner, addresses: &[IpAddr]) -> io::Result<()> {
        let mut known = self.lookup(owner)?;
        known.retain(|address| !addresses.contains(address));
        self.forget(owner)?;
        if known.is_empty() { Ok(()) } else { symlink(target(&known), self.entry(owner)) }
    }

    /// Removes an owner's entry, and says whether there was one.
    pub fn forget(&self, owner: &Owner) -> io::Result<bool> {
        match fs::remove_file(self.entry(owner)) {
            Ok(()) => Ok(true),
            Err(error) => absent_is_fine(error).map(|()| false),
        }
    }

    /// Makes the entries say what the reservations say, and nothing else.
    pub fn rebuild(&self, reservations: &[Reservation]) -> io::Result<()> {
        let owners = self.owners();
        DirBuilder::new().recursive(true).mode(0o700).create(&owners)?;
        let mut wanted: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
        for reservation in reservations {
            if let Some(owner) = reservation.holder.owner() {
                wanted.entry(owner.entry_name()).or_default().push(reservation.address);
            }
        }
        for entry in fs::read_dir(&owners)? {
            let entry = entry?;
            let name = entry.file_name();
            let is_right = |addresses: &Vec<IpAddr>| {
                fs::read_link(entry.path()).is_ok_and(|there| there.as_os_str() == target(addresses).as_str())
            };
            match name.to_str() {
                Some(name) if wanted.get(name).is_some_and(is_right) => drop(wanted.remove(name)),
                _ => remove(&entry)?,
            }
        }
        wanted.iter().try_for_each(|(name, addresses)| symlink(target(addresses), owners.join(name)))
    }

    fn entry(&self, owner: &Owner) -> PathBuf {
        self.owners().join(owner.entry_name())
    }
}

/// Removes what is not an entry, whatever it is.
fn remove(entry: &fs::DirEntry) -> io::Result<()> {
    if entry.file_type()?.is_dir() { fs::remove_dir_all(entry.path()) } else { fs::remove_file(entry.path()) }
}

fn target(addresses: &[IpAddr]) -> String {
    addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(",")
}

fn addresses(target: &Path) -> Vec<IpAddr> {
    target.to_string_lossy().split(',').filter_map(|address| address.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::Holder;
    use std::time::SystemTime;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn reservation(address: &str, holder: Holder) -> Reservation {
        Reservation { address: ip(address), holder, since: SystemTime::UNIX_EPOCH }
    }

    #[test]
    fn an_owner_is_found_by_its_entry_until_it_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let index = Index::new(dir.path(), "net");
        index.rebuild(&[]).unwrap();
        let (owner, other) = (Owner::new("abc", "eth0"), Owner::new("abc", "eth1"));
        assert_eq!(index.lookup(&owner).unwrap(), Vec::<IpAddr>::new());
        for address in ["10.0.0.2", "fd00::2", "10.0.0.2"] {
            index.add(&owner, ip(address)).unwrap();
        }
        index.add(&other, ip("10.0.0.3")).unwrap();
        assert_eq!(index.lookup(&owner).unwrap(), [ip("fd00::2"), ip("10.0.0.2")]);
        index.subtract(&owner, &[ip("fd00::2")]).unwrap();
        assert_eq!(index.lookup(&owner).unwrap(), [ip("10.0.0.2")]);
        assert!(index.forget(&owner).unwrap());
        assert!(!index.forget(&owner).unwrap());
        assert_eq!(index.lookup(&owner).unwrap(), Vec::<IpAddr>::new());
        assert_eq!(index.lookup(&other).unwrap(), [ip("10.0.0.3")]);
    }

    #[test]
    fn a_rebuild_leaves_what_the_reservations_say_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let index = Index::new(dir.path(), "net");
        index.rebuild(&[]).unwrap();
        let owner = |id: &str| Owner::new(id, "eth0");
        for (id, address) in [("gone", "10.0.0.9"), ("moved", "10.0.0.8"), ("same", "10.0.0.2")] {
            index.add(&owner(id), ip(address)).unwrap();
        }
        fs::write(index.owners().join("junk"), "").unwrap();
        fs::create_dir(index.owners().join("new:eth0")).unwrap();
        let held = [("10.0.0.2", "same"), ("10.0.0.3", "moved"), ("10.0.0.4", "new"), ("fd00::4", "new")];
        let mut found: Vec<Reservation> =
            held.map(|(address, id)| reservation(address, Holder::Owner(owner(id)))).to_vec();
        found.push(reservation("10.0.0.5", Holder::Nobody));
        index.rebuild(&found).unwrap();
        assert_eq!(index.lookup(&owner("gone")).unwrap(), Vec::<IpAddr>::new());
        assert_eq!(index.lookup(&owner("same")).unwrap(), [ip("10.0.0.2")]);
        assert_eq!(index.lookup(&owner("moved")).unwrap(), [ip("10.0.0.3")]);
        assert_eq!(index.lookup(&owner("new")).unwrap(), [ip("10.0.0.4"), ip("fd00::4")]);
        assert_eq!(fs::read_dir(index.owners()).unwrap().count(), 3);
    }
}
