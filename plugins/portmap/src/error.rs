//! What can go wrong while ports are published, checked or withdrawn, and the CNI code of each.

use cni::Code;

/// An error of the plugin. [`From`] for [`cni::Error`] chooses the code, once.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused something; the text names what.
    #[error(transparent)]
    Kernel(#[from] kernel::Error),
    /// The protocol layer refused; the object goes to the runtime as it is.
    #[error(transparent)]
    Cni(#[from] cni::Error),
    /// The configuration is refused.
    #[error("invalid configuration of network \"{network}\": {reason}")]
    Conf {
        /// Network name.
        network: String,
        /// The field, its value and what is wrong with it.
        reason: String,
    },
    /// A field that is known, with a value that this plugin cannot serve.
    #[error("field \"{field}\" with value \"{value}\" is not supported: {remedy}")]
    Unsupported {
        /// Name as in the configuration.
        field: &'static str,
        /// Value as given.
        value: String,
        /// What to do instead.
        remedy: &'static str,
    },
    /// Called without the result of the plugins before.
    #[error(
        "portmap of network \"{network}\" needs prevResult: it must be called as a chained plugin, after the one that makes the interface"
    )]
    NoPrevResult {
        /// Network name.
        network: String,
    },
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
    /// Others changed the ruleset every time before ours could be applied.
    #[error("{doing}: the nftables ruleset was changed by others {tries} times meanwhile; try again later")]
    Restless {
        /// What was being done.
        doing: &'static str,
        /// How many times it was tried.
        tries: u32,
    },
    /// A program that the iptables backend needs could not be run or failed.
    #[error("{program}: {reason}")]
    Program {
        /// Program.
        program: String,
        /// What it said.
        reason: String,
    },
    /// CHECK: something differs from what ADD made.
    #[error("{what}: expected {expected}, found {found}")]
    Mismatch {
        /// The object.
        what: String,
        /// As ADD made it.
        expected: String,
        /// As it is.
        found: String,
    },
    /// STATUS: the chosen backend cannot work here.
    #[error("portmap cannot publish ports on this node: {reason}")]
    NotAvailable {
        /// What is missing, and what to do.
        reason: String,
    },
    /// Going back to the reference: it would not find this again.
    #[error("{what}")]
    NoReference {
        /// What, and why.
        what: String,
    },
    /// ADD failed, and so did taking back what it had done.
    #[error("{cause}; undoing it failed too: {failure}")]
    RollbackIncomplete {
        /// Why ADD failed.
        cause: Box<Error>,
        /// What could not be undone.
        failure: Box<Error>,
    },
    /// Several parts of a removal failed; each is named, none stopped the rest.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Several(Vec<Error>),
}

impl Error {
    /// The CNI error code of this error.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Kernel(source) if source.is_transient() => Code::TRY_AGAIN_LATER,
            Self::Restless { .. } => Code::TRY_AGAIN_LATER,
            Self::Cni(object) => object.code,
            Self::Conf { .. } | Self::NoPrevResult { .. } | Self::NoAddress { .. } => Code::INVALID_CONFIG,
            Self::Unsupported { .. } | Self::NoReference { .. } => Code::UNSUPPORTED_FIELD,
            Self::PortTaken { .. } => Code::PORT_TAKEN,
            Self::Mismatch { .. } => Code::CHECK_MISMATCH,
            Self::NotAvailable { .. } => Code::NOT_AVAILABLE,
            Self::RollbackIncomplete { .. } => Code::ROLLBACK_FAILED,
            Self::Several(errors) => errors.first().map_or(Code::INTERNAL, Self::code),
            Self::Kernel(_) | Self::Program { .. } => Code::KERNEL,
        }
    }

    /// One error for a list of them: success when it is empty.
    pub fn join(mut errors: Vec<Error>) -> Result<(), Error> {
        match errors.len() {
            0 => Ok(()),
            1 => errors.pop().map_or(Ok(()), Err),
            _ => Err(Self::Several(errors)),
        }
    }
}

impl From<Error> for cni::Error {
    fn from(error: Error) -> Self {
        if let Error::Cni(object) = error {
            return object;
        }
        Self::new(error.code(), error.to_string())
    }
}
