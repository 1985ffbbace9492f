//! The programs under test: our built binaries in the layouts they are installed in, and the reference's.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;

/// Where Debian's package puts the reference plugins.
pub const REFERENCE_DIR: &str = "/usr/lib/cni";

/// The plugins that the multi-call binary holds.
const PLUGINS: [&str; 10] = [
    "bridge",
    "host-local",
    "loopback",
    "flannel",
    "portmap",
    "firewall",
    "bandwidth",
    "tuning",
    "sbr",
    "vrf",
];

/// A directory of CNI plugins: what `CNI_PATH` names.
#[derive(Clone)]
pub struct Bins {
    dir: PathBuf,
    /// Keeps this directory and those that its links lead to; empty for one that is not the test's.
    held: Vec<Arc<TempDir>>,
}

impl Bins {
    /// As the installer lays them: one file, the multi-call binary, hard-linked under every plugin name.
    #[must_use]
    pub fn multicall() -> Self {
        let whole = built("ironbridge");
        Self::laid_out(|dir| {
            let first = dir.join("ironbridge");
            // A copy is open for writing for a moment, and a test on another thread that starts a program just then has it
            // open in its child: "text file busy". Copied only across file systems.
            fs::hard_link(&whole, &first)
                .or_else(|_| fs::copy(&whole, &first).map(drop))
                .unwrap_or_else(|error| panic!("{}: {error}", whole.display()));
            for plugin in PLUGINS {
                fs::hard_link(&first, dir.join(plugin)).expect("a hard link in one directory");
            }
        })
    }

    /// As `cargo build` makes them: one binary a plugin, so that every delegation is an exec.
    #[must_use]
    pub fn separate() -> Self {
        Self::laid_out(|dir| {
            for plugin in PLUGINS {
                symlink(built(plugin), dir.join(plugin)).expect("a symbolic link");
            }
        })
    }

    /// Some of our plugins as `cargo build` makes them.
    #[must_use]
    pub fn only(plugins: &[&str]) -> Self {
        Self::laid_out(|dir| {
            for plugin in plugins {
                symlink(built(plugin), dir.join(plugin)).expect("a symbolic link");
            }
        })
    }

    /// The reference plugins.
    #[must_use]
    pub fn reference() -> Self {
        let dir = PathBuf::from(REFERENCE_DIR);
        assert!(
            dir.join("bridge").exists(),
            "{REFERENCE_DIR}: install containernetworking-plugins (./test does)"
        );
        Self { dir, held: Vec::new() }
    }

    /// Some plugins from here, some from there: `(name, where from)`.
    #[must_use]
    pub fn mixed(parts: &[(&str, &Bins)]) -> Self {
        let mut mixed = Self::laid_out(|dir| {
            for (plugin, from) in parts {
                symlink(from.path(plugin), dir.join(plugin)).expect("a symbolic link");
            }
        });
        mixed.held.extend(parts.iter().flat_map(|(_, from)| from.held.clone()));
        mixed
    }

    fn laid_out(fill: impl FnOnce(&Path)) -> Self {
        let own =
            tempfile::Builder::new().prefix("ironbridge-bins-").tempdir().expect("a temporary directory");
        fill(own.path());
        Self { dir: own.path().to_owned(), held: vec![Arc::new(own)] }
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// One plugin's file.
    #[must_use]
    pub fn path(&self, plugin: &str) -> PathBuf {
        self.dir.join(plugin)
    }

    /// Adds a plugin of the test's own, a shell script, to a directory that this value owns.
    pub fn add_script(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt;
        assert!(!self.held.is_empty(), "the reference's directory is not ours to write to");
        let path = self.path(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("a script can be written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
            .expect("a script can be made executable");
    }

    /// The daemon's binary.
    #[must_use]
    pub fn daemon() -> PathBuf {
        built("ironbridged")
    }

    /// The operator's command.
    #[must_use]
    pub fn command() -> PathBuf {
        built("ironbridge")
    }
}

/// A built program: in `IRONBRIDGE_BIN_DIR`, else the newer of the release and debug builds beside this test.
fn built(name: &str) -> PathBuf {
    if let Some(dir) = std::env::var_os("IRONBRIDGE_BIN_DIR") {
        let path = PathBuf::from(dir).join(name);
        assert!(path.exists(), "{} is missing: IRONBRIDGE_BIN_DIR holds no complete build", path.display());
        return path;
    }
    let test = std::env::current_exe().expect("the test knows its own path");
    let target = test.ancestors().nth(3).expect("a test lies in target/<triple>/<profile>/deps");
    let builds = ["release", "debug"].map(|profile| target.join(profile).join(name));
    let newest =
        builds.into_iter().filter_map(|path| Some((fs::metadata(&path).ok()?.modified().ok()?, path))).max();
    match newest {
        Some((_, path)) => path,
        None => {
            panic!("{name} is not built below {}: run ./test, or `cargo build --release`", target.display())
        }
    }
}
