//! The difference against a model of the kernel: whatever was there, applying the changes gives what is desired.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;

use super::*;
use crate::mac::Mac;
use crate::route::Nexthop;

fn net(n: u8) -> IpNetwork {
    IpNetwork::new(Ipv4Addr::new(10, 3, n, 0).into(), 24).unwrap()
}

fn hop(n: u8) -> Hop {
    Hop { gateway: Some(Ipv4Addr::new(192, 0, 2, n).into()), oif: 7, onlink: false }
}

fn route(n: u8, via: u8, protocol: u8) -> Route {
    let Hop { gateway, oif, onlink } = hop(via);
    Route { destination: net(n), gateway, oif: Some(oif), metric: 0, onlink, nexthop: None, protocol }
}

fn wanted(pairs: &[(u8, u8)]) -> Desired {
    let routes = pairs.iter().map(|(n, via)| (net(*n), hop(*via))).collect();
    Desired { routes, ..Desired::default() }
}

fn put(n: u8, via: u8) -> Change {
    Change::PutRoute { destination: net(n), hop: hop(via), nexthop: None }
}

fn actual(routes: Vec<Route>) -> Actual {
    Actual { routes, ..Actual::default() }
}

/// The kernel's rules: `NLM_F_REPLACE` takes the place of the first route with that destination and metric; a nexthop
/// object that goes away takes its routes with it; a route through an object that is not there is refused.
fn apply(changes: &[Change], mut state: Actual) -> Actual {
    for change in changes {
        match change {
            Change::AddNexthop { id, hop } => {
                assert!(!state.nexthops.iter().any(|n| n.id == *id), "EEXIST");
                state.nexthops.push(Nexthop { id: *id, hop: Some(*hop), protocol: ROUTE_PROTOCOL });
            }
            Change::PutRoute { destination, hop, nexthop } => {
                if let Some(id) = nexthop {
                    assert!(state.nexthops.iter().any(|n| n.id == *id && n.hop == Some(*hop)), "EINVAL");
                }
                let (gateway, oif, onlink) = (hop.gateway, Some(hop.oif), hop.onlink);
                let (destination, nexthop, protocol) = (*destination, *nexthop, ROUTE_PROTOCOL);
                let new = Route { destination, gateway, oif, metric: 0, onlink, nexthop, protocol };
                match state.routes.iter_mut().find(|r| r.destination == destination && r.metric == 0) {
                    Some(old) => *old = new,
                    None => state.routes.push(new),
                }
            }
            Change::DeleteRoute(gone) => {
                let at = state.routes.iter().position(|r| r == gone).expect("ESRCH");
                state.routes.remove(at);
            }
            Change::PutNeighbour(_)
            | Change::PutForwarding(_)
            | Change::DeleteForwarding(_)
            | Change::PutPeer { .. }
            | Change::DeletePeer { .. }
            | Change::PutCarried { .. }
            | Change::DeleteCarried { .. }
            | Change::DeleteNeighbour(_) => apply_entry(change, &mut state),
            Change::DeleteNexthop { id } => {
                state.nexthops.retain(|n| n.id != *id);
                state.routes.retain(|r| r.nexthop != Some(*id));
            }
        }
    }
    state
}

fn apply_entry(change: &Change, state: &mut Actual) {
    if let Change::PutNeighbour(new) = change {
        state.neighbours.retain(|n| (n.index, n.address) != (new.index, new.address));
        state.neighbours.push(*new);
    }
    if let Change::PutForwarding(new) = change {
        // `NLM_F_REPLACE` changes the first of several hosts (`vxlan_fdb_replace`).
        match state.forwardings.iter_mut().find(|f| (f.index, f.mac) == (new.index, new.mac)) {
            Some(old) => *old = *new,
            None => state.forwardings.push(*new),
        }
    }
    if let Change::DeleteForwarding(gone) = change {
        state.forwardings.retain(|f| f != gone);
    }
    if let Change::DeleteNeighbour(gone) = change {
        state.neighbours.retain(|n| n != gone);
    }
    if let Change::PutCarried { subnet, node } = change {
        state.carried.insert(*subnet, *node);
    }
    if let Change::DeleteCarried { subnet } = change {
        state.carried.remove(subnet);
    }
}

