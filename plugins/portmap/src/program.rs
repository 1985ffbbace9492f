//! Running the programs of the iptables family, for the backend that is chosen by name and for tables of the legacy kernel
//! module; nothing else starts a process.

use std::fs;

use attach::program::feed;
use kernel::Family;

use crate::error::Error;

/// One of the family's two sets of programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// As the distribution chose.
    Default,
    /// The one of the legacy kernel module.
    Legacy,
}

/// What a program is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// `iptables-restore`
    Restore,
    /// `iptables-save`
    Save,
}

/// The name of a program, for example `ip6tables-legacy-save`.
#[must_use]
pub fn name(family: Family, variant: Variant, purpose: Purpose) -> String {
    let base = match family {
        Family::V4 => "iptables",
        Family::V6 => "ip6tables",
    };
    let variant = match variant {
        Variant::Default => "",
        Variant::Legacy => "-legacy",
    };
    let purpose = match purpose {
        Purpose::Restore => "-restore",
        Purpose::Save => "-save",
    };
    format!("{base}{variant}{purpose}")
}

/// Whether the legacy kernel module holds a `nat` table of the family in this namespace.
#[must_use]
pub fn has_legacy(family: Family) -> bool {
    let path = match family {
        Family::V4 => "/proc/net/ip_tables_names",
        Family::V6 => "/proc/net/ip6_tables_names",
    };
    let tables = fs::read_to_string(path).unwrap_or_default(); // absent: no such tables
    tables.lines().any(|table| table == "nat")
}

/// Applies a ruleset in one step, beside what is there.
pub fn restore(family: Family, variant: Variant, ruleset: &str) -> Result<(), Error> {
    run(&name(family, variant, Purpose::Restore), &["--noflush", "--wait"], ruleset).map(|_| ())
}

/// The `nat` table as text.
pub fn save(family: Family, variant: Variant) -> Result<String, Error> {
    run(&name(family, variant, Purpose::Save), &["-t", "nat"], "")
}

/// Whether a program can be run at all.
pub fn probe(family: Family) -> Result<(), Error> {
    run(&name(family, Variant::Default, Purpose::Restore), &["--version"], "").map(|_| ())
}

fn run(program: &str, arguments: &[&str], input: &str) -> Result<String, Error> {
    let output = feed(program, arguments, input).map_err(|error| Error::Program {
        program: program.to_owned(),
        reason: format!("cannot be run: {error}; install it, or set backend to \"nftables\""),
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::Program { program: program.to_owned(), reason })
}
