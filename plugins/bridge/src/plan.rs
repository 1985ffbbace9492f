//! What an attachment to the bridge consists of: pure functions from configuration and grant to steps.

use std::net::IpAddr;

use attach::Grant;
use attach::guard::{Guard, Sources};
use attach::identity::host_veth;
use attach::step::{Bridge, Family, Step, Veth};
use cni::{Attachment, Cidr, Ip};

use crate::conf::{Conf, Gateway, Layer3, Mode};
use crate::spoofing::Spoofing;

/// Bridge, pair and port: what comes before IPAM is asked.
#[must_use]
pub fn link_steps(conf: &Conf, attachment: &Attachment) -> Vec<Step> {
    let host = host_veth(attachment);
    let mut steps = vec![
        Step::EnsureBridge(Bridge {
            name: conf.bridge.clone(),
            mtu: conf.mtu,
            promiscuity: conf.promiscuity,
        }),
        Step::CreateVeth(Veth {
            host: host.clone(),
            ifname: attachment.ifname.clone(),
            mac: conf.mac,
            mtu: conf.mtu,
            bridge: conf.bridge.clone(),
            attachment: attachment.clone(),
        }),
        Step::SetPort { host, port: conf.port },
    ];
    // With addresses the check waits for them: nothing runs in the sandbox before ADD is done.
    if matches!(conf.mode, Mode::Layer2(_)) {
        steps.extend(guard(conf, attachment, &[]));
    }
    steps
}

/// The check of the sandbox's source addresses, if there is one.
fn guard(conf: &Conf, attachment: &Attachment, addresses: &[IpAddr]) -> Option<Step> {
    let sources = match conf.spoofing {
        Spoofing::Unchecked => return None,
        Spoofing::Mac => Sources::Any,
        Spoofing::Addresses => Sources::Only(addresses.to_vec()),
    };
    Some(Step::GuardPort(Guard { attachment: attachment.clone(), mac: conf.mac, sources }))
}

/// The sandbox's interface is up and its port forwards: all that layer 2 needs.
#[must_use]
pub fn carrier_steps(conf: &Conf, attachment: &Attachment) -> Vec<Step> {
    vec![Step::RaiseLink { ifname: attachment.ifname.clone() }, open_port(conf, attachment)]
}

fn open_port(conf: &Conf, attachment: &Attachment) -> Step {
    let (host, ifname) = (host_veth(attachment), attachment.ifname.clone());
    Step::OpenPort { host, ifname, bridge: conf.bridge.clone() }
}

/// The grant as the bridge completes it: a gateway for each address where the bridge is one, and the default routes.
#[must_use]
pub fn complete(conf: &Layer3, mut grant: Grant) -> Grant {
    if conf.gateway != Gateway::None {
        grant.ips.iter_mut().for_each(fill_gateway);
    }
    if conf.gateway == Gateway::Default {
        for family in [Family::V4, Family::V6] {
            add_default_route(&mut grant, family);
        }
    }
    grant
}

/// The reference's rule: the network's address plus one (`calcGatewayIP`).
fn fill_gateway(ip: &mut Ip) {
    ip.gateway = ip.gateway.or_else(|| first_host(ip.address.network()));
}

fn first_host(network: Cidr) -> Option<IpAddr> {
    match network.ip() {
        IpAddr::V4(base) => u32::from(base).checked_add(1).map(|host| IpAddr::V4(host.into())),
        IpAddr::V6(base) => u128::from(base).checked_add(1).map(|host| IpAddr::V6(host.into())),
    }
}

/// A default route of the family, unless IPAM gave one. The reference adds a second one beside a route without
/// gateway, and then fails on it (`plugins-behaviour` §2.1, 7c).
fn add_default_route(grant: &mut Grant, family: Family) {
    let is_default = |route: &cni::Route| route.dst.prefix() == 0 && Family::of(route.dst.ip()) == family;
    let (Some(gateway), false) = (grant.gateway(family), grant.routes.iter().any(is_default)) else { return };
    let anywhere: IpAddr = match family {
        Family::V4 => [0; 4].into(),
        Family::V6 => [0_u16; 8].into(),
    };
    if let Some(dst) = Cidr::new(anywhere, 0) {
        grant.routes.push(cni::Route { gw: Some(gateway), ..cni::Route::to(dst) });
    }
}

