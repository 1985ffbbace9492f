//! The delegates' configurations as ADD used them, kept until their DEL succeeded.
//!
//! The Go plugin keeps one file a container, `<dataDir>/<containerID>`. An attachment named `eth0`, which is what runtimes
//! call the first, has that name here too, so that a node can change over in both directions; any other has
//! `<dataDir>/<containerID>:<ifname>`. Container IDs hold no colon. Our files end in a newline, the Go plugin's do not:
//! that is how a file that says nothing of its interface is known to be somebody else's.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use cni::Attachment;

use crate::Error;
use crate::delegate::Delegation;

/// The interface name whose files are named as the Go plugin's.
pub const FIRST: &str = "eth0";

/// The directory of saved configurations.
#[derive(Debug, Clone, Copy)]
pub struct Store<'a> {
    directory: &'a Path,
}

/// One file of the directory.
#[derive(Debug, Clone, PartialEq)]
pub struct Saved {
    path: PathBuf,
    /// Who it belongs to, as far as file name and content tell.
    pub attachment: Attachment,
    /// Who wrote it.
    pub writer: Writer,
    /// Its content; `None` where it is torn (the Go plugin writes in place) or no configuration.
    pub delegation: Option<Delegation>,
}

/// Who wrote a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// This plugin.
    Us,
    /// flannel's own.
    TheGoPlugin,
}

impl<'a> Store<'a> {
    /// Nothing is touched before the first save.
    #[must_use]
    pub fn new(directory: &'a Path) -> Self {
        Self { directory }
    }

    /// Writes a whole file or none. No fsync: no sandbox outlives the reboot that could lose it.
    pub fn save(&self, attachment: &Attachment, delegation: &Delegation) -> Result<Saved, Error> {
        let path = self.path(attachment);
        let temporary = self.temporary(attachment);
        let text = delegation.text() + "\n";
        let written = match write_new(&temporary, &text) {
            Err(e) if e.kind() == ErrorKind::NotFound => fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(self.directory)
                .and_then(|()| write_new(&temporary, &text)),
            other => other,
        };
        written.and_then(|()| fs::rename(&temporary, &path)).map_err(|source| Error::State {
            doing: "write",
            path: path.clone(),
            source,
        })?;
        Ok(Saved {
            path,
            attachment: attachment.clone(),
            writer: Writer::Us,
            delegation: Some(delegation.clone()),
        })
    }

    /// The file of an attachment, under either naming.
    pub fn find(&self, attachment: &Attachment) -> Result<Option<Saved>, Error> {
        if let Some(saved) = read(self.path(attachment), attachment)? {
            return Ok(Some(saved).filter(|s| s.writer == Writer::Us || s.may_be_of(attachment)));
        }
        if attachment.ifname == FIRST {
            return Ok(None);
        }
        let shared = read(self.directory.join(&attachment.container_id), attachment)?;
        Ok(shared.filter(|s| s.writer == Writer::TheGoPlugin && s.may_be_of(attachment)))
    }

    /// Removes the half-written file that a killed ADD may have left.
    pub fn sweep(&self, attachment: &Attachment) -> Result<(), Error> {
        remove(&self.temporary(attachment))
    }

    /// Every file of one network. A file that does not say which network it is of is nobody's, and left out.
    pub fn of_network(&self, network: &str) -> Result<Vec<Saved>, Error> {
        let failed = |source| Error::State { doing: "read", path: self.directory.to_owned(), source };
        let entries = match fs::read_dir(self.directory) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(failed)?,
        };
        let mut all = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed)?.file_name();
            let Some((container_id, ifname)) = name.to_str().and_then(parts) else { continue };
            let attachment = Attachment { network: network.to_owned(), container_id, ifname };
            let found = read(self.directory.join(&name), &attachment)?;
            all.extend(found.filter(|s| s.delegation.is_some() && s.may_be_of(&attachment)));
        }
        all.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(all)
    }

    /// Where the file of an attachment is.
    pub fn path(&self, attachment: &Attachment) -> PathBuf {
        self.directory.join(name(attachment))
    }

    /// One name an attachment, so that a second try overwrites what a killed one left.
    fn temporary(&self, attachment: &Attachment) -> PathBuf {
        self.directory.join(format!(".{}.new", name(attachment)))
    }
}

impl Saved {
    /// Removes the file, once its delegate is done with it.
    pub fn forget(&self) -> Result<(), Error> {
        remove(&self.path)
    }

    /// A torn file may be anybody's.
    fn may_be_of(&self, attachment: &Attachment) -> bool {
        self.delegation.as_ref().is_none_or(|d| d.network() == attachment.network)
    }
}

fn name(attachment: &Attachment) -> String {
    match attachment.ifname.as_str() {
        FIRST => attachment.container_id.clone(),
        other => format!("{}:{other}", attachment.container_id),
    }
}

