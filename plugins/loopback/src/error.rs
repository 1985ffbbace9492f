//! What can go wrong with `lo`, and the CNI code of each.

use cni::{Cidr, Code};

/// An error of the loopback plugin.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `CNI_NETNS` is missing on disk, or no network namespace.
    #[error("the sandbox cannot be used: {0}")]
    Sandbox(kernel::Error),
    /// The kernel refused something; the text names what.
    #[error(transparent)]
    Kernel(kernel::Error),
    /// An address on `lo` that is none of 127.0.0.0/8 and `::1`.
    #[error(
        "lo of sandbox {sandbox} has the address {address}, which is no loopback address: take it from lo, \
         or give it to an interface of its own (a dummy)"
    )]
    ForeignAddress {
        /// The first such address.
        address: Cidr,
        /// `CNI_NETNS` as given.
        sandbox: String,
    },
    /// CHECK: `lo` is down.
    #[error("lo of sandbox {sandbox}: expected up, found down")]
    Down {
        /// `CNI_NETNS` as given.
        sandbox: String,
    },
    /// CHECK: an address of `prevResult` is not there.
    #[error("lo of sandbox {sandbox}: expected address {address}, found none such")]
    AddressGone {
        /// The address that ADD reported.
        address: Cidr,
        /// `CNI_NETNS` as given.
        sandbox: String,
    },
    /// CHECK: the sandbox itself is gone.
    #[error("nothing is left of container \"{container}\": {source}")]
    Gone {
        /// Container ID.
        container: String,
        /// Why it cannot be opened.
        source: kernel::Error,
    },
}

impl From<kernel::Error> for Error {
    fn from(error: kernel::Error) -> Self {
        Self::Kernel(error)
    }
}

impl Error {
    fn code(&self) -> Code {
        match self {
            Self::Sandbox(_) => Code::INVALID_NETNS,
            Self::Kernel(source) if source.is_transient() => Code::TRY_AGAIN_LATER,
            Self::Kernel(_) => Code::KERNEL,
            Self::ForeignAddress { .. } => Code::INVALID_CONFIG,
            Self::Down { .. } | Self::AddressGone { .. } => Code::CHECK_MISMATCH,
            Self::Gone { .. } => Code::UNKNOWN_CONTAINER,
        }
    }
}

impl From<Error> for cni::Error {
    fn from(error: Error) -> Self {
        Self::new(error.code(), error.to_string())
    }
}
