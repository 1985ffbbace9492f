//! What can go wrong with a VRF, and the CNI code of each.

use cni::Code;

/// An error of the vrf plugin.
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
    #[error("vrf of network \"{network}\" needs prevResult: put it behind an interface plugin")]
    NoPrevResult {
        /// Network name.
        network: String,
    },
    /// A link has the VRF's name.
    #[error("{name} in the sandbox is a {kind}, not a vrf")]
    NotVrf {
        /// `vrfname`.
        name: String,
        /// What it is.
        kind: String,
    },
    /// The VRF has another table.
    #[error("vrf {name} has table {found}, but the configuration says {wanted}")]
    OtherTable {
        /// `vrfname`.
        name: String,
        /// `table`.
        wanted: u32,
        /// What it has.
        found: u32,
    },
    /// The interface belongs to something else.
    #[error("interface {ifname} is already a port of link {controller} in the sandbox")]
    Controlled {
        /// `CNI_IFNAME`.
        ifname: String,
        /// Index of its controller.
        controller: u32,
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
            Error::Conf { .. } | Error::NoPrevResult { .. } | Error::OtherTable { .. } => {
                Code::INVALID_CONFIG
            }
            Error::NotVrf { .. } | Error::Controlled { .. } => Code::KERNEL,
            Error::RollbackIncomplete { .. } => Code::ROLLBACK_FAILED,
        };
        Self::new(code, error.to_string())
    }
}
