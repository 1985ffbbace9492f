//! What can go wrong with source based routing, and the CNI code of each.

use std::io;

use cni::Code;

/// What only sbr can meet.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
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
}

impl attach::Cause for Cause {
    fn code(&self) -> Code {
        match self {
            Self::Lock { .. } => Code::IO,
            Self::Locked { .. } => Code::TRY_AGAIN_LATER,
        }
    }
}