/// Container and interface of a file name; temporary files have neither.
fn parts(name: &str) -> Option<(String, String)> {
    let (container, ifname) = name.split_once(':').unwrap_or((name, FIRST));
    (!name.starts_with('.')).then(|| (container.to_owned(), ifname.to_owned()))
}

fn write_new(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

fn read(path: PathBuf, attachment: &Attachment) -> Result<Option<Saved>, Error> {
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(e) if cannot_exist(&e) => return Ok(None),
        Err(source) => return Err(Error::State { doing: "read", path, source }),
    };
    let writer = if bytes.ends_with(b"\n") { Writer::Us } else { Writer::TheGoPlugin };
    let delegation = serde_json::from_slice(&bytes).ok().and_then(Delegation::from_saved);
    Ok(Some(Saved { path, attachment: attachment.clone(), writer, delegation }))
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(source) if !cannot_exist(&source) => {
            Err(Error::State { doing: "remove", path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// A name too long for the file system (a container ID has no limit of its own) is as good as one that is not there.
fn cannot_exist(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidFilename)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attachment(ifname: &str) -> Attachment {
        Attachment { network: "net".into(), container_id: "c1".into(), ifname: ifname.into() }
    }

    fn delegation(network: &str, mtu: u32) -> Delegation {
        let config = serde_json::json!({"name": network, "type": "bridge", "mtu": mtu});
        Delegation::from_saved(config.as_object().unwrap().clone()).unwrap()
    }

    fn names(directory: &Path) -> Vec<String> {
        let mut all: Vec<String> =
            fs::read_dir(directory).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        all.sort();
        all
    }

    #[test]
    fn weakness_37_two_attachments_of_one_container_have_a_file_each() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        store.save(&attachment("eth0"), &delegation("net", 1)).unwrap();
        store.save(&attachment("net1"), &delegation("net", 2)).unwrap();
        assert_eq!(names(dir.path()), ["c1", "c1:net1"]);
        for (ifname, mtu) in [("eth0", 1), ("net1", 2)] {
            let found = store.find(&attachment(ifname)).unwrap().unwrap();
            assert_eq!(found.delegation, Some(delegation("net", mtu)));
        }
        let net1 = store.find(&attachment("net1")).unwrap().unwrap();
        net1.forget().unwrap();
        net1.forget().unwrap();
        assert!(store.find(&attachment("net1")).unwrap().is_none(), "the file of eth0 is not that of net1");
        assert_eq!(names(dir.path()), ["c1"]);
    }

    #[test]
    fn the_go_plugins_file_is_found_by_any_interface_of_its_network() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        fs::write(dir.path().join("c1"), delegation("net", 3).text()).unwrap();
        for ifname in ["eth0", "net1"] {
            let found = store.find(&attachment(ifname)).unwrap().unwrap();
            assert_eq!(found.delegation, Some(delegation("net", 3)));
        }
        fs::write(dir.path().join("c1"), delegation("another", 3).text()).unwrap();
        for ifname in ["eth0", "net1"] {
            assert!(store.find(&attachment(ifname)).unwrap().is_none(), "{ifname}");
        }
    }

    #[test]
    fn a_torn_file_is_known_and_can_be_removed() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        fs::write(dir.path().join("c1"), r#"{"name":"net","ty"#).unwrap();
        let found = store.find(&attachment("eth0")).unwrap().unwrap();
        assert_eq!(found.delegation, None);
        found.forget().unwrap();
        assert!(names(dir.path()).is_empty());
    }

    #[test]
    fn a_killed_save_leaves_nothing_that_the_next_sweep_does_not_remove() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        fs::write(dir.path().join(".c1.new"), "{").unwrap();
        assert!(store.find(&attachment("eth0")).unwrap().is_none());
        assert!(store.of_network("net").unwrap().is_empty());
        store.sweep(&attachment("eth0")).unwrap();
        assert!(names(dir.path()).is_empty());
    }

    #[test]
    fn directory_and_files_are_for_root_alone() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let nested = dir.path().join("a/flannel");
        Store::new(&nested).save(&attachment("eth0"), &delegation("net", 1)).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&nested), mode(&nested.join("c1"))), (0o700, 0o600));
    }

    #[test]
    fn only_files_of_the_network_are_listed() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        store.save(&attachment("eth0"), &delegation("net", 1)).unwrap();
        store.save(&attachment("net1"), &delegation("net", 2)).unwrap();
        fs::write(dir.path().join("c2"), delegation("another", 3).text()).unwrap();
        fs::write(dir.path().join("c3"), "torn").unwrap();
        let listed: Vec<String> =
            store.of_network("net").unwrap().into_iter().map(|s| s.attachment.ifname).collect();
        assert_eq!(listed, ["eth0", "net1"]);
        assert!(Store::new(&dir.path().join("none")).of_network("net").unwrap().is_empty());
    }
}
