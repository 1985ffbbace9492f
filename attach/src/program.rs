//! The programs of iptables: found, told apart, and run.

use std::ffi::OsStr;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::error::Error;
use crate::step::Family;

/// Which of the two implementations a program is: they keep rules in different tables of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// `iptables-nft`: rules are nftables', and can be read without a program.
    Nft,
    /// `iptables-legacy`.
    Legacy,
}

/// The programs of one family.
#[derive(Clone, Copy, Debug)]
pub struct Programs {
    /// Applies a text.
    pub restore: &'static str,
    /// Prints the rules.
    pub save: &'static str,
    /// The same two of the legacy implementation, whichever is the default.
    pub legacy: (&'static str, &'static str),
    /// Lists the tables that the legacy kernel module holds, in this namespace.
    pub legacy_tables: &'static str,
}

/// The programs of `family`.
#[must_use]
pub fn of(family: Family) -> Programs {
    match family {
        Family::V4 => Programs {
            restore: "iptables-restore",
            save: "iptables-save",
            legacy: ("iptables-legacy-restore", "iptables-legacy-save"),
            legacy_tables: "/proc/net/ip_tables_names",
        },
        Family::V6 => Programs {
            restore: "ip6tables-restore",
            save: "ip6tables-save",
            legacy: ("ip6tables-legacy-restore", "ip6tables-legacy-save"),
            legacy_tables: "/proc/net/ip6_tables_names",
        },
    }
}

/// Where administrators' programs are, for a runtime that hands on no `PATH` or a short one.
const FOLDERS: [&str; 5] = ["/usr/sbin", "/sbin", "/usr/local/sbin", "/usr/bin", "/bin"];

/// The file of a program. `PATH` comes first: k3s and others bring an iptables of their own by it.
#[must_use]
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(FOLDERS.map(PathBuf::from));
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// The variant of an iptables program, by the file that its name leads to (`xtables-nft-multi`).
#[must_use]
pub fn variant(file: &Path) -> Variant {
    let file = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if name.contains("nft") { Variant::Nft } else { Variant::Legacy }
}

/// Whether the kernel holds a legacy filter table of `family` in this namespace.
#[must_use]
pub fn has_legacy_table(family: Family) -> bool {
    let tables = std::fs::read_to_string(of(family).legacy_tables).unwrap_or_default(); // absent: no module
    tables.lines().any(|table| table == "filter")
}

/// Runs a program to its end, and returns what it printed.
pub fn run(program: &str, arguments: &[&str], input: &str) -> Result<String, Error> {
    let failed = |reason: String| Error::Program { program: program.to_owned(), reason };
    let file = find(program).ok_or_else(|| failed(not_found()))?;
    let output = feed(file, arguments, input).map_err(|error| failed(format!("cannot be run: {error}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

/// Starts a program, hands it its standard input, and waits for its end and what it printed.
pub fn feed(program: impl AsRef<OsStr>, arguments: &[&str], input: &str) -> io::Result<Output> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ends early closes the pipe; its exit status says why.
        stdin.write_all(input.as_bytes()).ok();
    }
    child.wait_with_output()
}

/// What is said of a program that is not there.
#[must_use]
pub fn not_found() -> String {
    "is not installed; install iptables, or set backend to \"nftables\"".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn the_variant_is_told_by_the_file_behind_the_links() {
        let folder = tempfile::tempdir().unwrap();
        for (target, variant_of) in
            [("xtables-nft-multi", Variant::Nft), ("xtables-legacy-multi", Variant::Legacy)]
        {
            std::fs::write(folder.path().join(target), "").unwrap();
            let link = folder.path().join(format!("restore-{target}"));
            symlink(folder.path().join(target), &link).unwrap();
            assert_eq!(variant(&link), variant_of);
        }
    }
}
