//! Between the kernel's routes and those of the daemon's mind: reading all that may matter, writing changes in batches.

use std::collections::BTreeSet;

use ipnetwork::IpNetwork;
use kernel::{Nexthop, Route, RouteFilter, Rtnl};
use overlay::{Actual, Change, Hop, ROUTE_PROTOCOL};

/// `RT_TABLE_MAIN`.
const MAIN: u32 = 254;
/// `RTN_UNICAST`.
const UNICAST: u8 = 1;
/// `IP6_RT_PRIO_USER`: what the kernel takes for IPv6 when no metric is given.
const IPV6_METRIC: u32 = 1024;
/// Messages in one system call; the kernel's cost a message does not fall any more beyond 50 (perf-baseline §6).
const BATCH: usize = 500;

/// Reads all nexthop objects and, of the main table, the unicast routes inside `scope`. An object that carries a route
/// outside belongs to whoever made that route.
pub fn read(rtnl: &mut Rtnl, scope: &[IpNetwork]) -> Result<Actual, kernel::Error> {
    let mut nexthops: Vec<overlay::Nexthop> = rtnl.nexthops()?.iter().map(nexthop).collect();
    let routes = rtnl.routes(RouteFilter { table: Some(MAIN), ..RouteFilter::default() })?;
    let is_inside = |route: &Route| {
        let (to, base) = (route.destination, route.destination.network());
        scope.iter().any(|network| network.is_ipv4() == to.is_ipv4() && network.contains(base))
    };
    let (inside, outside): (Vec<Route>, Vec<Route>) = routes.into_iter().partition(is_inside);
    let elsewhere: BTreeSet<u32> = outside.iter().filter_map(|route| route.nexthop_id).collect();
    for object in nexthops.iter_mut().filter(|object| elsewhere.contains(&object.id)) {
        object.protocol = 0;
    }
    let unicast = inside.iter().filter(|route| route.kind == UNICAST);
    Ok(Actual { routes: unicast.map(|r| route(r, &nexthops)).collect(), nexthops })
}

/// Makes the changes in their order. The answer has what the kernel refused.
pub fn write(rtnl: &mut Rtnl, changes: &[Change]) -> Result<Vec<kernel::Error>, kernel::Error> {
    let mut refused = Vec::new();
    for part in changes.chunks(BATCH) {
        let mut batch = rtnl.batch();
        for change in part {
            match change {
                Change::AddNexthop { id, hop } => batch.add_nexthop(&nexthop_message(*id, *hop)),
                Change::PutRoute { destination, hop, nexthop } => {
                    batch.replace_route(&message(*destination, Some(*hop), *nexthop))
                }
                Change::DeleteRoute(route) => batch.delete_route(&Route {
                    metric: Some(route.metric).filter(|metric| *metric != 0),
                    ..message(route.destination, route.hop(), route.nexthop)
                }),
                Change::DeleteNexthop { id } => batch.delete_nexthop(*id),
            };
        }
        let failed = batch.commit()?;
        refused
            .extend(failed.into_iter().filter(|(at, error)| !is_done(part.get(*at), error)).map(|(_, e)| e));
    }
    Ok(refused)
}

/// What is to be deleted and already gone is deleted.
fn is_done(change: Option<&Change>, error: &kernel::Error) -> bool {
    matches!(change, Some(Change::DeleteRoute(_) | Change::DeleteNexthop { .. })) && error.is_absent()
}

/// A route through an object must name neither gateway nor link: for a deletion the kernel (`fib_nh_match`) then finds nothing.
fn message(destination: IpNetwork, hop: Option<Hop>, nexthop: Option<u32>) -> Route {
    let direct = hop.filter(|_| nexthop.is_none());
    Route {
        gateway: direct.map(|hop| hop.gateway),
        oif: direct.map(|hop| hop.oif),
        nexthop_id: nexthop,
        protocol: ROUTE_PROTOCOL,
        ..Route::to(destination)
    }
}

fn nexthop_message(id: u32, hop: Hop) -> Nexthop {
    Nexthop { id, gateway: Some(hop.gateway), oif: Some(hop.oif), protocol: ROUTE_PROTOCOL }
}

fn nexthop(object: &Nexthop) -> overlay::Nexthop {
    let hop = object.gateway.zip(object.oif).map(|(gateway, oif)| Hop { gateway, oif });
    overlay::Nexthop { id: object.id, hop, protocol: object.protocol }
}

/// With `net.ipv4.nexthop_compat_mode=0` a route shows the number of its object only.
fn route(route: &Route, nexthops: &[overlay::Nexthop]) -> overlay::Route {
    let object = route.nexthop_id.filter(|_| route.gateway.is_none());
    let hop = object.and_then(|id| nexthops.iter().find(|n| n.id == id)).and_then(|n| n.hop);
    let usual = if route.destination.is_ipv4() { 0 } else { IPV6_METRIC };
    overlay::Route {
        destination: route.destination,
        gateway: route.gateway.or(hop.map(|hop| hop.gateway)),
        oif: route.oif.or(hop.map(|hop| hop.oif)),
        metric: route.metric.unwrap_or(usual),
        nexthop: route.nexthop_id,
        protocol: route.protocol,
    }
}
