//! One lease that is put into etcd, until its route is in the kernel of every node.

use std::net::Ipv4Addr;
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use kernel::{Event, Group, Monitor};
use netns_fixtures::{Daemon, DaemonOptions, Node, Space, Underlay};

use super::cluster::Cluster;
use super::daemon::subnet;
use super::simulator::Simulator;
use crate::error::Error;
use crate::figure::{Figure, Measure};
use crate::options::Effort;
use crate::programs::Programs;
use crate::series::Series;

const NODES: usize = 50;
const ROUNDS: usize = 60;
/// The peers that are there already.
const PEERS: u32 = 100;
const LIMIT: Duration = Duration::from_secs(10);
/// A lease a moment ago must not hold the next one back: bursts are handed out every 200 ms.
const PAUSE: Duration = Duration::from_millis(250);

/// 50 daemons, alone and while other leases change all the time.
pub fn run(_: &Programs, effort: Effort) -> Result<Vec<Figure>, Error> {
    let underlay = Underlay::new(NODES);
    for (at, node) in underlay.nodes().iter().enumerate() {
        node.run(&format!("ip address add 10.200.255.{}/16 dev eth0", at + 1));
    }
    let simulator = Simulator::start((underlay.hub(), underlay.hub_ip()), Cluster::HostGw);
    simulator.fill(PEERS)?;
    let options = DaemonOptions::etcd(&simulator.endpoint());
    let mut daemons: Vec<Daemon> =
        underlay.nodes().iter().map(|node| Daemon::start(node, options.clone())).collect();
    daemons.iter_mut().for_each(Daemon::await_ready);
    let rounds = effort.rounds(ROUNDS);
    let mut figures = Vec::new();
    for (when, churn) in [("", 0), (" while 20 others change a second", 5)] {
        let mut all = Vec::new();
        for round in 0..rounds {
            for other in 0..churn {
                simulator.put(other, u32::try_from(round % 2).unwrap_or(0))?;
                std::thread::park_timeout(PAUSE / churn);
            }
            if churn == 0 {
                std::thread::park_timeout(PAUSE);
            }
            all.extend(one(&underlay, &simulator)?);
        }
        let series = Series::of(all);
        let work =
            |part: &str| format!("one lease put to its route in each of {NODES} daemons{when}, {part}");
        let p99 = Figure::new(work("p99"), Measure::Milliseconds, &Series::of([series.p99()]));
        figures.push(Figure::new(work("each"), Measure::Milliseconds, &series));
        figures.push(if churn == 0 { p99.at_most(50.0) } else { p99 });
    }
    Ok(figures)
}

/// Milliseconds until each node has the route; it is gone again afterwards.
fn one(underlay: &Underlay, simulator: &Simulator) -> Result<Vec<f64>, Error> {
    let wanted = Ipv4Addr::from(subnet(PEERS));
    let is_there =
        move |event: &Event| matches!(event, Event::Route(route) if route.destination.ip() == wanted);
    let is_gone =
        move |event: &Event| matches!(event, Event::RouteGone(route) if route.destination.ip() == wanted);
    let (sent, seen) = everywhere(underlay, is_there, || simulator.put(PEERS, 0))?;
    let since = |at: &Instant| at.saturating_duration_since(sent).as_secs_f64() * 1e3;
    everywhere(underlay, is_gone, || simulator.delete(PEERS))?;
    Ok(seen.iter().map(since).collect())
}

/// Does something, and waits until the kernel of each node has told of what it led to; the moments at which they did.
fn everywhere<T>(
    underlay: &Underlay,
    fits: impl Fn(&Event) -> bool + Copy + Send,
    act: impl FnOnce() -> Result<T, Error>,
) -> Result<(T, Vec<Instant>), Error> {
    let open = |node: &Node| Monitor::open_in(node.netns(), &[Group::Ipv4Route]);
    let monitors: Vec<Monitor> = underlay.nodes().iter().map(open).collect::<Result<_, _>>()?;
    std::thread::scope(|scope| {
        let watching: Vec<_> =
            monitors.into_iter().map(|monitor| scope.spawn(move || came(monitor, fits))).collect();
        let acted = act()?;
        let join = |thread: ScopedJoinHandle<Result<Instant, Error>>| match thread.join() {
            Ok(seen) => seen,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        let seen = watching.into_iter().map(join).collect::<Result<Vec<Instant>, Error>>()?;
        Ok((acted, seen))
    })
}

fn came(mut monitor: Monitor, fits: impl Fn(&Event) -> bool) -> Result<Instant, Error> {
    let deadline = Instant::now() + LIMIT;
    while let Some(event) = monitor.next(deadline)? {
        if fits(&event) {
            return Ok(Instant::now());
        }
    }
    Err(Error::Late { what: "a change of a route in every node".to_owned(), seconds: LIMIT.as_secs() })
}
