//! The house rules that no compiler holds: the arrows between crates, licences, file sizes, names and reasons.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Who may import whom: design.md, "Arrows". A new arrow is a change of this table.
const ARROWS: [(&str, &[&str]); 20] = [
    ("cni", &["serde", "serde_json", "ipnetwork", "thiserror"]),
    (
        "kernel",
        &[
            "nix",
            "netlink-sys",
            "netlink-packet-core",
            "netlink-packet-route",
            "netlink-packet-netfilter",
            "socket2",
            "ipnetwork",
            "thiserror",
        ],
    ),
    ("attach", &["cni", "kernel", "ipnetwork", "thiserror", "serde", "sha2"]),
    ("bridge", &PLUGIN),
    ("loopback", &PLUGIN),
    ("flannel", &PLUGIN),
    ("firewall", &["attach", "cni", "kernel", "serde", "rustbus"]),
    ("portmap", &PLUGIN),
    ("bandwidth", &PLUGIN),
    ("tuning", &["attach", "cni", "kernel", "serde", "serde_json", "thiserror", "regex-lite"]),
    ("sbr", &PLUGIN),
    ("vrf", &PLUGIN),
    ("host-local", &["cni", "ipnetwork", "serde", "serde_json", "thiserror", "nix"]),
    ("overlay", &["ipnetwork", "serde", "serde_json", "thiserror"]),
    (
        "ironbridged",
        &[
            "overlay",
            "kernel",
            "tokio",
            "rtnetlink",
            "etcd-client",
            "clap",
            "tracing",
            "tracing-subscriber",
            "axum",
            "futures-util",
            "thiserror",
            "serde",
            "serde_json",
            "ipnetwork",
            "nix",
            "regex-lite",
            "prometheus-client",
            "tun-rs",
        ],
    ),
    (
        "ironbridge",
        &[
            "attach",
            "bridge",
            "loopback",
            "firewall",
            "flannel",
            "portmap",
            "bandwidth",
            "tuning",
            "sbr",
            "vrf",
            "host-local",
            "attach",
            "cni",
            "kernel",
            "overlay",
            "base64",
            "clap",
            "dlmalloc",
            "ipnetwork",
            "serde",
            "serde_json",
            "thiserror",
            "nix",
        ],
    ),
    ("netns-fixtures", &["kernel", "nix", "serde_json", "tempfile"]),
    ("tests", &["netns-fixtures", "serde", "serde_json", "tempfile"]),
    ("benches", &["ipnetwork", "kernel", "netns-fixtures", "nix", "serde_json", "tempfile", "thiserror"]),
    (
        "fuzz",
        &[
            "attach",
            "bandwidth",
            "bridge",
            "cni",
            "firewall",
            "flannel",
            "host-local",
            "kernel",
            "overlay",
            "portmap",
            "sbr",
            "serde_json",
            "tuning",
            "vrf",
        ],
    ),
];
const PLUGIN: [&str; 7] = ["attach", "cni", "kernel", "ipnetwork", "serde", "serde_json", "thiserror"];

/// Licences that a dependency may be had under; GPL and its kin are not among them.
const LICENCES: [&str; 15] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "OpenSSL",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];
const BANNED_STEMS: [&str; 10] =
    ["util", "utils", "common", "core", "helper", "helpers", "manager", "data", "info", "types"];
/// The one file with `unsafe`: design.md, decision 8.
const UNSAFE_FILE: &str = "kernel/src/linger.rs";
/// Lints that test crates leave out, and what they allow beside the workspace's table.
const TESTS_LEAVE_OUT: [&str; 5] =
    ["unwrap_used", "expect_used", "panic", "indexing_slicing", "print_stdout"];
