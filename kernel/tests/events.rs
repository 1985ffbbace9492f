//! Events, waiting with a deadline, announcements, and deletion without the wait.
#![allow(clippy::unwrap_used, reason = "in the functions beside the tests")]

mod world;

use kernel::{
    Address, Bridge, Cause, Dad, Error, Event, Group, Link, Monitor, Nexthop, Operstate, PortState, Route,
    Rtnl, Veth, linger, sysctl,
};
use std::time::{Duration, Instant};
use world::{Node, net, plain};

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

/// Reads events until one fits.
fn until(monitor: &mut Monitor, mut fits: impl FnMut(&Event) -> bool) -> Event {
    loop {
        let event = monitor.next(soon()).unwrap().unwrap_or_else(|| unreachable!("the event did not come"));
        if fits(&event) {
            return event;
        }
    }
}

#[test]
fn links_are_seen_to_come_go_up_and_away() {
    let (mut node, mut pod) = (Node::new(), Node::new());
    let mut monitor = Monitor::open_in(&node.ns, &[Group::Link]).unwrap();
    let (here, there) = node.cable("veth0", &mut pod, "eth0");
    until(&mut monitor, |e| matches!(e, Event::Link(l) if l.index == here && l.running == Operstate::Up));
    pod.nl.set_link_down(there).unwrap();
    until(&mut monitor, |e| matches!(e, Event::Link(l) if l.index == here && l.running != Operstate::Up));
    node.nl.delete_link(here).unwrap();
    until(&mut monitor, |e| *e == Event::LinkGone { index: here, name: "veth0".into() });
}

#[test]
fn a_port_that_leaves_its_bridge_is_not_a_link_that_is_gone() {
    let (mut node, mut pod) = (Node::new(), Node::new());
    node.nl.create_bridge(&Bridge { name: "br0", mac: None, mtu: None }).unwrap();
    let br = node.index("br0");
    let (here, _) = node.cable("veth0", &mut pod, "eth0");
    node.nl.set_link_controller(here, Some(br)).unwrap();
    let mut monitor = Monitor::open_in(&node.ns, &[Group::Link]).unwrap();
    node.nl.set_link_controller(here, None).unwrap();
    let mut gone = false;
    until(&mut monitor, |e| {
        gone |= matches!(e, Event::LinkGone { .. });
        matches!(e, Event::Link(l) if l.index == here && l.controller.is_none())
    });
    assert!(!gone);
}

#[test]
fn addresses_routes_and_neighbours_are_seen() {
    let (mut node, mut pod) = (Node::new(), Node::new());
    let (here, _) = node.cable("veth0", &mut pod, "eth0");
    let open = |groups: &[Group]| Monitor::open_in(&node.ns, groups).unwrap();
    let mut monitor = open(&[Group::Ipv4Address, Group::Ipv6Address, Group::Neighbour]);
    let mut routes = open(&[Group::Ipv4Route, Group::Ipv6Route]);
    for text in ["10.9.0.1/24", "fd09::1/64"] {
        node.nl.add_address(here, net(text), Dad::Skip).unwrap();
        until(&mut monitor, |e| matches!(e, Event::Address(a) if a.network == net(text)));
        let network = ipnetwork::IpNetwork::new(net(text).network(), net(text).prefix()).unwrap();
        let route = until(&mut routes, |e| matches!(e, Event::Route(r) if r.destination == network));
        assert!(matches!(route, Event::Route(r) if r.oif == Some(here)));
        node.nl.delete_address(here, net(text)).unwrap();
        until(&mut monitor, |e| matches!(e, Event::AddressGone(a) if a.network == net(text)));
    }
    let entry =
        kernel::Neighbour::permanent(here, "10.9.0.9".parse().unwrap(), kernel::Mac([2, 0, 0, 0, 0, 1]));
    node.nl.add_neighbour(&entry).unwrap();
    until(&mut monitor, |e| matches!(e, Event::Neighbour(n) if n.address == entry.address));
    node.nl.delete_neighbour(here, entry.address).unwrap();
    until(&mut monitor, |e| matches!(e, Event::NeighbourGone(n) if n.address == entry.address));
}

#[test]
fn a_nexthop_object_that_goes_is_told_of_and_its_routes_are_not() {
    let (mut node, mut pod) = (Node::new(), Node::new());
    let (here, _) = node.cable("veth0", &mut pod, "eth0");
    node.nl.add_address(here, net("10.9.0.1/24"), Dad::Skip).unwrap();
    let gateway = Some("10.9.0.2".parse().unwrap());
    let nexthop = Nexthop { id: 7, gateway, oif: Some(here), protocol: 73, onlink: false };
    let mut monitor = Monitor::open_in(&node.ns, &[Group::Nexthop, Group::Ipv4Route]).unwrap();
    node.nl.add_nexthop(&nexthop).unwrap();
    until(&mut monitor, |e| *e == Event::Nexthop(nexthop));
    node.nl.add_route(&Route { nexthop_id: Some(7), ..Route::to(net("10.8.0.0/24")) }).unwrap();
    node.nl.delete_nexthop(7).unwrap();
    let mut route_gone = false;
    until(&mut monitor, |e| {
        route_gone |= matches!(e, Event::RouteGone(_));
        *e == Event::NexthopGone(nexthop)
    });
    assert!(!route_gone, "if the kernel tells of the routes, they need not be guessed from the object");
}

