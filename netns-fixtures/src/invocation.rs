//! One run of one plugin with everything chosen by the test: environment, stdin and namespace.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::answer::Answer;
use crate::bins::Bins;
use crate::space::Space;

/// A plugin about to be run. Nothing is inherited but `PATH`.
#[derive(Clone)]
pub struct Invocation {
    program: PathBuf,
    before: Vec<String>,
    arguments: Vec<String>,
    environment: BTreeMap<String, String>,
    stdin: Vec<u8>,
}

impl Invocation {
    /// A plugin of a directory, with `CNI_PATH` set to that directory.
    #[must_use]
    pub fn new(bins: &Bins, plugin: &str) -> Self {
        let mut environment = BTreeMap::new();
        environment.insert("CNI_PATH".to_owned(), bins.dir().display().to_string());
        environment.insert("PATH".to_owned(), "/usr/sbin:/usr/bin:/sbin:/bin".to_owned());
        Self {
            program: bins.path(plugin),
            before: Vec::new(),
            arguments: Vec::new(),
            environment,
            stdin: Vec::new(),
        }
    }

    /// Words on the command line: for the operator's command, which is no plugin.
    #[must_use]
    pub fn arguments(mut self, words: &[&str]) -> Self {
        self.arguments = words.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// Any environment variable.
    #[must_use]
    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.environment.insert(key.to_owned(), value.to_owned());
        self
    }

    /// The same without one environment variable.
    #[must_use]
    pub fn without_env(mut self, key: &str) -> Self {
        self.environment.remove(key);
        self
    }

    /// `CNI_COMMAND`.
    #[must_use]
    pub fn verb(self, verb: &str) -> Self {
        self.env("CNI_COMMAND", verb)
    }

    /// `CNI_CONTAINERID`.
    #[must_use]
    pub fn container(self, id: &str) -> Self {
        self.env("CNI_CONTAINERID", id)
    }

    /// `CNI_NETNS`.
    #[must_use]
    pub fn netns(self, path: &str) -> Self {
        self.env("CNI_NETNS", path)
    }

    /// `CNI_IFNAME`.
    #[must_use]
    pub fn ifname(self, name: &str) -> Self {
        self.env("CNI_IFNAME", name)
    }

    /// Stdin as JSON.
    #[must_use]
    pub fn config(self, config: &Value) -> Self {
        self.stdin(config.to_string().as_bytes())
    }

    /// Stdin as bytes.
    #[must_use]
    pub fn stdin(mut self, bytes: &[u8]) -> Self {
        self.stdin = bytes.to_vec();
        self
    }

    /// Runs the plugin below another program: its words come first on the command line.
    #[must_use]
    pub fn under(mut self, program: &[&str]) -> Self {
        self.before = program.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// Runs it in a namespace to its end.
    #[track_caller]
    pub fn run(&self, host: &impl Space) -> Answer {
        let mut command = self.command();
        let input = &self.stdin;
        let started = Instant::now();
        let output = host.inside(move || {
            let mut child = spawn(&mut command)?;
            if let Some(mut stdin) = child.stdin.take() {
                // A plugin may end without reading (VERSION): a broken pipe is its right.
                stdin.write_all(input).ok();
            }
            child.wait_with_output()
        });
        let what =
            format!("{} {}", self.name(), self.environment.get("CNI_COMMAND").map_or("-", String::as_str));
        match output {
            Ok(output) => Answer::new(what, &output, started.elapsed()),
            Err(error) => panic!("{what}: cannot run {}: {error}", self.program.display()),
        }
    }

    fn name(&self) -> String {
        self.program.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    fn command(&self) -> Command {
        let mut words = self.before.iter();
        let mut command = match words.next() {
            Some(first) => {
                let mut command = Command::new(first);
                command.args(words).arg(&self.program);
                command
            }
            None => Command::new(&self.program),
        };
        command.args(&self.arguments);
        command.env_clear().envs(&self.environment).current_dir(Path::new("/"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

/// Starts a program; one that another thread's child still has open for writing is tried again, as libcni does.
fn spawn(command: &mut Command) -> std::io::Result<Child> {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        match command.spawn() {
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy && Instant::now() < deadline => {
                std::thread::yield_now();
            }
            outcome => return outcome,
        }
    }
}