const TESTS_ALLOW: [&str; 2] = ["missing_panics_doc", "must_use_candidate"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn metadata() -> Value {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--offline"])
        // What other systems would need is neither fetched nor shipped.
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Every Rust file of the project, with its path from the root.
fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() && !name.starts_with('.') && name != "target" && name != "out" {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let short = path.strip_prefix(root()).unwrap().display().to_string();
                found.push((short, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

/// The lines before the unit tests.
fn lines_without_tests(text: &str) -> usize {
    text.lines().take_while(|line| line.trim() != "#[cfg(test)]").count()
}

#[track_caller]
fn assert_none(offences: &[String], rule: &str) {
    assert!(offences.is_empty(), "{rule}:\n  {}", offences.join("\n  "));
}

#[test]
fn a_crate_imports_only_what_the_design_allows() {
    let metadata = metadata();
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.into_iter().collect();
    let mut offences = Vec::new();
    let mut seen = BTreeSet::new();
    for package in metadata["packages"].as_array().unwrap().iter().filter(|p| p["source"].is_null()) {
        let name = package["name"].as_str().unwrap();
        seen.insert(name.to_owned());
        let Some(may) = allowed.get(name) else {
            offences.push(format!("{name} is a crate that the table does not know"));
            continue;
        };
        for import in package["dependencies"].as_array().unwrap().iter().filter(|d| d["kind"] != "dev") {
            let import = import["name"].as_str().unwrap();
            if !may.contains(&import) {
                offences.push(format!("{name} imports {import}"));
            }
        }
    }
    offences
        .extend(ARROWS.iter().filter(|(n, _)| !seen.contains(*n)).map(|(n, _)| format!("there is no {n}")));
    assert_none(&offences, "arrows of design.md");
}

#[test]
fn the_daemons_mind_knows_no_clock_file_or_socket() {
    let hands =
        ["std::fs", "std::net::Tcp", "std::net::Udp", "Instant", "SystemTime", "std::thread", "std::env"];
    let offences: Vec<String> = sources()
        .iter()
        .filter(|(path, _)| path.starts_with("daemon/overlay/src/"))
        .flat_map(|(path, text)| {
            hands.iter().filter(|word| text.contains(**word)).map(move |word| format!("{path} names {word}"))
        })
        .collect();
    assert_none(&offences, "overlay is pure");
}

#[test]
fn every_dependency_is_from_the_registry_under_a_licence_that_we_accept() {
    let metadata = metadata();
    let mut offences = Vec::new();
    for package in metadata["packages"].as_array().unwrap().iter().filter(|p| !p["source"].is_null()) {
        let name = package["name"].as_str().unwrap();
        if !package["source"].as_str().unwrap().starts_with("registry+") {
            offences.push(format!("{name} comes from {}", package["source"]));
        }
        let licence = package["license"].as_str().unwrap_or("none");
        if !is_accepted(licence) {
            offences.push(format!("{name}: {licence}"));
        }
    }
    assert_none(&offences, "sources and licences of dependencies");
}

/// Every part that an AND demands has an accepted alternative ("/" is an old spelling of OR).
fn is_accepted(licence: &str) -> bool {
    licence
        .replace(['(', ')'], "")
        .replace('/', " OR ")
        .split(" AND ")
        .all(|part| part.split(" OR ").any(|alternative| LICENCES.contains(&alternative.trim())))
}

#[test]
fn files_are_short() {
    let sources = sources();
    let mut offences = Vec::new();
    let mut lengths = Vec::new();
    for (path, text) in &sources {
        let (whole, own) = (text.lines().count(), lines_without_tests(text));
        let is_test = path.contains("/tests/") || path.ends_with("_tests.rs");
        if whole > 400 || (own > 300 && !is_test) {
            offences.push(format!("{path}: {own} lines without its tests, {whole} in all"));
        }
        lengths.push(own);
    }
    assert_none(&offences, "at most 300 lines without tests and 400 with them");
    lengths.sort_unstable();
    let median = lengths[lengths.len() / 2];
    assert!(median <= 150, "the median file has {median} lines");
}

#[test]
fn every_file_says_what_it_is_and_has_a_telling_name() {
    let mut offences = Vec::new();
    for (path, text) in sources() {
        if !text.starts_with("//! ") {
            offences.push(format!("{path} does not open with `//! `"));
        }
        let stem = Path::new(&path).file_stem().unwrap().to_string_lossy().into_owned();
        if BANNED_STEMS.contains(&stem.as_str()) {
            offences.push(format!("{path}: {stem} tells nothing"));
        }
    }
    assert_none(&offences, "names and first lines of files");
}

#[test]
fn every_relaxed_lint_has_a_reason() {
    let mut offences = Vec::new();
    for (path, text) in sources() {
        for opening in ["#[allow(", "#![allow(", "#[expect(", "#![expect("] {
            // In two parts, so that this very list is no offence.
            for (at, _) in text.match_indices(opening).filter(|(at, _)| is_code(&text, *at)) {
                let attribute = text[at..].split(")]").next().unwrap();
                if !attribute.contains("reason") {
                    offences.push(format!("{path}: {attribute})]"));
                }
            }
        }
    }
    assert_none(&offences, "allow and expect give a reason");
}

/// Whether an attribute found in a text starts its line: neither a comment nor a string.
fn is_code(text: &str, at: usize) -> bool {
    text[..at].rsplit('\n').next().unwrap().trim().is_empty()
}

#[test]
fn unsafe_is_in_one_file() {
    let word = ["un", "safe"].concat();
    let mut offences = Vec::new();
    for (path, text) in sources().iter().filter(|(path, _)| path != UNSAFE_FILE) {
        for (place, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap();
            if code.contains(&format!("{word} {{")) || code.contains(&format!("{word} fn")) {
                offences.push(format!("{path}:{}", place + 1));
            }
        }
    }
    assert_none(&offences, "unsafe code");
}

#[test]
fn every_crate_has_the_workspaces_lints() {
    let whole = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let tables = |text: &str, prefix: &str| -> BTreeSet<String> {
        let mut inside = false;
        let lines = text.lines().filter(|line| {
            if line.starts_with('[') {
                inside = line.starts_with(prefix);
            }
            inside && line.contains('=')
        });
        lines.map(|line| line.split('#').next().unwrap().trim().to_owned()).collect()
    };
    let ours = tables(&whole, "[workspace.lints.");
    let metadata = metadata();
    let mut offences = Vec::new();
    for package in metadata["packages"].as_array().unwrap().iter().filter(|p| p["source"].is_null()) {
        let name = package["name"].as_str().unwrap();
        let manifest = fs::read_to_string(package["manifest_path"].as_str().unwrap()).unwrap();
        if manifest.contains("[lints]\nworkspace = true") {
            continue;
        }
        let own = tables(&manifest, "[lints.");
        let known = |line: &&String, words: &[&str]| !words.contains(&line.split(' ').next().unwrap());
        offences.extend(
            ours.difference(&own).filter(|l| known(l, &TESTS_LEAVE_OUT)).map(|l| format!("{name}: no {l}")),
        );
        offences
            .extend(own.difference(&ours).filter(|l| known(l, &TESTS_ALLOW)).map(|l| format!("{name}: {l}")));
        if !["netns-fixtures", "tests"].contains(&name) {
            offences.push(format!("{name} has lints of its own"));
        }
    }
    assert_none(&offences, "lint tables");
}
