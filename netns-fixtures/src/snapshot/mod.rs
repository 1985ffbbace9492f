//! The oracle: everything of a namespace that a plugin or the daemon may change, as sorted comparable lines.
//!
//! It is read by `ip`, `bridge`, `tc` and `nft`, not by the crate under test. Left out is what the kernel does by
//! itself and in its own time: link-local addresses, DAD progress, carrier, learned neighbours, counters.

mod firewall;
mod objects;
mod sysctls;

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use serde_json::Value;

use crate::space::Space;

/// The state of one namespace: sections of lines, each line one object.
#[derive(Clone, PartialEq, Eq)]
pub struct Snapshot {
    sections: BTreeMap<&'static str, Vec<String>>,
}

impl Snapshot {
    /// Reads a namespace.
    #[must_use]
    pub fn of(space: &impl Space) -> Self {
        let mut sections = objects::read(space);
        sections.insert("firewall", firewall::read(space));
        sections.insert("sysctl", sysctls::read(space));
        for lines in sections.values_mut() {
            lines.sort();
        }
        Self { sections }
    }

    /// The lines of one section: `link`, `address`, `route`, `rule`, `neighbour`, `fdb`, `vlan`, `qdisc`, `firewall`
    /// or `sysctl`.
    #[must_use]
    pub fn section(&self, name: &str) -> &[String] {
        self.sections.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// The same without the lines that `leave_out` picks by section and text.
    #[must_use]
    pub fn without(mut self, leave_out: impl Fn(&str, &str) -> bool) -> Self {
        for (section, lines) in &mut self.sections {
            lines.retain(|line| !leave_out(section, line));
        }
        self
    }

    /// The same with each `(from, to)` replaced in every line: makes twin worlds comparable.
    #[must_use]
    pub fn with_names(mut self, names: &[(String, String)]) -> Self {
        for lines in self.sections.values_mut() {
            for line in lines.iter_mut() {
                for (from, to) in names {
                    *line = line.replace(from.as_str(), to);
                }
            }
            lines.sort();
        }
        self
    }

    /// What differs, one object a line: `-` is only here, `+` only in `after`. Empty when they are equal.
    #[must_use]
    pub fn difference(&self, after: &Self) -> Vec<String> {
        let mut found = Vec::new();
        for (section, lines) in &self.sections {
            let other = after.section(section);
            found.extend(lines.iter().filter(|l| !other.contains(l)).map(|l| format!("- {section} {l}")));
            found.extend(other.iter().filter(|l| !lines.contains(l)).map(|l| format!("+ {section} {l}")));
        }
        if found.is_empty() && self != after {
            found.push("the same lines, but not the same number of each".to_owned());
        }
        found
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (section, lines) in &self.sections {
            for line in lines {
                writeln!(out, "{section} {line}")?;
            }
        }
        Ok(())
    }
}

/// The two states are equal; otherwise the test fails with the lines that differ.
#[track_caller]
pub fn assert_same(before: &Snapshot, after: &Snapshot, when: &str) {
    let difference = before.difference(after);
    let mut text = String::new();
    for line in &difference {
        writeln!(text, "  {line}").expect("a string can be written to");
    }
    assert!(difference.is_empty(), "{when}: the state differs (- before, + after)\n{text}");
}

/// Runs a program with JSON output and returns its top-level array; empty output is an empty array.
pub(crate) fn json(space: &impl Space, line: &str) -> Vec<Value> {
    let output = space.output(crate::space::words(line));
    assert!(output.status.success(), "`{line}`: {}", String::from_utf8_lossy(&output.stderr));
    if output.stdout.trim_ascii().is_empty() {
        return Vec::new();
    }
    match serde_json::from_slice(&output.stdout) {
        Ok(Value::Array(entries)) => entries,
        Ok(other) => vec![other],
        Err(error) => panic!("`{line}` printed no JSON: {error}"),
    }
}
