//! Pods of a real containerd, asked for as the kubelet asks: `RunPodSandbox`, `StopPodSandbox`, `RemovePodSandbox`.

mod cri;

use std::collections::BTreeSet;
use std::time::Duration;

use cri::containerd::{Containerd, Sandbox, chain, flannels, packages};
use netns_fixtures::{
    Bins, Echo, Protocol, Snapshot, Space, assert_ping, assert_same, eventually, needs, skip, tcp_echo,
    udp_echo,
};
use tests::World;
use tests::ports::at;
use tests::rates::ifbs;
use tests::way_back::told;

const PATIENCE: Duration = Duration::from_secs(30);
const ELSEWHERE: &str = "containerd is there in ./test-containerd alone";

/// What the daemon writes on a node of both families.
const SUBNET: &str = "FLANNEL_NETWORK=10.66.0.0/16\nFLANNEL_SUBNET=10.66.0.1/24\nFLANNEL_IPV6_NETWORK=fd66::/48\n\
                      FLANNEL_IPV6_SUBNET=fd66::1/64\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n";

/// The published pod answers from outside in both families, on the node by 127.0.0.1, and by UDP.
#[track_caller]
fn assert_published(world: &World, web: &Sandbox) {
    let servers = [Protocol::Tcp, Protocol::Udp].map(|protocol| Echo::start(&web.pod, protocol, 80));
    let hub = world.underlay.hub();
    for to in [at("192.168.50.1", 8080), at("fd50::1", 8080)] {
        let seen = tcp_echo(hub, to).unwrap_or_else(|error| panic!("{to}: {error}"));
        assert_eq!(seen.is_ipv4(), to.is_ipv4());
        udp_echo(hub, to).unwrap_or_else(|error| panic!("{to} by UDP: {error}"));
    }
    tcp_echo(world.host(), at("127.0.0.1", 8080)).expect("127.0.0.1 on the node");
    drop(servers);
}

/// Each reaches the other and the node by TCP and UDP, in both families, and is seen with its own address.
#[track_caller]
fn assert_connected(world: &World, pods: [&Sandbox; 2], gateways: [&str; 2]) {
    for (protocol, port) in [(Protocol::Tcp, 81), (Protocol::Udp, 82)] {
        let _servers = pods.map(|sandbox| Echo::start(&sandbox.pod, protocol, port));
        let _node = Echo::start(world.host(), protocol, port);
        for (from, to) in [(pods[0], pods[1]), (pods[1], pods[0])] {
            for (ip, own) in to.addresses.iter().zip(&from.addresses) {
                assert_ping(&from.pod, ip);
                assert_eq!(echo(protocol, from, ip, port), *own);
            }
            for (ip, own) in gateways.into_iter().zip(&from.addresses) {
                assert_ping(&from.pod, ip);
                assert_eq!(echo(protocol, from, ip, port), *own);
            }
        }
    }
}

#[track_caller]
fn echo(protocol: Protocol, from: &Sandbox, ip: &str, port: u16) -> String {
    let seen = match protocol {
        Protocol::Tcp => tcp_echo(&from.pod, at(ip, port)),
        Protocol::Udp => udp_echo(&from.pod, at(ip, port)),
    };
    seen.unwrap_or_else(|error| panic!("{ip} port {port} {protocol:?}: {error}")).to_string()
}

/// Nothing is on the node, and no file of CNI's, that was not there before.
#[track_caller]
fn assert_left_as(node: &Containerd, (before, files): (&Snapshot, &[String]), when: &str) {
    let (after, left) = node.state();
    assert_same(before, &after, when);
    assert_eq!(files, left, "{when}");
}

/// One pod with everything and one plain, by a list: what they can do while they live, and what is left of them.
#[track_caller]
fn pods_live_and_leave_nothing(node: &Containerd) {
    let world = &node.world;
    node.warm();
    let (before, files) = node.state();
    let web = node.sandbox(node.wanted("web").published(8080, 80).limited("10M", "20M"));
    let plain = node.sandbox(node.wanted("plain"));
    for sandbox in [&web, &plain] {
        assert_eq!(sandbox.addresses.len(), 2, "{:?}", sandbox.addresses);
        let held = sandbox.pod.addresses("eth0");
        let held: Vec<&str> = held.iter().filter_map(|address| address.split('/').next()).collect();
        assert_eq!(held, sandbox.addresses, "PodSandboxStatus tells what the pod has");
        assert_ping(&sandbox.pod, "127.0.0.1");
        assert_ping(&sandbox.pod, "::1");
    }
    assert_connected(world, [&web, &plain], ["10.66.0.1", "fd66::1"]);
    assert_published(world, &web);
    let found = ifbs(world);
    assert_eq!(found.len(), 1, "{found:?}");
    let queues = world.host().run("tc qdisc show");
    for rate in ["rate 10Mbit", "rate 20Mbit"] {
        assert!(queues.contains(rate), "{rate} in\n{queues}");
    }
    assert_eq!(web.pod.sysctl("net/ipv4/conf/eth0/arp_filter").as_deref(), Some("1"));
    assert_ne!(files, node.state().1, "CNI keeps files while pods live");
    node.end(&plain.id);
    assert_published(world, &web);
    node.end(&web.id);
    assert_left_as(node, (&before, &files), "after both were removed");
    assert_eq!(node.cri().sandboxes().unwrap(), Vec::<String>::new());
}

