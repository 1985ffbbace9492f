//! Finding a delegate on `CNI_PATH` and calling it: in-process where it is this very file, else by exec.

use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::call::{Attachment, Call, Command};
use crate::dispatch;
use crate::error::Error;
use crate::exec;
use crate::plugin::{Added, Plugin};
use crate::refusal::Refusal;
use crate::result::AddResult;
use crate::sandbox::identity;
use crate::version::Version;

/// Another plugin, called on behalf of a [`Call`] with its environment and configuration.
///
/// An error of the delegate keeps its code and message; its name is put before the details.
#[derive(Clone)]
pub struct Delegate<'a> {
    call: &'a Call,
    name: String,
    place: Place,
    /// other configuration than the caller's own
    config: Option<Vec<u8>>,
    /// other attachment than the caller's own
    about: Option<Attachment>,
}

#[derive(Clone)]
enum Place {
    /// linked into this executable, and found as this very file
    Here(&'static dyn Plugin),
    /// some other file
    File(PathBuf),
}

impl<'a> Delegate<'a> {
    pub(crate) fn find(call: &'a Call, name: &str) -> Result<Self, Refusal> {
        let (file, found) = find_in_path(name, call.path())?;
        let linked = call.registry.iter().find(|plugin| plugin.name() == name);
        let place = match linked.filter(|_| is_this_executable(&found)) {
            Some(plugin) => Place::Here(*plugin),
            None => Place::File(file),
        };
        Ok(Self { call, name: name.to_owned(), place, config: None, about: None })
    }

    /// The same delegate with another configuration; name, version and `prevResult` are read from it.
    #[must_use]
    pub fn with_stdin(self, config: Vec<u8>) -> Self {
        Self { config: Some(config), ..self }
    }

    /// The same delegate about another attachment, of which nothing but the identity is known: how a GC removes what
    /// the delegate has of it.
    #[must_use]
    pub fn for_attachment(self, attachment: &Attachment) -> Self {
        Self { about: Some(attachment.clone()), ..self }
    }

    /// ADD: the delegate's result in the newest layout, whatever version it was written in.
    pub fn add(&self) -> Result<AddResult, Error> {
        let result = match self.perform(Command::Add)? {
            (Added::Result(result), version) => result.seen_at(version),
            (Added::Verbatim(text), version) => AddResult::decode(text.as_bytes(), version),
        };
        result.map_err(|error| self.named(error))
    }

    /// ADD: the delegate's answer as it was written.
    pub fn raw_add(&self) -> Result<String, Error> {
        match self.perform(Command::Add)? {
            (Added::Result(result), version) => result.encode(version).map_err(|error| self.named(error)),
            (Added::Verbatim(text), _) => Ok(text),
        }
    }

    /// DEL.
    pub fn del(&self) -> Result<(), Error> {
        self.perform(Command::Del).map(drop)
    }

    /// CHECK.
    pub fn check(&self) -> Result<(), Error> {
        self.perform(Command::Check).map(drop)
    }

    /// GC.
    pub fn gc(&self) -> Result<(), Error> {
        self.perform(Command::Gc).map(drop)
    }

    /// STATUS.
    pub fn status(&self) -> Result<(), Error> {
        self.perform(Command::Status).map(drop)
    }

    /// The answer and the version to read or write it in.
    fn perform(&self, command: Command) -> Result<(Added, Version), Error> {
        let env = match &self.about {
            Some(attachment) => self.call.env.about(attachment),
            None => self.call.env.clone(),
        };
        let env = env.with_command(command);
        let stdin = self.config.as_ref().unwrap_or(&self.call.stdin);
        let answer = match &self.place {
            Place::Here(plugin) => dispatch::in_process(&env, stdin.clone(), *plugin, self.call.registry),
            Place::File(file) => exec::execute(&self.name, file, &env, stdin)
                .map(|stdout| (Added::Verbatim(stdout), self.assumed_version())),
        };
        answer.map_err(|error| self.named(error))
    }

    /// The version of an executed delegate's result that does not say: the configuration's.
    fn assumed_version(&self) -> Version {
        let own = self.config.as_ref().and_then(|config| dispatch::version_of(config));
        own.unwrap_or(self.call.version)
    }

    fn named(&self, error: Error) -> Error {
        let details = if error.details.is_empty() {
            self.name.clone()
        } else {
            format!("{}: {}", self.name, error.details)
        };
        error.with_details(details)
    }
}

/// Contract §9: the entries in order, the first regular file; whether it may be executed is not asked. An
/// empty entry is passed over: it would mean the working directory of the runtime.
fn find_in_path(name: &str, path: &OsStr) -> Result<(PathBuf, Metadata), Refusal> {
    if name.is_empty() {
        return Err(Refusal::NoPluginName);
    }
    if name.contains('/') {
        return Err(Refusal::PluginName { name: name.to_owned() });
    }
    if path.is_empty() {
        return Err(Refusal::NoPaths);
    }
    let directories = || path.as_bytes().split(|byte| *byte == b':').filter(|entry| !entry.is_empty());
    let candidates = directories().map(|directory| Path::new(OsStr::from_bytes(directory)).join(name));
    let regular = |file: PathBuf| {
        let found = fs::metadata(&file).ok().filter(Metadata::is_file)?;
        Some((file, found))
    };
    candidates.into_iter().find_map(regular).ok_or_else(|| {
        let path: Vec<_> = directories().map(String::from_utf8_lossy).collect();
        Refusal::PluginNotFound { name: name.to_owned(), path: path.join(" ") }
    })
}

/// Hard links of the multi-call binary share device and inode (design decision 2).
fn is_this_executable(found: &Metadata) -> bool {
    identity(Path::new("/proc/self/exe")).is_ok_and(|own| own == (found.dev(), found.ino()))
}

#[cfg(test)]
#[path = "delegate_tests.rs"]
mod tests;
