//! What can go wrong with a limiter, and the CNI code of each.

use cni::Code;

/// What only bandwidth can meet.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
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
}

impl attach::Cause for Cause {
    fn code(&self) -> Code {
        match self {
            Self::NotVeth { .. } | Self::HostEnd { .. } => Code::INVALID_CONFIG,
            Self::Occupied { .. } | Self::NotIfb { .. } => Code::KERNEL,
        }
    }
}
