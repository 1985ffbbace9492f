//! Links: veth pairs, bridges and their ports, read back by us and by iproute2.
#![allow(clippy::unwrap_used, reason = "in the functions beside the tests")]

mod world;

use kernel::{Bridge, BridgePort, Creation, Ifb, Mac, Operstate, PortState, Promiscuity, Rtnl, Start, Veth};
use std::{net::UdpSocket, thread};
use world::{Node, plain};

const HOST_MAC: Mac = Mac([2, 0, 0, 0, 1, 2]);
const PEER_MAC: Mac = Mac([2, 0, 0, 0, 1, 1]);

fn bridge(node: &mut Node, name: &str) -> u32 {
    let mac = Some(Mac([2, 0, 0, 0, 0, 9]));
    assert_eq!(node.nl.create_bridge(&Bridge { name, mac, mtu: None }).unwrap(), Creation::Made);
    node.index(name)
}

#[test]
fn one_message_makes_both_ends_of_a_veth_where_they_belong() {
    let (mut node, mut pod) = (Node::new(), Node::new());
    let br = bridge(&mut node, "br0");
    let veth = Veth {
        host_mac: Some(HOST_MAC),
        peer_mac: Some(PEER_MAC),
        mtu: Some(1450),
        controller: Some(br),
        ..plain("veth0", "eth0", &pod.ns)
    };
    node.nl.create_veth(&veth).unwrap();

    let (host, peer) = (node.link("veth0"), pod.link("eth0"));
    assert_eq!((host.kind.as_deref(), host.mac, host.mtu), (Some("veth"), Some(HOST_MAC), 1450));
    assert!(host.up && host.controller == Some(br) && host.port.is_some());
    assert_eq!((peer.mac, peer.mtu, peer.up), (Some(PEER_MAC), 1450, false));
    assert_eq!(host.peer_index, Some(peer.index));
    assert!(host.peer_netns.is_some());
    assert!(host.running != Operstate::Up, "the peer is down");
    let shown = node.run("ip -d link show veth0");
    for part in ["master br0", "numtxqueues 1 numrxqueues 1", "mtu 1450", "02:00:00:00:01:02"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    assert!(pod.run("ip -d link show eth0").contains("numtxqueues 1 numrxqueues 1"));
}

#[test]
fn a_taken_name_on_either_side_makes_nothing() {
    let (mut node, mut pod) = (Node::new(), Node::new());
    node.nl.create_veth(&plain("veth0", "eth0", &pod.ns)).unwrap();
    for (host, peer) in [("veth0", "eth1"), ("veth1", "eth0")] {
        let error = node.nl.create_veth(&plain(host, peer, &pod.ns)).unwrap_err();
        assert!(error.is_present());
        assert!(
            error.to_string().starts_with(&format!("creating veth {host} with peer {peer}: File exists"))
        );
    }
    assert!(node.nl.link("veth1").unwrap().is_none() && pod.nl.link("eth1").unwrap().is_none());
}

#[test]
fn names_the_kernel_cannot_have_are_refused_not_cut() {
    let (mut node, pod) = (Node::new(), Node::new());
    for name in ["sixteen-bytes-xx", "veth0\0x", "a/b"] {
        assert!(node.nl.create_veth(&plain(name, "eth0", &pod.ns)).is_err(), "{name:?}");
    }
    assert_eq!(node.nl.links().unwrap().len(), 1);
}

#[test]
fn absent_links_are_none_and_deleting_them_is_success() {
    let (mut node, mut pod) = (Node::new(), Node::new());
    assert_eq!(node.nl.link("nope0").unwrap(), None);
    assert_eq!(node.nl.link("a-name-longer-than-fifteen-bytes").unwrap(), None);
    assert_eq!(node.nl.link_at(4711).unwrap(), None);
    node.nl.create_veth(&plain("veth0", "eth0", &pod.ns)).unwrap();
    let index = node.index("veth0");
    node.nl.delete_link(index).unwrap();
    node.nl.delete_link(index).unwrap();
    assert_eq!(pod.nl.link("eth0").unwrap(), None);
}

#[test]
fn alternative_names_are_found() {
    let (mut node, pod) = (Node::new(), Node::new());
    node.nl.create_veth(&plain("veth0", "eth0", &pod.ns)).unwrap();
    node.run("ip link property add dev veth0 altname a-name-longer-than-fifteen-bytes");
    assert_eq!(node.link("a-name-longer-than-fifteen-bytes").name, "veth0");
}

#[test]
fn changes_to_a_link_are_seen() {
    let (mut node, mut pod) = (Node::new(), Node::new());
    let (here, _) = node.cable("veth0", &mut pod, "eth0");
    node.nl.set_link_mac(here, HOST_MAC).unwrap();
    node.nl.set_link_mtu(here, 1400).unwrap();
    node.nl.set_link_alias(here, "owner: pod/eth0").unwrap();
    node.nl.set_link_promiscuous(here, Promiscuity::On).unwrap();
    let link = node.link("veth0");
    assert_eq!((link.mac, link.mtu, link.alias.as_deref()), (Some(HOST_MAC), 1400, Some("owner: pod/eth0")));
    assert!(link.promiscuous && link.promiscuity == 1 && link.running == Operstate::Up);
    node.nl.set_link_promiscuous(here, Promiscuity::Off).unwrap();
    node.nl.set_link_down(here).unwrap();
    let link = node.link("veth0");
    assert!(!link.promiscuous && !link.up && link.running == Operstate::Down);
    assert!(pod.link("eth0").running != Operstate::Up);
}

#[test]
fn a_bridge_keeps_the_mac_it_was_made_with() {
    let (mut node, pod) = (Node::new(), Node::new());
    let br = bridge(&mut node, "br0");
    let low = Veth {
        host_mac: Some(Mac([0, 0, 0, 0, 0, 1])),
        controller: Some(br),
        ..plain("v0", "eth0", &pod.ns)
    };
    node.nl.create_veth(&low).unwrap();
    let link = node.link("br0");
    assert_eq!(
        (link.mac, link.kind.as_deref(), link.up),
        (Some(Mac([2, 0, 0, 0, 0, 9])), Some("bridge"), true)
    );
}

#[test]
fn many_makers_of_one_bridge_agree_on_one() {
    let node = Node::new();
    let make = || {
        let mut nl = Rtnl::open_in(&node.ns).unwrap();
        nl.create_bridge(&Bridge { name: "br0", mac: None, mtu: Some(1400) }).unwrap()
    };
    let makers: Vec<_> = thread::scope(|s| {
        (0..8).map(|_| s.spawn(make)).collect::<Vec<_>>().into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert_eq!(makers.iter().filter(|m| **m == Creation::Made).count(), 1);
}

#[test]
fn port_flags_and_state_are_read_back() {
    let (mut node, mut pod) = (Node::new(), Node::new());
    let br = bridge(&mut node, "br0");
    let (here, _) = node.cable("veth0", &mut pod, "eth0");
    assert_eq!(node.link("veth0").port, None);
    assert!(node.nl.dress_bridge_port("veth0", BridgePort::default()).is_err(), "no port yet");
    node.nl.set_link_controller(here, Some(br)).unwrap();
    for port in [BridgePort { hairpin: true, isolated: false }, BridgePort { hairpin: false, isolated: true }]
    {
        node.nl.dress_bridge_port("veth0", port).unwrap();
        let link = node.link("veth0");
        assert_eq!((link.port, link.port_state), (Some(port), Some(PortState::Forwarding)));
        let shown = node.run("bridge -d link show dev veth0");
        assert!(shown.contains(if port.hairpin { "hairpin on" } else { "hairpin off" }), "{shown}");
        assert!(shown.contains(if port.isolated { "isolated on" } else { "isolated off" }), "{shown}");
    }
    assert_eq!(node.nl.ports(br).unwrap().iter().map(|l| l.index).collect::<Vec<_>>(), [here]);
    node.nl.set_link_controller(here, None).unwrap();
    assert_eq!(node.link("veth0").port, None);
    assert!(node.nl.ports(br).unwrap().is_empty());
}

#[test]
fn what_was_told_of_a_link_need_not_be_asked_for() {
    let (mut node, mut pod) = (Node::new(), Node::new());
    node.nl.create_veth(&Veth { start: Start::Down, ..plain("veth0", "eth0", &pod.ns) }).unwrap();
    node.nl.create_veth(&Veth { start: Start::Down, ..plain("veth1", "eth1", &pod.ns) }).unwrap();
    let (inside, other) = (pod.index("eth0"), pod.index("eth1"));
    pod.nl.hear_links().unwrap();
    pod.nl.set_link_up(other).unwrap();
    assert_eq!(pod.nl.heard_link(inside).unwrap(), None, "what was told is of another link");

    pod.nl.hear_links().unwrap();
    pod.nl.set_link_up(inside).unwrap();
    let raised = node.nl.raise_named_link("veth0").unwrap().unwrap();
    assert!(raised.up && raised.name == "veth0", "{raised:?}");
    assert_eq!(raised.mac, node.link("veth0").mac);
    // A question makes the kernel tell; through the hearing client it would take the news for something else.
    let asked = Rtnl::open_in(&pod.ns).unwrap().link("eth0").unwrap().unwrap();
    assert_eq!(asked.running, Operstate::Up);
    assert_eq!(pod.nl.heard_link(inside).unwrap(), Some(asked), "the newest of what was told");

    pod.nl.set_link_down(inside).unwrap();
    assert_eq!(pod.nl.heard_link(inside).unwrap(), None, "the hearing was over");
    assert_eq!(node.nl.raise_named_link("veth9").unwrap(), None);
}

#[test]
fn a_link_that_cannot_be_raised_is_an_error_though_it_can_be_seen() {
    let mut node = Node::new();
    node.run("ip link add vx0 type vxlan id 7 dstport 4789 local 127.0.0.1");
    let taken = node.ns.run(|| UdpSocket::bind("0.0.0.0:4789")).unwrap().unwrap();
    let refused = node.nl.raise_named_link("vx0").unwrap_err();
    assert!(refused.to_string().starts_with("setting link vx0 up: "), "{refused}");
    assert!(!node.link("vx0").up, "the answer of the question is not taken for the next one's");
    drop(taken);
    assert!(node.nl.raise_named_link("vx0").unwrap().unwrap().up);
}

#[test]
fn what_is_made_with_a_mark_has_it_or_is_not_made() {
    let (mut node, pod) = (Node::new(), Node::new());
    node.nl.create_marked_veth(&plain("veth0", "eth0", &pod.ns), "a mark").unwrap();
    assert_eq!(node.link("veth0").alias.as_deref(), Some("a mark"));
    let refused = node.nl.create_marked_veth(&plain("veth1", "eth0", &pod.ns), "another").unwrap_err();
    assert!(refused.is_present() && refused.to_string().contains("creating veth veth1"), "{refused}");
    assert_eq!(node.nl.link("veth1").unwrap(), None);
    let ifb = Ifb { name: "ifb7", mtu: 1400, alias: "its mark" };
    assert_eq!(node.nl.create_ifb(&ifb).unwrap(), Creation::Made);
    assert_eq!(node.nl.create_ifb(&ifb).unwrap(), Creation::Existed);
    assert_eq!(node.link("ifb7").alias.as_deref(), Some("its mark"));
}

#[test]
fn a_full_bridge_says_exchange_full() {
    let (mut node, pod) = (Node::new(), Node::new());
    let br = bridge(&mut node, "br0");
    for n in 0..1023 {
        let (host, peer) = (format!("v{n}"), format!("e{n}"));
        let veth = Veth { controller: Some(br), ..plain(&host, &peer, &pod.ns) };
        node.nl.create_veth(&veth).unwrap();
    }
    let veth = Veth { controller: Some(br), ..plain("onemore", "onemore", &pod.ns) };
    let error = node.nl.create_veth(&veth).unwrap_err();
    assert_eq!(error.errno(), Some(54), "{error}");
    assert!(error.to_string().contains("creating veth onemore with peer onemore: Exchange full"), "{error}");
    assert_eq!(node.nl.link("onemore").unwrap(), None);
    assert_eq!(node.nl.ports(br).unwrap().len(), 1023);
}

#[test]
fn a_client_may_go_to_another_thread() {
    fn goes<T: Send + 'static>() {}
    goes::<(Rtnl, kernel::Netns, kernel::Monitor, kernel::Error)>();
}
