//! What can go wrong while an attachment is made, checked or removed, and the CNI code of each.

use std::net::IpAddr;

use cni::{Cidr, Code};

/// An error of an interface plugin. [`From`] for [`cni::Error`] chooses the code, once.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused something; the text names what.
    #[error(transparent)]
    Kernel(#[from] kernel::Error),
    /// The kernel refused something about a link, which its own text knows by number only.
    #[error("{link}: {source}")]
    Link {
        /// Interface name.
        link: String,
        /// Why.
        source: kernel::Error,
    },
    /// A delegated plugin failed, or the protocol layer did; the object goes to the runtime as it is.
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
    /// CHECK was called without the result of ADD.
    #[error("CHECK of network \"{network}\" needs prevResult, which the runtime did not send")]
    NoPrevResult {
        /// Network name.
        network: String,
    },
    /// A chained plugin was called without the result of the plugins before.
    #[error(
        "{plugin} of network \"{network}\" needs prevResult: put it behind the plugin that makes the interface"
    )]
    NotChained {
        /// The plugin.
        plugin: &'static str,
        /// Network name.
        network: String,
    },
    /// A field that is known, but not supported by this version.
    #[error("field \"{field}\" with value {value} is not supported: {remedy}")]
    Unsupported {
        /// Name as in the configuration.
        field: &'static str,
        /// Value as given.
        value: String,
        /// What to do instead.
        remedy: &'static str,
    },
    /// `CNI_NETNS` cannot be used as a sandbox.
    #[error("the sandbox of container \"{container}\" cannot be used: {source}")]
    Sandbox {
        /// Container ID.
        container: String,
        /// Why.
        source: kernel::Error,
    },
    /// The runtime asked twice for the same attachment.
    #[error(
        "container \"{container}\" is already attached to network \"{network}\" with interface {ifname} (host end {host}); call DEL first"
    )]
    AlreadyAttached {
        /// Container ID.
        container: String,
        /// Network name.
        network: String,
        /// `CNI_IFNAME`.
        ifname: String,
        /// The host end that exists.
        host: String,
    },
    /// The sandbox has an interface of that name already.
    #[error("interface {ifname} already exists in the sandbox {sandbox}")]
    InterfaceExists {
        /// `CNI_IFNAME`.
        ifname: String,
        /// `CNI_NETNS` as given.
        sandbox: String,
    },
    /// The configured bridge exists as something else.
    #[error("{name} exists but is a {kind}, not a bridge")]
    NotABridge {
        /// Interface name.
        name: String,
        /// Its kind.
        kind: String,
    },
    /// The bridge vanished while it was being set up.
    #[error("bridge {name} was deleted by another program while the attachment was being made")]
    BridgeGone {
        /// Interface name.
        name: String,
    },
    /// An interface vanished while it was being set up.
    #[error(
        "interface {name} is not there any more: another program deleted it while the attachment was being made"
    )]
    LinkGone {
        /// Interface name.
        name: String,
    },
    /// A bridge has at most 1,023 ports (`BR_MAX_PORTS` in `net/bridge/br_private.h`).
    #[error(
        "bridge {name} has no free port: the kernel allows 1,023; use another bridge, or fewer pods on this node"
    )]
    BridgeFull {
        /// Interface name.
        name: String,
    },
    /// The bridge carries another address of the family and `forceAddress` is off.
    #[error(
        "bridge {name} already has address {present}, which differs from the gateway {wanted}; remove it, or set forceAddress"
    )]
    AddressConflict {
        /// Bridge name.
        name: String,
        /// What is there.
        present: String,
        /// What the network needs.
        wanted: String,
    },
    /// IPAM answered without an address.
    #[error("IPAM plugin \"{ipam}\" returned no address")]
    NoAddress {
        /// `ipam.type`.
        ipam: String,
    },
    /// IPAM gave a gateway of the other family, or the like.
    #[error("IPAM plugin \"{ipam}\" returned address {address} with gateway {gateway} of another family")]
    GatewayFamily {
        /// `ipam.type`.
        ipam: String,
        /// The address.
        address: Cidr,
        /// Its gateway.
        gateway: IpAddr,
    },
    /// The host end's port did not come up in time.
    #[error("bridge port {name} did not come up within {waited_ms} ms (operational state {state})")]
    PortStayedDown {
        /// Host end.
        name: String,
        /// Milliseconds waited.
        waited_ms: u128,
        /// Last state seen.
        state: String,
    },
    /// An address that the caller wanted verified is a duplicate on the link.
    #[error(
        "address {address} on {ifname} is used by another host on the link (duplicate address detection failed)"
    )]
    Duplicate {
        /// The address.
        address: String,
        /// Interface in the sandbox.
        ifname: String,
    },
    /// Duplicate address detection did not come to an end in time.
    #[error("addresses of {ifname} are still being tested for duplicates after {waited_s} s")]
    StillTentative {
        /// Interface in the sandbox.
        ifname: String,
        /// Seconds waited.
        waited_s: u64,
    },
    /// A program that a backend needs could not be run or failed.
    #[error("{program}: {reason}")]
    Program {
        /// Program and arguments.
        program: String,
        /// What it said.
        reason: String,
    },
    /// Others changed the ruleset every time before ours could be applied.
    #[error("{doing}: the nftables ruleset was changed by others {tries} times meanwhile; try again later")]
    Restless {
        /// What was being done.
        doing: &'static str,
        /// How many times it was tried.
        tries: u32,
    },
    /// A cause that one plugin alone knows.
    #[error("{source}")]
    Own {
        /// Its CNI code.
        code: Code,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
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
    /// CHECK: nothing of the attachment is there.
    #[error("container \"{container}\" has no interface {ifname} in {sandbox}")]
    Gone {
        /// Container ID.
        container: String,
        /// `CNI_IFNAME`.
        ifname: String,
        /// `CNI_NETNS` as given.
        sandbox: String,
    },
    /// ADD failed, and so did taking back what it had done.
    #[error("{cause}; undoing it failed too: {}", .failures.join("; "))]
    RollbackIncomplete {
        /// Why ADD failed.
        cause: Box<Error>,
        /// What could not be undone.
        failures: Vec<String>,
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
            Self::Kernel(source) | Self::Link { source, .. } if source.is_transient() => {
                Code::TRY_AGAIN_LATER
            }
            Self::Restless { .. } => Code::TRY_AGAIN_LATER,
            Self::Own { code, .. } => *code,
            Self::Cni(object) => object.code,
            Self::Conf { .. }
            | Self::NoPrevResult { .. }
            | Self::NotChained { .. }
            | Self::NoAddress { .. }
            | Self::GatewayFamily { .. }
            | Self::NotABridge { .. }
            | Self::AddressConflict { .. } => Code::INVALID_CONFIG,
            Self::Unsupported { .. } => Code::UNSUPPORTED_FIELD,
            Self::Sandbox { .. } => Code::INVALID_NETNS,
            Self::Mismatch { .. } => Code::CHECK_MISMATCH,
            Self::Gone { .. } => Code::UNKNOWN_CONTAINER,
            Self::RollbackIncomplete { .. } => Code::ROLLBACK_FAILED,
            Self::Several(errors) => errors.first().map_or(Code::INTERNAL, Self::code),
            Self::Kernel(_)
            | Self::Link { .. }
            | Self::StillTentative { .. }
            | Self::AlreadyAttached { .. }
            | Self::InterfaceExists { .. }
            | Self::BridgeGone { .. }
            | Self::LinkGone { .. }
            | Self::BridgeFull { .. }
            | Self::PortStayedDown { .. }
            | Self::Duplicate { .. }
            | Self::Program { .. } => Code::KERNEL,
        }
    }
}

/// Names the link that a kernel error is about.
pub(crate) trait On<T> {
    /// The same, with the link's name before the kernel's text.
    fn on(self, link: &str) -> Result<T, Error>;
}

impl<T> On<T> for Result<T, kernel::Error> {
    fn on(self, link: &str) -> Result<T, Error> {
        self.map_err(|source| Error::Link { link: link.to_owned(), source })
    }
}
