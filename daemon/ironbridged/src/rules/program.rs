//! The programs of iptables: which variant they are, and running one.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::RulesError;
use super::iptables::{Place, State};

/// The programs of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// IPv4's.
    V4,
    /// IPv6's.
    V6,
}

/// Where the program keeps its rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// In nftables, which can be read over netlink and tells of changes.
    Nft,
    /// In the tables of the old kernel module.
    Legacy,
}

impl Program {
    /// The program that applies a text.
    pub fn restore(self) -> &'static str {
        match self {
            Program::V4 => "iptables-restore",
            Program::V6 => "ip6tables-restore",
        }
    }

    fn save(self) -> &'static str {
        match self {
            Program::V4 => "iptables-save",
            Program::V6 => "ip6tables-save",
        }
    }

    /// By what the program says of itself: `iptables-restore v1.8.9 (nf_tables)`.
    pub fn variant(self) -> Result<Variant, RulesError> {
        let said = run(self.restore(), &["--version"], "")?;
        Ok(if said.contains("nf_tables") { Variant::Nft } else { Variant::Legacy })
    }

    /// Applies a text, each table whole or not at all, beside what else is there. Waits for the lock of other programs.
    pub fn restore_text(self, text: &str) -> Result<(), RulesError> {
        run(self.restore(), &["--noflush", "--wait"], text).map(drop)
    }

    /// A chain of the legacy tables. A table that is not there has no rules.
    pub fn saved(self, place: Place) -> Result<State, RulesError> {
        let text = run(self.save(), &["-t", place.table], "")?;
        let own = format!("-A {} ", place.chain);
        let jump = format!("-j {}", place.chain);
        let base = format!("-A {} ", place.base);
        let number = |line: &str| {
            line.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            })
        };
        Ok(State {
            rules: text.lines().filter(|line| line.starts_with(&own)).map(number).collect(),
            jumps: text.lines().filter(|line| line.starts_with(&base) && line.ends_with(&jump)).count(),
        })
    }
}

fn run(program: &'static str, arguments: &[&str], input: &str) -> Result<String, RulesError> {
    let failed = |why: String| RulesError::Program { program, why };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(format!("cannot be run: {error}")))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ends early closes the pipe; its exit status says why.
        stdin.write_all(input.as_bytes()).ok();
    }
    let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}
