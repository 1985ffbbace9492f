//! How long each kind of object of ours stays broken when somebody deletes or alters it.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use kernel::nft::{Family, Nft, Table};
use kernel::{Route, Rtnl, sysctl};
use netns_fixtures::{Daemon, DaemonOptions, Space, Underlay};

use super::cluster::Cluster;
use super::daemon::subnet;
use super::repairs_tunnel::{self, Tunnel};
use super::simulator::Simulator;
use crate::error::Error;
use crate::figure::{Figure, Measure};
use crate::options::Effort;
use crate::programs::Programs;
use crate::series::Series;

/// What the figures of the histogram are called; `crate::curve` finds them by it.
pub const REPAIR: &str = "repair: ";
pub(super) const PEERS: u32 = 1_000;
const ROUNDS: usize = 60;
const LIMIT: Duration = Duration::from_secs(20);
const STEP: Duration = Duration::from_micros(200);
/// A pass holds the next one back for four times its length: the injuries are not to wait for one another.
const PAUSE: Duration = Duration::from_millis(100);
const TABLE: Table<'static> = Table::new(Family::Inet, "ironbridged");
const FORWARD: &str = "net/ipv4/ip_forward";

/// One kind of injury to `B`, for one peer of many.
pub(super) struct Injury<B> {
    pub(super) name: &'static str,
    pub(super) hurt: fn(&mut B, u32) -> Result<(), Error>,
    pub(super) is_whole: fn(&mut B, u32) -> Result<bool, Error>,
}

const INJURIES: [Injury<Body>; 5] = [
    Injury {
        name: "a route deleted",
        hurt: |body, at| Ok(body.rtnl.delete_route(&Body::route(at))?),
        is_whole: Body::has_route,
    },
    Injury {
        name: "a route replaced by another with our mark",
        hurt: Body::divert,
        is_whole: Body::has_route,
    },
    Injury {
        name: "all 1,000 routes flushed",
        hurt: |body, _| body.flush(),
        is_whole: |body, _| body.has_route(PEERS - 1),
    },
    Injury {
        name: "the nftables table deleted",
        hurt: |body, _| Ok(body.cut()?),
        is_whole: |body, _| body.has_rules(),
    },
    Injury {
        name: "forwarding switched off",
        hurt: |_, _| Ok(sysctl::write(FORWARD, "0")?),
        is_whole: |_, _| Ok(sysctl::read(FORWARD)?.trim() == "1"),
    },
];

/// 1,000 peers; each injury again and again, at other peers.
pub fn run(_: &Programs, effort: Effort) -> Result<Vec<Figure>, Error> {
    let rounds = u32::try_from(effort.rounds(ROUNDS)).unwrap_or(1);
    let mut figures = beside(Cluster::HostGw, &INJURIES, (Body::open, rounds))?;
    figures.extend(beside(Cluster::Vxlan, &repairs_tunnel::INJURIES, (Tunnel::open, rounds))?);
    Ok(figures)
}

/// A node of that cluster, with its daemon, suffers all of them.
fn beside<B: Send>(
    cluster: Cluster,
    injuries: &[Injury<B>],
    (open, rounds): (fn() -> Result<B, Error>, u32),
) -> Result<Vec<Figure>, Error> {
    let underlay = Underlay::new(1);
    let node = underlay.node(0);
    node.run("ip address add 10.200.0.1/16 dev eth0");
    let simulator = Simulator::start((underlay.hub(), underlay.hub_ip()), cluster);
    simulator.fill(PEERS)?;
    let _daemon = Daemon::ready(node, DaemonOptions::etcd(&simulator.endpoint()).flag("--ip-masq"));
    let measure = |injury: &Injury<B>| {
        let times = node.inside(|| {
            let mut body = open()?;
            (0..rounds)
                .map(|round| suffer(&mut body, injury, round * 7 % PEERS))
                .collect::<Result<Vec<f64>, Error>>()
        })?;
        Ok(Figure::new(format!("{REPAIR}{}", injury.name), Measure::Milliseconds, &Series::of(times)))
    };
    injuries.iter().map(measure).collect()
}

fn suffer<B>(body: &mut B, injury: &Injury<B>, at: u32) -> Result<f64, Error> {
    std::thread::park_timeout(PAUSE);
    // The kernel ends a device long before it answers who deletes it, so the time of the injury counts.
    let began = Instant::now();
    (injury.hurt)(body, at)?;
    while !(injury.is_whole)(body, at)? {
        if began.elapsed() > LIMIT {
            return Err(Error::Late { what: injury.name.to_owned(), seconds: LIMIT.as_secs() });
        }
        std::thread::park_timeout(STEP);
    }
    Ok(began.elapsed().as_secs_f64() * 1e3)
}

/// Where that peer is.
pub(super) fn peer(at: u32) -> IpAddr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 200, 0, 2)) + at).into()
}

/// The kernel's state on the node.
struct Body {
    rtnl: Rtnl,
    nft: Nft,
}

impl Body {
    fn open() -> Result<Self, Error> {
        Ok(Self { rtnl: Rtnl::open()?, nft: Nft::open()? })
    }

    fn route(at: u32) -> Route {
        let destination = format!("{}/24", Ipv4Addr::from(subnet(at)));
        let any = ipnetwork::IpNetwork::from(IpAddr::from(Ipv4Addr::UNSPECIFIED));
        Route { protocol: 73, ..Route::to(destination.parse().unwrap_or(any)) }
    }

    fn divert(&mut self, at: u32) -> Result<(), Error> {
        let gateway = Some(IpAddr::from(Ipv4Addr::new(10, 200, 250, 250)));
        Ok(self.rtnl.replace_route(&Route { gateway, ..Self::route(at) })?)
    }

    fn has_route(&mut self, at: u32) -> Result<bool, Error> {
        let within = IpAddr::from(Ipv4Addr::from(subnet(at) + 1));
        Ok(self.rtnl.route_to(within)?.is_some_and(|route| route.gateway == Some(peer(at))))
    }

    fn flush(&mut self) -> Result<(), Error> {
        let mut batch = self.rtnl.batch();
        for at in 0..PEERS {
            batch.delete_route(&Self::route(at));
        }
        Ok(batch.commit_all()?)
    }

    fn cut(&mut self) -> Result<(), kernel::Error> {
        let mut changes = kernel::nft::Transaction::new();
        changes.destroy_table(TABLE);
        changes.commit(&mut self.nft)
    }

    fn has_rules(&mut self) -> Result<bool, Error> {
        Ok(self.nft.chain_exists(TABLE.chain("forward_20.0.0.0-8"))?)
    }
}
