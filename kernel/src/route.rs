//! Routes: added, replaced, deleted, listed with the kernel's own filters, and asked for by destination.

use crate::{
    Error, Rtnl,
    abi::{af, nlm, rta, rtm},
    error::{Absent, During},
    route_wire::{read_route, read_routes},
    wire::Message,
};
use ipnetwork::IpNetwork;
use nix::libc;
use std::net::IpAddr;

/// The main table (`RT_TABLE_MAIN`).
const MAIN: u32 = 254;
/// "Made by a user who did not say" (`RTPROT_BOOT`).
const BOOT: u8 = 3;
/// Packets are sent on (`RTN_UNICAST`).
const UNICAST: u8 = 1;

/// A route with one next hop. A multipath route of the kernel is read as several, one a next hop.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Route {
    /// Where it leads. Host bits must be zero.
    pub destination: IpNetwork,
    /// Address of the next router. One of the other family is possible for an IPv4 destination.
    pub gateway: Option<IpAddr>,
    /// Index of the outgoing link.
    pub oif: Option<u32>,
    /// Number of the table.
    pub table: u32,
    /// Who made it (`RTPROT_*`, `/etc/iproute2/rt_protos`).
    pub protocol: u8,
    /// How far the destination is (`RT_SCOPE_*`): 0 global, 253 on the link, 254 this host. IPv6 knows 0 only.
    pub scope: u8,
    /// Priority; the lowest wins. The kernel takes 0 for IPv4 and 1024 for IPv6 if none is given.
    pub metric: Option<u32>,
    /// Largest packet on this path, in bytes.
    pub mtu: Option<u32>,
    /// Largest TCP segment to announce on this path, in bytes.
    pub advmss: Option<u32>,
    /// Source address for packets of this host.
    pub prefsrc: Option<IpAddr>,
    /// The gateway is reachable on the link though no route says so.
    pub onlink: bool,
    /// A nexthop object that stands for gateway and link. The kernel shows those of the object beside it.
    pub nexthop_id: Option<u32>,
    /// `RTN_*`: 1 unicast, 2 local, 6 blackhole, 7 unreachable.
    pub kind: u8,
}

impl Route {
    /// A unicast route of the main table with nothing else said.
    #[must_use]
    pub fn to(destination: IpNetwork) -> Self {
        Self {
            destination,
            gateway: None,
            oif: None,
            table: MAIN,
            protocol: BOOT,
            scope: 0,
            metric: None,
            mtu: None,
            advmss: None,
            prefsrc: None,
            onlink: false,
            nexthop_id: None,
            kind: UNICAST,
        }
    }
}

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4
    V4,
    /// IPv6
    V6,
}

/// Which routes to list; what is not given does not matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouteFilter {
    /// One family only.
    pub family: Option<Family>,
    /// One table only.
    pub table: Option<u32>,
    /// Made by one protocol only.
    pub protocol: Option<u8>,
    /// Leaving by one link only.
    pub oif: Option<u32>,
}

impl Rtnl {
    /// Adds a route; another one to the same destination with the same metric is `EEXIST`.
    pub fn add_route(&mut self, route: &Route) -> Result<(), Error> {
        self.change(add_message(route), || doing("adding", route))
    }

    /// Adds a route beside others to the same destination: IPv6 makes one multipath route of them, IPv4 puts it before
    /// the others. `EEXIST` if there is the very same one.
    pub fn append_route(&mut self, route: &Route) -> Result<(), Error> {
        self.change(append_message(route), || doing("appending", route))
    }

    /// Adds a route in the place of the one to the same destination with the same metric, if there is one.
    pub fn replace_route(&mut self, route: &Route) -> Result<(), Error> {
        self.change(replace_message(route), || doing("replacing", route))
    }

    /// Deletes a route. What the value says must fit. `ESRCH` if there is none.
    pub fn delete_route(&mut self, route: &Route) -> Result<(), Error> {
        self.change(delete_message(route), || doing("deleting", route))
    }

    /// Lists routes; the kernel filters.
    pub fn routes(&mut self, filter: RouteFilter) -> Result<Vec<Route>, Error> {
        let mut routes = Vec::new();
        for family in [Family::V4, Family::V6] {
            if filter.family.is_none_or(|wanted| wanted == family) {
                // A table or link that is not there has no routes.
                let found = self
                    .channel
                    .dump(dump_message(family, filter), read_routes)
                    .during(|| format!("listing routes of {family:?} with {filter:?}"))
                    .absent_is_none()?;
                routes.extend(found.unwrap_or_default());
            }
        }
        Ok(routes)
    }

    /// The route that a packet of this host to `destination` takes, or nothing if it is unreachable.
    pub fn route_to(&mut self, destination: IpAddr) -> Result<Option<Route>, Error> {
        let prefix = if destination.is_ipv4() { 32 } else { 128 };
        let fixed = [[family_of(destination), prefix, 0, 0], [0; 4], [0; 4]];
        let mut message = Message::new(rtm::GETROUTE, 0, fixed.as_flattened());
        message.put_ip(rta::DST, destination);
        let found = self.channel.get(message, read_route);
        match found {
            Err(cause) if cause.errno().is_some_and(unreachable) => Ok(None),
            found => found.during(|| format!("looking up the route to {destination}")).map(Some),
        }
    }
}

fn unreachable(errno: i32) -> bool {
    matches!(errno, libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EACCES)
}

pub(crate) fn doing(verb: &str, route: &Route) -> String {
    let gateway = route.gateway.map(|ip| format!(" via {ip}")).unwrap_or_default();
    let oif = route.oif.map(|index| format!(" on link {index}")).unwrap_or_default();
    let table = if route.table == MAIN { String::new() } else { format!(" in table {}", route.table) };
    format!("{verb} route to {}{gateway}{oif}{table}", route.destination)
}

pub(crate) fn add_message(route: &Route) -> Message {
    route.message(rtm::NEWROUTE, nlm::CREATE | nlm::EXCL)
}

pub(crate) fn append_message(route: &Route) -> Message {
    route.message(rtm::NEWROUTE, nlm::CREATE)
}

pub(crate) fn replace_message(route: &Route) -> Message {
    route.message(rtm::NEWROUTE, nlm::CREATE | nlm::REPLACE)
}

pub(crate) fn delete_message(route: &Route) -> Message {
    route.message(rtm::DELROUTE, 0)
}

pub(crate) fn family_of(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { af::INET } else { af::INET6 }
}

fn dump_message(family: Family, filter: RouteFilter) -> Message {
    let family = match family {
        Family::V4 => af::INET,
        Family::V6 => af::INET6,
    };
    // struct rtmsg: family, lengths, tos; table, protocol, scope, type; flags. Under strict checking the kernel filters
    // by protocol; a table above 255 and the link are attributes.
    let fixed = [[family, 0, 0, 0], [0, filter.protocol.unwrap_or(0), 0, 0], [0; 4]];
    let mut message = Message::new(rtm::GETROUTE, 0, fixed.as_flattened());
    if let Some(table) = filter.table {
        message.put_u32(rta::TABLE, table);
    }
    if let Some(oif) = filter.oif {
        message.put_u32(rta::OIF, oif);
    }
    message
}
