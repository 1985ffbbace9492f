//! What an interface and its sandbox were before ADD, kept in a file until DEL.
//!
//! The file is the reference's: `<dataDir>/<containerID>_<ifname>.json`, with the values of what was changed. It has two
//! further keys, which the reference passes over: the parameters, and the network (GC must know whose it is).

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use attach::Error;
use attach::identity::Mark;
use cni::Attachment;
use kernel::Link;
use serde::{Deserialize, Serialize};

use crate::Cause;
use crate::conf::Wanted;

/// How the name of a file ends that is being written.
const UNFINISHED: &str = "new";

/// Earlier values; what was not changed is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Backup {
    /// MAC address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mac: String,
    /// Received all frames.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub promisc: Option<bool>,
    /// MTU in bytes.
    #[serde(skip_serializing_if = "is_zero")]
    pub mtu: u32,
    /// Received all multicast frames.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allmulti: Option<bool>,
    /// Length of the transmit queue in packets.
    #[serde(rename = "txQLen", skip_serializing_if = "Option::is_none")]
    pub txqlen: Option<u32>,
    /// Parameters by their path below `/proc/sys`, in the order in which they were changed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sysctl: Vec<(String, String)>,
    /// Name of the network.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub network: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(mtu: &u32) -> bool {
    *mtu == 0
}

impl Backup {
    /// What `link` is, of what is to be changed.
    #[must_use]
    pub fn of(link: &Link, wanted: &Wanted) -> Self {
        let mac = wanted.mac.and(link.mac).map(|mac| mac.to_string());
        Self {
            mac: mac.unwrap_or_default(),
            promisc: wanted.promiscuous.map(|_| link.promiscuous),
            mtu: wanted.mtu.map_or(0, |_| link.mtu),
            allmulti: wanted.all_multicast.map(|_| link.all_multicast),
            txqlen: wanted.txqlen.map(|_| link.txqlen),
            ..Self::default()
        }
    }

    /// What an interface must be set to, to be as it was.
    #[must_use]
    pub fn wanted(&self) -> Wanted {
        Wanted {
            mac: self.mac.parse().ok(),
            promiscuous: self.promisc,
            mtu: (self.mtu != 0).then_some(self.mtu),
            all_multicast: self.allmulti,
            txqlen: self.txqlen,
        }
    }

    /// The values of an earlier ADD of the attachment stay: what this one found may be what that one made.
    #[must_use]
    pub fn under(self, earlier: Self) -> Self {
        let mut sysctl = earlier.sysctl;
        sysctl.extend(
            self.sysctl
                .into_iter()
                .filter(|(path, _)| !sysctl.iter().any(|(known, _)| known == path))
                .collect::<Vec<_>>(),
        );
        Self {
            mac: if earlier.mac.is_empty() { self.mac } else { earlier.mac },
            promisc: earlier.promisc.or(self.promisc),
            mtu: if earlier.mtu == 0 { self.mtu } else { earlier.mtu },
            allmulti: earlier.allmulti.or(self.allmulti),
            txqlen: earlier.txqlen.or(self.txqlen),
            sysctl,
            network: self.network,
        }
    }
}

/// The file of an attachment.
#[derive(Clone, Debug)]
pub struct Store {
    path: PathBuf,
    /// What is written, before it takes the file's place. GC knows by the name alone whose it is: a kill may leave it empty.
    temporary: PathBuf,
}

impl Store {
    /// Nothing is touched before the first save.
    #[must_use]
    pub fn of(directory: &Path, attachment: &Attachment) -> Self {
        let temporary = format!("{}.{UNFINISHED}", Mark::key(attachment));
        Self { path: directory.join(file_name(attachment)), temporary: directory.join(temporary) }
    }

    /// What was kept. A file that cannot be understood holds nothing: the reference writes in place, and a kill cuts it.
    pub fn load(&self) -> Result<Option<Backup>, Error> {
        read(&self.path)
    }

    /// Writes the whole file or none.
    pub fn save(&self, backup: &Backup) -> Result<(), Error> {
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        let written = fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).and_then(|()| {
            let text = text(backup)?;
            let mut options = File::options();
            options
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&self.temporary)?
                .write_all(&text)?;
            fs::rename(&self.temporary, &self.path)
        });
        written.map_err(|source| failed("writing", &self.path, source))
    }

    /// Removes the file, and what a kill has left of it. That there is none is fine.
    pub fn remove(&self) -> Result<(), Error> {
        remove(&self.temporary).and_then(|()| remove(&self.path))
    }
}

fn read(path: &Path) -> Result<Option<Backup>, Error> {
    match fs::read(path) {
        Ok(text) => Ok(serde_json::from_slice(&text).ok()),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(failed("reading", path, source)),
    }
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(failed("removing", path, e)),
        _ => Ok(()),
    }
}

fn failed(doing: &'static str, path: &Path, source: std::io::Error) -> Error {
    Cause::File { doing, path: path.to_owned(), source }.into()
}

