//! From an environment and a configuration to one answer, refusing in the order of the Go library.

use std::io;

use crate::call::{Call, Command, valid_attachments};
use crate::environment::{Env, Parameters, Verb, is_plain_name, overrides_netns_test};
use crate::error::Error;
use crate::node::Node;
use crate::plugin::{Added, Plugin, Registry};
use crate::print;
use crate::refusal::Refusal;
use crate::result::AddResult;
use crate::sandbox;
use crate::version::{Numbers, Version};

/// What a plugin process leaves behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// nothing, or one JSON document
    pub stdout: String,
    /// free text
    pub stderr: String,
    /// exit status
    pub exit: u8,
}

/// Answers one request: the whole of a plugin process as a function.
///
/// `stdin` is not called for VERSION. Without `CNI_COMMAND` the answer says on stderr what the plugin is.
pub fn respond(
    env: &Env,
    stdin: impl FnOnce() -> io::Result<Vec<u8>>,
    plugin: &dyn Plugin,
    registry: Registry,
) -> Response {
    if env.get("CNI_COMMAND").is_none() {
        let versions: Vec<&str> = plugin.versions().iter().map(|version| version.as_str()).collect();
        let stderr =
            format!("{}\nCNI protocol versions supported: {}\n", plugin.about(), versions.join(", "));
        return Response { stderr, ..Response::default() };
    }
    match answer(env, stdin, plugin, registry) {
        Ok(stdout) => Response { stdout, ..Response::default() },
        Err(error) => Response { stdout: error.to_json(), exit: 1, ..Response::default() },
    }
}

fn answer(
    env: &Env,
    stdin: impl FnOnce() -> io::Result<Vec<u8>>,
    plugin: &dyn Plugin,
    registry: Registry,
) -> Result<String, Error> {
    let parameters = Parameters::read(env)?;
    if parameters.verb == Verb::Known(Command::Version) {
        return Ok(versions(plugin.versions()));
    }
    let stdin = stdin().map_err(Refusal::from)?;
    let admitted = Admitted::new(env, parameters, stdin, plugin.versions())?;
    admitted.refuse_own_namespace()?;
    let call = admitted.into_call(registry)?;
    match perform(plugin, &call)? {
        None => Ok(String::new()),
        Some(Added::Verbatim(text)) => Ok(text),
        Some(Added::Result(result)) => result.encode(call.version),
    }
}

/// Calls the verb's function; only ADD has something to say.
pub(crate) fn perform(plugin: &dyn Plugin, call: &Call) -> Result<Option<Added>, Error> {
    match call.command {
        Command::Add => return plugin.add(call).map(Some),
        Command::Del => plugin.del(call)?,
        Command::Check => plugin.check(call)?,
        Command::Gc => plugin.gc(call)?,
        Command::Status => plugin.status(call)?,
        Command::Version => {}
    }
    Ok(None)
}

/// The VERSION document: compact, with a newline, always led by the newest version (`PluginInfo.Encode`).
fn versions(supported: &[Version]) -> String {
    let list: Vec<String> = supported.iter().map(|version| print::quoted(version.as_str())).collect();
    format!("{{\"cniVersion\":\"{}\",\"supportedVersions\":[{}]}}\n", Version::NEWEST, list.join(","))
}

/// What a delegate that is linked in answers: as if it had been executed, but for the same-namespace test,
/// which the caller has passed in the same environment.
pub(crate) fn in_process(
    env: &Env,
    stdin: Vec<u8>,
    plugin: &dyn Plugin,
    registry: Registry,
) -> Result<(Added, Version), Error> {
    let call = admit(env, stdin, plugin.versions())?.into_call(registry)?;
    let added = perform(plugin, &call)?.unwrap_or_else(|| Added::Verbatim(String::new()));
    Ok((added, call.version))
}

/// The version that a configuration asks for, if it is one that we know.
pub(crate) fn version_of(config: &[u8]) -> Option<Version> {
    Node::parse(config).ok().and_then(|config| config_version(&config).ok().and_then(Version::parse))
}

/// Reads a request up to the point where the plugin would be called.
pub(crate) fn admit(env: &Env, stdin: Vec<u8>, supported: &[Version]) -> Result<Admitted, Refusal> {
    Admitted::new(env, Parameters::read(env)?, stdin, supported)
}

/// A request whose environment, network name and version have been accepted.
pub(crate) struct Admitted {
    env: Env,
    parameters: Parameters,
    command: Command,
    network: String,
    version: Version,
    stdin: Vec<u8>,
    config: Node,
}

