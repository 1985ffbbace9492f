//! The environment of a request: one table of variables, checked in its order.

use std::ffi::{OsStr, OsString};
use std::sync::Arc;

use crate::call::{Attachment, Command};
use crate::refusal::Refusal;

/// The variables that a plugin was started with; cheap to clone.
#[derive(Clone, Debug)]
pub struct Env {
    variables: Arc<[(OsString, OsString)]>,
    command: Option<Command>,
}

impl FromIterator<(OsString, OsString)> for Env {
    fn from_iter<I: IntoIterator<Item = (OsString, OsString)>>(variables: I) -> Self {
        Self { variables: variables.into_iter().collect(), command: None }
    }
}

impl Env {
    /// The value of a variable; an empty one counts as unset.
    pub(crate) fn get(&self, name: &str) -> Option<&OsStr> {
        if let ("CNI_COMMAND", Some(command)) = (name, self.command) {
            return Some(OsStr::new(command.as_str()));
        }
        let (_, value) = self.variables.iter().find(|(key, _)| key == name)?;
        Some(value.as_os_str()).filter(|value| !value.is_empty())
    }

    fn text(&self, name: &'static str) -> Result<Option<&str>, Refusal> {
        self.get(name).map(|value| value.to_str().ok_or(Refusal::NotText { name })).transpose()
    }

    /// The same environment with another `CNI_COMMAND`, as a delegate gets it.
    pub(crate) fn with_command(&self, command: Command) -> Self {
        Self { variables: Arc::clone(&self.variables), command: Some(command) }
    }

    /// The same environment about another attachment, without a sandbox and without arguments: what a DEL gets when
    /// the runtime knows no more.
    pub(crate) fn about(&self, attachment: &Attachment) -> Self {
        let about = [
            ("CNI_CONTAINERID", attachment.container_id.as_str()),
            ("CNI_IFNAME", attachment.ifname.as_str()),
            ("CNI_NETNS", ""),
            ("CNI_ARGS", ""),
        ];
        let others = self.variables.iter().filter(|(key, _)| !about.iter().any(|(name, _)| key == name));
        let told = about.iter().map(|(key, value)| (OsString::from(key), OsString::from(value)));
        Self { variables: others.cloned().chain(told).collect(), command: self.command }
    }

    /// Every variable, as an executed delegate inherits them.
    pub(crate) fn exported(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        let forced = self.command.map(|command| (OsStr::new("CNI_COMMAND"), OsStr::new(command.as_str())));
        let inherited = self.variables.iter().map(|(key, value)| (key.as_os_str(), value.as_os_str()));
        inherited.chain(forced)
    }
}

/// Which verbs a variable is required for, and what its value has to look like.
struct Variable {
    name: &'static str,
    required: fn(Command) -> bool,
    check: fn(&str) -> Result<(), Refusal>,
}

/// In the order in which missing ones are named (contract §2, `skel`'s table). `CNI_ARGS` and
/// `CNI_NETNS_OVERRIDE` are never required.
const TABLE: [Variable; 4] = [
    Variable { name: "CNI_CONTAINERID", required: of_attachment, check: check_container_id },
    Variable { name: "CNI_NETNS", required: of_live_sandbox, check: |_| Ok(()) },
    Variable { name: "CNI_IFNAME", required: of_attachment, check: check_interface_name },
    Variable { name: "CNI_PATH", required: of_any_action, check: |_| Ok(()) },
];

fn of_attachment(command: Command) -> bool {
    matches!(command, Command::Add | Command::Del | Command::Check)
}

fn of_live_sandbox(command: Command) -> bool {
    matches!(command, Command::Add | Command::Check)
}

fn of_any_action(command: Command) -> bool {
    command != Command::Version
}

/// The verb of a request: an unknown one is refused only after stdin has been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    /// one of the six
    Known(Command),
    /// anything else
    Unknown(String),
}

/// What the environment says about a request.
#[derive(Clone, Debug)]
pub(crate) struct Parameters {
    /// `CNI_COMMAND`
    pub verb: Verb,
    /// `CNI_CONTAINERID`; empty for GC and STATUS
    pub container_id: String,
    /// `CNI_NETNS`
    pub netns: Option<String>,
    /// `CNI_IFNAME`; empty for GC and STATUS
    pub ifname: String,
    /// `CNI_ARGS`
    pub args: String,
}

impl Parameters {
    /// Reads the table: a malformed value is refused at once, missing ones all together.
    pub(crate) fn read(env: &Env) -> Result<Self, Refusal> {
        let Some(verb) = env.get("CNI_COMMAND") else {
            return Err(Refusal::MissingVariables { names: vec!["CNI_COMMAND"] });
        };
        let verb = match verb.to_str().and_then(Command::parse) {
            Some(command) => Verb::Known(command),
            None => Verb::Unknown(verb.to_string_lossy().into_owned()),
        };
        if let Verb::Known(command) = verb {
            check_table(env, command)?;
        }
        let of_attachment = matches!(verb, Verb::Known(command) if of_attachment(command));
        let text = |name| if of_attachment { env.text(name) } else { Ok(None) };
        let owned = |name| text(name).map(|value| value.unwrap_or_default().to_owned());
        Ok(Self {
            container_id: owned("CNI_CONTAINERID")?,
            netns: text("CNI_NETNS")?.map(str::to_owned),
            ifname: owned("CNI_IFNAME")?,
            args: owned("CNI_ARGS")?,
            verb,
        })
    }
}

fn check_table(env: &Env, command: Command) -> Result<(), Refusal> {
    let mut missing = Vec::new();
    for variable in TABLE.iter().filter(|variable| (variable.required)(command)) {
        match env.get(variable.name) {
            None => missing.push(variable.name),
            // a directory name need not be text
            Some(_) if variable.name == "CNI_PATH" => {}
            Some(_) => env.text(variable.name)?.map_or(Ok(()), variable.check)?,
        }
    }
    if missing.is_empty() { Ok(()) } else { Err(Refusal::MissingVariables { names: missing }) }
}

/// Whether the same-namespace test is switched off for this request.
pub(crate) fn overrides_netns_test(env: &Env) -> bool {
    env.get("CNI_NETNS_OVERRIDE").is_some_and(|value| value == "1" || value.eq_ignore_ascii_case("true"))
}

/// `^[a-zA-Z0-9][a-zA-Z0-9_.\-]*$`: container ids and network names.
pub(crate) fn is_plain_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

fn check_container_id(id: &str) -> Result<(), Refusal> {
    if is_plain_name(id) { Ok(()) } else { Err(Refusal::ContainerId { id: id.to_owned() }) }
}

/// The kernel's rules (`dev_valid_name`), plus the colon that netlink and ioctl aliases use.
fn check_interface_name(name: &str) -> Result<(), Refusal> {
    let problem = if name.len() > 15 {
        "interface name is too long"
    } else if matches!(name, "." | "..") {
        "interface name is . or .."
    } else if name.contains(|c: char| matches!(c, '/' | ':') || c.is_whitespace()) {
        "interface name contains / or : or whitespace characters"
    } else {
        return Ok(());
    };
    Err(Refusal::InterfaceName { problem, name: name.to_owned() })
}

#[cfg(test)]
#[path = "environment_tests.rs"]
mod tests;
