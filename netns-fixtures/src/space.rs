//! What nodes and pods have in common: a namespace in which a test runs closures and programs.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use kernel::Netns;

use crate::process::Process;

/// A network namespace that a test can act in.
pub trait Space: Sync + Sized {
    /// The namespace itself.
    fn netns(&self) -> &Netns;

    /// The path of the namespace for another process, as a runtime would put it into `CNI_NETNS`.
    fn path(&self) -> String {
        self.netns().path().display().to_string()
    }

    /// Runs `act` on a thread inside the namespace.
    fn inside<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        self.netns().run(act).expect("a scratch thread enters the namespace")
    }

    /// Runs a program to its end inside the namespace, whatever its exit status.
    fn output(&self, mut command: Command) -> Output {
        command.stdin(Stdio::null());
        let name = format!("{command:?}");
        self.inside(move || command.output()).unwrap_or_else(|error| panic!("cannot start {name}: {error}"))
    }

    /// Starts a program inside the namespace; it ends with the returned handle. Its output goes to `log`.
    fn start(&self, command: Command, log: &Path) -> Process {
        let log = log.to_owned();
        self.inside(move || Process::start(command, &log))
    }

    /// Runs one command line, split at white space, and returns what it printed; the test fails if the command does.
    #[track_caller]
    fn run(&self, line: &str) -> String {
        let output = self.output(words(line));
        assert!(output.status.success(), "`{line}` failed: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Whether one command line, split at white space, ends with success.
    fn succeeds(&self, line: &str) -> bool {
        self.output(words(line)).status.success()
    }

    /// The value of a sysctl of this namespace; `key` as below `/proc/sys`, with slashes. `None` when there is none.
    fn sysctl(&self, key: &str) -> Option<String> {
        let path = Path::new("/proc/sys").join(key);
        self.inside(move || std::fs::read_to_string(path)).ok().map(|text| text.trim().to_owned())
    }

    /// Sets a sysctl of this namespace.
    #[track_caller]
    fn set_sysctl(&self, key: &str, value: &str) {
        let path = Path::new("/proc/sys").join(key);
        self.inside(|| std::fs::write(&path, value))
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// The names of the links in this namespace, sorted.
    fn link_names(&self) -> Vec<String> {
        let mut names: Vec<String> = crate::snapshot::json(self, "ip -j link show")
            .iter()
            .filter_map(|link| link["ifname"].as_str().map(str::to_owned))
            .collect();
        names.sort();
        names
    }
}

/// A command from one line without quoting rules.
pub(crate) fn words(line: &str) -> Command {
    let mut parts = line.split_whitespace();
    let mut command = Command::new(parts.next().expect("a command line has a program"));
    command.args(parts);
    command
}
