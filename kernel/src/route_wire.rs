//! How a route is written to and read from netlink.

use crate::{
    Route,
    abi::{af, rta, rtm},
    route::family_of,
    wire::{Attribute, Message, Received, attributes, ip, u16_at, u32_at},
};
use ipnetwork::IpNetwork;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Length of `struct rtmsg`, and of `struct rtnexthop`.
const FIXED: usize = 12;
const HOP: usize = 8;

impl Route {
    /// The route as a request.
    pub(crate) fn message(&self, kind: u16, flags: u16) -> Message {
        // The one byte of the header holds the small tables; RTA_TABLE holds any.
        let small = u8::try_from(self.table).unwrap_or(0);
        let onlink = if self.onlink && self.nexthop_id.is_none() { rta::ONLINK } else { 0 };
        let fixed = [
            [family_of(self.destination.ip()), self.destination.prefix(), 0, 0],
            [small, self.protocol, self.scope, self.kind],
            onlink.to_ne_bytes(),
        ];
        let mut message = Message::new(kind, flags, fixed.as_flattened());
        if self.destination.prefix() > 0 {
            message.put_ip(rta::DST, self.destination.ip());
        }
        if small == 0 {
            message.put_u32(rta::TABLE, self.table);
        }
        self.put_hop(&mut message);
        if let Some(metric) = self.metric {
            message.put_u32(rta::PRIORITY, metric);
        }
        if let Some(source) = self.prefsrc {
            message.put_ip(rta::PREFSRC, source);
        }
        self.put_metrics(&mut message);
        message
    }

    /// The kernel refuses a nexthop object together with what it stands for.
    fn put_hop(&self, message: &mut Message) {
        if let Some(id) = self.nexthop_id {
            message.put_u32(rta::NH_ID, id);
            return;
        }
        match self.gateway {
            Some(IpAddr::V6(gateway)) if self.destination.is_ipv4() => {
                let mut via = u16::from(af::INET6).to_ne_bytes().to_vec();
                via.extend_from_slice(&gateway.octets());
                message.put(rta::VIA, &via);
            }
            Some(gateway) => message.put_ip(rta::GATEWAY, gateway),
            None => {}
        }
        if let Some(oif) = self.oif {
            message.put_u32(rta::OIF, oif);
        }
    }

    fn put_metrics(&self, message: &mut Message) {
        if self.mtu.is_none() && self.advmss.is_none() {
            return;
        }
        message.nest(rta::METRICS, |metrics| {
            if let Some(mtu) = self.mtu {
                metrics.put_u32(rta::METRIC_MTU, mtu);
            }
            if let Some(advmss) = self.advmss {
                metrics.put_u32(rta::METRIC_ADVMSS, advmss);
            }
        });
    }

    fn read(&mut self, attribute: &Attribute<'_>) {
        match attribute.kind {
            rta::OIF => self.oif = attribute.u32(),
            rta::GATEWAY => self.gateway = attribute.ip(),
            rta::VIA => self.gateway = attribute.value.get(2..).and_then(ip),
            rta::PRIORITY => self.metric = attribute.u32(),
            rta::PREFSRC => self.prefsrc = attribute.ip(),
            rta::TABLE => self.table = attribute.u32().unwrap_or(self.table),
            rta::NH_ID => self.nexthop_id = attribute.u32(),
            rta::METRICS => self.read_metrics(attribute),
            _ => {}
        }
    }

    fn read_metrics(&mut self, metrics: &Attribute<'_>) {
        for metric in metrics.nested() {
            match metric.kind {
                rta::METRIC_MTU => self.mtu = metric.u32(),
                rta::METRIC_ADVMSS => self.advmss = metric.u32(),
                _ => {}
            }
        }
    }
}

/// Reads an `RTM_NEWROUTE` or `RTM_DELROUTE` with its first next hop.
pub(crate) fn read_route(received: &Received<'_>) -> Option<Route> {
    let mut routes = Vec::new();
    read_routes(received, &mut routes);
    routes.into_iter().next()
}

/// Reads an `RTM_NEWROUTE` or `RTM_DELROUTE`, each next hop as a route.
pub(crate) fn read_routes(received: &Received<'_>, routes: &mut Vec<Route>) {
    if !matches!(received.kind, rtm::NEWROUTE | rtm::DELROUTE) {
        return;
    }
    let Some(mut route) = read_fixed(received.payload) else { return };
    let mut hops: &[u8] = &[];
    for attribute in attributes(received.payload, FIXED) {
        match attribute.kind {
            rta::MULTIPATH => hops = attribute.value,
            _ => route.read(&attribute),
        }
    }
    if hops.is_empty() {
        routes.push(route);
        return;
    }
    while let Some((hop, rest)) = read_hop(&route, hops) {
        routes.push(hop);
        hops = rest;
    }
}

fn read_fixed(payload: &[u8]) -> Option<Route> {
    let [family, prefix, _, _, table, protocol, scope, kind] = *payload.first_chunk()?;
    let any: IpAddr = match family {
        af::INET => Ipv4Addr::UNSPECIFIED.into(),
        af::INET6 => Ipv6Addr::UNSPECIFIED.into(),
        _ => return None,
    };
    let address = attributes(payload, FIXED).find(|a| a.kind == rta::DST).and_then(|a| a.ip());
    let mut route = Route::to(IpNetwork::new(address.unwrap_or(any), prefix).ok()?);
    (route.table, route.protocol, route.scope, route.kind) = (u32::from(table), protocol, scope, kind);
    route.onlink = u32_at(payload, 8)? & rta::ONLINK != 0;
    Some(route)
}

/// One `struct rtnexthop` with its attributes, and what follows it.
fn read_hop<'a>(route: &Route, hops: &'a [u8]) -> Option<(Route, &'a [u8])> {
    let length = usize::from(u16_at(hops, 0)?);
    let own = hops.get(..length)?;
    let mut hop = route.clone();
    hop.onlink = u32::from(*own.get(2)?) & rta::ONLINK != 0;
    hop.oif = u32_at(own, 4);
    for attribute in attributes(own, HOP) {
        hop.read(&attribute);
    }
    Some((hop, hops.get(length.next_multiple_of(4)..).unwrap_or_default()))
}