impl Admitted {
    /// Contract §3, steps 3 to 6.
    fn new(
        env: &Env,
        parameters: Parameters,
        stdin: Vec<u8>,
        supported: &[Version],
    ) -> Result<Self, Refusal> {
        let config =
            Node::parse(&stdin).map_err(|cause| Refusal::ConfigNotJson { cause: cause.to_string() })?;
        let network = network_name(&config)?.to_owned();
        let command = match &parameters.verb {
            Verb::Known(command) => *command,
            Verb::Unknown(verb) => return Err(Refusal::UnknownCommand { verb: verb.clone() }),
        };
        let version = accept_version(command, config_version(&config)?, supported)?;
        Ok(Self { env: env.clone(), parameters, command, network, version, stdin, config })
    }

    fn refuse_own_namespace(&self) -> Result<(), Refusal> {
        match (self.command, &self.parameters.netns) {
            (Command::Add | Command::Del, Some(netns)) if !overrides_netns_test(&self.env) => {
                sandbox::refuse_own(netns)
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn into_call(self, registry: Registry) -> Result<Call, Refusal> {
        let prev_result =
            match self.config.field("prevResult").map(|node| AddResult::previous(node, self.version)) {
                Some(Err(cause)) if matches!(self.command, Command::Add | Command::Check) => {
                    return Err(Refusal::PrevResult { cause: Box::new(cause) });
                }
                decoded => decoded.and_then(Result::ok),
            };
        let valid_attachments =
            if self.command == Command::Gc { valid_attachments(&self.config, &self.network)? } else { None };
        Ok(Call {
            command: self.command,
            network: self.network,
            version: self.version,
            container_id: self.parameters.container_id,
            ifname: self.parameters.ifname,
            netns: self.parameters.netns,
            args: self.parameters.args,
            stdin: self.stdin,
            prev_result,
            valid_attachments,
            env: self.env,
            registry,
            config: self.config,
        })
    }
}

fn network_name(config: &Node) -> Result<&str, Refusal> {
    match (config, config.field("name")) {
        (Node::Object(_), Some(Node::String(name))) if is_plain_name(name) => Ok(name),
        (Node::Object(_), Some(Node::String(name))) if !name.is_empty() => {
            Err(Refusal::NetworkName { name: name.clone() })
        }
        (Node::Object(_), Some(Node::String(_)) | None) | (Node::Null, _) => Err(Refusal::NoNetworkName),
        (Node::Object(_), Some(_)) => {
            Err(Refusal::ConfigNotJson { cause: "name: expected a string".to_owned() })
        }
        _ => Err(Refusal::ConfigNotJson { cause: "expected an object".to_owned() }),
    }
}

fn config_version(config: &Node) -> Result<&str, Refusal> {
    match config.field("cniVersion") {
        None => Ok(Version::V0_1_0.as_str()),
        Some(Node::String(text)) if text.is_empty() => Ok(Version::V0_1_0.as_str()),
        Some(Node::String(text)) => Ok(text),
        Some(_) => {
            let cause = "decoding version from network config: cniVersion: expected a string".to_owned();
            Err(Refusal::VersionText { cause })
        }
    }
}

/// Steps 5 and 6: gates by number for the newer verbs, then the exact spelling in the plugin's list.
fn accept_version(command: Command, config: &str, supported: &[Version]) -> Result<Version, Refusal> {
    let since = match command {
        Command::Check => Some(Version::V0_4_0),
        Command::Gc | Command::Status => Some(Version::V1_1_0),
        Command::Add | Command::Del | Command::Version => None,
    };
    if let Some(since) = since {
        let numbers = Numbers::parse(config).map_err(|cause| Refusal::VersionText { cause })?;
        let refuse =
            |holder| Refusal::VerbTooNew { holder, verb: command.as_str(), version: config.to_owned() };
        if numbers < since.numbers() {
            return Err(refuse("config"));
        }
        if !supported.iter().any(|version| version.numbers() >= numbers) {
            return Err(refuse("plugin"));
        }
    }
    let exact = supported.iter().find(|version| version.as_str() == config);
    exact
        .copied()
        .ok_or_else(|| Refusal::Incompatible { config: config.to_owned(), supported: supported.to_vec() })
}

#[cfg(test)]
#[path = "dispatch_tests.rs"]
mod tests;