#[test]
fn what_is_changed_through_one_socket_is_not_told_to_a_listener_that_ignores_it() {
    let (mut node, mut pod) = (Node::new(), Node::new());
    let (here, _) = node.cable("veth0", &mut pod, "eth0");
    node.nl.add_address(here, net("10.9.0.1/24"), Dad::Skip).unwrap();
    let route = |to: &str| Route {
        gateway: Some("10.9.0.2".parse().unwrap()),
        oif: Some(here),
        protocol: 73,
        ..Route::to(net(to))
    };
    let mut monitor = Monitor::open_in(&node.ns, &[Group::Nexthop, Group::Ipv4Route]).unwrap();
    monitor.ignore(node.nl.port().unwrap()).unwrap();
    node.nl.add_route(&route("10.8.1.0/24")).unwrap();
    node.nl.delete_route(&route("10.8.1.0/24")).unwrap();
    let object = Nexthop {
        id: 7,
        gateway: route("10.8.1.0/24").gateway,
        oif: Some(here),
        protocol: 73,
        onlink: false,
    };
    node.nl.add_nexthop(&object).unwrap();
    // Another socket, and with the same protocol number.
    Rtnl::open_in(&node.ns).unwrap().add_route(&route("10.8.2.0/24")).unwrap();
    let first = monitor.next(soon()).unwrap().unwrap();
    assert!(matches!(&first, Event::Route(told) if told.destination == net("10.8.2.0/24")), "{first:?}");
}

#[test]
fn nothing_comes_before_the_deadline_and_not_much_after() {
    let node = Node::new();
    let mut monitor = Monitor::open_in(&node.ns, &[Group::Link]).unwrap();
    let deadline = Instant::now() + Duration::from_millis(30);
    assert_eq!(monitor.next(deadline).unwrap(), None);
    assert!(Instant::now() >= deadline);
    assert_eq!(monitor.next(deadline).unwrap(), None, "a deadline that has passed");
}

#[test]
fn a_flood_is_an_overrun_and_then_it_goes_on() {
    let (mut node, mut pod) = (Node::new(), Node::new());
    let mut monitor = Monitor::open_in(&node.ns, &[Group::Link, Group::Ipv4Address]).unwrap();
    let (here, _) = node.cable("veth0", &mut pod, "eth0");
    for n in 0..6000u32 {
        node.nl.add_address(here, net(&format!("10.{}.{}.1/32", n / 250, n % 250)), Dad::Skip).unwrap();
    }
    until(&mut monitor, |e| *e == Event::Overrun);
    while monitor.next(Instant::now()).unwrap().is_some() {}
    node.nl.set_link_down(here).unwrap();
    until(&mut monitor, |e| matches!(e, Event::Link(l) if l.index == here && !l.up));
}

#[test]
fn waiting_for_a_port_to_forward_sees_every_change() {
    let (mut node, mut pod) = (Node::new(), Node::new());
    node.nl.create_bridge(&Bridge { name: "br0", mac: None, mtu: None }).unwrap();
    let controller = Some(node.index("br0"));
    let mut monitor = Monitor::open_in(&node.ns, &[Group::Link]).unwrap();
    node.nl.create_veth(&Veth { controller, ..plain("veth0", "eth0", &pod.ns) }).unwrap();
    let (here, there) = (node.index("veth0"), pod.index("eth0"));
    let forwards = |link: Option<&Link>| link.is_some_and(|l| l.port_state == Some(PortState::Forwarding));
    let early = Instant::now() + Duration::from_millis(20);
    let error = node.nl.wait_link(&mut monitor, (here, early), forwards).unwrap_err();
    assert!(matches!(error, Error::Failed { cause: Cause::DeadlinePassed, .. }), "{error}");
    pod.nl.set_link_up(there).unwrap();
    let link = node.nl.wait_link(&mut monitor, (here, soon()), forwards).unwrap().unwrap();
    assert_eq!(link.running, Operstate::Up);
    drop(pod); // its end goes with the namespace, and takes the other end along
    assert_eq!(node.nl.wait_link(&mut monitor, (here, soon()), |l| l.is_none()).unwrap(), None);
}

