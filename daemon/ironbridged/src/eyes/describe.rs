//! The document of the status socket, worked out of what the parts told and of what the kernel has at this moment.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddrV4};
use std::time::{Duration, Instant};

use ipnetwork::IpNetwork;
use kernel::{Route, RouteFilter, Rtnl};
use overlay::{
    Hop, Lease, LeaseOverview, NetworkOverview, NodeOverview, Overview, PassOverview, ROUTE_PROTOCOL,
    RangeOverview, RouteOverview, RouteState, Snapshot, StoreOverview,
};
use tokio::sync::watch;
use tokio::time::timeout;

use super::revisions::Age;
use super::sight::families;
use super::{Outcome, Place, Seen, Sight};
use crate::store::{Held, StoreState, View};
use crate::tenure::Standing;

/// How long leases still last, by the last part of their keys.
pub type Ends = BTreeMap<String, Duration>;

/// A store that does not answer soon leaves that column empty.
const PATIENCE: Duration = Duration::from_secs(2);
/// `RT_TABLE_MAIN`.
const MAIN: u32 = 254;
/// `RTN_UNICAST`: the blackhole for this node's own subnet leads to no peer.
const UNICAST: u8 = 1;

impl Sight {
    /// How long each lease still lasts, as far as a store that is live tells it soon.
    pub async fn ends(&self) -> Ends {
        let is_live = |(views, _): &(watch::Receiver<View>, _)| views.borrow().state == StoreState::Live;
        if !self.eyes.seen().channels.as_ref().is_some_and(is_live) {
            return Ends::new();
        }
        let asked = timeout(PATIENCE, async { self.store.lock().await.ends().await }).await;
        if asked.is_err() {
            // It may hang because this node has another address now: the next one gets a new connection.
            self.store.lock().await.reconnect();
        }
        asked.ok().and_then(Result::ok).unwrap_or_default()
    }

    /// Everything. Reads the kernel's routes: not for an asynchronous thread.
    pub fn overview(&self, born: Instant, ends: &Ends) -> Overview {
        let status = self.status.borrow().clone();
        let found = ours_in_the_kernel();
        let seen = self.eyes.seen();
        let mut problems = status.problems;
        problems.extend(seen.trouble.clone());
        problems
            .extend(found.as_ref().err().map(|error| format!("the kernel's routes cannot be read: {error}")));
        let mut overview = Overview {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            up_seconds: born.elapsed().as_secs(),
            ready: status.ready,
            waiting: status.waiting,
            node: seen.place.as_ref().map(|place| node(place, &seen)).unwrap_or_default(),
            routes: routes(&seen.desired, &found.unwrap_or_default(), seen.place.as_ref())
                .into_iter()
                .chain(carried(&seen.carried))
                .collect(),
            last_pass: seen.pass.map(|(ended, took, outcome)| PassOverview {
                seconds_ago: ended.elapsed().as_secs(),
                microseconds: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
                done: outcome == Outcome::Done,
            }),
            problems,
            ..Overview::default()
        };
        if let Some((views, standing)) = &seen.channels {
            overview.node.standing = standing_of(&standing.borrow());
            let view = views.borrow().clone();
            overview.store = store(&view);
            if let Some(snapshot) = &view.snapshot {
                overview.leases = snapshot.iter().map(|lease| leased(lease, (&seen, ends))).collect();
                overview.network = seen.place.as_ref().map(|p| network(p, snapshot)).unwrap_or_default();
            }
        }
        overview
    }
}

fn ours_in_the_kernel() -> Result<Vec<Route>, kernel::Error> {
    let filter = RouteFilter { table: Some(MAIN), ..RouteFilter::default() };
    let mut routes = Rtnl::open()?.routes(filter)?;
    routes.retain(|route| route.protocol == ROUTE_PROTOCOL && route.kind == UNICAST);
    Ok(routes)
}

fn node(place: &Place, seen: &Seen) -> NodeOverview {
    let lease = seen.held.as_ref().map(|held| &held.lease);
    NodeOverview {
        name: place.name.clone(),
        uplink: place.uplink.clone(),
        why: place.why.clone(),
        mtu: place.mtu,
        public_ip: lease.and_then(|l| l.attributes.public_v4()).map(|ip| ip.to_string()),
        public_ipv6: lease.and_then(|l| l.attributes.public_ipv6).map(|ip| ip.to_string()),
        subnets: lease.iter().flat_map(|l| l.subnets.iter()).map(|n| n.to_string()).collect(),
        standing: String::new(),
    }
}

fn standing_of(standing: &Standing) -> String {
    match standing {
        Standing::Held => "held".to_owned(),
        Standing::Missing => "missing, being put back".to_owned(),
        Standing::Stolen(by) => format!("taken by {by}"),
    }
}

fn network(place: &Place, snapshot: &Snapshot) -> NetworkOverview {
    let range = |(_, family): (&str, overlay::FamilyConfig)| {
        let (all, free) = overlay::free_subnets(&family, snapshot);
        let number = |n: u128| u64::try_from(n).unwrap_or(u64::MAX);
        RangeOverview { network: family.network.to_string(), subnets: number(all), free: number(free) }
    };
    NetworkOverview {
        backend: place.config.backend.type_name().to_owned(),
        ranges: families(&place.config).map(range).collect(),
    }
}

