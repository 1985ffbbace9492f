//! What the tests of the protocol share: one host, one sandbox, and a configuration that each plugin serves.

use netns_fixtures::{Answer, Bins, Invocation, Node, Pod, Snapshot, Space, assert_same};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{files_below, merged};

/// Every version of the protocol.
pub const VERSIONS: [&str; 7] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/// Every verb that is about an attachment or a network.
pub const VERBS: [&str; 5] = ["ADD", "DEL", "CHECK", "GC", "STATUS"];

/// Every plugin.
pub const PLUGINS: [&str; 10] = [
    "bridge",
    "host-local",
    "loopback",
    "flannel",
    "portmap",
    "bandwidth",
    "firewall",
    "tuning",
    "sbr",
    "vrf",
];

/// Those that come after a plugin that makes the interface.
pub const CHAINED: [&str; 6] = ["portmap", "bandwidth", "firewall", "tuning", "sbr", "vrf"];

/// The versions that a plugin serves: the reference's, with the newest.
#[must_use]
pub fn versions(plugin: &str) -> &'static [&'static str] {
    match plugin {
        "bandwidth" => &VERSIONS[2..],
        "firewall" => &VERSIONS[4..],
        "vrf" => &VERSIONS[3..],
        _ => &VERSIONS,
    }
}

/// Whether a version has a verb.
#[must_use]
pub fn has(version: &str, verb: &str) -> bool {
    let since = match verb {
        "CHECK" => "0.4.0",
        "STATUS" | "GC" => "1.1.0",
        _ => "0.1.0",
    };
    let place = |wanted: &str| VERSIONS.iter().position(|version| *version == wanted);
    place(version) >= place(since)
}

/// A host, a sandbox, our plugins in a layout, and a state directory with what `flannel` reads.
pub struct Contract {
    /// The host.
    pub host: Node,
    /// The sandbox.
    pub pod: Pod,
    /// The plugins.
    pub bins: Bins,
    /// State of all plugins.
    pub dir: TempDir,
}

impl Contract {
    /// An empty one.
    #[must_use]
    pub fn new(bins: Bins) -> Self {
        let dir = TempDir::new().unwrap();
        let subnet = "FLANNEL_NETWORK=10.70.0.0/16\nFLANNEL_SUBNET=10.70.1.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n";
        std::fs::write(dir.path().join("subnet.env"), subnet).unwrap();
        Self { host: Node::new("host"), pod: Pod::new(), bins, dir }
    }

    /// A configuration that the plugin serves, after what makes the interface if it is a chained one.
    #[must_use]
    pub fn config(&self, plugin: &str, version: &str) -> Value {
        let at = |name: &str| self.dir.path().join(name);
        let ipam = json!({"type": "host-local", "dataDir": at("ipam"), "subnet": "10.66.0.0/24"});
        let own = match plugin {
            "bridge" => json!({"bridge": "cni0", "isDefaultGateway": true, "ipam": ipam}),
            "host-local" => json!({"ipam": ipam}),
            "flannel" => json!({
                "subnetFile": at("subnet.env"), "dataDir": at("flannel"),
                "delegate": {"isDefaultGateway": true}, "ipam": {"dataDir": at("ipam")},
            }),
            "portmap" => json!({"runtimeConfig": {"portMappings": [
                {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"},
            ]}}),
            "bandwidth" => json!({"ingressRate": 1_000_000, "ingressBurst": 1_000_000,
                                  "egressRate": 1_000_000, "egressBurst": 1_000_000}),
            "firewall" => json!({"backend": "nftables"}),
            "tuning" => json!({"mtu": 1400, "dataDir": at("tuning")}),
            "vrf" => json!({"vrfname": "blue"}),
            _ => json!({}),
        };
        merged(own, &json!({"cniVersion": version, "name": "contract", "type": plugin}))
    }

    /// A complete request.
    #[must_use]
    pub fn request(&self, plugin: &str, verb: &str, config: &Value) -> Invocation {
        let request = Invocation::new(&self.bins, plugin).verb(verb).config(config);
        if ["GC", "STATUS"].contains(&verb) {
            return request;
        }
        request.container("c1").ifname("eth0").netns(&self.pod.path())
    }

    /// A request run to its end.
    #[track_caller]
    #[must_use]
    pub fn run(&self, plugin: &str, verb: &str, config: &Value) -> Answer {
        self.request(plugin, verb, config).run(&self.host)
    }

    /// What there is.
    #[must_use]
    pub fn state(&self) -> State {
        State {
            host: Snapshot::of(&self.host).without(is_shared),
            pod: Snapshot::of(&self.pod),
            files: files_below(self.dir.path()),
        }
    }
}

/// Host, sandbox and files, less what all attachments share and none takes away.
pub struct State {
    /// The host.
    pub host: Snapshot,
    /// The sandbox.
    pub pod: Snapshot,
    /// Files of all plugins.
    pub files: Vec<String>,
}

impl State {
    /// The same in all three.
    #[track_caller]
    pub fn assert_is(&self, after: &Self, when: &str) {
        assert_same(&self.host, &after.host, &format!("{when}: host"));
        assert_same(&self.pod, &after.pod, &format!("{when}: sandbox"));
        assert_eq!(self.files, after.files, "{when}: files");
    }
}

/// Tables and chains are made once; and loopback, once let through a bridge, stays so.
fn is_shared(section: &str, line: &str) -> bool {
    match section {
        "firewall" => {
            line.contains("ironbridge") && (!line.starts_with("element") || line.contains(" localnet "))
        }
        "sysctl" => line.contains("cni0/route_localnet"),
        _ => false,
    }
}
