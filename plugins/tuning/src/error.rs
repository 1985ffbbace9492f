//! What can go wrong with tuning, and the CNI code of each.

use std::io;
use std::path::PathBuf;

use cni::Code;

/// An error of the tuning plugin.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// As for every plugin.
    #[error(transparent)]
    Attach(#[from] attach::Error),
    /// The configuration is refused.
    #[error("invalid configuration of network \"{network}\": {reason}")]
    Conf {
        /// Network name.
        network: String,
        /// The field, its value and what is wrong with it.
        reason: String,
    },
    /// There is no result of an earlier plugin.
    #[error("tuning of network \"{network}\" needs prevResult: put it behind an interface plugin")]
    NoPrevResult {
        /// Network name.
        network: String,
    },
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
    /// ADD failed, and so did taking back what it had done.
    #[error("{cause}; undoing it failed too: {failure}")]
    RollbackIncomplete {
        /// Why ADD failed.
        cause: Box<Error>,
        /// What could not be undone.
        failure: Box<Error>,
    },
}

impl From<kernel::Error> for Error {
    fn from(error: kernel::Error) -> Self {
        Self::Attach(error.into())
    }
}

impl From<cni::Error> for Error {
    fn from(error: cni::Error) -> Self {
        Self::Attach(error.into())
    }
}

impl From<Error> for cni::Error {
    fn from(error: Error) -> Self {
        let code = match error {
            Error::Attach(error) => return error.into(),
            Error::Conf { .. }
            | Error::NoPrevResult { .. }
            | Error::NotAllowed { .. }
            | Error::Pattern { .. } => Code::INVALID_CONFIG,
            Error::File { .. } => Code::IO,
            Error::RollbackIncomplete { .. } => Code::ROLLBACK_FAILED,
        };
        Self::new(code, error.to_string())
    }
}
