//! What can go wrong before and beside the delegate, and the CNI code of each.

use std::io;
use std::path::PathBuf;

use cni::Code;

/// An error of the flannel plugin.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The daemon has not written its file.
    #[error(
        "the subnet file {} does not exist: the daemon of this node writes it as soon as the node has its subnet. Look \
         whether ironbridged (or flanneld) runs here, what its /readyz answers, and what the end of its log says", .path.display()
    )]
    NoSubnetFile {
        /// As configured.
        path: PathBuf,
    },
    /// The daemon's file cannot be read.
    #[error("cannot read the subnet file {}: {source}", .path.display())]
    SubnetFile {
        /// As configured.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The daemon's file makes no sense.
    #[error(
        "the subnet file {} is of no use: {reason}. The daemon writes it anew when it is started again; its log says what it wrote",
        .path.display()
    )]
    BadSubnetFile {
        /// As configured.
        path: PathBuf,
        /// Line, key and value, or what is missing.
        reason: String,
    },
    /// The network's configuration is refused.
    #[error("invalid configuration of network \"{network}\": {field} {reason}")]
    Conf {
        /// Network name.
        network: String,
        /// Path of the field.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The directory of saved configurations, or a file in it.
    #[error("cannot {doing} the saved delegate configuration {}: {source}", .path.display())]
    State {
        /// "read", "write" or "remove".
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// STATUS: an ADD could not be served.
    #[error("network \"{network}\" cannot serve an ADD: {cause}")]
    NotAvailable {
        /// Network name.
        network: String,
        /// What stands in the way.
        cause: Box<Error>,
    },
    /// The delegate, or the search for it, failed; its object goes to the runtime as it is.
    #[error(transparent)]
    Delegate(#[from] cni::Error),
    /// Several parts of a collection failed; each is named, none stopped the rest.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Several(Vec<Error>),
}

impl Error {
    fn code(&self) -> Code {
        match self {
            Self::NoSubnetFile { .. } => Code::TRY_AGAIN_LATER,
            Self::SubnetFile { .. } | Self::State { .. } => Code::IO,
            Self::BadSubnetFile { .. } | Self::Conf { .. } => Code::INVALID_CONFIG,
            Self::NotAvailable { .. } => Code::NOT_AVAILABLE,
            Self::Delegate(object) => object.code,
            Self::Several(errors) => errors.first().map_or(Code::INTERNAL, Self::code),
        }
    }
}

impl From<Error> for cni::Error {
    fn from(error: Error) -> Self {
        if let Error::Delegate(object) = error {
            return object;
        }
        Self::new(error.code(), error.to_string())
    }
}
