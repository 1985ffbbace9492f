//! The sandbox image: one layer with one program, as an archive of the form that `docker save` writes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

/// Its name; with a registry that nobody can be asked of.
pub const NAME: &str = "localhost/pause:1";

/// Writes the archive into a folder; a pod's first process sleeps for 68 years.
pub fn write(folder: &Path, busybox: &Path) -> PathBuf {
    let (root, parts, archive) = (folder.join("root"), folder.join("parts"), folder.join("pause.tar"));
    fs::create_dir_all(root.join("bin")).expect("a directory");
    fs::create_dir_all(&parts).expect("a directory");
    fs::copy(busybox, root.join("bin/busybox")).expect("busybox-static is among the packages");
    let layer = parts.join("layer.tar");
    printed(Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&layer).arg("bin"));
    let sum = printed(Command::new("sha256sum").arg(&layer));
    let digest = sum.split_whitespace().next().expect("sha256sum prints a sum");
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": {"Entrypoint": ["/bin/busybox", "sleep", "2147483647"]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{digest}")]},
    });
    let manifest = json!([{"Config": "config.json", "RepoTags": [NAME], "Layers": ["layer.tar"]}]);
    fs::write(parts.join("config.json"), config.to_string()).expect("a file");
    fs::write(parts.join("manifest.json"), manifest.to_string()).expect("a file");
    let names = ["manifest.json", "config.json", "layer.tar"];
    printed(Command::new("tar").arg("-C").arg(&parts).arg("-cf").arg(&archive).args(names));
    archive
}

#[track_caller]
fn printed(command: &mut Command) -> String {
    let output = command.output().expect("a program of every Debian");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
