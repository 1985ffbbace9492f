//! Between the kernel's routes and those of the daemon's mind: reading all that may matter, writing changes in batches.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::mpsc::sync_channel;

use ipnetwork::IpNetwork;
use kernel::{Batch, Nexthop, Route, RouteFilter, Rtnl};
use overlay::{Actual, Change, Ends, Hop, Mac, ROUTE_PROTOCOL, Reach};

/// `RT_TABLE_MAIN`.
const MAIN: u32 = 254;
/// `RTN_UNICAST`.
const UNICAST: u8 = 1;
/// `IP6_RT_PRIO_USER`: what the kernel takes for IPv6 when no metric is given.
const IPV6_METRIC: u32 = 1024;
/// Messages in one system call; the kernel's cost a message does not fall any more beyond 50 (perf-baseline §6).
const BATCH: usize = 500;
/// From so many batches on a thread packs them while the kernel works on those before: a fifth of the time of a write.
const MANY: usize = 4;
/// How many it may be ahead.
const AHEAD: usize = 4;

/// Reads all nexthop objects, of the main table the unicast routes inside `scope`, and the entries of the tunnel `ends`.
/// An object that carries a route outside belongs to whoever made that route; the routes outside say who is a neighbour.
pub fn read(rtnl: &mut Rtnl, scope: &[IpNetwork], ends: &Ends) -> Result<(Actual, Reach), kernel::Error> {
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
    let routes = unicast.map(|r| route(r, &nexthops)).collect();
    let mut actual = Actual { routes, nexthops, ..Actual::default() };
    for end in ends.iter() {
        actual.neighbours.extend(rtnl.neighbours(end.index)?.iter().map(neighbour));
        actual.forwardings.extend(rtnl.forwardings(end.index)?.iter().map(forwarding));
    }
    Ok((actual, reach(&outside)))
}

/// A route that is not unicast, or leads through an object, is no sign of a neighbour.
fn reach(routes: &[Route]) -> Reach {
    let mut reach = Reach::default();
    for route in routes {
        let is_plain = route.kind == UNICAST && route.gateway.is_none() && route.nexthop_id.is_none();
        reach.learn(route.destination, route.metric.unwrap_or(0), route.oif.filter(|_| is_plain));
    }
    reach
}

fn neighbour(there: &kernel::Neighbour) -> overlay::Neighbour {
    let mac = there.mac.map(|mac| Mac(mac.0));
    overlay::Neighbour { index: there.index, address: there.address, mac, permanent: there.is_permanent() }
}

fn forwarding(there: &kernel::Forwarding) -> overlay::Forwarding {
    overlay::Forwarding {
        index: there.index,
        mac: Mac(there.mac.0),
        host: there.destination,
        permanent: there.is_permanent(),
    }
}

/// A change that the kernel refused.
#[derive(Debug)]
pub struct Refusal<'c> {
    /// What was to be done, where the kernel's answer tells.
    pub change: Option<&'c Change>,
    /// Why not.
    pub error: kernel::Error,
}

/// Makes the changes in their order. The answer has what the kernel refused.
pub fn write<'c>(rtnl: &mut Rtnl, changes: &'c [Change]) -> Result<Vec<Refusal<'c>>, kernel::Error> {
    let is_for_rtnl = |change: &&Change| !is_for_others(change);
    let changes: Vec<&Change> = changes.iter().filter(is_for_rtnl).collect();
    let mut parts = changes.chunks(BATCH);
    let mut writing = Writing { rtnl, refused: Vec::new() };
    if parts.len() >= MANY {
        let rest = parts.clone();
        let sent = std::thread::scope(|scope| {
            let (packed, ready) = sync_channel(AHEAD);
            let pack_all = move || rest.map(pack).try_for_each(|batch| packed.send(batch));
            // Without a thread nothing is packed ahead, and all parts are left for below.
            std::thread::Builder::new().spawn_scoped(scope, pack_all).ok();
            let mut sent = 0;
            for (batch, part) in ready.iter().zip(parts.clone()) {
                writing.send(batch, part)?;
                sent += 1;
            }
            Ok::<_, kernel::Error>(sent)
        })?;
        parts = changes.get(sent * BATCH..).unwrap_or_default().chunks(BATCH);
    }
    for part in parts {
        writing.send(pack(part), part)?;
    }
    Ok(writing.refused)
}

/// The sending side of a write.
struct Writing<'a, 'c> {
    rtnl: &'a mut Rtnl,
    refused: Vec<Refusal<'c>>,
}

impl<'c> Writing<'_, 'c> {
    fn send(&mut self, batch: Batch, part: &[&'c Change]) -> Result<(), kernel::Error> {
        let failed = batch.through(self.rtnl).commit()?.into_iter();
        let failed = failed.map(|(at, error)| Refusal { change: part.get(at).copied(), error });
        self.refused.extend(failed.filter(|refusal| !is_done(refusal.change, &refusal.error)));
        Ok(())
    }
}