#[test]
fn the_end_of_duplicate_address_detection_is_awaited() {
    let (mut node, mut pod) = (Node::new(), Node::new());
    let mut monitor = Monitor::open_in(&node.ns, &[Group::Ipv6Address]).unwrap();
    let (here, there) = node.cable("veth0", &mut pod, "eth0");
    pod.nl.add_address(there, net("fd09::1/64"), Dad::Skip).unwrap();
    for text in ["fd09::1/64", "fd09::2/64"] {
        node.nl.add_address(here, net(text), Dad::Run).unwrap();
    }
    let settled = |found: &[Address]| found.iter().all(|a| !a.tentative || a.dad_failed);
    let found = node.nl.wait_addresses(&mut monitor, (here, soon()), settled).unwrap();
    let failed: Vec<_> = found.iter().filter(|a| a.dad_failed).map(|a| a.network).collect();
    assert_eq!(failed, [net("fd09::1/64")], "the other side has this one");
    let past = node.nl.wait_addresses(&mut monitor, (here, Instant::now()), <[_]>::is_empty).unwrap_err();
    assert_eq!(
        past.to_string(),
        format!("waiting for the addresses of link {here}: did not happen before the deadline")
    );
}

/// A link's announcement reaches the other side, which had other MAC addresses for these IP addresses.
#[test]
fn an_announcement_corrects_a_stale_neighbour_waited_for_or_not() {
    for announce in [Rtnl::announce, linger::announce_later] {
        stale_neighbours_are_corrected_by(announce);
    }
}

fn stale_neighbours_are_corrected_by(announce: fn(&mut Rtnl, &Link) -> Result<(), Error>) {
    let (mut node, mut pod) = (Node::new(), Node::new());
    let (here, there) = node.cable("veth0", &mut pod, "eth0");
    node.nl.add_address(here, net("10.9.0.1/24"), Dad::Skip).unwrap();
    node.nl.add_address(here, net("fd09::1/64"), Dad::Skip).unwrap();
    pod.ns
        .run(|| {
            sysctl::write("net/ipv4/conf/eth0/arp_notify", "1")?;
            sysctl::write("net/ipv6/conf/eth0/ndisc_notify", "1")
        })
        .unwrap()
        .unwrap();
    pod.nl.add_address(there, net("10.9.0.2/24"), Dad::Skip).unwrap();
    pod.nl.add_address(there, net("fd09::2/64"), Dad::Skip).unwrap();
    let mac = pod.link("eth0").mac.unwrap();
    let stale = kernel::Mac([2, 0, 0, 0, 9, 9]);
    let mut monitor = Monitor::open_in(&node.ns, &[Group::Neighbour]).unwrap();
    for address in ["10.9.0.2", "fd09::2"] {
        let address = address.parse().unwrap();
        node.nl
            .add_neighbour(&kernel::Neighbour { index: here, address, mac: Some(stale), state: 4 })
            .unwrap();
    }
    let eth0 = pod.link("eth0");
    announce(&mut pod.nl, &eth0).unwrap();
    for address in ["10.9.0.2", "fd09::2"] {
        let address: std::net::IpAddr = address.parse().unwrap();
        until(
            &mut monitor,
            |e| matches!(e, Event::Neighbour(n) if n.address == address && n.mac == Some(mac)),
        );
    }
}

#[test]
fn an_early_deletion_is_done_when_it_returns() {
    for controller in [false, true] {
        let (mut node, mut pod) = (Node::new(), Node::new());
        node.nl.create_bridge(&Bridge { name: "br0", mac: None, mtu: None }).unwrap();
        let br = node.index("br0");
        for round in 0..10 {
            let (here, there) = node.cable("veth0", &mut pod, "eth0");
            if controller {
                node.nl.set_link_controller(here, Some(br)).unwrap();
            }
            let (started, end) =
                (Instant::now(), if round % 2 == 0 { (&mut node, here) } else { (&mut pod, there) });
            linger::delete_link_early(&mut end.0.nl, end.1).unwrap();
            eprintln!("deleted in {:?}", started.elapsed());
            assert_eq!(node.nl.link("veth0").unwrap(), None);
            assert_eq!(pod.nl.link("eth0").unwrap(), None);
        }
    }
}

#[test]
fn an_early_deletion_of_nothing_is_success_and_of_the_undeletable_an_error() {
    let mut node = Node::new();
    linger::delete_link_early(&mut node.nl, 4711).unwrap();
    let error = linger::delete_link_early(&mut node.nl, 1).unwrap_err();
    assert!(error.to_string().starts_with("deleting link 1: Operation not supported"), "{error}");
    assert!(node.nl.link("lo").unwrap().is_some(), "the socket is in step");
}

#[test]
fn an_outlived_descriptor_is_closed_by_the_child() {
    let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
    linger::outlive(near);
    far.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut byte = [0];
    assert_eq!(std::io::Read::read(&mut &far, &mut byte).unwrap(), 0, "the last copy is closed");
}
