//! The inputs that are kept: `corpus/<target>/`, seeds and what once broke a promise.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::verdict::fnv1a;

/// One input with the name of its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The file's name.
    pub name: String,
    /// Its content.
    pub input: Vec<u8>,
}

/// The directory with one directory a target.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// All inputs of a target, in the order of their names.
pub fn read(target: &str) -> io::Result<Vec<Kept>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(root().join(target))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        all.push(Kept { name, input: fs::read(path)? });
    }
    all.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(all)
}

/// Keeps an input that broke a promise as `crash-<hash>`; its path.
pub fn keep_crash(target: &str, input: &[u8]) -> io::Result<PathBuf> {
    let path = root().join(target).join(format!("crash-{:016x}", fnv1a(input)));
    fs::write(&path, input)?;
    Ok(path)
}
