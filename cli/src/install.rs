//! Lays this binary down under every plugin's name: one file, many hard links, each replaced in one step.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::plugins;

/// The operator's command lies beside the plugins.
const OWN_NAME: &str = "ironbridge";
/// This program, even when its file was replaced or deleted since it was started.
const SELF: &str = "/proc/self/exe";

/// What stopped an installation. Names that were replaced before it stay replaced: each works alone.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} {}: {source}", .path.display())]
pub struct Error {
    doing: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// Installs into a directory, which is made if need be. Returns the paths that now are this binary.
pub fn install(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    at("create", directory, fs::create_dir_all(directory))?;
    let temporary = Temporary(directory.join(format!(".{OWN_NAME}.{}.new", std::process::id())));
    write_whole(&temporary.0)?;
    let names = plugins::ALL.iter().map(|plugin| plugin.name()).chain([OWN_NAME]);
    let installed = names.map(|name| put(&temporary.0, directory.join(name))).collect::<Result<_, _>>()?;
    // The names are durable before anyone is told so.
    at("sync", directory, File::open(directory).and_then(|d| d.sync_all()))?;
    Ok(installed)
}

/// A file that is gone at the end, however that comes.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // Nothing more can be done about a file that cannot be removed.
        fs::remove_file(&self.0).ok();
    }
}

fn write_whole(path: &Path) -> Result<(), Error> {
    let mut source = at("read", Path::new(SELF), File::open(SELF))?;
    let mut target = at("write", path, File::create(path))?;
    at("write", path, io::copy(&mut source, &mut target))?;
    at("write", path, target.set_permissions(Permissions::from_mode(0o755)))?;
    at("sync", path, target.sync_all())
}

/// A runtime that starts the plugin meanwhile finds the old file or the new one, never none and never half of one.
fn put(source: &Path, target: PathBuf) -> Result<PathBuf, Error> {
    let mut staged = source.as_os_str().to_owned();
    staged.push(".link");
    let staged = Temporary(staged.into());
    at("link", &staged.0, fs::hard_link(source, &staged.0))?;
    at("replace", &target, fs::rename(&staged.0, &target))?;
    Ok(target)
}

fn at<T>(doing: &'static str, path: &Path, result: io::Result<T>) -> Result<T, Error> {
    result.map_err(|source| Error { doing, path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn every_name_is_one_and_the_same_new_file_and_nothing_else_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("opt/cni/bin");
        fs::create_dir_all(&target).unwrap();
        fs::write(target.join("bridge"), "an older one").unwrap();
        fs::write(target.join("macvlan"), "of somebody else").unwrap();
        let first = install(&target).unwrap();
        let second = install(&target).unwrap();
        assert_eq!(first, second);
        let inode = |path: &Path| fs::metadata(path).unwrap().ino();
        let all: Vec<u64> = second.iter().map(|path| inode(path)).collect();
        assert!(all.iter().all(|i| *i == all[0]));
        assert_eq!(fs::metadata(&second[0]).unwrap().mode() & 0o7777, 0o755);
        assert_eq!(fs::read(&second[0]).unwrap(), fs::read(SELF).unwrap());
        assert_eq!(fs::read_dir(&target).unwrap().count(), plugins::ALL.len() + 2);
    }

    #[test]
    fn a_directory_that_cannot_be_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        let error = install(&dir.path().join("file")).unwrap_err().to_string();
        assert!(error.starts_with("cannot create ") && error.contains("/file"), "{error}");
    }
}
