//! What the doctor says: one finding with its cause and its remedy.

use serde::Serialize;

/// One thing that is wrong on this node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// Its short name, as docs/doctor.md has it.
    pub name: &'static str,
    /// What was seen, with the objects by name, and what it does to traffic.
    pub cause: String,
    /// What to do.
    pub remedy: String,
}

impl Finding {
    /// A finding.
    pub fn new(name: &'static str, cause: impl Into<String>, remedy: impl Into<String>) -> Self {
        Finding { name, cause: cause.into(), remedy: remedy.into() }
    }
}
