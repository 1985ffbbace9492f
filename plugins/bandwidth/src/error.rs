//! What can go wrong with a limiter, and the CNI code of each.

use cni::Code;

/// An error of the bandwidth plugin.
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
    #[error("bandwidth of network \"{network}\" needs prevResult: put it behind an interface plugin")]
    NoPrevResult {
        /// Network name.
        network: String,
    },
    /// The sandbox's interface has no end on the host that a limiter could be put on.
    #[error(
        "interface {ifname} in the sandbox is a {kind}, not a veth: only those can be limited; remove the limits \
         or use a bridge or ptp network"
    )]
    NotVeth {
        /// `CNI_IFNAME`.
        ifname: String,
        /// What it is.
        kind: String,
    },
    /// The host end is not where the interface says, or not in the result.
    #[error("the host end of interface {ifname} cannot be limited: {reason}")]
    HostEnd {
        /// `CNI_IFNAME`.
        ifname: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Another program has put a discipline where ours must be.
    #[error(
        "link {link} already has a qdisc {kind} that is not ours: delete it (tc qdisc del dev {link} {place}), or \
         remove the limits of this network"
    )]
    Occupied {
        /// The link.
        link: String,
        /// Kind of what is there.
        kind: String,
        /// `root` or `ingress`.
        place: &'static str,
    },
    /// A link of our name is no ifb.
    #[error("link {name}, which should be the limiter of this attachment, is a {kind}; delete it")]
    NotIfb {
        /// Its name.
        name: String,
        /// What it is.
        kind: String,
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
            Error::Conf { .. }
            | Error::NoPrevResult { .. }
            | Error::NotVeth { .. }
            | Error::HostEnd { .. } => Code::INVALID_CONFIG,
            Error::Occupied { .. } | Error::NotIfb { .. } => Code::KERNEL,
            Error::RollbackIncomplete { .. } => Code::ROLLBACK_FAILED,
        };
        Self::new(code, error.to_string())
    }
}
