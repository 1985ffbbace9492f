//! Reading a network's folder as a whole: what is reserved, for whom, and what is none of it.
use crate::error::Error;
use crate::owner::Owner;
use std::fs::{self, File};
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::Path;
use std::time::SystemTime;

/// One address file of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// The address, which is the file's name.
    pub address: IpAddr,
    /// Who has it.
    pub holder: Holder,
    /// When it was reserved, by the wall clock of that time.
    pub since: SystemTime,
}

/// What an address file says.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Holder {
    /// An attachment.
    Owner(Owner),
    /// Nobody: the file is blank. The reference makes its files in two steps and was killed between them.
    Nobody,
    /// Not to be found out: the file cannot be read. Its address counts as taken.
    Unreadable,
}

impl Holder {
    /// The attachment, if it is one.
    #[must_use]
    pub fn owner(&self) -> Option<&Owner> {
        match self {
            Self::Owner(owner) => Some(owner),
            Self::Nobody | Self::Unreadable => None,
        }
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Owner(owner) => owner.fmt(to),
            Self::Nobody => to.write_str("nobody (its file is blank)"),
            Self::Unreadable => to.write_str("somebody (its file cannot be read)"),
        }
    }
}

/// All reservations of a network, in the order of their addresses; none when it has no folder.
///
/// For reading: no lock is taken, so that a reservation that comes or goes meanwhile is seen or not.
pub fn reservations(data_dir: &Path, network: &str) -> Result<Vec<Reservation>, Error> {
    let folder = data_dir.join(network);
    match scan(&folder) {
        Ok(found) => Ok(found),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Error::io("read directory", folder)(error)),
    }
}

/// Reads every address file of `folder`. One that goes meanwhile is left out.
pub fn scan(folder: &Path) -> io::Result<Vec<Reservation>> {
    let mut found = Vec::new();
    for address in addresses(folder)? {
        match read(&folder.join(address.to_string())) {
            Ok((holder, since)) => found.push(Reservation { address, holder, since }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(_) => {
                found.push(Reservation {
                    address,
                    holder: Holder::Unreadable,
                    since: SystemTime::UNIX_EPOCH,
                });
            }
        }
    }
    found.sort_by_key(|reservation| reservation.address);
    Ok(found)
}

/// The addresses that have a file in `folder`, by its listing alone.
///
/// Only a name that is exactly an address' own text is one: it is how both programs would write and look for it.
pub fn addresses(folder: &Path) -> io::Result<Vec<IpAddr>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let Some(name) = name.to_str() else { continue };
        found.extend(name.parse::<IpAddr>().ok().filter(|address| address.to_string() == name));
    }
    Ok(found)
}

/// Who has the address of the file at `path`; `None` when there is no such file.
pub fn holder(path: &Path) -> io::Result<Option<Holder>> {
    match File::open(path).and_then(|mut file| content(&mut file)) {
        Ok(holder) => Ok(Some(holder)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn read(path: &Path) -> io::Result<(Holder, SystemTime)> {
    let mut file = File::open(path)?;
    Ok((content(&mut file)?, file.metadata()?.modified()?))
}

/// Reads a file that is nearly always short by one system call.
fn content(file: &mut File) -> io::Result<Holder> {
    let mut start = [0; 1024];
    let length = file.read(&mut start)?;
    let mut bytes = start.get(..length).unwrap_or_default().to_vec();
    if length == start.len() {
        file.read_to_end(&mut bytes)?;
    }
    Ok(Owner::parse(&String::from_utf8_lossy(&bytes)).map_or(Holder::Nobody, Holder::Owner))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_file_is_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, content: &str| fs::write(dir.path().join("net").join(name), content).unwrap();
        fs::create_dir(dir.path().join("net")).unwrap();
        put("10.0.0.10", "abc\r\neth0");
        put("10.0.0.9", "old");
        put("fd00::2", "");
        put("fd00:0::3", "not the text of an address that anybody would look for");
        put("last_reserved_ip.0", "10.0.0.10");
        put("lock", "");
        fs::create_dir(dir.path().join("net/10.0.0.11")).unwrap();
        let long = "x".repeat(3000);
        put("10.0.0.12", &format!("{long}\r\neth0"));
        let found = reservations(dir.path(), "net").unwrap();
        let holders: Vec<(String, Holder)> =
            found.into_iter().map(|one| (one.address.to_string(), one.holder)).collect();
        let owner = |id: &str| Holder::Owner(Owner::new(id, "eth0"));
        let expected = [
            ("10.0.0.9", Holder::Owner(Owner { container_id: "old".into(), ifname: None })),
            ("10.0.0.10", owner("abc")),
            ("10.0.0.11", Holder::Unreadable),
            ("10.0.0.12", owner(&long)),
            ("fd00::2", Holder::Nobody),
        ];
        assert_eq!(holders, expected.map(|(address, holder)| (address.to_owned(), holder)));
    }

    #[test]
    fn a_network_without_a_folder_has_no_reservations() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(reservations(dir.path(), "net").unwrap(), []);
    }
}