/// The text as the reference has it: one space a level, no line end.
fn text(backup: &Backup) -> serde_json::Result<Vec<u8>> {
    let mut text = Vec::new();
    let indented = serde_json::ser::PrettyFormatter::with_indent(b" ");
    backup.serialize(&mut serde_json::Serializer::with_formatter(&mut text, indented))?;
    Ok(text)
}

fn file_name(attachment: &Attachment) -> String {
    format!("{}_{}.json", attachment.container_id, attachment.ifname)
}

/// Removes the backups of a network's attachments that are not in `valid`. Those of the reference, which do not say their
/// network, stay. Each failure is kept, none stops the rest.
pub fn collect(directory: &Path, network: &str, valid: &[Attachment]) -> Result<(), Error> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(failed("listing", directory, source)),
    };
    let kept: Vec<String> = valid.iter().map(file_name).collect();
    let removed = entries.flatten().map(|entry| {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        let is_stale = match path.extension().and_then(OsStr::to_str) {
            Some(UNFINISHED) => Mark::is_stale(&name, network, valid),
            Some("json") if !kept.contains(&name) => {
                read(&path)?.is_some_and(|backup| backup.network == network)
            }
            _ => false,
        };
        if is_stale { remove(&path) } else { Ok(()) }
    });
    Error::join(removed.filter_map(Result::err).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attachment(container: &str) -> Attachment {
        Attachment { network: "n".into(), container_id: container.into(), ifname: "eth0".into() }
    }

    #[test]
    fn swap_the_file_is_the_references() {
        let backup =
            Backup { mac: "02:00:00:00:00:01".into(), mtu: 1500, txqlen: Some(0), ..Backup::default() };
        let expected = "{\n \"mac\": \"02:00:00:00:00:01\",\n \"mtu\": 1500,\n \"txQLen\": 0\n}";
        assert_eq!(String::from_utf8(text(&backup).unwrap()).unwrap(), expected);
        assert_eq!(serde_json::from_str::<Backup>(expected).unwrap(), backup);
        assert_eq!(file_name(&attachment("c1")), "c1_eth0.json");
    }

    #[test]
    fn weakness_50_the_first_values_survive_a_second_add() {
        let pair = |path: &str, value: &str| (path.to_owned(), value.to_owned());
        let first = Backup { mtu: 1500, sysctl: vec![pair("net/a", "0")], ..Backup::default() };
        let second = Backup {
            mtu: 1300,
            allmulti: Some(false),
            sysctl: vec![pair("net/a", "1"), pair("net/b", "2")],
            ..Backup::default()
        };
        let kept = second.under(first);
        assert_eq!((kept.mtu, kept.allmulti), (1500, Some(false)));
        assert_eq!(kept.sysctl, [pair("net/a", "0"), pair("net/b", "2")]);
    }

    #[test]
    fn a_torn_file_holds_nothing_and_can_be_removed() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::of(&dir.path().join("deep"), &attachment("c"));
        store.save(&Backup { mtu: 9000, ..Backup::default() }).unwrap();
        assert_eq!(store.load().unwrap().unwrap().mtu, 9000);
        fs::write(&store.path, "{\n \"ma").unwrap();
        assert_eq!(store.load().unwrap(), None);
        store.remove().unwrap();
        store.remove().unwrap();
        assert_eq!(store.load().unwrap(), None);
    }

    #[test]
    fn gc_keeps_the_valid_the_foreign_and_what_says_nothing() {
        let dir = tempfile::tempdir().unwrap();
        for (container, network) in [("kept", "n"), ("stale", "n"), ("foreign", "other"), ("theirs", "")] {
            let backup = Backup { network: network.into(), ..Backup::default() };
            Store::of(dir.path(), &attachment(container)).save(&backup).unwrap();
        }
        collect(dir.path(), "n", &[attachment("kept")]).unwrap();
        let left = |container: &str| Store::of(dir.path(), &attachment(container)).path.exists();
        assert_eq!(["kept", "stale", "foreign", "theirs"].map(left), [true, false, true, true]);
        collect(&dir.path().join("none"), "n", &[]).unwrap();
    }

    #[test]
    fn what_a_kill_left_of_a_file_goes_with_del_and_with_gc() {
        let dir = tempfile::tempdir().unwrap();
        let foreign = Attachment { network: "other".into(), ..attachment("c") };
        let [own, other] = [attachment("c"), foreign].map(|owner| Store::of(dir.path(), &owner));
        let begun = |store: &Store| fs::write(&store.temporary, "").unwrap();
        begun(&own);
        begun(&other);
        own.remove().unwrap();
        assert!(!own.temporary.exists() && other.temporary.exists());
        begun(&own);
        collect(dir.path(), "n", &[attachment("c")]).unwrap();
        assert!(own.temporary.exists(), "of a valid attachment");
        collect(dir.path(), "n", &[]).unwrap();
        assert!(!own.temporary.exists() && other.temporary.exists());
    }
}
