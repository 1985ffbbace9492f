//! A cold start with thousands of leases in etcd, and what the daemon costs once it stands: memory, requests, idle time.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use kernel::Rtnl;
use netns_fixtures::{Daemon, DaemonOptions, Node, Space, Underlay};

use super::cluster::Cluster;
use super::counts::number;
use super::daemon::{LIMIT, STEP, least, subnet};
use super::simulator::Simulator;
use crate::error::Error;
use crate::figure::{Beside, Figure, Measure};
use crate::options::Effort;
use crate::programs::Programs;
use crate::series::Series;

/// What the figures of the curve are called; `crate::curve` finds them by it.
pub const COLD: &str = "cold start with ";
/// What the names of those with a tunnel end with.
pub const TUNNEL: &str = "(vxlan)";
const SIZES: [u32; 6] = [100, 300, 1_000, 3_000, 5_000, 10_000];
const VXLAN_SIZES: [u32; 3] = [1_000, 5_000, 10_000];
/// From that size on the issue has a limit.
const LIMITED: u32 = 5_000;
const ROUNDS: usize = 6;
/// Where memory, requests and idle time are looked at.
const AT: u32 = 5_000;
const MINUTE: Duration = Duration::from_mins(1);

/// Everything of one daemon beside one etcd.
pub fn run(programs: &Programs, effort: Effort) -> Result<Vec<Figure>, Error> {
    let mut figures = Vec::new();
    for (cluster, sizes) in [(Cluster::HostGw, SIZES.as_slice()), (Cluster::Vxlan, &VXLAN_SIZES)] {
        for leases in sizes {
            figures.push(growth(programs, (cluster, *leases), effort)?);
        }
    }
    figures.extend(standing(effort)?);
    for cluster in [Cluster::Vxlan, Cluster::VxlanDualStack] {
        figures.extend(standing_tunnel(cluster, effort)?);
    }
    Ok(figures)
}

/// One size of a cluster, beside the floor.
fn growth(programs: &Programs, (cluster, leases): (Cluster, u32), effort: Effort) -> Result<Figure, Error> {
    let underlay = underlay();
    let simulator = Simulator::start((underlay.hub(), underlay.hub_ip()), cluster);
    simulator.fill(leases)?;
    let node = underlay.node(0);
    let (mut ours, mut floor) = (Vec::new(), Vec::new());
    for _ in 0..effort.rounds(ROUNDS) {
        floor.push(bare(programs, (node, cluster), leases)?);
        ours.push(cold((node, cluster), &simulator, leases)?);
    }
    let what = match cluster {
        Cluster::HostGw => "to the last route".to_owned(),
        Cluster::Vxlan | Cluster::VxlanDualStack => {
            format!("to the last neighbour, FDB entry and route {TUNNEL}")
        }
    };
    let work = format!("{COLD}{leases} leases in etcd {what}");
    let (ours, floor) = (Series::of(ours), Series::of(floor));
    let figure = Figure::new(work, Measure::Milliseconds, &ours);
    let limit = (leases >= LIMITED).then_some(2.0);
    Ok(Figure { floor: Some(Beside { what: "floor", series: floor, limit }), ..figure })
}

/// The floor's time. Its tunnel device is there before, and goes afterwards.
fn bare(programs: &Programs, (node, cluster): (&Node, Cluster), leases: u32) -> Result<f64, Error> {
    if cluster == Cluster::HostGw {
        return least(programs, (node, "routes", "eth0"), leases);
    }
    node.run("ip link add bare type vxlan id 4095 dev eth0 dstport 4789 nolearning");
    node.run("ip link set bare up");
    let took = least(programs, (node, "tunnel", "bare"), leases);
    node.run("ip link delete bare");
    took
}

/// A node whose uplink has all gateways on-link.
fn underlay() -> Underlay {
    let underlay = Underlay::new(1);
    underlay.node(0).run("ip address add 10.200.0.1/16 dev eth0");
    underlay
}

fn options(simulator: &Simulator) -> DaemonOptions {
    DaemonOptions::etcd(&simulator.endpoint())
}

/// Milliseconds from before the daemon's exec to its last route; nothing of it stays.
fn cold((node, cluster): (&Node, Cluster), simulator: &Simulator, leases: u32) -> Result<f64, Error> {
    let began = Instant::now();
    let mut daemon = Daemon::start(node, options(simulator));
    let took = node.inside(|| {
        let mut rtnl = Rtnl::open()?;
        await_state(&mut rtnl, (cluster, leases - 1), State::Routed)?;
        Ok::<_, Error>(began.elapsed().as_secs_f64() * 1e3)
    })?;
    daemon.await_ready();
    daemon.kill();
    // Routes through objects go with these, and cannot be flushed themselves.
    node.run("ip nexthop flush proto 73");
    node.run("ip route flush proto 73");
    if cluster != Cluster::HostGw {
        node.run("ip link delete flannel.1");
    }
    Ok(took)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Routed,
    Gone,
}

