//! A cluster of nodes with a daemon each: what the daemon's black-box tests share.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use netns_fixtures::{
    Bins, Daemon, DaemonOptions, Etcd, Network, Node, Pod, Runtime, Space, Target, Underlay, eventually,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::address;

/// flannel's default prefix.
pub const PREFIX: &str = "/coreos.com/network";
/// An IPv4 network. No node is given a subnet from 10.244.200.0 on: those are for the leases that tests write.
pub const V4: &str = r#"{"Network":"10.244.0.0/16","SubnetMax":"10.244.199.0","Backend":{"Type":"host-gw"}}"#;
/// Both families, and the same.
pub const DUAL: &str = r#"{"Network":"10.244.0.0/16","SubnetMax":"10.244.199.0","EnableIPv6":true,"IPv6Network":"fd44::/48",
    "Backend":{"Type":"host-gw"}}"#;
/// IPv6 alone.
pub const V6: &str =
    r#"{"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"fd44::/48","Backend":{"Type":"host-gw"}}"#;

const LARGE: &str = r#"{"Network":"10.128.0.0/9","SubnetMin":"10.130.0.0","SubnetMax":"10.140.0.0","Backend":{"Type":"host-gw"}}"#;

/// What the daemon does after an event takes much less; the tests run on busy machines.
pub const SOON: Duration = Duration::from_secs(5);
/// What needs a store to be found dead or alive again.
pub const HEARD: Duration = Duration::from_secs(30);

/// Nodes on an underlay, and the plugins.
pub struct Cluster {
    /// The nodes; the hub is the outside world and carries etcd.
    pub underlay: Underlay,
    /// Our plugins, as the installer lays them.
    pub bins: Bins,
    /// State of the plugins, one folder a node.
    pub folder: TempDir,
}

/// A pod on a node, attached through flannel, bridge and host-local.
pub struct Attached {
    /// The sandbox.
    pub pod: Pod,
    /// Its addresses, IPv4 first.
    pub addresses: Vec<String>,
}

impl Cluster {
    /// So many nodes.
    #[must_use]
    pub fn new(nodes: usize) -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        Self { underlay: Underlay::new(nodes), bins: Bins::multicall(), folder }
    }

    /// One node.
    #[must_use]
    pub fn node(&self, index: usize) -> &Node {
        self.underlay.node(index)
    }

    /// An etcd on the hub that holds this network configuration.
    #[must_use]
    pub fn etcd(&self, config: &str) -> Etcd<'_> {
        let etcd = Etcd::start(self.underlay.hub(), self.underlay.hub_ip());
        etcd.put(&config_key(), config);
        etcd
    }

    /// An etcd that takes thousands of leases at once, for a network with room for [`peers`], all on-link for node 0.
    #[must_use]
    pub fn large_etcd(&self) -> Etcd<'_> {
        self.node(0).run("ip address add 172.16.0.1/16 dev eth0");
        let etcd = Etcd::start_with(self.underlay.hub(), self.underlay.hub_ip(), &["--max-txn-ops=10000"]);
        etcd.put(&config_key(), LARGE);
        etcd
    }

    /// A daemon on each node, ready.
    #[must_use]
    pub fn daemons(&self, options: &DaemonOptions) -> Vec<Daemon<'_>> {
        let nodes = self.underlay.nodes().iter();
        let mut daemons: Vec<_> = nodes.map(|node| Daemon::start(node, options.clone())).collect();
        daemons.iter_mut().for_each(Daemon::await_ready);
        daemons
    }

    /// A new pod on the node of that daemon.
    #[track_caller]
    pub fn attach(&self, index: usize, daemon: &Daemon, name: &str) -> Attached {
        self.attach_by(index, &daemon.subnet_file(), name)
    }

    /// A new pod on a node by way of any daemon's `subnet.env`.
    #[track_caller]
    pub fn attach_by(&self, index: usize, subnet_file: &Path, name: &str) -> Attached {
        let own = self.folder.path().join(self.node(index).name());
        let network = Network::new("cluster", "1.0.0").plugin(json!({
            "type": "flannel", "subnetFile": subnet_file, "dataDir": own.join("flannel"),
            "delegate": {"hairpinMode": true, "isDefaultGateway": true},
            "ipam": {"dataDir": own.join("networks")},
        }));
        let (pod, runtime) = (Pod::new(), Runtime::new(self.node(index), &self.bins));
        let added = runtime.add(&network, &Target::new(name, &pod.path()));
        let result = added.unwrap_or_else(|failure| panic!("{failure}"));
        let count = result["ips"].as_array().map_or(0, Vec::len);
        Attached { pod, addresses: (0..count).map(|nth| address(&result, nth)).collect() }
    }

    /// The daemon's routes on a node, both families: destination to gateway (empty behind a nexthop object).
    #[must_use]
    pub fn routes(&self, index: usize) -> BTreeMap<String, String> {
        routes(self.node(index))
    }

    /// Waits until the node's routes are exactly those to these daemons' nodes.
    #[track_caller]
    pub fn await_routes(&self, index: usize, peers: &[(&Daemon, usize)]) -> BTreeMap<String, String> {
        let want: BTreeMap<String, String> =
            peers.iter().flat_map(|(daemon, at)| self.routes_to(daemon, *at)).collect();
        await_that(&format!("node {index} has the routes {want:?}"), || self.routes(index) == want);
        want
    }

    fn routes_to(&self, daemon: &Daemon, at: usize) -> Vec<(String, String)> {
        let v4 = subnet(daemon, "FLANNEL_SUBNET").map(|to| (to, self.underlay.ipv4(at).to_string()));
        let v6 = subnet(daemon, "FLANNEL_IPV6_SUBNET").map(|to| (to, self.underlay.ipv6(at).to_string()));
        v4.into_iter().chain(v6).collect()
    }
}