#[test]
fn pods_of_a_bridge_list_live_and_leave_nothing() {
    let Some(packages) = packages() else { skip!(ELSEWHERE) };
    pods_live_and_leave_nothing(&Containerd::start(&packages, &chain()));
}

#[test]
fn pods_of_flannels_list_live_and_leave_nothing() {
    let Some(packages) = packages() else { skip!(ELSEWHERE) };
    let node = Containerd::start(&packages, &flannels());
    node.write_run("flannel/subnet.env", SUBNET);
    pods_live_and_leave_nothing(&node);
}

#[test]
fn the_network_is_ready_once_there_is_a_list() {
    let Some(packages) = packages() else { skip!(ELSEWHERE) };
    let node = Containerd::without_list(&packages);
    let (ready, reason) = node.cri().condition("NetworkReady").unwrap();
    assert_eq!((ready, reason.as_str()), (false, "NetworkPluginNotReady"));
    let refused = node.cri().run(node.wanted("early")).unwrap_err();
    assert!(refused.message().contains("cni plugin not initialized"), "{refused}");
    node.configure(&chain());
    eventually("NetworkReady", PATIENCE, || node.cri().condition("NetworkReady").unwrap().0.then_some(()));
}

#[test]
fn the_network_is_ready_while_the_node_has_a_subnet() {
    let Some(packages) = packages() else { skip!(ELSEWHERE) };
    let node = Containerd::without_list(&packages);
    if node.cri().version().unwrap().starts_with("1.") {
        skip!("containerd asks plugins for STATUS from version 2 on");
    }
    let ready = |wanted: bool| {
        eventually("NetworkReady is as it is to be", PATIENCE, || {
            (node.cri().condition("NetworkReady").unwrap().0 == wanted).then_some(())
        });
    };
    node.record_calls("flannel");
    node.configure(&flannels().at("1.1.0"));
    eventually("STATUS", PATIENCE, || {
        node.cri().condition("NetworkReady").unwrap();
        (!node.calls("STATUS").is_empty()).then_some(())
    });
    ready(false);
    node.write_run("flannel/subnet.env", SUBNET);
    ready(true);
    pods_live_and_leave_nothing(&node);
    assert!(node.output(&["rm", "/run/flannel/subnet.env"]).status.success());
    ready(false);
}

