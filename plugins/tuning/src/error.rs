//! What can go wrong with tuning, and the CNI code of each.

use std::io;
use std::path::PathBuf;

use cni::Code;

/// What only tuning can meet.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The administrator's list has no line for the parameter.
    #[error("sysctl \"{key}\" is not allowed on this node: no line of {} matches it", crate::allowlist::FILE)]
    NotAllowed {
        /// As written in the configuration.
        key: String,
    },
    /// A line of the list is no regular expression.
    #[error("line \"{line}\" of {} is not a regular expression", crate::allowlist::FILE)]
    Pattern {
        /// The line.
        line: String,
    },
    /// A file could not be used.
    #[error("{doing} {}: {source}", path.display())]
    File {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl attach::Cause for Cause {
    fn code(&self) -> Code {
        match self {
            Self::NotAllowed { .. } | Self::Pattern { .. } => Code::INVALID_CONFIG,
            Self::File { .. } => Code::IO,
        }
    }
}
