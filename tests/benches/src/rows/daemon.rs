//! The daemon: from the moment it has read a snapshot of many leases to the last route in the kernel, and its memory.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use kernel::{RouteFilter, Rtnl};
use netns_fixtures::{Daemon, DaemonOptions, Node, Space, eventually};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use serde_json::{Map, Value, json};

use super::counts::number;
use crate::error::Error;
use crate::figure::{Figure, Measure};
use crate::options::Effort;
use crate::programs::Programs;
use crate::series::Series;

const ROUNDS: usize = 12;
const UPLINK: &str = "pfd0";
pub(super) const LIMIT: Duration = Duration::from_secs(30);
/// How often to ask for the last route.
pub(super) const STEP: Duration = Duration::from_micros(200);

/// 1,000 and 10,000 leases beside the floor with nexthop objects, and the memory of 5,000.
pub fn run(programs: &Programs, effort: Effort) -> Result<Vec<Figure>, Error> {
    let mut figures = Vec::new();
    for leases in [1_000, 10_000] {
        let (mut ours, mut floor) = (Vec::new(), Vec::new());
        // All live to the end: the kernel would take one with thousands of routes down while the next is measured.
        let nodes: Vec<Node> = (0..effort.rounds(ROUNDS)).map(|_| node()).collect();
        for node in &nodes {
            floor.push(least(programs, (node, "routes", UPLINK), leases)?);
            ours.push(Arena::new(programs, node)?.settle(leases)?);
        }
        let work = format!("daemon, {leases} leases to the last route");
        let (ours, floor) = (Series::of(ours), Series::of(floor));
        figures.push(Figure::new(work, Measure::Milliseconds, &ours).floor(&floor, 1.6));
    }
    let node = node();
    let mut arena = Arena::new(programs, &node)?;
    arena.settle(5_000)?;
    let memory = Series::of([arena.memory()?]);
    let work = "peak memory of the daemon at 5,000 leases, KiB";
    figures.push(Figure::new(work, Measure::Count, &memory).at_most(20.0 * 1024.0));
    Ok(figures)
}

/// A node whose uplink has room for ten thousand neighbours.
fn node() -> Node {
    let node = Node::new("many");
    node.run(&format!("ip link add {UPLINK} type veth peer name pfd1"));
    node.run("ip link set pfd1 up");
    node.run(&format!("ip link set {UPLINK} up"));
    node.run(&format!("ip address add 10.200.0.1/16 dev {UPLINK}"));
    node
}

/// The floor's time in milliseconds, for `routes` by an uplink or through a `tunnel`; its routes are gone afterwards.
pub(super) fn least(
    programs: &Programs,
    (node, kind, device): (&Node, &str, &str),
    leases: u32,
) -> Result<f64, Error> {
    let mut command = Command::new(programs.floor("routes"));
    command.arg(kind).arg(device).arg(leases.to_string());
    let output = node.output(command);
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    Ok(number("routes", text.trim())? / 1e3)
}

/// A daemon that is ready and knows no peers.
struct Arena<'w> {
    node: &'w Node,
    folder: PathBuf,
    daemon: Daemon<'w>,
}

impl<'w> Arena<'w> {
    fn new(programs: &Programs, node: &'w Node) -> Result<Self, Error> {
        let folder = programs.folder("store")?;
        let store = folder.join("leases.json");
        fs::write(&store, document(0)).map_err(Error::file(&store))?;
        let options = DaemonOptions::default()
            .flag(&format!("--store=file:{}", store.display()))
            .flag(&format!("--iface={UPLINK}"));
        Ok(Self { node, folder, daemon: Daemon::ready(node, options) })
    }

    /// Lets that many leases appear at once; milliseconds from the daemon's read of them to the last route.
    fn settle(&self, leases: u32) -> Result<f64, Error> {
        let (new, store) = (self.folder.join("new"), self.folder.join("leases.json"));
        fs::write(&new, document(leases)).map_err(Error::file(&new))?;
        self.node.inside(|| {
            let mut rtnl = Rtnl::open()?;
            let reads = Reads::of(&new)?;
            fs::rename(&new, &store).map_err(Error::file(&store))?;
            reads.await_one()?;
            let began = Instant::now();
            await_route(&mut rtnl, leases)?;
            let took = began.elapsed().as_secs_f64() * 1e3;
            eventually("a route to every peer", LIMIT, || complete(&mut rtnl, leases));
            Ok(took)
        })
    }

    /// `VmHWM` of the daemon in KiB.
    fn memory(&mut self) -> Result<f64, Error> {
        let path = PathBuf::from(format!("/proc/{}/status", self.daemon.running().id()));
        let text = fs::read_to_string(&path).map_err(Error::file(&path))?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
        number("VmHWM", line.trim().trim_end_matches("kB").trim())
    }
}

/// Notices when somebody has read a file to its end and closed it. It follows the file when that is renamed.
struct Reads(Inotify);

impl Reads {
    fn of(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::System { what: "inotify", source };
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC).map_err(failed)?;
        inotify.add_watch(path, AddWatchFlags::IN_CLOSE_NOWRITE).map_err(failed)?;
        Ok(Self(inotify))
    }

    fn await_one(&self) -> Result<(), Error> {
        let mut watched = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        let limit = PollTimeout::try_from(LIMIT).unwrap_or(PollTimeout::MAX);
        match poll(&mut watched, limit) {
            Ok(0) => {
                let what = "the daemon reads its lease file".to_owned();
                Err(Error::Late { what, seconds: LIMIT.as_secs() })
            }
            Ok(_) => Ok(()),
            Err(source) => Err(Error::System { what: "poll", source }),
        }
    }
}

/// Waits until the last subnet's route is there: subnets are programmed in order.
fn await_route(rtnl: &mut Rtnl, leases: u32) -> Result<(), Error> {
    let deadline = Instant::now() + LIMIT;
    let within = IpAddr::V4(Ipv4Addr::from(subnet(leases - 1) + 1));
    // Through a gateway: the kernel answers ENETUNREACH, or a route of another kind, before ours is there.
    while !matches!(rtnl.route_to(within), Ok(Some(route)) if route.gateway.is_some()) {
        if Instant::now() > deadline {
            return Err(Error::Late { what: format!("a route to {within}"), seconds: LIMIT.as_secs() });
        }
        std::thread::park_timeout(STEP);
    }
    Ok(())
}

fn complete(rtnl: &mut Rtnl, leases: u32) -> Option<()> {
    let routes = rtnl.routes(RouteFilter::default()).ok()?;
    let peers = routes.iter().filter(|route| route.gateway.is_some()).count();
    (peers == usize::try_from(leases).ok()?).then_some(())
}

/// 20.0.0.0/24 and on.
pub(super) fn subnet(number: u32) -> u32 {
    (20 << 24) + (number << 8)
}

/// A lease file with this node and that many peers.
fn document(peers: u32) -> String {
    let mut leases = Map::new();
    let mut put = |subnet: u32, ip: u32| {
        let key = format!("{}-24", Ipv4Addr::from(subnet));
        let value = json!({"PublicIP": Ipv4Addr::from(ip).to_string(), "BackendType": "host-gw"});
        leases.insert(key, value);
    };
    let uplink = u32::from(Ipv4Addr::new(10, 200, 0, 1));
    put(u32::from(Ipv4Addr::new(20, 255, 0, 0)), uplink);
    for number in 0..peers {
        put(subnet(number), uplink + 1 + number);
    }
    let config = json!({"Network": "20.0.0.0/8", "SubnetLen": 24, "Backend": {"Type": "host-gw"}});
    json!({"config": config, "leases": Value::Object(leases)}).to_string()
}
