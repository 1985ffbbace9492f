//! The file for the CNI plugin: read at the start, written whole or not at all.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use overlay::{Previous, SubnetEnv};

/// What an earlier run left; nothing when there is no file or it cannot be read.
pub fn read(path: &Path) -> Previous {
    match fs::read_to_string(path) {
        Ok(text) => Previous::parse(&text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Previous::default(),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "the previous subnet cannot be read");
            Previous::default()
        }
    }
}

/// Writes the file beside its place and renames it there: a plugin reads the old one or the new one. Everybody may read
/// it, whatever the daemon's umask.
pub fn write(path: &Path, content: &SubnetEnv) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
    let name = path.file_name().ok_or(io::ErrorKind::IsADirectory)?.to_string_lossy();
    let beside = folder.join(format!(".{name}.new"));
    let written = write_to(&beside, content).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // The first error is the one to report; what is left is a hidden file that the next run overwrites.
        fs::remove_file(&beside).ok();
    }
    written
}

fn write_to(path: &Path, content: &SubnetEnv) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.set_permissions(Permissions::from_mode(0o644))?;
    file.write_all(content.to_string().as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use overlay::{Masquerade, Subnets};

    use super::*;

    #[test]
    fn the_file_appears_whole_readable_for_all_and_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/flannel/subnet.env");
        assert_eq!(read(&path), Previous::default());
        let pair = Some(("10.5.0.0/16".parse().unwrap(), "10.5.3.0/24".parse().unwrap()));
        let content = SubnetEnv { v4: pair, v6: None, mtu: 1500, masquerade: Masquerade::ByPlugin };
        for _ in 0..2 {
            write(&path, &content).unwrap();
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        let want = Subnets { v4: Some("10.5.3.0/24".parse().unwrap()), v6: None };
        assert_eq!(read(&path).subnets, want);
    }

    #[test]
    fn a_failed_write_leaves_nothing_beside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("subnet.env");
        fs::create_dir(&path).unwrap();
        let content = SubnetEnv { v4: None, v6: None, mtu: 1500, masquerade: Masquerade::ByPlugin };
        assert!(write(&path, &content).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
