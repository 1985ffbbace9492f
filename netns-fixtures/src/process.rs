//! A program that runs beside the test: its log is kept, and it ends with its handle.

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::wait::within;

/// A running child of the test. Dropping it kills exactly this process and collects it.
pub struct Process {
    child: Child,
    log: PathBuf,
    name: String,
}

impl Process {
    /// Starts the command in the namespace of the calling thread; stdout and stderr are appended to `log`.
    pub(crate) fn start(mut command: Command, log: &Path) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        let out = File::options().create(true).append(true).open(log).expect("a log file can be made");
        let err = out.try_clone().expect("a descriptor can be copied");
        let child = command
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        Self { child, log: log.to_owned(), name }
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything that it has written so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read(&self.log).map(|text| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default()
    }

    /// Sends a signal to this process alone.
    pub fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).expect("a process id fits");
        kill(Pid::from_raw(id), signal).unwrap_or_else(|error| panic!("{signal} to {}: {error}", self.name));
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for its end; the test fails, with its log, if it outlives the limit.
    #[track_caller]
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        match within(limit, || self.child.try_wait().ok().flatten()) {
            Some(status) => status,
            None => panic!("{} still runs after {limit:?}; its log:\n{}", self.name, self.log()),
        }
    }

    /// SIGTERM, then waits for the end.
    #[track_caller]
    pub fn terminate(&mut self, limit: Duration) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.wait(limit)
    }

    /// SIGKILL, then collects it.
    pub fn kill(&mut self) {
        if self.is_running() {
            self.signal(Signal::SIGKILL);
            let status = self.wait(Duration::from_secs(10));
            assert!(status.signal().is_some() || status.code().is_some(), "a killed process has a status");
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The child may be gone already: nothing is left to end then.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
