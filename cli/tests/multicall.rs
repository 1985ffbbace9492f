//! The built `ironbridge` under its several names.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed, which is its job")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const OWN: &str = env!("CARGO_BIN_EXE_ironbridge");

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn run(program: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    Command::new(program).args(arguments).env_clear().envs(environment.iter().copied()).output().unwrap()
}

#[test]
fn installed_under_a_plugins_name_it_is_that_plugin() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("cni");
    let output = run(Path::new(OWN), &["install", target.to_str().unwrap()], &[]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for plugin in ["bridge", "flannel", "host-local", "loopback"] {
        assert!(text(&output.stdout).contains(&format!("/{plugin}\n")));
        let about = run(&target.join(plugin), &[], &[]);
        assert!(
            about.status.success() && text(&about.stderr).contains(&format!("CNI {plugin} plugin")),
            "{plugin}"
        );
        let versions = run(&target.join(plugin), &[], &[("CNI_COMMAND", "VERSION")]);
        assert!(text(&versions.stdout).starts_with("{\"cniVersion\":\"1.1.0\""), "{plugin}");
    }
    let own = run(&target.join("ironbridge"), &["version"], &[]);
    assert_eq!(text(&own.stdout), concat!("ironbridge ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn a_symbolic_link_of_a_plugins_name_will_do_too() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("loopback");
    std::os::unix::fs::symlink(OWN, &link).unwrap();
    assert!(text(&run(&link, &[], &[]).stderr).contains("CNI loopback plugin"));
}

#[test]
fn what_cannot_be_done_is_said_on_standard_error_with_a_failing_status() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    for (arguments, said) in [
        (&["install", path][..], path),
        (&["ipam", "show", "--data-dir", path], path),
        (&["demo", "--daemon", "/no/such/daemon"], "/no/such/daemon"),
        (&["no-such-verb"], "no-such-verb"),
        (&["launch", "--netns", path, "--", "true"], "launch"),
    ] {
        let output = run(Path::new(OWN), arguments, &[]);
        assert!(!output.status.success() && output.stdout.is_empty(), "{arguments:?}");
        assert!(text(&output.stderr).contains(said), "{arguments:?}: {}", text(&output.stderr));
    }
    assert!(fs::read(path).unwrap().is_empty());
}
