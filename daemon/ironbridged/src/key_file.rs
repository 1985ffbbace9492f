//! The private key of the wireguard backend: read from its file, or made once and kept there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use overlay::Secret;

/// flannel's file. `/run` does not outlive a reboot: `WIREGUARD_KEY_FILE` names another.
pub const DEFAULT: &str = "/run/flannel/wgkey";

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("the WireGuard key file {} cannot be read or written (WIREGUARD_KEY_FILE): {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("the WireGuard key file {} holds no key of 32 bytes in base64: delete it, and a new one is made", path.display())]
    NoKey { path: PathBuf },
}

/// The key in the file; a new one, readable for root only, when there is no file.
pub fn read_or_make(path: &Path) -> Result<Secret, KeyError> {
    let failed = |source| KeyError::File { path: path.to_owned(), source };
    match fs::read_to_string(path) {
        Ok(text) => {
            let key = text.trim().parse().map(Secret);
            key.map_err(|()| KeyError::NoKey { path: path.to_owned() })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(path).map_err(failed),
        Err(error) => Err(failed(error)),
    }
}

fn make(path: &Path) -> io::Result<Secret> {
    let mut random = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    let secret = Secret::from_random(random);
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
    let beside = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(format!("{}\n", secret.0).as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_kept_for_root_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/wgkey");
        let first = read_or_make(&path).unwrap();
        assert!(first == read_or_make(&path).unwrap());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, "nonsense").unwrap();
        assert!(matches!(read_or_make(&path), Err(KeyError::NoKey { .. })));
    }
}
