//! The real `cnitool` of the CNI project, in a view of its own of `/var/lib/cni`.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;

use tempfile::TempDir;

use crate::bins::Bins;
use crate::network::Network;
use crate::node::Node;
use crate::space::Space;

/// cnitool on one node, with one network configured and a result cache of its own.
pub struct CniTool<'w> {
    node: &'w Node,
    bins: &'w Bins,
    network: String,
    dir: Arc<TempDir>,
}

impl<'w> CniTool<'w> {
    /// Writes the network's `.conflist` and readies an empty cache.
    #[must_use]
    pub fn new(node: &'w Node, bins: &'w Bins, network: &Network) -> Self {
        let dir =
            tempfile::Builder::new().prefix("ironbridge-cnitool-").tempdir().expect("a temporary directory");
        fs::create_dir(dir.path().join("net.d")).expect("a directory");
        fs::create_dir(dir.path().join("state")).expect("a directory");
        fs::write(dir.path().join("net.d/10-test.conflist"), network.conflist())
            .expect("a configuration file");
        Self { node, bins, network: network.name.clone(), dir: Arc::new(dir) }
    }

    /// The same tool, network and cache with other plugins: a node whose binaries were swapped.
    #[must_use]
    pub fn swapped<'b>(&self, bins: &'b Bins) -> CniTool<'b>
    where
        'w: 'b,
    {
        CniTool { node: self.node, bins, network: self.network.clone(), dir: Arc::clone(&self.dir) }
    }

    /// What the tool takes for `/var/lib/cni`: its cache.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// Runs `cnitool <verb> <network> <sandbox>` with capability arguments (a JSON object, or empty).
    #[must_use]
    pub fn run(&self, verb: &str, sandbox: &str, capabilities: &str) -> Output {
        // cnitool has no option for its cache, so the command sees a directory of the test's in its place.
        let script = "mkdir -p /var/lib/cni && mount --bind \"$1\" /var/lib/cni && shift && exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"]);
        command.arg(self.dir.path().join("state"));
        command.arg(program()).args([verb, &self.network, sandbox]);
        command.env("NETCONFPATH", self.dir.path().join("net.d")).env("CNI_PATH", self.bins.dir());
        command.env_remove("CNI_ARGS").env_remove("CNI_IFNAME").env_remove("CAP_ARGS");
        if !capabilities.is_empty() {
            command.env("CAP_ARGS", capabilities);
        }
        self.node.output(command)
    }

    /// The same; the test fails if cnitool does.
    #[track_caller]
    pub fn succeed(&self, verb: &str, sandbox: &str) -> String {
        let output = self.run(verb, sandbox, "");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "cnitool {verb} failed: {error}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// The binary that `./test` builds from the Go module: in `IRONBRIDGE_CNITOOL`, else in `target/tools`.
fn program() -> PathBuf {
    if let Some(path) = std::env::var_os("IRONBRIDGE_CNITOOL") {
        return path.into();
    }
    let test = std::env::current_exe().expect("the test knows its own path");
    let built = test.ancestors().map(|dir| dir.join("tools/cnitool")).find(|path| path.exists());
    built.unwrap_or_else(|| panic!("cnitool is not built: run ./test once, or set IRONBRIDGE_CNITOOL"))
}
