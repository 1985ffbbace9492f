//! Why a request is refused or a delegate failed: every cause of this crate, and its one code.

use crate::error::{Code, Error};
use crate::print::{quoted, quoted_list};
use crate::version::Version;

/// A cause; its text is the error's `msg`, in the words of the Go library where that has words for it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("required env variables [{}] missing", names.join(","))]
    MissingVariables { names: Vec<&'static str> },
    #[error("{name} is not UTF-8 text")]
    NotText { name: &'static str },
    #[error("invalid characters in containerID")]
    ContainerId { id: String },
    #[error("{problem}")]
    InterfaceName { problem: &'static str, name: String },
    #[error("unknown CNI_COMMAND: {verb}")]
    UnknownCommand { verb: String },
    #[error("ARGS: invalid pair {}", quoted(pair))]
    ArgsPair { pair: String },
    #[error(
        "ARGS: error parsing value of pair {}: boolean unmarshal error: invalid input {value}",
        quoted(pair)
    )]
    ArgsIgnoreUnknown { pair: String, value: String },
    #[error("ARGS: unknown args {}", quoted_list(pairs.iter().map(String::as_str)))]
    ArgsUnknown { pairs: Vec<String> },
    #[error("error reading from stdin: {cause}")]
    Stdin {
        #[from]
        cause: std::io::Error,
    },
    #[error("error unmarshall network config: {cause}")]
    ConfigNotJson { cause: String },
    #[error("missing network name")]
    NoNetworkName,
    #[error("invalid characters found in network name")]
    NetworkName { name: String },
    #[error("{cause}")]
    VersionText { cause: String },
    #[error("{holder} version does not allow {verb}")]
    VerbTooNew { holder: &'static str, verb: &'static str, version: String },
    #[error("incompatible CNI versions")]
    Incompatible { config: String, supported: Vec<Version> },
    #[error("plugin's netns and netns from CNI_NETNS should not be the same")]
    OwnNetns { path: String },
    #[error("get plugin's netns failed: {cause}")]
    NoOwnNetns { cause: std::io::Error },
    #[error("failed to load netconf: {cause}")]
    Netconf { cause: String },
    #[error("failed to load netconf: cni.dev/valid-attachments: {cause}")]
    ValidAttachments { cause: String },
    #[error("could not parse prevResult: {cause}")]
    PrevResult {
        #[source]
        cause: Box<Refusal>,
    },
    #[error("its cniVersion is {version:?}, which is not of the layout of the configuration's {config}")]
    PrevResultVersion { version: String, config: Version },
    #[error("failed to unmarshal raw result: {cause}")]
    ResultNotJson { cause: String },
    #[error("unsupported CNI result version {version:?}")]
    ResultVersion { version: String },
    #[error("result of version {version} does not decode: {cause}")]
    ResultMisfit { version: Version, cause: String },
    #[error("cannot convert: no valid IP addresses")]
    NoAddress,
    #[error("no plugin name provided")]
    NoPluginName,
    #[error("invalid plugin name: {name}")]
    PluginName { name: String },
    #[error("no paths provided")]
    NoPaths,
    #[error("failed to find plugin {} in path [{path}]", quoted(name))]
    PluginNotFound { name: String, path: String },
    #[error("delegate {name} is being written: text file busy")]
    DelegateBusy { name: String },
    #[error("delegate {name} could not be run: {cause}")]
    DelegateNotRun { name: String, cause: std::io::Error },
    #[error("netplugin failed with no error message: {status}")]
    DelegateSilent { status: String },
    #[error("netplugin failed: {}: {status}", quoted(stderr))]
    DelegateStderr { stderr: String, status: String },
    #[error("netplugin failed but error parsing its diagnostic message {}: {cause}", quoted(stdout))]
    DelegateGarbled { stdout: String, cause: String },
}

impl Refusal {
    fn code(&self) -> Code {
        match self {
            Self::VerbTooNew { .. } | Self::Incompatible { .. } => Code::INCOMPATIBLE_VERSION,
            Self::MissingVariables { .. }
            | Self::NotText { .. }
            | Self::ContainerId { .. }
            | Self::InterfaceName { .. }
            | Self::UnknownCommand { .. }
            | Self::ArgsPair { .. }
            | Self::ArgsIgnoreUnknown { .. }
            | Self::ArgsUnknown { .. }
            | Self::NoPaths => Code::INVALID_ENVIRONMENT,
            Self::Stdin { .. } | Self::DelegateNotRun { .. } => Code::IO,
            Self::ConfigNotJson { .. }
            | Self::VersionText { .. }
            | Self::ValidAttachments { .. }
            | Self::PrevResult { .. }
            | Self::PrevResultVersion { .. }
            | Self::ResultNotJson { .. }
            | Self::ResultVersion { .. }
            | Self::ResultMisfit { .. }
            | Self::DelegateSilent { .. }
            | Self::DelegateStderr { .. }
            | Self::DelegateGarbled { .. } => Code::DECODE,
            Self::NoNetworkName
            | Self::NetworkName { .. }
            | Self::Netconf { .. }
            | Self::NoAddress
            | Self::NoPluginName
            | Self::PluginName { .. }
            | Self::PluginNotFound { .. } => Code::INVALID_CONFIG,
            Self::OwnNetns { .. } | Self::NoOwnNetns { .. } => Code::INVALID_NETNS,
            Self::DelegateBusy { .. } => Code::TRY_AGAIN_LATER,
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "most causes say everything in their message")]
    fn details(&self) -> String {
        match self {
            Self::ContainerId { id: name } | Self::NetworkName { name } => name.clone(),
            Self::InterfaceName { name, .. } => format!("CNI_IFNAME is {}", quoted(name)),
            Self::UnknownCommand { .. } => "known are ADD, DEL, CHECK, GC, STATUS and VERSION".to_owned(),
            Self::VerbTooNew { version, .. } => format!("config is {}", quoted(version)),
            Self::Incompatible { config, supported } => format!(
                "config is {}, plugin supports {}",
                quoted(config),
                quoted_list(supported.iter().map(|version| version.as_str()))
            ),
            Self::OwnNetns { path } => format!("CNI_NETNS is {}", quoted(path)),
            Self::NoAddress => {
                "a result before 0.3.0 cannot be without an address: raise cniVersion".to_owned()
            }
            Self::PluginNotFound { .. } => "install it, or correct CNI_PATH or the type".to_owned(),
            _ => String::new(),
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.code(), refusal.to_string()).with_details(refusal.details())
    }
}
