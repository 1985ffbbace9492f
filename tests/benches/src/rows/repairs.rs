//! How long each kind of object of ours stays broken when somebody deletes or alters it.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use kernel::nft::{Family, Nft, Table};
use kernel::{Route, Rtnl, sysctl};
use netns_fixtures::{Daemon, DaemonOptions, Node, Space, Underlay};

use super::cluster::Cluster;
use super::daemon::subnet;
use super::simulator::Simulator;
use crate::error::Error;
use crate::figure::{Figure, Measure};
use crate::options::Effort;
use crate::programs::Programs;
use crate::series::Series;

/// What the figures of the histogram are called; `crate::curve` finds them by it.
pub const REPAIR: &str = "repair: ";
const PEERS: u32 = 1_000;
const ROUNDS: usize = 60;
const LIMIT: Duration = Duration::from_secs(20);
const STEP: Duration = Duration::from_micros(200);
/// A pass holds the next one back for four times its length: the injuries are not to wait for one another.
const PAUSE: Duration = Duration::from_millis(60);
const TABLE: Table<'static> = Table::new(Family::Inet, "ironbridged");
const FORWARD: &str = "net/ipv4/ip_forward";

/// One kind of injury.
struct Injury {
    name: &'static str,
    hurt: fn(&mut Body, u32) -> Result<(), Error>,
    is_whole: fn(&mut Body, u32) -> Result<bool, Error>,
}

const INJURIES: [Injury; 5] = [
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

/// 1,000 peers; each injury again and again, at other routes.
pub fn run(_: &Programs, effort: Effort) -> Result<Vec<Figure>, Error> {
    let underlay = Underlay::new(1);
    underlay.node(0).run("ip address add 10.200.0.1/16 dev eth0");
    let simulator = Simulator::start((underlay.hub(), underlay.hub_ip()), Cluster::HostGw);
    simulator.fill(PEERS)?;
    let node = underlay.node(0);
    let _daemon = Daemon::ready(node, DaemonOptions::etcd(&simulator.endpoint()).flag("--ip-masq"));
    let rounds = u32::try_from(effort.rounds(ROUNDS)).unwrap_or(1);
    INJURIES.iter().map(|injury| measure(node, injury, rounds)).collect()
}

fn measure(node: &Node, injury: &Injury, rounds: u32) -> Result<Figure, Error> {
    let times = node.inside(|| {
        let mut body = Body { rtnl: Rtnl::open()?, nft: Nft::open()? };
        (0..rounds).map(|round| body.suffer(injury, round * 7 % PEERS)).collect::<Result<Vec<f64>, Error>>()
    })?;
    Ok(Figure::new(format!("{REPAIR}{}", injury.name), Measure::Milliseconds, &Series::of(times)))
}

/// The kernel's state on the node.
struct Body {
    rtnl: Rtnl,
    nft: Nft,
}

impl Body {
    fn suffer(&mut self, injury: &Injury, at: u32) -> Result<f64, Error> {
        std::thread::park_timeout(PAUSE);
        (injury.hurt)(self, at)?;
        let began = Instant::now();
        while !(injury.is_whole)(self, at)? {
            if began.elapsed() > LIMIT {
                return Err(Error::Late { what: injury.name.to_owned(), seconds: LIMIT.as_secs() });
            }
            std::thread::park_timeout(STEP);
        }
        Ok(began.elapsed().as_secs_f64() * 1e3)
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
        let wanted = IpAddr::from(Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 200, 0, 2)) + at));
        let within = IpAddr::from(Ipv4Addr::from(subnet(at) + 1));
        Ok(self.rtnl.route_to(within)?.is_some_and(|route| route.gateway == Some(wanted)))
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
