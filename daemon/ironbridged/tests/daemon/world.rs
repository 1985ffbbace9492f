//! Nodes on an underlay, and a daemon in each: nameless namespaces that go when the test does.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ipnetwork::IpNetwork;
use kernel::{Bridge, Dad, Netns, Route, RouteFilter, Rtnl, Veth};
use tempfile::TempDir;

/// Nothing that the daemon does after an event takes longer.
pub const SOON: Duration = Duration::from_secs(1);

/// How long a start may take on a busy machine.
pub const START: Duration = Duration::from_secs(20);

/// An underlay with nodes 192.0.2.1, 192.0.2.2, …, each with `fd00::1`, … too, and a store.
pub struct World {
    pub folder: TempDir,
    switch: Netns,
    pub nodes: Vec<Node>,
}

pub struct Node {
    pub netns: Netns,
    pub number: u8,
    folder: PathBuf,
    store: PathBuf,
}

/// A running daemon; killed when it is dropped.
pub struct Daemon {
    process: Child,
    log: PathBuf,
}

impl World {
    pub fn new(nodes: u8, config: &str) -> World {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("store");
        fs::create_dir(&store).unwrap();
        fs::write(store.join("config"), config).unwrap();
        let switch = Netns::new_nameless().unwrap();
        let bridge = Bridge { name: "br0", mac: None, mtu: None };
        let mut rtnl = Rtnl::open_in(&switch).unwrap();
        rtnl.create_bridge(&bridge).unwrap();
        let index = rtnl.link("br0").unwrap().unwrap().index;
        rtnl.set_link_up(index).unwrap();
        let mut world = World { switch, nodes: Vec::new(), folder };
        for number in 1..=nodes {
            let netns = Netns::new_nameless().unwrap();
            Rtnl::open_in(&netns).unwrap().set_link_up(1).unwrap();
            let folder = world.folder.path().join(number.to_string());
            fs::create_dir(&folder).unwrap();
            world.nodes.push(Node { netns, number, folder, store: store.clone() });
            world.plug(number);
        }
        world
    }

    /// Gives a node its uplink, `eth0`.
    pub fn plug(&self, number: u8) {
        let mut switch = Rtnl::open_in(&self.switch).unwrap();
        let node = self.node(number);
        let veth = Veth {
            host_name: &format!("p{number}"),
            host_mac: None,
            peer_name: "eth0",
            peer_mac: None,
            peer_netns: &node.netns,
            mtu: None,
            controller: Some(switch.link("br0").unwrap().unwrap().index),
            start: kernel::Start::Up,
        };
        switch.create_veth(&veth).unwrap();
        let (mut rtnl, index) = (node.rtnl(), node.uplink());
        rtnl.set_link_up(index).unwrap();
        for network in [format!("192.0.2.{number}/24"), format!("fd00::{number}/64")] {
            rtnl.add_address(index, network.parse().unwrap(), Dad::Skip).unwrap();
        }
    }

    pub fn node(&self, number: u8) -> &Node {
        self.nodes.iter().find(|node| node.number == number).unwrap()
    }

    pub fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// The key of the lease that publishes that node's address.
    pub fn lease_of(&self, number: u8) -> PathBuf {
        let address = format!("\"192.0.2.{number}\"");
        let files = fs::read_dir(self.store().join("subnets")).unwrap().map(|file| file.unwrap().path());
        files.into_iter().find(|path| fs::read_to_string(path).unwrap().contains(&address)).unwrap()
    }
}

impl Node {
    pub fn rtnl(&self) -> Rtnl {
        Rtnl::open_in(&self.netns).unwrap()
    }

    pub fn uplink(&self) -> u32 {
        self.rtnl().link("eth0").unwrap().unwrap().index
    }

    pub fn subnet_file(&self) -> PathBuf {
        self.folder.join("run/subnet.env")
    }

    /// Starts a daemon and does not wait.
    pub fn start(&self, flags: &[&str]) -> Daemon {
        let log = self.folder.join("log");
        let mut command = Command::new(env!("CARGO_BIN_EXE_ironbridged"));
        command.env_clear().arg(format!("-store=file:{}", self.store.display()));
        command.arg("-subnet-file").arg(self.subnet_file()).args(["-iface", "eth0"]).args(flags);
        command.stdin(Stdio::null()).stderr(fs::File::create(&log).unwrap());
        // A child is in the namespace of the thread that made it.
        let process = self.netns.run(|| command.spawn()).unwrap().unwrap();
        Daemon { process, log }
    }

