//! A cold start with thousands of leases in etcd, and what the daemon costs once it stands: memory, requests, idle time.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use kernel::Rtnl;
use netns_fixtures::{Daemon, DaemonOptions, Node, Space, Underlay};

use super::counts::number;
use super::daemon::{LIMIT, STEP, least, subnet};
use super::simulator::{self, Simulator};
use crate::error::Error;
use crate::figure::{Beside, Figure, Measure};
use crate::options::Effort;
use crate::programs::Programs;
use crate::series::Series;

/// What the figures of the curve are called; `crate::curve` finds them by it.
pub const COLD: &str = "cold start with ";
const SIZES: [u32; 6] = [100, 300, 1_000, 3_000, 5_000, 10_000];
/// From that size on the issue has a limit.
const LIMITED: u32 = 5_000;
const ROUNDS: usize = 6;
/// Where memory, requests and idle time are looked at.
const AT: u32 = 5_000;
const MINUTE: Duration = Duration::from_mins(1);

/// Everything of one daemon beside one etcd.
pub fn run(programs: &Programs, effort: Effort) -> Result<Vec<Figure>, Error> {
    let mut figures = Vec::new();
    for leases in SIZES {
        let underlay = underlay();
        let simulator = Simulator::start(underlay.hub(), underlay.hub_ip());
        simulator.fill(leases)?;
        let node = underlay.node(0);
        let (mut ours, mut floor) = (Vec::new(), Vec::new());
        for _ in 0..effort.rounds(ROUNDS) {
            floor.push(least(programs, (node, "eth0"), leases)?);
            ours.push(cold(node, &simulator, leases)?);
        }
        let work = format!("{COLD}{leases} leases in etcd to the last route");
        let (ours, floor) = (Series::of(ours), Series::of(floor));
        let figure = Figure::new(work, Measure::Milliseconds, &ours);
        let limit = (leases >= LIMITED).then_some(2.0);
        figures.push(Figure { floor: Some(Beside { what: "floor", series: floor, limit }), ..figure });
    }
    figures.extend(standing(effort)?);
    Ok(figures)
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
fn cold(node: &Node, simulator: &Simulator, leases: u32) -> Result<f64, Error> {
    let began = Instant::now();
    let mut daemon = Daemon::start(node, options(simulator));
    let took = node.inside(|| {
        let mut rtnl = Rtnl::open()?;
        await_state(&mut rtnl, leases - 1, State::Routed)?;
        Ok::<_, Error>(began.elapsed().as_secs_f64() * 1e3)
    })?;
    daemon.await_ready();
    daemon.kill();
    // Routes through objects go with these, and cannot be flushed themselves.
    node.run("ip nexthop flush proto 73");
    node.run("ip route flush proto 73");
    Ok(took)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Routed,
    Gone,
}

/// Waits until that peer's subnet is routed to it, or is not any more: subnets are programmed in order.
fn await_state(rtnl: &mut Rtnl, number: u32, state: State) -> Result<(), Error> {
    let (deadline, within) = (Instant::now() + LIMIT, IpAddr::from(Ipv4Addr::from(subnet(number) + 1)));
    let via = IpAddr::from(simulator::address(number, 0));
    let other = IpAddr::from(simulator::address(number, 1));
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
    let simulator = Simulator::start(underlay.hub(), underlay.hub_ip());
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
    underlay.node(0).inside(|| await_state(&mut Rtnl::open()?, AT - 1, State::Gone))?;
    let asked = simulator.answered()? - before - f64::from(events) - 1.0;
    let id = daemon.running().id();
    let memory = status(id, "VmRSS:")?;
    let span = if effort == Effort::Full { MINUTE } else { MINUTE / 6 };
    let used = idle(id, span)?;
    let count = |work: &str, value: f64| Figure::new(work, Measure::Count, &Series::of([value]));
    Ok(vec![
        count("resident memory of the daemon at 5,000 leases in etcd, KiB", memory).at_most(20.0 * 1024.0),
        count("requests to etcd from start to ready at 5,000 leases", start).at_most(12.0),
        count("requests to etcd for 11 changes of leases", asked).at_most(0.0),
        count("processor time of a daemon when nothing changes, µs a second", used).at_most(1_000.0),
    ])
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
    std::thread::park_timeout(Duration::from_secs(2));
    let (before, began) = (spent()?, Instant::now());
    while began.elapsed() < span {
        std::thread::park_timeout(span.saturating_sub(began.elapsed()));
    }
    Ok((spent()? - before) / 1e3 / began.elapsed().as_secs_f64())
}
