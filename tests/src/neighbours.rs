//! A node with pods and published ports beside another firewall, for the tests that say which traffic passes.

use std::net::SocketAddr;

use netns_fixtures::{Answer, Bins, Echo, Network, Pod, Protocol, Space, Target, assert_ping, tcp_echo};
use serde_json::{Value, json};

use crate::ports::{mapping, published, target};
use crate::{World, merged};

/// The way of a published port: on the node, and in the pod.
const PORTS: (u16, u16) = (8080, 80);
/// What listens on the node itself.
const OF_NODE: u16 = 82;

const BRIDGE_SWITCHES: [&str; 2] =
    ["net/bridge/bridge-nf-call-iptables", "net/bridge/bridge-nf-call-ip6tables"];

/// The flows of [`Scene::stopped`] that the node forwards.
pub const FORWARDED: [&str; 5] = ["across", "in", "in6", "out", "out6"];

/// A node with `web` (published) and `beside` on one bridge, `across` on another, and servers everywhere.
pub struct Scene {
    /// The node and the outside world.
    pub world: World,
    /// `PATH` of the plugins.
    pub path: String,
    /// Words that the plugins run below: where the other firewall's sockets are.
    pub under: Vec<String>,
    /// The published pod, 10.66.0.2; `beside` is 10.66.0.3.
    pub web: Pod,
    /// The pod on the second bridge, 10.67.0.2.
    pub across: Pod,
    beside: Pod,
    networks: [Network; 2],
    results: Vec<Value>,
    servers: Vec<Echo>,
}

impl Default for Scene {
    fn default() -> Self {
        Self::new()
    }
}

impl Scene {
    /// Pods of `bridge` and `portmap`, without the firewall plugin.
    pub fn new() -> Self {
        let world = World::with(Bins::only(&["bridge", "host-local", "portmap", "firewall"]));
        bridged_frames_meet_iptables(&world, "0");
        let first = published(&world, &json!({}));
        let mut second = published(&world, &json!({}));
        "second".clone_into(&mut second.name);
        second.plugins[0]["bridge"] = json!("cni1");
        second.plugins[0]["ipam"] = world.ipam(&["10.67.0.0/24", "fd67::/64"]);
        let mut scene = Self {
            world,
            path: "/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
            under: Vec::new(),
            web: Pod::new(),
            across: Pod::new(),
            beside: Pod::new(),
            networks: [first, second],
            results: Vec::new(),
            servers: Vec::new(),
        };
        scene.attach();
        // A bridge that was just made has no link-local address yet, and asks for no neighbour before it has.
        for pod in ["fd66::2", "fd66::3", "fd67::2"] {
            assert_ping(scene.world.host(), pod);
        }
        let pods = [&scene.web, &scene.beside, &scene.across];
        let mut servers = Vec::from(pods.map(|pod| Echo::start(pod, Protocol::Tcp, PORTS.1)));
        servers.push(Echo::start(scene.world.underlay.hub(), Protocol::Tcp, PORTS.1));
        servers.push(Echo::start(scene.world.host(), Protocol::Tcp, OF_NODE));
        scene.servers = servers;
        scene
    }

    /// Attaches the same pods anew, with the firewall plugin behind: what a restart of the pods does.
    #[track_caller]
    pub fn protect(&mut self, firewall: &Value) {
        self.detach();
        for network in &mut self.networks {
            network.plugins.truncate(2);
            network.plugins.push(merged(json!({"type": "firewall"}), firewall));
        }
        self.attach();
    }

