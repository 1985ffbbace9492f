//! What can go wrong with source based routing, and the CNI code of each.

use std::io;

use cni::Code;

/// An error of the sbr plugin.
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
    #[error("sbr of network \"{network}\" needs prevResult: put it behind an interface plugin")]
    NoPrevResult {
        /// Network name.
        network: String,
    },
    /// The sandbox's lock cannot be taken.
    #[error("locking the sandbox {sandbox}: {source}")]
    Lock {
        /// `CNI_NETNS` as given.
        sandbox: String,
        /// Why.
        source: io::Error,
    },
    /// Somebody holds the sandbox's lock.
    #[error("the sandbox {sandbox} has been locked by another sbr for {seconds} s; try again later")]
    Locked {
        /// `CNI_NETNS` as given.
        sandbox: String,
        /// How long was waited.
        seconds: u64,
    },
    /// ADD failed, and so did taking back what it had done.
    #[error("{cause}; undoing it failed too: {}", .failures.join("; "))]
    RollbackIncomplete {
        /// Why ADD failed.
        cause: Box<Error>,
        /// What could not be undone.
        failures: Vec<String>,
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
            Error::Conf { .. } | Error::NoPrevResult { .. } => Code::INVALID_CONFIG,
            Error::Lock { .. } => Code::IO,
            Error::Locked { .. } => Code::TRY_AGAIN_LATER,
            Error::RollbackIncomplete { .. } => Code::ROLLBACK_FAILED,
        };
        Self::new(code, error.to_string())
    }
}
