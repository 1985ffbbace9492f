//! ironbridged in a node: started with flags, awaited by its own readiness, killed by its process id.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use tempfile::TempDir;

use crate::bins::Bins;
use crate::node::Node;
use crate::process::Process;
use crate::space::Space;
use crate::wait::{eventually, within};

const HEALTH_PORT: u16 = 8471;
const STARTS: Duration = Duration::from_secs(30);
const ENDS: Duration = Duration::from_secs(20);

/// How a daemon is started.
#[derive(Debug, Clone, Default)]
pub struct DaemonOptions {
    /// Flags beside the ones for the subnet file and health, such as `--iface=eth0`.
    pub flags: Vec<String>,
    /// More environment.
    pub environment: Vec<(String, String)>,
}

impl DaemonOptions {
    /// A daemon on the store at `endpoint`, on `eth0`.
    #[must_use]
    pub fn etcd(endpoint: &str) -> Self {
        Self::default().flag(&format!("--etcd-endpoints={endpoint}")).flag("--iface=eth0")
    }

    /// The same with one more flag.
    #[must_use]
    pub fn flag(mut self, flag: &str) -> Self {
        self.flags.push(flag.to_owned());
        self
    }
}

/// A daemon in a node. Its `subnet.env` outlives its process and is gone with this value.
pub struct Daemon<'w> {
    node: &'w Node,
    options: DaemonOptions,
    dir: TempDir,
    process: Option<Process>,
}

impl<'w> Daemon<'w> {
    /// Starts a daemon and waits until it is ready.
    #[must_use]
    pub fn ready(node: &'w Node, options: DaemonOptions) -> Self {
        let mut daemon = Self::start(node, options);
        daemon.await_ready();
        daemon
    }

    /// Starts a daemon and does not wait.
    #[must_use]
    pub fn start(node: &'w Node, options: DaemonOptions) -> Self {
        let dir = tempfile::Builder::new().prefix("ironbridged-").tempdir().expect("a temporary directory");
        let mut daemon = Self { node, options, dir, process: None };
        daemon.restart();
        daemon
    }

    /// Starts it again after [`Self::kill`] or [`Self::terminate`], with the same flags and files.
    pub fn restart(&mut self) {
        assert!(self.process.is_none(), "the daemon runs already");
        let mut command = Command::new(Bins::daemon());
        command.arg(format!("--subnet-file={}", self.subnet_file().display()));
        command.args(["--healthz-ip=127.0.0.1".to_owned(), format!("--healthz-port={HEALTH_PORT}")]);
        // All nodes of a test are one host; a later flag of the same name wins.
        command.arg(format!("--node-name={}", self.node.name()));
        command.args(&self.options.flags).envs(self.options.environment.iter().cloned());
        self.process = Some(self.node.start(command, &self.dir.path().join("log")));
    }

    /// Waits until `/readyz` says so; the test fails with the log if the daemon ends or takes too long.
    #[track_caller]
    pub fn await_ready(&mut self) {
        let ready = within(STARTS, || {
            let process = self.process.as_mut().expect("the daemon runs");
            if !process.is_running() {
                return Some(false);
            }
            (self.http("/readyz").ok()? == 200).then_some(true)
        });
        assert_eq!(
            ready,
            Some(true),
            "{}: the daemon is not ready; its log:\n{}",
            self.node.name(),
            self.log()
        );
    }

    /// The status of one GET on the health port.
    pub fn http(&self, path: &str) -> io::Result<u16> {
        let at = SocketAddr::from(([127, 0, 0, 1], HEALTH_PORT));
        self.node.inside(|| {
            let mut stream = TcpStream::connect_timeout(&at, Duration::from_secs(2))?;
            stream.set_read_timeout(Some(Duration::from_secs(2)))?;
            write!(stream, "GET {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
            status.ok_or_else(|| io::Error::other(format!("not HTTP: {answer:?}")))
        })
    }

    /// Where its `subnet.env` is.
    #[must_use]
    pub fn subnet_file(&self) -> PathBuf {
        self.dir.path().join("subnet.env")
    }

    /// A value of `subnet.env`, such as `FLANNEL_SUBNET`; `None` when the file or the key is absent.
    #[must_use]
    pub fn subnet_env(&self, key: &str) -> Option<String> {
        let text = fs::read_to_string(self.subnet_file()).ok()?;
        text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=').map(str::to_owned))
    }

    /// Everything that it logged, over all its lives.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Waits for a text in the log.
    #[track_caller]
    pub fn await_log(&self, text: &str) {
        eventually(&format!("the daemon logs {text:?}"), STARTS, || self.log().contains(text).then_some(()));
    }

    /// Waits for the daemon's own end.
    #[track_caller]
    pub fn await_end(&mut self) -> ExitStatus {
        let status = self.running().wait(STARTS);
        self.process = None;
        status
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.running().kill();
        self.process = None;
    }

    /// SIGTERM, and its exit status.
    pub fn terminate(&mut self) -> ExitStatus {
        let status = self.running().terminate(ENDS);
        self.process = None;
        status
    }

    /// Its process.
    pub fn running(&mut self) -> &mut Process {
        self.process.as_mut().expect("the daemon runs")
    }
}