impl Attached {
    /// Its only or IPv4 address.
    #[must_use]
    pub fn ip(&self) -> &str {
        &self.addresses[0]
    }
}

/// Waits for something that the daemon does at once; how long it took.
#[track_caller]
pub fn await_that(what: &str, is_so: impl Fn() -> bool) -> Duration {
    let start = Instant::now();
    eventually(what, SOON, || is_so().then_some(()));
    start.elapsed()
}

/// A daemon's options on that etcd, with the masquerade.
#[must_use]
pub fn options(etcd: &Etcd) -> DaemonOptions {
    DaemonOptions::etcd(&etcd.endpoint()).flag("--ip-masq")
}

/// Where the network configuration is.
#[must_use]
pub fn config_key() -> String {
    format!("{PREFIX}/config")
}

/// Where the leases are.
#[must_use]
pub fn leases_prefix() -> String {
    format!("{PREFIX}/subnets/")
}

/// The subnet of a variable of `subnet.env`, with its host bits cleared: the daemon's subnets end in .0 and `::`.
#[must_use]
pub fn subnet(daemon: &Daemon, key: &str) -> Option<String> {
    let text = daemon.subnet_env(key)?;
    let (address, length) = text.split_once('/')?;
    let network = address.strip_suffix('1')?;
    Some(if network.ends_with('.') { format!("{network}0/{length}") } else { format!("{network}/{length}") })
}

/// The key of the lease of a daemon in an IPv4 network.
#[track_caller]
pub fn lease_key(daemon: &Daemon) -> String {
    let subnet = subnet(daemon, "FLANNEL_SUBNET").expect("the daemon has an IPv4 subnet");
    format!("{}{}", leases_prefix(), subnet.replace('/', "-"))
}

/// The daemon's routes in a namespace.
#[must_use]
pub fn routes(node: &impl Space) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for line in ["ip -j route show proto 73", "ip -6 -j route show proto 73"] {
        let listed: Value = serde_json::from_str(&node.run(line)).expect("ip prints JSON");
        for route in listed.as_array().into_iter().flatten() {
            let text = |key: &str| route[key].as_str().unwrap_or_default().to_owned();
            found.insert(text("dst"), text("gateway"));
        }
    }
    found
}

/// GET on the daemon's health port: status and body.
pub fn health(node: &Node, path: &str) -> io::Result<(u16, String)> {
    node.inside(|| {
        let mut stream = TcpStream::connect("127.0.0.1:8471")?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Ok((status, answer.split("\r\n\r\n").nth(1).unwrap_or_default().to_owned()))
    })
}

/// What `/readyz` says: its status and its document; status 0 while nobody listens.
#[must_use]
pub fn readyz(node: &Node) -> (u16, Value) {
    let (status, body) = health(node, "/readyz").unwrap_or_default();
    (status, serde_json::from_str(&body).unwrap_or(Value::Null))
}

/// One whole number of `/metrics`, named without the prefix of ours.
#[track_caller]
pub fn counted(node: &Node, sample: &str) -> u64 {
    let (_, text) = health(node, "/metrics").expect("the daemon serves /metrics");
    let line = text.lines().find(|line| line.starts_with(&format!("ironbridged_{sample} ")));
    let number = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
    number.unwrap_or_else(|| panic!("no {sample}:\n{text}"))
}

/// Leases of so many nodes of a large network, each with a gateway of its own, as keys and values.
#[must_use]
pub fn peers(count: u32) -> Vec<(String, String)> {
    let lease = |n: u32| {
        let (high, low) = (n / 256, n % 256);
        let value = format!(
            r#"{{"PublicIP":"172.16.{}.{low}","PublicIPv6":null,"BackendType":"host-gw"}}"#,
            high + 1
        );
        (format!("{}10.{}.{low}.0-24", leases_prefix(), 200 + high), value)
    };
    (0..count).map(lease).collect()
}

/// Writes many keys in one transaction; etcd must allow it (`--max-txn-ops`).
pub fn put_all(etcd_node: &Node, puts: &[(String, String)]) {
    let mut text = String::from("\n");
    for (key, value) in puts {
        writeln!(text, "put {key} {}", json!(value)).expect("a string can be written to");
    }
    text.push_str("\n\n");
    let folder = tempfile::tempdir().expect("a temporary directory");
    let file = folder.path().join("txn");
    std::fs::write(&file, text).expect("a file can be written");
    let mut command = Command::new("sh");
    let line = format!("ETCDCTL_API=3 etcdctl --command-timeout 30s txn < {}", file.display());
    command.args(["-c", &line]);
    let output = etcd_node.output(command);
    assert!(output.status.success(), "etcdctl txn: {}", String::from_utf8_lossy(&output.stderr));
}
