//! A second opinion: what `rtnetlink` makes, our client reads; what our client makes, `netlink-packet-route` decodes alike.
#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "tests, and the other library's enums have dozens of attributes"
)]

mod world;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use futures_util::TryStreamExt;
use ipnetwork::IpNetwork;
use kernel::{Bridge, BridgePort, Dad, Mac, Route, RouteFilter, Veth};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};
use rtnetlink::{Handle, LinkBridge, LinkUnspec, RouteMessageBuilder};
use world::{Node, net, plain};

/// Runs `work` with a handle of the other library, inside the namespace.
fn other<T: Send>(node: &Node, work: impl AsyncFnOnce(Handle) -> T + Send) -> T {
    node.ns
        .run(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let (connection, handle, _) = rtnetlink::new_connection().unwrap();
                tokio::spawn(connection);
                work(handle).await
            })
        })
        .unwrap()
}

#[test]
fn what_rtnetlink_makes_our_client_reads() {
    let mut node = Node::new();
    let made = LinkBridge::new("br0").mtu(1400).address(vec![2, 0, 0, 0, 0, 7]).build();
    other(&node, async |handle| {
        handle.link().add(made).execute().await.unwrap();
        let link = handle.link().get().match_name("br0").execute().try_next().await.unwrap().unwrap();
        let index = link.header.index;
        handle.link().change(LinkUnspec::new_with_index(index).up().build()).execute().await.unwrap();
        handle.address().add(index, Ipv4Addr::new(10, 9, 0, 1).into(), 24).execute().await.unwrap();
        let route = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(Ipv4Addr::new(10, 8, 0, 0), 24)
            .gateway(Ipv4Addr::new(10, 9, 0, 2))
            .priority(50)
            .build();
        handle.route().add(route).execute().await.unwrap();
    });
    let bridge = node.link("br0");
    assert_eq!((bridge.kind.as_deref(), bridge.up, bridge.mtu), (Some("bridge"), true, 1400));
    assert_eq!(bridge.mac, Some(Mac([2, 0, 0, 0, 0, 7])));
    let addresses = node.nl.addresses(bridge.index).unwrap();
    assert!(addresses.iter().any(|address| address.network == net("10.9.0.1/24")));
    let filter = RouteFilter { table: Some(254), ..RouteFilter::default() };
    let routes = node.nl.routes(filter).unwrap();
    let route = routes.iter().find(|route| route.destination == net("10.8.0.0/24")).unwrap();
    assert_eq!(route.gateway, Some("10.9.0.2".parse().unwrap()));
    assert_eq!((route.oif, route.metric, route.protocol), (Some(bridge.index), Some(50), 4));
}

#[test]
fn what_our_client_makes_netlink_packet_route_decodes_alike() {
    let (mut node, pod) = (Node::new(), Node::new());
    let mac = Some(Mac([2, 0, 0, 0, 0, 9]));
    node.nl.create_bridge(&Bridge { name: "br0", mac, mtu: Some(1400) }).unwrap();
    let bridge = node.index("br0");
    node.nl
        .create_veth(&Veth { controller: Some(bridge), mtu: Some(1300), ..plain("veth0", "eth0", &pod.ns) })
        .unwrap();
    let veth = node.index("veth0");
    node.nl.dress_bridge_port("veth0", BridgePort { hairpin: true, isolated: false }, "a mark").unwrap();
    node.nl.add_address(bridge, net("10.9.0.1/24"), Dad::Skip).unwrap();
    let gateway = Some("10.9.0.2".parse().unwrap());
    node.nl.add_route(&Route { gateway, protocol: 73, ..Route::to(net("10.8.0.0/24")) }).unwrap();

    let (links, addresses, routes) = other(&node, async |handle| {
        let links: Vec<_> = handle.link().get().execute().try_collect().await.unwrap();
        let addresses: Vec<_> = handle.address().get().execute().try_collect().await.unwrap();
        let routes = handle.route().get(RouteMessageBuilder::<Ipv4Addr>::new().build());
        (links, addresses, routes.execute().try_collect::<Vec<_>>().await.unwrap())
    });
    let ours: BTreeSet<_> =
        node.nl.links().unwrap().into_iter().map(|l| (l.index, l.name, l.mtu, l.controller)).collect();
    assert_eq!(links.iter().map(link).collect::<BTreeSet<_>>(), ours);
    let alias =
        |attribute: &LinkAttribute| matches!(attribute, LinkAttribute::IfAlias(text) if text == "a mark");
    assert!(links.iter().any(|link| link.header.index == veth && link.attributes.iter().any(alias)));
    let ours = node.nl.all_addresses().unwrap();
    assert_eq!(
        addresses.iter().map(address).collect::<BTreeSet<_>>(),
        ours.iter().map(|a| a.network).collect()
    );
    let route = routes.iter().find(|route| u8::from(route.header.protocol) == 73).unwrap();
    assert_eq!(via(route), gateway);
}

fn link(message: &LinkMessage) -> (u32, String, u32, Option<u32>) {
    let (mut name, mut mtu, mut controller) = (String::new(), 0, None);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(text) => name.clone_from(text),
            LinkAttribute::Mtu(bytes) => mtu = *bytes,
            LinkAttribute::Controller(index) => controller = Some(*index),
            _ => {}
        }
    }
    (message.header.index, name, mtu, controller)
}

fn address(message: &AddressMessage) -> IpNetwork {
    let ip = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Address(ip) => Some(*ip),
        _ => None,
    });
    IpNetwork::new(ip.unwrap(), message.header.prefix_len).unwrap()
}

fn via(message: &RouteMessage) -> Option<IpAddr> {
    message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(ip)) => Some(IpAddr::V4(*ip)),
        _ => None,
    })
}
