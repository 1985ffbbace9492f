//! A real etcd server inside a node, started, hung, killed and restarted by the test.

use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::node::Node;
use crate::process::Process;
use crate::space::{Space, words};
use crate::wait::eventually;

const STARTS: Duration = Duration::from_secs(30);

/// One etcd server in a node's namespace, reachable there on loopback and at the given address, port 2379.
///
/// Its data outlives [`Etcd::kill`] and [`Etcd::stop`] and is gone with this value.
pub struct Etcd<'w> {
    node: &'w Node,
    address: String,
    more_flags: Vec<String>,
    dir: TempDir,
    process: Option<Process>,
}

impl<'w> Etcd<'w> {
    /// A server on `address` of the node, running and healthy.
    #[must_use]
    pub fn start(node: &'w Node, address: &str) -> Self {
        Self::start_with(node, address, &[])
    }

    /// The same with more flags of etcd's own.
    #[must_use]
    pub fn start_with(node: &'w Node, address: &str, more_flags: &[&str]) -> Self {
        let dir =
            tempfile::Builder::new().prefix("ironbridge-etcd-").tempdir().expect("a temporary directory");
        let more_flags = more_flags.iter().map(|&flag| flag.to_owned()).collect();
        let mut server = Self { node, address: address.to_owned(), more_flags, dir, process: None };
        server.restart();
        server
    }

    /// The client URL for `-etcd-endpoints`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}:2379", self.address)
    }

    /// Starts the server again on its data, after [`Self::kill`] or [`Self::stop`], and waits until it is healthy.
    pub fn restart(&mut self) {
        let mut process = self.launch();
        eventually("etcd answers", STARTS, || {
            assert!(process.is_running(), "etcd ended at its start:\n{}", process.log());
            self.try_ctl(&["endpoint", "health"]).map(drop)
        });
        self.process = Some(process);
    }

    /// Starts it again and does not ask whether it is healthy: one with authentication would not say.
    pub fn restart_unasked(&mut self) {
        self.process = Some(self.launch());
    }

    fn launch(&self) -> Process {
        assert!(self.process.is_none(), "etcd runs already");
        let clients = format!("{},http://127.0.0.1:2379", self.endpoint());
        let mut command = Command::new("etcd");
        command
            .args(["--name", "test", "--data-dir"])
            .arg(self.dir.path().join("data"))
            .args(["--listen-client-urls", &clients, "--advertise-client-urls", &self.endpoint()])
            .args(["--listen-peer-urls", "http://127.0.0.1:2380", "--log-level", "warn"])
            .args(["--initial-advertise-peer-urls", "http://127.0.0.1:2380"])
            .args(["--initial-cluster", "test=http://127.0.0.1:2380", "--unsafe-no-fsync"])
            .args(&self.more_flags);
        self.node.start(command, &self.dir.path().join("log"))
    }

    /// SIGKILL: as a machine that lost power.
    pub fn kill(&mut self) {
        self.running().kill();
        self.process = None;
    }

    /// SIGTERM: an orderly stop.
    pub fn stop(&mut self) {
        self.running().terminate(STARTS);
        self.process = None;
    }

    /// SIGSTOP: connections stay open and nothing answers.
    pub fn hang(&mut self) {
        self.running().signal(Signal::SIGSTOP);
    }

    /// Lets a hung server go on.
    pub fn resume(&mut self) {
        self.running().signal(Signal::SIGCONT);
    }

    /// Everything that the server logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::log).unwrap_or_default()
    }

    /// Runs etcdctl in the node; the test fails if it does.
    #[track_caller]
    pub fn ctl(&self, words: &[&str]) -> String {
        match self.try_ctl(words) {
            Some(output) => output,
            None => panic!("etcdctl {words:?} failed; etcd's log:\n{}", self.log()),
        }
    }

    /// Writes a key.
    pub fn put(&self, key: &str, value: &str) {
        self.ctl(&["put", "--", key, value]);
    }

    /// Reads a key; `None` when it is absent.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<String> {
        let text = self.ctl(&["get", "--print-value-only", key]);
        (!text.is_empty()).then(|| text.trim_end_matches('\n').to_owned())
    }

    /// The keys below a prefix, sorted.
    #[must_use]
    pub fn keys(&self, prefix: &str) -> Vec<String> {
        let text = self.ctl(&["get", "--prefix", "--keys-only", prefix]);
        text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }

    /// Deletes a key or, with a prefix, everything below it.
    pub fn delete_prefix(&self, prefix: &str) {
        self.ctl(&["del", "--prefix", prefix]);
    }

    /// The store's revision.
    #[must_use]
    pub fn revision(&self) -> u64 {
        let text = self.ctl(&["get", "nothing", "-w", "json"]);
        let answer: serde_json::Value = serde_json::from_str(&text).expect("etcdctl prints JSON");
        answer["header"]["revision"].as_u64().expect("an answer has a revision")
    }

    /// Compacts everything up to now away.
    pub fn compact(&self) {
        self.ctl(&["compact", &self.revision().to_string()]);
    }

    fn try_ctl(&self, arguments: &[&str]) -> Option<String> {
        let mut command = words("etcdctl --endpoints http://127.0.0.1:2379 --command-timeout 5s");
        command.env("ETCDCTL_API", "3").args(arguments);
        let output = self.node.output(command);
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn running(&mut self) -> &mut Process {
        self.process.as_mut().expect("etcd runs")
    }
}