#[test]
fn twelve_pods_at_once_have_addresses_of_their_own_and_go_at_once() {
    let Some(packages) = packages() else { skip!(ELSEWHERE) };
    let node = Containerd::start(&packages, &chain());
    node.warm();
    let (before, files) = node.state();
    let sandboxes: Vec<Sandbox> = std::thread::scope(|scope| {
        let node = &node;
        let wanted = (0..12_u16)
            .map(|nth| node.wanted(&format!("pod{nth}")).published(8100 + nth, 80).limited("10M", "20M"));
        let running: Vec<_> = wanted.map(|wanted| scope.spawn(move || node.sandbox(wanted))).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let addresses: BTreeSet<&String> = sandboxes.iter().flat_map(|sandbox| &sandbox.addresses).collect();
    assert_eq!(addresses.len(), 24, "{addresses:?}");
    for (nth, sandbox) in (0..).zip(&sandboxes) {
        let _server = Echo::start(&sandbox.pod, Protocol::Tcp, 80);
        let to = at("192.168.50.1", 8100 + nth);
        tcp_echo(node.world.underlay.hub(), to).unwrap_or_else(|error| panic!("{to}: {error}"));
    }
    std::thread::scope(|scope| {
        for sandbox in &sandboxes {
            scope.spawn(|| node.end(&sandbox.id));
        }
    });
    assert_left_as(&node, (&before, &files), "after all were removed");
}

#[test]
fn pods_outlive_a_killed_containerd_and_the_next_one_removes_them() {
    let Some(packages) = packages() else { skip!(ELSEWHERE) };
    let mut node = Containerd::start(&packages, &chain());
    node.warm();
    let (before, files) = node.state();
    let web = node.sandbox(node.wanted("web").published(8080, 80).limited("10M", "20M"));
    let plain = node.sandbox(node.wanted("plain"));
    node.kill_daemon();
    assert!(node.cri().sandboxes().is_err(), "nobody answers");
    assert_connected(&node.world, [&web, &plain], ["10.66.0.1", "fd66::1"]);
    assert_published(&node.world, &web);
    node.run_daemon();
    assert!(node.cri().sandbox(&web.id).unwrap().is_ready);
    let third = node.sandbox(node.wanted("third"));
    assert_connected(&node.world, [&web, &third], ["10.66.0.1", "fd66::1"]);
    for sandbox in [&web, &plain, &third] {
        node.end(&sandbox.id);
    }
    assert_left_as(&node, (&before, &files), "after the second containerd has removed them");
}

#[test]
fn a_containerd_that_is_killed_while_it_stops_pods_leaves_nothing_to_the_next_one() {
    let Some(packages) = packages() else { skip!(ELSEWHERE) };
    let mut node = Containerd::start(&packages, &chain());
    // The last of the list, so the first that is to delete.
    node.record_calls("firewall");
    node.warm();
    let (before, files) = node.state();
    let wanted = |nth: u16| node.wanted(&format!("pod{nth}")).published(8100 + nth, 80).limited("10M", "20M");
    let ids: Vec<String> = (0..6).map(|nth| node.sandbox(wanted(nth)).id).collect();
    let stopping: Vec<_> = ids
        .iter()
        .map(|id| {
            let (cri, id) = (node.cri(), id.clone());
            std::thread::spawn(move || cri.stop(&id))
        })
        .collect();
    eventually("a plugin is asked to delete", PATIENCE, || {
        ids.iter().any(|id| node.calls(id).len() > 1).then_some(())
    });
    node.kill_daemon();
    let ends: Vec<_> = stopping.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert!(ends.iter().any(Result::is_err), "all were stopped before containerd was killed");
    node.run_daemon();
    assert_eq!(node.cri().sandboxes().unwrap().len(), 6);
    for id in &ids {
        node.end(id);
    }
    assert_left_as(&node, (&before, &files), "after the second containerd has removed them");
}

#[test]
fn containerd_deletes_twice_and_without_a_sandbox_that_is_gone() {
    let Some(packages) = packages() else { skip!(ELSEWHERE) };
    let node = Containerd::start(&packages, &chain());
    node.record_calls("bridge");
    node.warm();
    let (before, files) = node.state();
    let wanted = |name: &str, port: u16| node.wanted(name).published(port, 80).limited("10M", "20M");
    let [whole, killed, lost] = [("whole", 8081), ("killed", 8082), ("lost", 8083)]
        .map(|(name, port)| node.sandbox(wanted(name, port)));
    let lost_netns = lost.netns.clone();
    node.kill(&killed);
    let lost = node.lose(lost);
    for id in [&whole.id, &killed.id, &lost] {
        node.end(id);
    }
    for sandbox in [&whole, &killed] {
        let calls = [format!("ADD {}", sandbox.netns), format!("DEL {}", sandbox.netns), "DEL".to_owned()];
        assert_eq!(node.calls(&sandbox.id), calls);
    }
    assert_eq!(node.calls(&lost), [format!("ADD {lost_netns}"), "DEL".to_owned(), "DEL".to_owned()]);
    assert_left_as(&node, (&before, &files), "after all were removed");
}

#[test]
fn pods_of_the_reference_live_on_under_our_plugins_which_remove_them() {
    let Some(packages) = packages() else { skip!(ELSEWHERE) };
    needs!(IptablesNat);
    let node = Containerd::start(&packages, &chain());
    node.install_reference();
    // The reference fails on a bridge that lost its last port.
    let resident = node.sandbox(node.wanted("resident").published(8999, 99).limited("10M", "20M"));
    let (before, files) = node.state();
    let web = node.sandbox(node.wanted("web").published(8080, 80).limited("10M", "20M"));
    let plain = node.sandbox(node.wanted("plain"));
    node.install_ours();
    assert_connected(&node.world, [&web, &plain], ["10.66.0.1", "fd66::1"]);
    assert_published(&node.world, &web);
    node.end(&web.id);
    node.end(&plain.id);
    assert_left_as(&node, (&before, &files), "after our DEL");
    let new = node.sandbox(node.wanted("new").published(8080, 80));
    assert_connected(&node.world, [&new, &resident], ["10.66.0.1", "fd66::1"]);
    assert_published(&node.world, &new);
}

#[test]
fn pods_of_ours_are_handed_back_and_removed_by_the_reference() {
    let Some(packages) = packages() else { skip!(ELSEWHERE) };
    needs!(IptablesNat);
    let node = Containerd::start(&packages, &chain());
    node.install_reference();
    let _resident = node.sandbox(node.wanted("resident").published(8999, 99).limited("10M", "20M"));
    let (before, files) = node.state();
    node.install_ours();
    let web = node.sandbox(node.wanted("web").published(8080, 80).limited("10M", "20M"));
    let plain = node.sandbox(node.wanted("plain"));
    let command = Bins::command().display().to_string();
    let first = node.output(&[&command, "handback"]);
    assert!(first.status.success(), "{}", told(&first));
    node.install_reference();
    let again = node.output(&[&command, "handback"]);
    assert!(again.status.success(), "{}", told(&again));
    assert_connected(&node.world, [&web, &plain], ["10.66.0.1", "fd66::1"]);
    assert_published(&node.world, &web);
    node.end(&web.id);
    node.end(&plain.id);
    let (after, left) = node.state();
    // That we have fixed the bridge's MAC address goes on being true.
    let after = after.with_names(&[(" ifalias=\"ironbridge\"".to_owned(), String::new())]);
    let before = before.with_names(&[(" ifalias=\"ironbridge\"".to_owned(), String::new())]);
    assert_same(&before, &after, "after the reference's DEL");
    assert_eq!(files, left);
}
