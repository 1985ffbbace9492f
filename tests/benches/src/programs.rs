//! The three sides of every comparison: where their programs are, and where they may keep state.

use std::fs;
use std::path::{Path, PathBuf};

use netns_fixtures::Bins;
use tempfile::TempDir;

use crate::error::Error;

/// Whose program it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The reference plugins of Debian's package.
    Reference,
    /// Ours: the multi-call binary under each plugin's name, as the installer lays it.
    Ours,
    /// The C programs of `tests/benches/floor`.
    Floor,
}

impl Side {
    /// In the order in which they take turns.
    pub const ALL: [Self; 3] = [Self::Reference, Self::Ours, Self::Floor];

    fn name(self) -> &'static str {
        match self {
            Self::Reference => "reference",
            Self::Ours => "ours",
            Self::Floor => "floor",
        }
    }
}

/// Directories of programs, and a scratch directory that is gone with this value.
pub struct Programs {
    reference: Bins,
    ours: Bins,
    floor: PathBuf,
    scratch: TempDir,
}

impl Programs {
    /// Links the built programs under the names that they are called by; `built` holds the floor's.
    pub fn lay_out(built: &Path) -> Result<Self, Error> {
        let scratch = tempfile::Builder::new().prefix("ironbridge-bench-").tempdir();
        let scratch = scratch.map_err(Error::file("a temporary directory"))?;
        let floor = scratch.path().join("floor");
        fs::create_dir(&floor).map_err(Error::file(&floor))?;
        for (program, name) in [
            ("plugin", "bridge"),
            ("plugin", "loopback"),
            ("plugin", "host-local"),
            ("plugin", "portmap"),
            ("plugin", "firewall"),
            ("plugin", "tuning"),
            ("plugin", "bandwidth"),
            ("crowd", "crowd"),
            ("routes", "routes"),
        ] {
            let from = built.join(program);
            fs::copy(&from, floor.join(name)).map_err(Error::file(from))?;
        }
        Ok(Self { reference: Bins::reference(), ours: Bins::multicall(), floor, scratch })
    }

    /// The directory of one side's plugins.
    pub fn dir(&self, side: Side) -> &Path {
        match side {
            Side::Reference => self.reference.dir(),
            Side::Ours => self.ours.dir(),
            Side::Floor => &self.floor,
        }
    }

    /// A program of the floor.
    pub fn floor(&self, name: &str) -> PathBuf {
        self.floor.join(name)
    }

    /// Our plugins as tests know them.
    pub fn bins(&self, side: Side) -> &Bins {
        match side {
            Side::Reference => &self.reference,
            Side::Ours | Side::Floor => &self.ours,
        }
    }

    /// A path in the scratch directory for the state of one side in one row. Nothing is there yet.
    pub fn state(&self, side: Side, row: &str) -> PathBuf {
        self.scratch.path().join(format!("{row}-{}", side.name()))
    }

    /// Makes a directory in the scratch directory.
    pub fn folder(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.scratch.path().join(name);
        fs::create_dir_all(&path).map_err(Error::file(&path))?;
        Ok(path)
    }
}