fn entry(n: u8, host: u8) -> Forwarding {
    let host = Some(Ipv4Addr::new(192, 0, 2, host).into());
    Forwarding { index: 7, mac: Mac([2, 0, 0, 0, 0, n]), host, permanent: true }
}

fn near(n: u8, mac: u8) -> Neighbour {
    let address = Ipv4Addr::new(10, 3, n, 0).into();
    Neighbour { index: 7, address, mac: Some(Mac([2, 0, 0, 0, 0, mac])), permanent: true }
}

proptest! {
    #[test]
    fn tunnel_entries_become_what_is_desired_whatever_was_there(
        wanted in prop::collection::btree_map(0u8..6, (0u8..6, 0u8..4), 0..6),
        there in prop::collection::vec((0u8..6, 0u8..6, 0u8..4, any::<bool>()), 0..12),
    ) {
        let mut desired = Desired::default();
        for (n, (mac, host)) in wanted {
            let Forwarding { index, mac, host, .. } = entry(mac, host);
            desired.neighbours.insert((index, near(n, 0).address), mac);
            desired.forwardings.insert((index, mac), host.unwrap());
        }
        let mut before = Actual::default();
        for (n, mac, host, permanent) in there {
            // One neighbour an address; one entry a pair of address and host.
            before.neighbours.retain(|known| known.address != near(n, 0).address);
            before.neighbours.push(Neighbour { permanent, ..near(n, mac) });
            before.forwardings.retain(|known| (known.mac, known.host) != (entry(mac, host).mac, entry(mac, host).host));
            before.forwardings.push(Forwarding { permanent, ..entry(mac, host) });
        }
        let once = apply(&diff(&desired, &before), before);
        let after = apply(&diff(&desired, &once), once);
        prop_assert_eq!(diff(&desired, &after), vec![], "settled");
        let ours: BTreeMap<(u32, Mac), IpAddr> = after.forwardings.iter()
            .filter(|f| f.permanent).map(|f| ((f.index, f.mac), f.host.unwrap())).collect();
        prop_assert_eq!(ours, desired.forwardings);
        let ours: BTreeMap<(u32, IpAddr), Mac> = after.neighbours.iter()
            .filter(|n| n.permanent).map(|n| ((n.index, n.address), n.mac.unwrap())).collect();
        prop_assert_eq!(ours, desired.neighbours);
    }
}

#[test]
fn an_equal_state_needs_no_change() {
    assert_eq!(diff(&wanted(&[(2, 2)]), &actual(vec![route(2, 2, ROUTE_PROTOCOL)])), []);
}

#[test]
fn issue_2554_a_route_of_a_node_that_left_is_deleted_and_others_routes_are_not() {
    let stale = route(9, 9, ROUTE_PROTOCOL);
    let kernel = actual(vec![stale.clone(), route(8, 8, 3), route(7, 7, 4)]);
    assert_eq!(diff(&wanted(&[]), &kernel), [Change::DeleteRoute(stale)]);
}

#[test]
fn a_peer_that_moved_is_replaced_in_place_not_deleted_and_added() {
    let changes = diff(&wanted(&[(2, 5)]), &actual(vec![route(2, 2, ROUTE_PROTOCOL)]));
    assert_eq!(changes, [put(2, 5)]);
}

#[test]
fn flanneld_s_equal_route_becomes_ours_in_place() {
    let kernel = actual(vec![route(2, 2, 3)]);
    assert_eq!(diff(&wanted(&[(2, 2)]), &kernel), [put(2, 2)]);
    assert_eq!(conflicts(&wanted(&[(2, 2)]), &kernel), []);
}

#[test]
fn a_foreign_route_is_reported_and_left_alone() {
    for foreign in [route(2, 9, 3), route(2, 2, 4), Route { gateway: None, ..route(2, 2, 2) }] {
        let kernel = actual(vec![foreign.clone()]);
        assert_eq!(diff(&wanted(&[(2, 2)]), &kernel), [], "{foreign:?}");
        assert_eq!(conflicts(&wanted(&[(2, 2)]), &kernel).len(), 1, "{foreign:?}");
    }
}