    /// The flows that do not pass, sorted: `out`, `in` (by the published port), each also with IPv6 (`out6`, `in6`);
    /// `across` to a pod of another bridge, `beside` on the same; `local` from the node to the published port by 127.0.0.1,
    /// `host` from the node to the pod, `node` from the pod to the node.
    #[must_use]
    pub fn stopped(&self) -> Vec<&'static str> {
        std::thread::scope(|scope| {
            let flows = [
                ("across", scope.spawn(|| reaches(&self.web, "10.67.0.2", PORTS.1))),
                ("beside", scope.spawn(|| reaches(&self.web, "10.66.0.3", PORTS.1))),
                ("host", scope.spawn(|| reaches(self.world.host(), "10.66.0.2", PORTS.1))),
                ("in", scope.spawn(|| reaches(self.world.underlay.hub(), "192.168.50.1", PORTS.0))),
                ("in6", scope.spawn(|| reaches(self.world.underlay.hub(), "fd50::1", PORTS.0))),
                ("local", scope.spawn(|| reaches(self.world.host(), "127.0.0.1", PORTS.0))),
                ("node", scope.spawn(|| reaches(&self.web, "10.66.0.1", OF_NODE))),
                ("out", scope.spawn(|| reaches(&self.web, "192.168.50.254", PORTS.1))),
                ("out6", scope.spawn(|| reaches(&self.web, "fd50::fe", PORTS.1))),
            ];
            let tried = flows.map(|(name, flow)| (name, flow.join().expect("a flow is tried")));
            tried.into_iter().filter(|(_, passes)| !passes).map(|(name, _)| name).collect()
        })
    }

    /// The plugins whose CHECK of `web` fails.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let (network, target) = self.targets().swap_remove(0);
        let fails = |plugin: &usize| {
            !self.run("CHECK", &target, &network.request(*plugin, &target, self.results.first())).succeeded()
        };
        let failing = (0..network.plugins.len()).filter(fails);
        failing.filter_map(|plugin| network.plugins[plugin]["type"].as_str().map(str::to_owned)).collect()
    }

    #[track_caller]
    fn attach(&mut self) {
        let mut results = Vec::new();
        for (network, target) in self.targets() {
            let mut previous = None;
            for plugin in 0..network.plugins.len() {
                let request = network.request(plugin, &target, previous.as_ref());
                previous = Some(self.run("ADD", &target, &request).result());
            }
            results.extend(previous);
        }
        self.results = results;
    }

    #[track_caller]
    fn detach(&self) {
        for (network, target) in self.targets() {
            for plugin in (0..network.plugins.len()).rev() {
                self.run("DEL", &target, &network.request(plugin, &target, None)).silent();
            }
        }
    }

    fn run(&self, verb: &str, target: &Target, request: &Value) -> Answer {
        let under: Vec<&str> = self.under.iter().map(String::as_str).collect();
        let runtime = self.world.runtime();
        runtime.invocation(verb, target, request).env("PATH", &self.path).under(&under).run(self.world.host())
    }

    fn targets(&self) -> Vec<(&Network, Target)> {
        let [first, second] = &self.networks;
        let web = target("web", &self.web, &[mapping("tcp", PORTS.0, PORTS.1)]);
        let (beside, across) = (target("beside", &self.beside, &[]), target("across", &self.across, &[]));
        // The rules of the tests name addresses: a pod that is attached anew gets its own again.
        let at = |target: Target, ip: &str| target.args(&format!("IgnoreUnknown=1;IP={ip}"));
        vec![
            (first, at(web, "10.66.0.2")),
            (first, at(beside, "10.66.0.3")),
            (second, at(across, "10.67.0.2")),
        ]
    }
}

/// What an administrator does who wants published ports open on a node that drops: the chain is asked first, and stays.
pub fn accept_published_ports(world: &World, programs: [&str; 2]) {
    for program in programs {
        world.host().run(&format!("{program} -A CNI-ADMIN -m conntrack --ctstate DNAT -j ACCEPT"));
    }
}

/// Whether iptables sees what stays within a bridge (`1`) or not (`0`); where there is no such switch, it does not.
pub fn bridged_frames_meet_iptables(world: &World, value: &str) {
    for key in BRIDGE_SWITCHES.iter().filter(|key| world.host().sysctl(key).is_some()) {
        world.host().set_sysctl(key, value);
    }
}

fn reaches(from: &impl Space, ip: &str, port: u16) -> bool {
    tcp_echo(from, SocketAddr::new(ip.parse().expect("an address"), port)).is_ok()
}
