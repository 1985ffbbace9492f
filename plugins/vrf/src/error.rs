//! What can go wrong with a VRF, and the CNI code of each.

use cni::Code;

/// What only vrf can meet.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
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
}

impl attach::Cause for Cause {
    fn code(&self) -> Code {
        match self {
            Self::OtherTable { .. } => Code::INVALID_CONFIG,
            Self::NotVrf { .. } | Self::Controlled { .. } => Code::KERNEL,
        }
    }
}