#[test]
fn many_gateways_go_through_nexthop_objects_and_right_routes_stay_as_they_are() {
    let pairs: Vec<(u8, u8)> = (1..=200).map(|n| (n, n)).collect();
    let taken = Nexthop { id: FIRST_ID, hop: None, protocol: 0 };
    let mut kernel = actual(vec![route(1, 1, ROUTE_PROTOCOL)]);
    kernel.nexthops.push(taken);
    let changes = diff(&wanted(&pairs), &kernel);
    let adds =
        changes.iter().filter(|c| matches!(c, Change::AddNexthop { id, .. } if *id > FIRST_ID)).count();
    let puts = changes.iter().filter(|c| matches!(c, Change::PutRoute { nexthop: Some(_), .. })).count();
    assert_eq!((adds, puts, changes.len()), (199, 199, 398));
}

fn any_route() -> impl Strategy<Value = Route> {
    let protocol = prop_oneof![4 => Just(ROUTE_PROTOCOL), 1 => Just(3u8), 1 => Just(4u8), 1 => Just(2u8)];
    (0u8..8, 0u8..4, protocol, prop_oneof![4 => Just(0u32), 1 => Just(100u32)])
        .prop_map(|(n, via, protocol, metric)| Route { metric, ..route(n, via, protocol) })
}

/// As a kernel could hold it: no two equal routes, and routes of ours partly through objects of ours.
fn any_actual(base: u8) -> impl Strategy<Value = Actual> {
    (prop::collection::vec(any_route(), 0..12), 0u8..6).prop_map(move |(routes, objects)| {
        let mut state = Actual::default();
        state.nexthops.extend((0..objects).map(|n| Nexthop {
            id: FIRST_ID + u32::from(n),
            hop: Some(hop(base + n)),
            protocol: if n == 4 { 0 } else { ROUTE_PROTOCOL },
        }));
        for mut route in routes {
            let object = state.nexthops.iter().find(|n| n.hop == route.hop() && n.protocol == ROUTE_PROTOCOL);
            route.nexthop = object.filter(|_| route.is_ours()).map(|n| n.id);
            if !state.routes.contains(&route) {
                state.routes.push(route);
            }
        }
        state
    })
}

fn any_desired() -> impl Strategy<Value = Desired> {
    let few = prop::collection::vec((0u8..8, 0u8..4), 0..8);
    let many = Just((0u8..=200).map(|n| (n, n)).collect::<Vec<_>>());
    prop_oneof![3 => few, 1 => many].prop_map(|pairs| wanted(&pairs))
}

proptest! {
    #[test]
    fn applying_the_difference_gives_the_desired_state(desired in any_desired(), before in any_actual(0)) {
        let blocked: BTreeSet<IpNetwork> =
            before.routes.iter().filter(|r| !r.is_ours()).map(|r| r.destination).collect();
        let foreign = |state: &Actual| -> Vec<Route> {
            state.routes.iter().filter(|r| !r.is_ours()).cloned().collect()
        };
        let once = apply(&diff(&desired, &before), before.clone());
        let after = apply(&diff(&desired, &once), once);
        prop_assert_eq!(diff(&desired, &after), vec![], "settled");
        let ours: BTreeMap<IpNetwork, Hop> =
            after.routes.iter().filter(|r| r.is_ours()).map(|r| (r.destination, r.hop().unwrap())).collect();
        for (destination, hop) in &desired.routes {
            match ours.get(destination) {
                Some(found) => prop_assert_eq!(found, hop),
                None => prop_assert!(blocked.contains(destination)),
            }
        }
        prop_assert!(ours.keys().all(|destination| desired.routes.contains_key(destination)));
        let adopted = |r: &Route| desired.routes.get(&r.destination).is_some_and(|hop| is_adoptable(r, *hop));
        let kept: Vec<Route> = foreign(&before).into_iter().filter(|r| !adopted(r)).collect();
        prop_assert!(kept.iter().all(|r| after.routes.contains(r)), "a foreign route was lost");
        let used: BTreeSet<u32> = after.routes.iter().filter_map(|r| r.nexthop).collect();
        prop_assert!(after.nexthops.iter().all(|n| n.protocol != ROUTE_PROTOCOL || used.contains(&n.id)));
        prop_assert!(before.nexthops.iter().filter(|n| n.protocol != ROUTE_PROTOCOL).all(|n| after.nexthops.contains(n)));
    }
}
