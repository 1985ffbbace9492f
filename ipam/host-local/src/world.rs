//! For tests: a data directory of one's own on a machine that can be booted anew and whose clock can be set.
use crate::boot::Host;
use crate::conf::Scope;
use crate::owner::Owner;
use crate::store::Store;
use std::fs::{self, File};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// See the file's sentence.
pub struct World {
    dir: tempfile::TempDir,
    /// What the store reads of the machine.
    pub host: Host,
}

impl World {
    /// A machine that has been up for an hour.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let host = Host {
            boot_id: dir.path().join("boot_id"),
            stat: dir.path().join("stat"),
            witness: dir.path().join("witness"),
            patience: Duration::from_secs(20),
        };
        let world = Self { dir, host };
        world.boot("first", SystemTime::now() - Duration::from_hours(1));
        world
    }

    /// Boots: another id, and a clock that says `began` all along.
    pub fn boot(&self, id: &str, began: SystemTime) {
        fs::write(&self.host.boot_id, format!("{id}\n")).unwrap();
        let seconds = began.duration_since(UNIX_EPOCH).unwrap().as_secs();
        fs::write(&self.host.stat, format!("btime {seconds}\n")).unwrap();
        File::create(&self.host.witness).unwrap().set_modified(began).unwrap();
    }

    /// The store of the network "net".
    pub fn store(&self) -> Store {
        let scope = Scope { data_dir: self.dir.path().join("data"), network: "net".to_owned() };
        Store::new(&scope, &self.host)
    }

    /// A file in the network's folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join("data/net").join(name)
    }

    /// A file beside it, in the index.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.dir.path().join("data/.ironbridge/net").join(name)
    }

    /// What another program does: a file with this content, old by so much.
    pub fn foreign(&self, name: &str, content: &str, age: Duration) {
        fs::create_dir_all(self.file("")).unwrap();
        let path = self.file(name);
        fs::write(&path, content).unwrap();
        File::open(path).unwrap().set_modified(SystemTime::now() - age).unwrap();
    }

    /// The names of all address files.
    pub fn addresses(&self) -> Vec<String> {
        let mut names: Vec<IpAddr> = crate::scan::addresses(&self.file("")).unwrap();
        names.sort();
        names.iter().map(IpAddr::to_string).collect()
    }
}

/// The owner `id`, interface eth0.
pub fn owner(id: &str) -> Owner {
    Owner::new(id, "eth0")
}

/// An address.
pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}