fn store(view: &View) -> StoreOverview {
    let revision = view.snapshot.as_ref().map_or(0, |snapshot| snapshot.revision);
    match &view.state {
        StoreState::Live => StoreOverview { live: true, revision, ..StoreOverview::default() },
        StoreState::Stale { since, why } => StoreOverview {
            live: false,
            stale_seconds: since.elapsed().as_secs(),
            why: Some(why.clone()),
            revision,
        },
    }
}

fn leased(lease: &Lease, (seen, ends): (&Seen, &Ends)) -> LeaseOverview {
    let now = Instant::now();
    let age = seen.revisions.age(lease.revision, now);
    let (age_seconds, age_is_least) = match age {
        Some(Age::About(age)) => (age.as_secs(), false),
        Some(Age::AtLeast(age)) => (age.as_secs(), true),
        None => (0, true),
    };
    let held = seen.held.as_ref().filter(|held| held.lease.subnets == lease.subnets);
    let left = |held: &Held| held.expires.map(|end| end.saturating_duration_since(now).as_secs());
    LeaseOverview {
        subnets: lease.subnets.iter().map(|network| network.to_string()).collect(),
        public_ip: lease.attributes.public_v4().map(|ip| ip.to_string()),
        public_ipv6: lease.attributes.public_ipv6.map(|ip| ip.to_string()),
        backend: lease.attributes.backend_type.clone(),
        node: lease.attributes.node.clone(),
        own: held.is_some(),
        reserved: lease.reserved,
        age_seconds,
        age_is_least,
        expires_in_seconds: held
            .and_then(left)
            .or_else(|| Some(ends.get(&lease.subnets.to_key())?.as_secs())),
    }
}

/// A route through a nexthop object shows no gateway of its own, so there the destination has to do.
fn routes(desired: &BTreeMap<IpNetwork, Hop>, found: &[Route], place: Option<&Place>) -> Vec<RouteOverview> {
    let there: BTreeMap<IpNetwork, Option<IpAddr>> =
        found.iter().map(|route| (route.destination, route.gateway)).collect();
    let wanted = desired.iter().map(|(to, hop)| {
        let is_there = there.get(to).is_some_and(|gateway| gateway.is_none_or(|it| hop.gateway == Some(it)));
        let state = if is_there { RouteState::Present } else { RouteState::Missing };
        RouteOverview {
            destination: to.to_string(),
            gateway: hop.gateway.map(|gateway| gateway.to_string()),
            state,
        }
    });
    let ranges: Vec<IpNetwork> =
        place.iter().flat_map(|place| families(&place.config)).map(|(_, family)| family.network).collect();
    let inside = |to: &IpNetwork| ranges.iter().any(|r| r.is_ipv4() == to.is_ipv4() && r.contains(to.ip()));
    let surplus = there.iter().filter(|(to, _)| !desired.contains_key(to) && inside(to));
    let surplus = surplus.map(|(to, gateway)| RouteOverview {
        destination: to.to_string(),
        gateway: gateway.map(|gateway| gateway.to_string()),
        state: RouteState::Surplus,
    });
    wanted.chain(surplus).collect()
}

/// What is carried without a route of its own: the gateway is the peer.
fn carried(
    [desired, actual]: &[BTreeMap<IpNetwork, SocketAddrV4>; 2],
) -> impl Iterator<Item = RouteOverview> {
    desired.iter().map(|(subnet, node)| RouteOverview {
        destination: subnet.to_string(),
        gateway: Some(node.ip().to_string()),
        state: if actual.get(subnet) == Some(node) { RouteState::Present } else { RouteState::Missing },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_present_missing_or_surplus() {
        let net = |text: &str| text.parse::<IpNetwork>().unwrap();
        let hop = |ip: &str| Hop { gateway: ip.parse().ok(), oif: 2, onlink: false };
        let desired: BTreeMap<_, _> = [
            (net("10.1.1.0/24"), hop("192.0.2.1")),
            (net("10.1.2.0/24"), hop("192.0.2.2")),
            (net("10.1.3.0/24"), hop("192.0.2.3")),
            (net("10.1.5.0/24"), hop("192.0.2.5")),
        ]
        .into();
        let route = |to: &str, via: Option<&str>| Route {
            gateway: via.map(|ip| ip.parse().unwrap()),
            ..Route::to(net(to))
        };
        let found = [
            route("10.1.1.0/24", Some("192.0.2.1")),
            route("10.1.2.0/24", Some("192.0.2.9")),
            route("10.1.5.0/24", None),
            route("10.1.4.0/24", None),
            route("10.9.4.0/24", None),
        ];
        let config = br#"{"Network":"10.1.0.0/16","Backend":{"Type":"host-gw"}}"#;
        let place = Place {
            config: overlay::NetworkConfig::parse(config).unwrap(),
            name: None,
            uplink: String::new(),
            why: String::new(),
            mtu: 0,
        };
        let states: Vec<RouteState> =
            routes(&desired, &found, Some(&place)).iter().map(|route| route.state).collect();
        let (there, missing) = (RouteState::Present, RouteState::Missing);
        assert_eq!(states, [there, missing, missing, there, RouteState::Surplus]);
    }
}
