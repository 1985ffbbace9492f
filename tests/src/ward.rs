//! A node that is looked at by `ironbridge doctor`: with a daemon, with pods, with published ports.

use std::path::PathBuf;
use std::process::Command;

use netns_fixtures::{Bins, Daemon, Etcd, Network, Node, Pod, Runtime, Space, Target};
use serde_json::{Value, json};

use crate::cluster::{Attached, Cluster, options};

/// A node of a cluster, with a daemon and pods, that is looked at.
pub struct Ward<'w> {
    /// Its cluster, of two nodes.
    pub cluster: &'w Cluster,
    /// The daemons of both.
    pub daemons: Vec<Daemon<'w>>,
    _pods: Vec<Attached>,
}

impl<'w> Ward<'w> {
    /// Two pods on the node and one on the other.
    #[must_use]
    pub fn new(cluster: &'w Cluster, etcd: &Etcd) -> Self {
        let daemons = cluster.daemons(&options(etcd));
        cluster.await_routes(0, &[(&daemons[1], 1)]);
        let pods = [(0, "a"), (0, "b"), (1, "c")].map(|(n, name)| cluster.attach(n, &daemons[n], name));
        Self { cluster, daemons, _pods: pods.into() }
    }

    /// The node.
    #[must_use]
    pub fn node(&self) -> &Node {
        self.cluster.node(0)
    }

    /// The plugins' state on the node.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.cluster.folder.path().join(self.node().name())
    }

    /// The doctor, told where everything is.
    #[must_use]
    pub fn doctor(&self) -> Doctor {
        let socket = self.daemons[0].subnet_file().with_file_name("ironbridged.sock");
        Doctor { socket, subnet_file: self.daemons[0].subnet_file(), state: self.state() }
    }

    /// See [`Doctor::finds`].
    #[track_caller]
    pub fn finds(&self, name: &str, words: &[&str]) {
        self.doctor().finds(self.node(), name, words);
    }

    /// Nothing is found, and everything could be looked at.
    #[track_caller]
    pub fn is_sound(&self) {
        let (code, document) = self.doctor().look(self.node());
        assert_eq!((code, &document), (Some(0), &json!({"findings": [], "unseen": []})));
    }
}

/// How the doctor is called.
pub struct Doctor {
    /// The daemon's status socket.
    pub socket: PathBuf,
    /// The daemon's `subnet.env`.
    pub subnet_file: PathBuf,
    /// Where the state of the plugins is.
    pub state: PathBuf,
}

impl Doctor {
    /// The command line.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(Bins::command());
        command.arg("doctor").arg("--socket").arg(&self.socket).arg("--subnet-file").arg(&self.subnet_file);
        command
            .arg("--data-dir")
            .arg(self.state.join("networks"))
            .arg("--conf-dir")
            .arg(self.state.join("net.d"));
        command.arg("--root").arg(self.state.join("root"));
        command
    }

    /// Its exit status and its document.
    #[track_caller]
    pub fn look(&self, node: &Node) -> (Option<i32>, Value) {
        let mut command = self.command();
        command.arg("--json");
        let output = node.output(command);
        let told = String::from_utf8_lossy(&output.stdout);
        let document = serde_json::from_str(&told);
        (output.status.code(), document.unwrap_or_else(|e| panic!("{e}: {told}{output:?}")))
    }

    /// Exactly this finding, whose cause has these words, and a remedy.
    #[track_caller]
    pub fn finds(&self, node: &Node, name: &str, words: &[&str]) {
        let (code, document) = self.look(node);
        let findings = document["findings"].as_array().expect("findings are a list");
        assert!(code == Some(1) && findings.len() == 1, "{document:#}");
        let text = |key: &str| findings[0][key].as_str().unwrap_or_default().to_owned();
        assert_eq!(text("name"), name, "{document:#}");
        for word in words {
            assert!(text("cause").contains(word), "{word:?}: {document:#}");
        }
        assert!(!text("remedy").is_empty());
    }
}

/// A pod with a published port on the node; it is there as long as the value.
#[track_caller]
pub fn publish(ward: &Ward, container: &str, port: u16) -> Pod {
    let network = Network::new("cluster", "1.0.0")
        .plugin(json!({
            "type": "flannel", "subnetFile": ward.daemons[0].subnet_file(), "dataDir": ward.state().join("flannel"),
            "delegate": {"hairpinMode": true, "isDefaultGateway": true},
            "ipam": {"dataDir": ward.state().join("networks")},
        }))
        .plugin(json!({"type": "portmap", "capabilities": {"portMappings": true}}));
    let pod = Pod::new();
    let mapping = json!([{"hostPort": port, "containerPort": 80, "protocol": "tcp"}]);
    let target = Target::new(container, &pod.path()).capability("portMappings", mapping);
    let added = Runtime::new(ward.node(), &ward.cluster.bins).add(&network, &target);
    added.unwrap_or_else(|failure| panic!("{failure}"));
    pod
}