/// Addresses, gateway, rules, and the announcement: what comes after IPAM has answered.
#[must_use]
pub fn network_steps(conf: &Conf, layer3: &Layer3, attachment: &Attachment, grant: &Grant) -> Vec<Step> {
    let ifname = &attachment.ifname;
    let mut steps = gateway_steps(conf, layer3, grant);
    if let Some(backend) = layer3.masquerade {
        let (attachment, addresses) = (attachment.clone(), grant.addresses().collect());
        steps.push(Step::Masquerade { attachment, addresses, backend });
    }
    let mut inside = grant.steps(ifname, layer3.dad);
    let port = open_port(conf, attachment);
    // Frames pass only once the port forwards: duplicate address detection and announcements come after it.
    let late = inside.iter().position(|step| matches!(step, Step::AwaitAddresses { .. }));
    let late = late.unwrap_or(inside.len());
    inside.insert(late, port);
    let addresses: Vec<IpAddr> = grant.addresses().map(Cidr::ip).collect();
    if let Some(guard) = guard(conf, attachment, &addresses) {
        inside.insert(late, guard);
    }
    // Before the port opens, for then the kernel's lock is free. What the host asks for in between the announcement answers.
    if layer3.gateway != Gateway::None {
        let addresses = grant.addresses().map(Cidr::ip).collect();
        steps.push(Step::ForgetNeighbours { bridge: conf.bridge.clone(), addresses });
    }
    steps.extend(inside);
    steps.push(Step::Announce { ifname: ifname.clone(), host: host_veth(attachment) });
    steps
}

