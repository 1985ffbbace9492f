//! Everything that can go wrong in this plugin, and the one place where its CNI code is chosen.
use crate::owner::Owner;
use cni::{Cidr, Code};
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no `ipam` object.
    #[error("the configuration has no `ipam` section")]
    NoIpam,
    /// There is nothing to give out.
    #[error("no IP ranges specified: set `ipam.ranges`, or `ipam.subnet`")]
    NoRanges,
    /// A range set without a range.
    #[error("range set {set} is empty")]
    EmptySet {
        /// Its number.
        set: usize,
    },
    /// A range without its subnet.
    #[error("{place} has no `subnet`")]
    NoSubnet {
        /// Where it stands.
        place: String,
    },
    /// A subnet with less than two host bits.
    #[error("{range}: the network is too small to allocate from (at least two host bits are needed)")]
    TooSmall {
        /// The range.
        range: String,
    },
    /// A subnet that is not a network address.
    #[error("{range}: the network has host bits set; its network address is {network}")]
    HostBits {
        /// The range.
        range: String,
        /// What it should be.
        network: Cidr,
    },
    /// `rangeStart` is elsewhere.
    #[error("{range}: rangeStart {start} is not in the network")]
    StartOutside {
        /// The range.
        range: String,
        /// The refused value.
        start: IpAddr,
    },
    /// `rangeEnd` is elsewhere.
    #[error("{range}: rangeEnd {end} is not in the network")]
    EndOutside {
        /// The range.
        range: String,
        /// The refused value.
        end: IpAddr,
    },
    /// The range is empty, or would run out of its subnet.
    #[error("{range}: rangeStart {start} is after the end of the range, {end}")]
    EndBeforeStart {
        /// The range.
        range: String,
        /// First address.
        start: IpAddr,
        /// Last address, given or by default.
        end: IpAddr,
    },
    /// IPv4 and IPv6 in one set.
    #[error("range set {set} mixes address families: {one} and {other}; give each family a set of its own")]
    MixedFamilies {
        /// The set.
        set: usize,
        /// Its first range.
        one: String,
        /// The one of the other family.
        other: String,
    },
    /// Two ranges of a set share addresses.
    #[error("range set {set}: the ranges {one} and {other} overlap")]
    Overlap {
        /// The set.
        set: usize,
        /// One range.
        one: String,
        /// The other.
        other: String,
    },
    /// Two sets share addresses.
    #[error("range sets {one} ({ranges}) and {other} ({others}) overlap")]
    SetsOverlap {
        /// One set.
        one: usize,
        /// The other.
        other: usize,
        /// Ranges of the one.
        ranges: String,
        /// Ranges of the other.
        others: String,
    },
    /// The result layout of an old version has room for one address a family.
    #[error(
        "CNI version {version} does not support more than 1 address per family; there are {sets} range sets"
    )]
    TooManyAddresses {
        /// The configuration's version.
        version: cni::Version,
        /// How many addresses an ADD would give.
        sets: usize,
    },
    /// A requested address that is none.
    #[error("requested address {text:?} ({from}) is not an IP address")]
    BadRequest {
        /// As given.
        text: String,
        /// Which of the three ways it came.
        from: &'static str,
    },
    /// Requests that no range set can serve.
    #[error(
        "failed to allocate all requested IPs: {addresses}: outside of every range set, or more than one in a set"
    )]
    RequestsLeft {
        /// The addresses left over.
        addresses: String,
    },
    /// The gateway was asked for.
    #[error("requested ip {address} is the gateway of range {range}")]
    RequestIsGateway {
        /// The address.
        address: IpAddr,
        /// Its range.
        range: String,
    },
    /// A second ADD of one attachment.
    #[error(
        "{address} has been allocated to {owner} already, duplicate allocation is not allowed; DEL it first"
    )]
    AlreadyHeld {
        /// What it holds.
        address: IpAddr,
        /// The attachment.
        owner: Owner,
    },
    /// A requested address is somebody else's.
    #[error(
        "requested IP address {address} is not available in range set {set}: it is reserved for {holder}"
    )]
    Taken {
        /// The address.
        address: IpAddr,
        /// Ranges of the set.
        set: String,
        /// Who has it.
        holder: String,
    },
    /// ADD found no free address.
    #[error("no IP addresses available in range set: {ranges} (network {network}, range set {set})")]
    Exhausted {
        /// The network.
        network: String,
        /// Number of the set.
        set: usize,
        /// Its ranges.
        ranges: String,
    },
    /// STATUS found no free address.
    #[error(
        "no IP addresses available in range set: {ranges} (network {network}, range set {set}): ADD cannot be served"
    )]
    NotAvailable {
        /// The network.
        network: String,
        /// Number of the set.
        set: usize,
        /// Its ranges.
        ranges: String,
    },
    /// CHECK found no reservation.
    #[error("network {network} holds no address for {owner}")]
    NothingHeld {
        /// The network.
        network: String,
        /// The attachment.
        owner: Owner,
    },
    /// CHECK found other reservations than prevResult says.
    #[error(
        "prevResult gives {owner} the address {address}, which is reserved for {holder}; it holds {held}"
    )]
    Mismatch {
        /// The attachment.
        owner: Owner,
        /// Address of prevResult.
        address: IpAddr,
        /// Who has it.
        holder: String,
        /// What the attachment has.
        held: String,
    },
    /// Another process keeps the network's lock.
    #[error("network lock {} is still held by another process after {waited:?}; try again", path.display())]
    LockTimeout {
        /// The lock file.
        path: PathBuf,
        /// How long we waited.
        waited: Duration,
    },
    /// A file operation failed.
    #[error("{doing} {}: {source}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Several reservations could not be removed.
    #[error("{} reservations could not be removed: {}", failures.len(), failures.join("; "))]
    Several {
        /// One text each.
        failures: Vec<String>,
    },
}

impl Error {
    /// For `map_err`: a file operation on `path` failed.
    pub fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, path: path.into(), source }
    }

    /// The CNI code (design.md, table of error codes).
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::NoIpam
            | Self::NoRanges
            | Self::EmptySet { .. }
            | Self::NoSubnet { .. }
            | Self::TooSmall { .. }
            | Self::HostBits { .. }
            | Self::StartOutside { .. }
            | Self::EndOutside { .. }
            | Self::EndBeforeStart { .. }
            | Self::MixedFamilies { .. }
            | Self::Overlap { .. }
            | Self::SetsOverlap { .. }
            | Self::TooManyAddresses { .. }
            | Self::BadRequest { .. }
            | Self::RequestsLeft { .. }
            | Self::RequestIsGateway { .. } => Code::INVALID_CONFIG,
            Self::AlreadyHeld { .. } | Self::Taken { .. } => Code::ADDRESS_TAKEN,
            Self::Exhausted { .. } => Code::EXHAUSTED,
            Self::NotAvailable { .. } => Code::NOT_AVAILABLE,
            Self::NothingHeld { .. } => Code::UNKNOWN_CONTAINER,
            Self::Mismatch { .. } => Code::CHECK_MISMATCH,
            Self::LockTimeout { .. } => Code::TRY_AGAIN_LATER,
            Self::Io { .. } | Self::Several { .. } => Code::IO,
        }
    }
}

impl From<Error> for cni::Error {
    fn from(error: Error) -> Self {
        Self::new(error.code(), error.to_string())
    }
}
