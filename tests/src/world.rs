//! One node with an outside world, plugins and a state directory.

use std::path::Path;

use netns_fixtures::{Bins, Network, Node, Pod, Runtime, Snapshot, Space, Target, Underlay};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A node on an underlay, a directory of plugins, and a directory for IPAM's state.
pub struct World {
    /// Node 0 is the host; the hub is the outside world.
    pub underlay: Underlay,
    /// The plugins.
    pub bins: Bins,
    /// Where host-local keeps its reservations.
    pub state: TempDir,
    /// The version that networks of this world are written in: the newest that its plugins know.
    pub version: &'static str,
}

impl World {
    /// With our plugins as the installer lays them.
    pub fn ours() -> Self {
        Self::with(Bins::multicall())
    }

    /// With any directory of plugins.
    pub fn with(bins: Bins) -> Self {
        let state = TempDir::new().expect("a temporary directory");
        Self { underlay: Underlay::new(1), bins, state, version: "1.1.0" }
    }

    /// With the reference plugins of Debian's package.
    pub fn reference() -> Self {
        Self { version: "1.0.0", ..Self::with(Bins::reference()) }
    }

    /// The node on which plugins run.
    pub fn host(&self) -> &Node {
        self.underlay.node(0)
    }

    /// A runtime of the host.
    pub fn runtime(&self) -> Runtime<'_> {
        Runtime::new(self.host(), &self.bins)
    }

    /// A host-local configuration with one range set for each subnet.
    pub fn ipam(&self, subnets: &[&str]) -> Value {
        let ranges: Vec<Value> = subnets.iter().map(|subnet| json!([{"subnet": subnet}])).collect();
        json!({"type": "host-local", "dataDir": self.state.path(), "ranges": ranges})
    }

    /// A network of one bridge plugin on `cni0`, addresses from 10.66.0.0/24; `more` adds and replaces keys, null
    /// removes them.
    pub fn bridge(&self, more: &Value) -> Network {
        let plain = json!({"type": "bridge", "bridge": "cni0", "ipam": self.ipam(&["10.66.0.0/24"])});
        Network::new("proving", self.version).plugin(merged(plain, more))
    }

    /// Attaches a new pod with `eth0`; the test fails with the plugin's answer if that fails. The result is as the
    /// runtime got it; the runtime that did it is gone, and its cache with it.
    #[track_caller]
    pub fn attach(&self, network: &Network, container: &str) -> (Pod, Value) {
        let pod = Pod::new();
        let added = self.runtime().add(network, &Target::new(container, &pod.path()));
        (pod, added.unwrap_or_else(|failure| panic!("{failure}")))
    }

    /// Attaches and detaches a pod of the test's own, so that what attachments share is there.
    #[track_caller]
    pub fn warm(&self, network: &Network) {
        let (pod, runtime) = (Pod::new(), self.runtime());
        let target = Target::new("warm", &pod.path());
        runtime.add(network, &target).unwrap_or_else(|failure| panic!("{failure}"));
        runtime.del(network, &target).unwrap_or_else(|failure| panic!("{failure}"));
    }

    /// The state of the host.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::of(self.host())
    }

    /// The addresses that host-local holds for a network, sorted.
    pub fn reservations(&self, network: &str) -> Vec<String> {
        let Ok(files) = std::fs::read_dir(self.state.path().join(network)) else { return Vec::new() };
        let names = files.flatten().map(|file| file.file_name().to_string_lossy().into_owned());
        let mut addresses: Vec<String> =
            names.filter(|name| name.parse::<std::net::IpAddr>().is_ok()).collect();
        addresses.sort();
        addresses
    }

    /// Every file below the state directory: see [`files_below`].
    pub fn files(&self) -> Vec<String> {
        files_below(self.state.path())
    }

    /// The host's end of a pod's interface, by the result of its ADD.
    #[track_caller]
    pub fn host_end(&self, result: &Value) -> String {
        result["interfaces"][1]["name"].as_str().expect("a result names the host's end").to_owned()
    }

    /// A field of a link as `ip -j -d link` shows it, by JSON pointer, for example `/linkinfo/info_slave_data/hairpin`.
    pub fn link_field(&self, space: &impl Space, link: &str, pointer: &str) -> Value {
        let text = space.run(&format!("ip -j -d link show dev {link}"));
        let links: Value = serde_json::from_str(&text).expect("ip prints JSON");
        links[0].pointer(pointer).cloned().unwrap_or(Value::Null)
    }
}

/// Every file below a directory, sorted. A reservation in the making is left out: it is one file for all, which the next one
/// overwrites.
pub fn files_below(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![directory.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if entry.file_name() != ".ironbridge-reservation" {
                found.push(path.display().to_string());
            }
        }
    }
    found.sort();
    found
}

/// An object with the keys of `more` added or replaced; a null removes.
pub fn merged(mut plain: Value, more: &Value) -> Value {
    for (key, value) in more.as_object().expect("a JSON object") {
        if value.is_null() {
            plain.as_object_mut().expect("a JSON object").remove(key);
        } else {
            plain[key] = value.clone();
        }
    }
    plain
}

/// The nth address of a result, without its prefix.
#[track_caller]
pub fn address(result: &Value, nth: usize) -> String {
    let Some(text) = result["ips"][nth]["address"].as_str() else { panic!("no address {nth} in {result:#}") };
    text.split('/').next().unwrap_or_default().to_owned()
}