/// Waits until that peer's subnet is routed to it, or is not any more: subnets are programmed in order.
fn await_state(rtnl: &mut Rtnl, (cluster, number): (Cluster, u32), state: State) -> Result<(), Error> {
    let (deadline, within) = (Instant::now() + LIMIT, IpAddr::from(Ipv4Addr::from(subnet(number) + 1)));
    let (via, other) = (cluster.gateway(number, 0), cluster.gateway(number, 1));
    loop {
        let gateway = rtnl.route_to(within)?.and_then(|route| route.gateway);
        if gateway.is_some_and(|gateway| gateway == via || gateway == other) == (state == State::Routed) {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(Error::Late {
                what: format!("a change of the route to {within}"),
                seconds: LIMIT.as_secs(),
            });
        }
        std::thread::park_timeout(STEP);
    }
}

/// Memory, requests to etcd, and processor time of a daemon that has its routes.
fn standing(effort: Effort) -> Result<Vec<Figure>, Error> {
    let underlay = underlay();
    let simulator = Simulator::start((underlay.hub(), underlay.hub_ip()), Cluster::HostGw);
    simulator.fill(AT)?;
    let before = simulator.answered()?;
    let mut daemon = Daemon::ready(underlay.node(0), options(&simulator));
    let start = simulator.answered()? - before;
    // Each event is a put of the simulator's own, and all that etcd answers beside these is the daemon's asking.
    let before = simulator.answered()?;
    let events = 10;
    for version in 1..=events {
        simulator.put(AT - 1, version % 2)?;
    }
    simulator.delete(AT - 1)?;
    underlay.node(0).inside(|| await_state(&mut Rtnl::open()?, (Cluster::HostGw, AT - 1), State::Gone))?;
    let asked = simulator.answered()? - before - f64::from(events) - 1.0;
    let id = daemon.running().id();
    let memory = status(id, "VmRSS:")?;
    let used = idle(id, span(effort))?;
    Ok(vec![
        count("resident memory of the daemon at 5,000 leases in etcd, KiB", memory).at_most(20.0 * 1024.0),
        count("requests to etcd from start to ready at 5,000 leases", start).at_most(12.0),
        count("requests to etcd for 11 changes of leases", asked).at_most(0.0),
        count("processor time of a daemon when nothing changes, µs a second", used).at_most(1_000.0),
    ])
}

/// Memory and processor time of a daemon that has its tunnel entries.
fn standing_tunnel(cluster: Cluster, effort: Effort) -> Result<[Figure; 2], Error> {
    let underlay = underlay();
    let simulator = Simulator::start((underlay.hub(), underlay.hub_ip()), cluster);
    simulator.fill(AT)?;
    let mut daemon = Daemon::ready(underlay.node(0), options(&simulator));
    let id = daemon.running().id();
    let used = idle(id, span(effort))?;
    let (memory, name) = (status(id, "VmRSS:")?, cluster.name());
    let work = format!("resident memory of the daemon at 5,000 leases in etcd ({name}), KiB");
    let idle = format!("processor time of a daemon when nothing changes ({name}), µs a second");
    Ok([count(&work, memory).at_most(20.0 * 1024.0), count(&idle, used).at_most(1_000.0)])
}

fn count(work: &str, value: f64) -> Figure {
    Figure::new(work, Measure::Count, &Series::of([value]))
}

fn span(effort: Effort) -> Duration {
    if effort == Effort::Full { MINUTE } else { MINUTE / 6 }
}

/// A number of `/proc/PID/status` in KiB.
fn status(id: u32, key: &str) -> Result<f64, Error> {
    let path = format!("/proc/{id}/status");
    let text = fs::read_to_string(&path).map_err(Error::file(&path))?;
    let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
    number(key, line.trim().trim_end_matches("kB").trim())
}

/// Microseconds of processor time a second, over all its threads.
fn idle(id: u32, span: Duration) -> Result<f64, Error> {
    let spent = || -> Result<f64, Error> {
        let folder = format!("/proc/{id}/task");
        let mut nanoseconds = 0.0;
        for thread in fs::read_dir(&folder).map_err(Error::file(&folder))? {
            let path = thread.map_err(Error::file(&folder))?.path().join("schedstat");
            let text = fs::read_to_string(&path).map_err(Error::file(&path))?;
            nanoseconds += number("schedstat", text.split(' ').next().unwrap_or_default())?;
        }
        Ok(nanoseconds)
    };
    // What the last change still causes is not idleness.
    pass_by(Duration::from_secs(5));
    let (before, began) = (spent()?, Instant::now());
    pass_by(span);
    Ok((spent()? - before) / 1e3 / began.elapsed().as_secs_f64())
}

/// Waits that long: one call may end early, by the token that a joined thread left.
fn pass_by(span: Duration) {
    let began = Instant::now();
    while began.elapsed() < span {
        std::thread::park_timeout(span.saturating_sub(began.elapsed()));
    }
}