    /// Starts a daemon and waits for its file.
    pub fn ready(&self, flags: &[&str]) -> Daemon {
        fs::remove_file(self.subnet_file()).ok();
        let daemon = self.start(flags);
        eventually(START, || self.subnet_file().exists().then_some(()))
            .unwrap_or_else(|| panic!("{}", daemon.log()));
        daemon
    }

    /// Our routes, as destination and gateway.
    pub fn routes(&self) -> Vec<(IpNetwork, IpAddr)> {
        self.ours().into_iter().filter_map(|route| Some((route.destination, route.gateway?))).collect()
    }

    /// Waits for exactly so many routes of ours.
    pub fn wait_routes(&self, count: usize, within: Duration) -> Vec<(IpNetwork, IpAddr)> {
        let found = eventually(within, || Some(self.routes()).filter(|routes| routes.len() == count));
        found.unwrap_or_else(|| panic!("node {}: {:?} instead of {count} routes", self.number, self.routes()))
    }

    pub fn delete_route(&self, (destination, gateway): (IpNetwork, IpAddr)) {
        let route =
            Route { gateway: Some(gateway), protocol: overlay::ROUTE_PROTOCOL, ..Route::to(destination) };
        self.rtnl().delete_route(&route).unwrap();
    }

    /// Deletes the route of ours to there, which goes through a nexthop object.
    pub fn delete_object_route(&self, (destination, _): &(IpNetwork, IpAddr)) {
        let route = self.ours().into_iter().find(|route| route.destination == *destination).unwrap();
        assert!(route.nexthop_id.is_some());
        self.rtnl().delete_route(&Route { gateway: None, oif: None, ..route }).unwrap();
    }

    /// The link that the route of ours to there leaves by.
    pub fn route_link(&self, destination: IpNetwork) -> Option<u32> {
        self.ours().into_iter().find(|route| route.destination == destination)?.oif
    }

    fn ours(&self) -> Vec<Route> {
        let filter = RouteFilter {
            table: Some(254),
            protocol: Some(overlay::ROUTE_PROTOCOL),
            ..RouteFilter::default()
        };
        self.rtnl().routes(filter).unwrap()
    }

    /// What `/readyz` answers; empty while nobody listens.
    pub fn readyz(&self) -> String {
        let ask = || get("127.0.0.1:8471", "/readyz");
        self.netns.run(ask).unwrap().unwrap_or_default()
    }

    pub fn subnet(&self) -> IpNetwork {
        let text = fs::read_to_string(self.subnet_file()).unwrap();
        overlay::Previous::parse(&text).subnets.v4.unwrap()
    }
}

fn get(address: &str, path: &str) -> std::io::Result<String> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address)?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

impl Daemon {
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    pub fn wait_log(&self, word: &str, within: Duration) {
        eventually(within, || self.log().contains(word).then_some(()))
            .unwrap_or_else(|| panic!("no {word:?} in {}", self.log()));
    }

    /// The exit status after that signal.
    pub fn end(mut self, signal: nix::sys::signal::Signal) -> Option<i32> {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.process.id()).unwrap());
        nix::sys::signal::kill(pid, signal).unwrap();
        self.process.wait().unwrap().code()
    }

    /// The exit status, when it ends by itself.
    pub fn status(&mut self) -> Option<i32> {
        eventually(START, || self.process.try_wait().unwrap()).and_then(|status| status.code())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// Asks until there is an answer or the time is over.
pub fn eventually<T>(within: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + within;
    loop {
        let answer = ask();
        if answer.is_some() || Instant::now() > deadline {
            return answer;
        }
        // The daemon's files and the kernel's state have no common event to wait for.
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

pub fn v4(text: &str) -> IpAddr {
    text.parse::<Ipv4Addr>().unwrap().into()
}

pub fn replace(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    fs::write(&beside, text).unwrap();
    fs::rename(beside, path).unwrap();
}