fn gateway_steps(conf: &Conf, layer3: &Layer3, grant: &Grant) -> Vec<Step> {
    if layer3.gateway == Gateway::None {
        return Vec::new();
    }
    let on_bridge = grant.ips.iter().filter_map(|ip| Cidr::new(ip.gateway?, ip.address.prefix()));
    let addresses = on_bridge.map(|address| Step::EnsureAddress {
        bridge: conf.bridge.clone(),
        address: address.into(),
        conflict: layer3.conflict,
    });
    let forwarding = [Family::V4, Family::V6].into_iter().filter(|family| grant.gateway(*family).is_some());
    addresses.chain(forwarding.map(Step::EnsureForwarding)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use attach::masquerade::Backend;
    use attach::step::{Conflict, Promiscuity};
    use kernel::{BridgePort, Dad};

    fn layer3(gateway: Gateway) -> Layer3 {
        Layer3 {
            ipam: "host-local".into(),
            gateway,
            conflict: Conflict::Refuse,
            masquerade: Some(Backend::Nftables),
            dad: Dad::Skip,
        }
    }

    fn conf(layer3: &Layer3) -> Conf {
        Conf {
            bridge: "cni0".into(),
            mtu: None,
            port: BridgePort::default(),
            promiscuity: Promiscuity::Untouched,
            mac: None,
            spoofing: Spoofing::Unchecked,
            mode: Mode::Layer3(layer3.clone()),
            dns: None,
        }
    }

    fn attachment() -> Attachment {
        Attachment { network: "net".into(), container_id: "c".into(), ifname: "eth0".into() }
    }

    fn grant(addresses: &[&str], routes: &[&str]) -> Grant {
        let ip = |text: &&str| Ip { address: text.parse().unwrap(), gateway: None, interface: None };
        Grant {
            ips: addresses.iter().map(ip).collect(),
            routes: routes.iter().map(|text| cni::Route::to(text.parse().unwrap())).collect(),
            dns: cni::Dns::default(),
        }
    }

    fn kinds(steps: &[Step]) -> Vec<String> {
        steps.iter().map(|step| format!("{step:?}").split(['(', ' ']).next().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_gateway_is_the_networks_first_address_unless_ipam_says_otherwise() {
        let completed = complete(&layer3(Gateway::Present), grant(&["10.1.2.3/16", "fd00::9/64"], &[]));
        let gateways: Vec<_> = completed.ips.iter().map(|ip| ip.gateway.unwrap().to_string()).collect();
        assert_eq!(gateways, ["10.1.0.1", "fd00::1"]);
        assert_eq!(complete(&layer3(Gateway::None), grant(&["10.1.2.3/16"], &[])).ips[0].gateway, None);
    }

    #[test]
    fn an_ipam_default_route_beside_is_default_gateway_is_not_doubled() {
        let completed = complete(&layer3(Gateway::Default), grant(&["10.1.2.3/16"], &["0.0.0.0/0"]));
        assert_eq!(completed.routes.len(), 1);
        let completed =
            complete(&layer3(Gateway::Default), grant(&["10.1.2.3/16", "fd00::9/64"], &["0.0.0.0/0"]));
        let routes: Vec<_> = completed.routes.iter().map(|route| (route.dst.to_string(), route.gw)).collect();
        assert_eq!(routes, [("0.0.0.0/0".into(), None), ("::/0".into(), Some("fd00::1".parse().unwrap()))]);
    }

    #[test]
    fn everything_that_is_owned_comes_after_what_is_shared_and_the_announcement_last() {
        let layer3 = layer3(Gateway::Default);
        let grant = complete(&layer3, grant(&["10.1.2.3/16"], &[]));
        let steps = network_steps(&conf(&layer3), &layer3, &attachment(), &grant);
        assert_eq!(
            kinds(&steps),
            [
                "EnsureAddress",
                "EnsureForwarding",
                "Masquerade",
                "ForgetNeighbours",
                "Sysctls",
                "AddAddress",
                "RaiseLink",
                "AddRoute",
                "OpenPort",
                "Announce"
            ]
        );
    }

    #[test]
    fn duplicate_detection_waits_for_the_port_and_the_announcement_for_both() {
        let layer3 = Layer3 { dad: Dad::Run, masquerade: None, ..layer3(Gateway::None) };
        let steps = network_steps(&conf(&layer3), &layer3, &attachment(), &grant(&["fd00::9/64"], &[]));
        assert_eq!(
            kinds(&steps),
            ["Sysctls", "AddAddress", "RaiseLink", "OpenPort", "AwaitAddresses", "Announce"]
        );
    }

    #[test]
    fn a_check_of_addresses_knows_them_and_stands_before_the_port_forwards() {
        let layer3 = Layer3 { masquerade: None, ..layer3(Gateway::None) };
        let conf = Conf { spoofing: Spoofing::Addresses, ..conf(&layer3) };
        let steps = network_steps(&conf, &layer3, &attachment(), &grant(&["10.1.2.3/16"], &[]));
        let sources = Sources::Only(vec!["10.1.2.3".parse().unwrap()]);
        let guard = Step::GuardPort(Guard { attachment: attachment(), mac: None, sources });
        let at = steps.iter().position(|step| *step == guard).unwrap();
        assert_eq!(kinds(&steps)[at..], ["GuardPort", "OpenPort", "Announce"]);
    }

    #[test]
    fn the_pair_is_named_by_identity_and_its_port_set() {
        let layer3 = layer3(Gateway::None);
        let steps = link_steps(&conf(&layer3), &attachment());
        let host = host_veth(&attachment());
        let pair =
            steps.iter().find_map(|step| if let Step::CreateVeth(veth) = step { Some(veth) } else { None });
        assert_eq!(pair.map(|veth| veth.host.clone()), Some(host.clone()));
        assert!(steps.contains(&Step::SetPort { host, port: BridgePort::default() }));
    }
}
