//! What can go wrong while ports are published, checked or withdrawn, and the CNI code of each.

pub use attach::Error;
use cni::Code;

/// What only portmap can meet.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The result of the plugins before has no address for this interface.
    #[error("prevResult of network \"{network}\" has no address of {ifname}: no port can lead there")]
    NoAddress {
        /// Network name.
        network: String,
        /// `CNI_IFNAME`.
        ifname: String,
    },
    /// Another attachment that lives has the host port.
    #[error("host port {port} is already published for another attachment, which is alive: {owner}")]
    PortTaken {
        /// Address, port and protocol.
        port: String,
        /// Network, interface and container of the owner, and where its port leads.
        owner: String,
    },
    /// Going back to the reference: it would not find this again.
    #[error("{what}")]
    NoReference {
        /// What, and why.
        what: String,
    },
    /// STATUS: the chosen backend cannot work here.
    #[error("portmap cannot publish ports on this node: {reason}")]
    NotAvailable {
        /// What is missing, and what to do.
        reason: String,
    },
}

impl attach::Cause for Cause {
    fn code(&self) -> Code {
        match self {
            Self::NoAddress { .. } => Code::INVALID_CONFIG,
            Self::PortTaken { .. } => Code::PORT_TAKEN,
            Self::NoReference { .. } => Code::UNSUPPORTED_FIELD,
            Self::NotAvailable { .. } => Code::NOT_AVAILABLE,
        }
    }
}
