//! `ironbridge ipam show`: who has which address on this node.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use host_local::{Holder, Reservation, reservations};

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
        Ok(aligned(&lines))
    }
}

/// Folders whose names are those of networks; host-local keeps an index and the like beside them under names that are none.
fn networks(data_dir: &Path) -> Result<Vec<String>, Error> {
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

fn age(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86400),
    }
}

fn aligned(lines: &[[String; 5]]) -> String {
    let width =
        |column: usize| lines.iter().filter_map(|l| l.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..5).map(|column| width(column).unwrap_or(0)).collect();
    let row = |line: &[String; 5]| {
        let cells: Vec<String> = line.iter().zip(&widths).map(|(cell, w)| format!("{cell:<w$}")).collect();
        cells.join("  ").trim_end().to_owned() + "\n"
    };
    lines.iter().map(row).collect()
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

    #[test]
    fn ages_are_short() {
        let at = |seconds| age(Duration::from_secs(seconds));
        assert_eq!([at(59), at(60), at(7200), at(86400 * 3)], ["59 s", "1 min", "2 h", "3 d"]);
    }
}
