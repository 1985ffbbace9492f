//! One verb on one plugin: everything that a plugin function is told.

use std::ffi::OsStr;
use std::fmt;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::args::parse_args;
use crate::delegate::Delegate;
use crate::dispatch;
use crate::environment::Env;
use crate::error::Error;
use crate::folded::from_node;
use crate::node::Node;
use crate::plugin::Registry;
use crate::refusal::Refusal;
use crate::result::AddResult;
use crate::version::Version;

/// A verb of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// attach
    Add,
    /// detach
    Del,
    /// compare with what ADD made; from 0.4.0 on
    Check,
    /// remove what is no longer valid; from 1.1.0 on
    Gc,
    /// could an ADD be served; from 1.1.0 on
    Status,
    /// which versions are supported
    Version,
}

impl Command {
    const ALL: [Self; 6] = [Self::Add, Self::Del, Self::Check, Self::Gc, Self::Status, Self::Version];

    /// The verb as `CNI_COMMAND` spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
            Self::Check => "CHECK",
            Self::Gc => "GC",
            Self::Status => "STATUS",
            Self::Version => "VERSION",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|command| command.as_str() == text)
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What identifies an attachment: one interface of one container on one network.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attachment {
    /// name of the network
    pub network: String,
    /// `CNI_CONTAINERID`
    pub container_id: String,
    /// `CNI_IFNAME`
    pub ifname: String,
}

/// One verb on one plugin, checked as far as the protocol goes.
#[derive(Clone, Debug)]
pub struct Call {
    /// the verb
    pub command: Command,
    /// `name` of the configuration
    pub network: String,
    /// `cniVersion` of the configuration, which the answer is written in
    pub version: Version,
    /// `CNI_CONTAINERID`; empty for GC and STATUS
    pub container_id: String,
    /// `CNI_IFNAME`; empty for GC and STATUS
    pub ifname: String,
    /// `CNI_NETNS` as given; None when empty, and for GC and STATUS
    pub netns: Option<String>,
    /// `CNI_ARGS` as given
    pub args: String,
    /// the configuration as it was read, byte for byte
    pub stdin: Vec<u8>,
    /// `prevResult`, in the newest layout. One that does not decode is an error of ADD and CHECK; the other
    /// verbs go without it, so that a damaged one never keeps a DEL from removing.
    pub prev_result: Option<AddResult>,
    /// GC: the attachments that stay; None when the key is absent, which is no information, not "none"
    pub valid_attachments: Option<Vec<Attachment>>,
    pub(crate) env: Env,
    pub(crate) registry: Registry,
    pub(crate) config: Node,
}

impl Call {
    /// Reads a request as `run` does, without the same-namespace test: for a plugin's own tests and for fuzzing.
    pub fn read(env: &Env, stdin: Vec<u8>, supported: &[Version], registry: Registry) -> Result<Self, Error> {
        Ok(dispatch::admit(env, stdin, supported)?.into_call(registry)?)
    }

    /// The attachment that an ADD, DEL or CHECK is about.
    #[must_use]
    pub fn attachment(&self) -> Attachment {
        Attachment {
            network: self.network.clone(),
            container_id: self.container_id.clone(),
            ifname: self.ifname.clone(),
        }
    }

    /// The configuration as the plugin's own type, by the rules of [`crate::from_json`]. Code 7.
    pub fn conf<T: DeserializeOwned>(&self) -> Result<T, Error> {
        Ok(from_node(&self.config).map_err(|cause| Refusal::Netconf { cause: cause.to_string() })?)
    }

    /// `CNI_ARGS` by the rules of [`crate::parse_args`]. Code 4.
    pub fn cni_args(&self, known: &[&str]) -> Result<Vec<(String, String)>, Error> {
        parse_args(&self.args, known)
    }

    /// Finds a delegate on `CNI_PATH`: the first regular file of that name. Code 7, or 4 without a path.
    pub fn delegate(&self, plugin: &str) -> Result<Delegate<'_>, Error> {
        Ok(Delegate::find(self, plugin)?)
    }

    pub(crate) fn path(&self) -> &OsStr {
        self.env.get("CNI_PATH").unwrap_or_default()
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Valid {
    #[serde(rename = "containerID")]
    container_id: String,
    ifname: String,
}

/// The attachments of a GC; the misspelt `cni.dev/attachments` that libcni sends too is not looked at.
pub(crate) fn valid_attachments(config: &Node, network: &str) -> Result<Option<Vec<Attachment>>, Refusal> {
    let Some(list) = config.field("cni.dev/valid-attachments") else { return Ok(None) };
    let list: Vec<Valid> =
        from_node(list).map_err(|cause| Refusal::ValidAttachments { cause: cause.to_string() })?;
    let attachment =
        |Valid { container_id, ifname }| Attachment { network: network.to_owned(), container_id, ifname };
    Ok(Some(list.into_iter().map(attachment).collect()))
}
