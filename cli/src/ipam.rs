//! `ironbridge ipam show`: who has which address on this node.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use host_local::{Holder, Reservation, reservations};

use crate::table::{self, age};

/// What the IPAM plugins have on disk.
#[derive(Debug, clap::Subcommand)]
pub enum Ipam {
    /// Who has which address
    Show {
        /// One network; all of them without it
        network: Option<String>,
        /// Where host-local keeps its reservations (its `dataDir`)
        #[arg(long, default_value = "/var/lib/cni/networks")]
        data_dir: PathBuf,
    },
}

/// Why nothing can be shown.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory of networks.
    #[error("cannot read {}: {source}", .path.display())]
    Directory {
        /// As given.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The network has no folder.
    #[error("no network {network:?} in {}: it has never had an address here", .path.display())]
    NoNetwork {
        /// As given.
        network: String,
        /// The directory of networks.
        path: PathBuf,
    },
    /// One network.
    #[error(transparent)]
    Network(#[from] host_local::Error),
}

impl Ipam {
    /// The text to print.
    pub fn run(&self) -> Result<String, Error> {
        let Self::Show { network, data_dir } = self;
        let all = networks(data_dir)?;
        let chosen: Vec<&String> = match network {
            Some(name) if !all.contains(name) => {
                return Err(Error::NoNetwork { network: name.clone(), path: data_dir.clone() });
            }
            Some(name) => vec![name],
            None => all.iter().collect(),
        };
        let mut lines = vec![["NETWORK", "ADDRESS", "CONTAINER", "INTERFACE", "AGE"].map(str::to_owned)];
        for name in chosen {
            lines.extend(reservations(data_dir, name)?.iter().map(|held| line(name, held)));
        }
        Ok(table::aligned(&lines))
    }
}

/// Folders whose names are those of networks; host-local keeps an index and the like beside them under names that are none.
pub fn networks(data_dir: &Path) -> Result<Vec<String>, Error> {
    let failed = |source| Error::Directory { path: data_dir.to_owned(), source };
    let entries = match fs::read_dir(data_dir) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(failed)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let name = entry
            .file_name()
            .into_string()
            .ok()
            .filter(|n| n.starts_with(|c: char| c.is_ascii_alphanumeric()));
        names.extend(name.filter(|_| entry.path().is_dir()));
    }
    names.sort();
    Ok(names)
}

fn line(network: &str, held: &Reservation) -> [String; 5] {
    let (container, ifname) = match &held.holder {
        Holder::Owner(owner) => {
            (owner.container_id.clone(), owner.ifname.clone().unwrap_or_else(|| "any".to_owned()))
        }
        none @ (Holder::Nobody | Holder::Unreadable) => (none.to_string(), String::new()),
    };
    let age = SystemTime::now().duration_since(held.since).map(age).unwrap_or_default();
    [network.to_owned(), held.address.to_string(), container, ifname, age]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(data_dir: &Path, network: Option<&str>) -> Result<String, Error> {
        Ipam::Show { network: network.map(str::to_owned), data_dir: data_dir.to_owned() }.run()
    }

    #[test]
    fn the_references_own_files_are_shown() {
        let dir = tempfile::tempdir().unwrap();
        let network = dir.path().join("cbr0");
        fs::create_dir(&network).unwrap();
        fs::write(network.join("10.1.0.5"), "c1\r\neth0").unwrap();
        fs::write(network.join("last_reserved_ip.0"), "10.1.0.5").unwrap();
        fs::write(network.join("lock"), "").unwrap();
        let text = show(dir.path(), None).unwrap();
        assert_eq!(
            text,
            "NETWORK  ADDRESS   CONTAINER  INTERFACE  AGE\ncbr0     10.1.0.5  c1         eth0       0 s\n"
        );
        assert_eq!(show(dir.path(), Some("cbr0")).unwrap(), text);
    }

    #[test]
    fn a_network_that_is_not_there_is_named_and_an_empty_node_is_no_error() {
        let dir = tempfile::tempdir().unwrap();
        assert!(show(dir.path(), Some("cbr9")).unwrap_err().to_string().contains("\"cbr9\""));
        assert_eq!(show(&dir.path().join("none"), None).unwrap().lines().count(), 1);
    }
}
