//! What an interface and its sandbox were before ADD, kept in a file until DEL.
//!
//! The file is the reference's: `<dataDir>/<containerID>_<ifname>.json`, with the values of what was changed. It has two
//! further keys, which the reference passes over: the parameters, and the network (GC must know whose it is).

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use cni::Attachment;
use kernel::Link;
use serde::{Deserialize, Serialize};

use crate::Cause;
use crate::conf::Wanted;
use attach::Error;

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
}

impl Store {
    /// Nothing is touched before the first save.
    #[must_use]
    pub fn of(directory: &Path, attachment: &Attachment) -> Self {
        Self { path: directory.join(file_name(attachment)) }
    }

    /// What was kept. A file that cannot be understood holds nothing: the reference writes in place, and a kill cuts it.
    pub fn load(&self) -> Result<Option<Backup>, Error> {
        match fs::read(&self.path) {
            Ok(text) => Ok(serde_json::from_slice(&text).ok()),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(self.error("reading", source)),
        }
    }

    /// Writes the whole file or none.
    pub fn save(&self, backup: &Backup) -> Result<(), Error> {
        let temporary = self.path.with_extension("json.new");
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        let written = fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).and_then(|()| {
            let text = text(backup)?;
            let mut options = File::options();
            options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?.write_all(&text)?;
            fs::rename(&temporary, &self.path)
        });
        written.map_err(|source| self.error("writing", source))
    }

    /// Removes the file. That there is none is fine.
    pub fn remove(&self) -> Result<(), Error> {
        match fs::remove_file(&self.path) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(self.error("removing", e)),
            _ => Ok(()),
        }
    }

    fn error(&self, doing: &'static str, source: std::io::Error) -> Error {
        Cause::File { doing, path: self.path.clone(), source }.into()
    }
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
/// network, stay.
pub fn collect(directory: &Path, network: &str, valid: &[Attachment]) -> Result<(), Error> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        Err(source) => {
            return Err(Cause::File { doing: "listing", path: directory.to_owned(), source }.into());
        }
    };
    let kept: Vec<String> = valid.iter().map(file_name).collect();
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let store = Store { path: entry.path() };
        if store.path.extension().is_some_and(|extension| extension == "json")
            && !kept.contains(&name)
            && store.load()?.is_some_and(|backup| backup.network == network)
        {
            store.remove()?;
        }
    }
    Ok(())
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
}