fn pack(part: &[&Change]) -> Batch {
    let mut batch = Batch::default();
    for change in part {
        put(&mut batch, change);
    }
    batch
}

fn put(batch: &mut Batch, change: &Change) {
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
        Change::PutNeighbour(entry) => batch.replace_neighbour(&neighbour_message(entry)),
        Change::DeleteNeighbour(entry) => batch.delete_neighbour(&neighbour_message(entry)),
        Change::PutForwarding(entry) => batch.replace_forwarding(&forwarding_message(entry)),
        Change::DeleteForwarding(entry) => batch.delete_forwarding(&forwarding_message(entry)),
        Change::PutPeer { .. }
        | Change::DeletePeer { .. }
        | Change::PutCarried { .. }
        | Change::DeleteCarried { .. } => batch,
    };
}

/// Keys and tables, which rtnetlink knows nothing of.
fn is_for_others(change: &Change) -> bool {
    matches!(
        change,
        Change::PutPeer { .. }
            | Change::DeletePeer { .. }
            | Change::PutCarried { .. }
            | Change::DeleteCarried { .. }
    )
}

/// What is to be deleted and already gone is deleted.
fn is_done(change: Option<&Change>, error: &kernel::Error) -> bool {
    let deletes = matches!(
        change,
        Some(
            Change::DeleteRoute(_)
                | Change::DeleteNexthop { .. }
                | Change::DeleteNeighbour(_)
                | Change::DeleteForwarding(_)
        )
    );
    deletes && error.is_absent()
}

fn neighbour_message(entry: &overlay::Neighbour) -> kernel::Neighbour {
    kernel::Neighbour::permanent(entry.index, entry.address, kernel_mac(entry.mac))
}

fn forwarding_message(entry: &overlay::Forwarding) -> kernel::Forwarding {
    let any = IpAddr::from(Ipv4Addr::UNSPECIFIED);
    let permanent =
        kernel::Forwarding::permanent(entry.index, kernel_mac(Some(entry.mac)), entry.host.unwrap_or(any));
    kernel::Forwarding { destination: entry.host, ..permanent }
}

/// An entry that is written has one; of one that is deleted the kernel wants none.
fn kernel_mac(mac: Option<Mac>) -> kernel::Mac {
    kernel::Mac(mac.map_or([0; 6], |mac| mac.0))
}

/// A route through an object must name neither gateway nor link: for a deletion the kernel (`fib_nh_match`) then finds nothing.
fn message(destination: IpNetwork, hop: Option<Hop>, nexthop: Option<u32>) -> Route {
    let direct = hop.filter(|_| nexthop.is_none());
    Route {
        gateway: direct.and_then(|hop| hop.gateway),
        oif: direct.map(|hop| hop.oif),
        onlink: direct.is_some_and(|hop| hop.onlink),
        scope: direct.map_or(0, |hop| scope(destination, &hop)),
        nexthop_id: nexthop,
        protocol: ROUTE_PROTOCOL,
        ..Route::to(destination)
    }
}

/// The kernel wants an IPv4 route without gateway to be one to the link itself (`RT_SCOPE_LINK`).
fn scope(destination: IpNetwork, hop: &Hop) -> u8 {
    if destination.is_ipv4() && hop.gateway.is_none() { 253 } else { 0 }
}

fn nexthop_message(id: u32, hop: Hop) -> Nexthop {
    let Hop { gateway, oif, onlink } = hop;
    Nexthop { id, gateway, oif: Some(oif), protocol: ROUTE_PROTOCOL, onlink }
}

fn nexthop(object: &Nexthop) -> overlay::Nexthop {
    let Nexthop { gateway, onlink, .. } = *object;
    let hop = gateway.and(object.oif).map(|oif| Hop { gateway, oif, onlink });
    overlay::Nexthop { id: object.id, hop, protocol: object.protocol }
}

/// With `net.ipv4.nexthop_compat_mode=0` a route shows the number of its object only.
fn route(route: &Route, nexthops: &[overlay::Nexthop]) -> overlay::Route {
    let object = route.nexthop_id.filter(|_| route.gateway.is_none());
    let hop = object.and_then(|id| nexthops.iter().find(|n| n.id == id)).and_then(|n| n.hop);
    let usual = if route.destination.is_ipv4() { 0 } else { IPV6_METRIC };
    overlay::Route {
        destination: route.destination,
        gateway: route.gateway.or(hop.and_then(|hop| hop.gateway)),
        oif: route.oif.or(hop.map(|hop| hop.oif)),
        onlink: route.onlink || hop.is_some_and(|hop| hop.onlink),
        metric: route.metric.unwrap_or(usual),
        nexthop: route.nexthop_id,
        protocol: route.protocol,
    }
}
