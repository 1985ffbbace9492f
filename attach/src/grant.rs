//! What IPAM gave: addresses, gateways and routes, checked, and the steps that put them on an interface.

use std::net::IpAddr;

use cni::{AddResult, Call, Cidr, Code, Ip};
use kernel::{Dad, Route};

use crate::error::Error;
use crate::step::{Family, Need, Step, Sysctl, Write};
use crate::transaction::{Transaction, Undo};
use crate::world::Place;

/// `RT_SCOPE_UNIVERSE` of `rtnetlink(7)`: the scope of a route that does not say otherwise.
const UNIVERSE: u8 = 0;

/// The main routing table.
const MAIN: u32 = 254;

/// `RTPROT_BOOT`: what the reference's routes carry.
const BOOT: u8 = 3;

/// An answer of IPAM that has at least one address, and gateways of the right family.
#[derive(Clone, Debug, PartialEq)]
pub struct Grant {
    /// Addresses in IPAM's order.
    pub ips: Vec<Ip>,
    /// Routes in IPAM's order.
    pub routes: Vec<cni::Route>,
    /// Name resolution.
    pub dns: cni::Dns,
}

impl Grant {
    /// Asks the IPAM plugin `ipam` for addresses, and gives them back if the transaction fails later.
    pub fn request<'a>(call: &'a Call, ipam: &str, transaction: &mut Transaction<'a>) -> Result<Self, Error> {
        let delegate = call.delegate(ipam)?;
        let again = delegate.clone();
        // Before the question: an answer that cannot be read may still have reserved something.
        transaction.on_failure(Undo::Release(Box::new(move || again.del())));
        let answer = match delegate.add() {
            // The pair of this identity was made just now, so whatever IPAM holds for it is left of a DEL that was killed.
            Err(refusal) if refusal.code == Code::ADDRESS_TAKEN => {
                delegate.del()?;
                delegate.add()?
            }
            answer => answer?,
        };
        Self::check(answer, ipam)
    }

    /// The grant that an earlier result tells of: what belongs to `ifname`, or to no interface in particular.
    #[must_use]
    pub fn of_result(result: &AddResult, ifname: &str) -> Self {
        let ours = |ip: &&Ip| {
            ip.interface
                .is_none_or(|at| result.interfaces.get(at).is_none_or(|interface| interface.name == ifname))
        };
        Self {
            ips: result.ips.iter().filter(ours).cloned().collect(),
            routes: result.routes.clone(),
            dns: result.dns.clone(),
        }
    }

    fn check(answer: AddResult, ipam: &str) -> Result<Self, Error> {
        if answer.ips.is_empty() {
            return Err(Error::NoAddress { ipam: ipam.to_owned() });
        }
        for ip in &answer.ips {
            match ip.gateway {
                Some(gateway) if gateway.is_ipv4() != ip.address.is_ipv4() => {
                    return Err(Error::GatewayFamily { ipam: ipam.to_owned(), address: ip.address, gateway });
                }
                Some(_) | None => {}
            }
        }
        Ok(Self { ips: answer.ips, routes: answer.routes, dns: answer.dns })
    }

    /// Addresses with prefix lengths.
    pub fn addresses(&self) -> impl Iterator<Item = Cidr> + '_ {
        self.ips.iter().map(|ip| ip.address)
    }

    /// The first gateway of a family.
    #[must_use]
    pub fn gateway(&self, family: Family) -> Option<IpAddr> {
        self.ips.iter().filter_map(|ip| ip.gateway).find(|gateway| Family::of(*gateway) == family)
    }

    /// Whether there is an address of `family`.
    #[must_use]
    pub fn has(&self, family: Family) -> bool {
        self.ips.iter().any(|ip| Family::of(ip.address.ip()) == family)
    }

    /// The steps that configure `ifname` in the sandbox with this grant: settings, addresses, up, routes.
    #[must_use]
    pub fn steps(&self, ifname: &str, dad: Dad) -> Vec<Step> {
        let mut steps = vec![Step::Sysctls(Place::Sandbox, self.settings(ifname, dad))];
        steps.extend(self.addresses().map(|address| Step::AddAddress {
            ifname: ifname.to_owned(),
            address,
            dad,
        }));
        steps.push(Step::RaiseLink { ifname: ifname.to_owned() });
        if dad == Dad::Run && self.has(Family::V6) {
            steps.push(Step::AwaitAddresses { ifname: ifname.to_owned() });
        }
        steps.extend(
            self.routes
                .iter()
                .map(|route| Step::AddRoute { ifname: ifname.to_owned(), route: self.route(route) }),
        );
        steps
    }

    /// Settings before the first address, as the reference's `ConfigureIface` and `bridge.go` make them.
    fn settings(&self, ifname: &str, dad: Dad) -> Vec<Sysctl> {
        let set = |key: &str, value, need| Sysctl { path: key.to_owned(), value, need, write: Write::Always };
        let ensure = |key: &str, need| Sysctl { write: Write::IfDifferent, ..set(key, "0", need) };
        let v6 = |key: &str| format!("net/ipv6/conf/{ifname}/{key}");
        let mut list = Vec::new();
        if self.has(Family::V6) {
            list.push(ensure("net/ipv6/conf/lo/disable_ipv6", Need::Wanted));
            list.push(ensure(&v6("disable_ipv6"), Need::Required));
            list.push(set(&v6("keep_addr_on_down"), "1", Need::Wanted));
            list.push(set(&v6("ndisc_notify"), "1", Need::Wanted));
        }
        match dad {
            Dad::Skip => list.push(set(&v6("accept_dad"), "0", Need::Wanted)),
            Dad::Run => {
                list.push(set(&v6("enhanced_dad"), "1", Need::Wanted));
                list.push(set(&v6("accept_dad"), "1", Need::Wanted));
            }
        }
        list
    }

    /// The kernel's route for one of the result's: its own gateway, else its family's.
    fn route(&self, route: &cni::Route) -> Route {
        let family = Family::of(route.dst.ip());
        Route {
            gateway: route.gw.or_else(|| self.gateway(family)),
            table: route.table.unwrap_or(MAIN),
            protocol: BOOT,
            scope: route.scope.unwrap_or(UNIVERSE),
            metric: route.priority.filter(|metric| *metric != 0),
            mtu: route.mtu.filter(|mtu| *mtu != 0),
            advmss: route.advmss.filter(|mss| *mss != 0),
            ..Route::to(route.dst.network().into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(address: &str, gateway: Option<&str>) -> Ip {
        Ip {
            address: address.parse().unwrap(),
            gateway: gateway.map(|g| g.parse().unwrap()),
            interface: None,
        }
    }

    fn grant(ips: Vec<Ip>, routes: Vec<cni::Route>) -> Grant {
        Grant { ips, routes, dns: cni::Dns::default() }
    }

    fn to(dst: &str) -> cni::Route {
        cni::Route {
            dst: dst.parse().unwrap(),
            gw: None,
            mtu: None,
            advmss: None,
            priority: None,
            table: None,
            scope: None,
        }
    }

    #[test]
    fn no_address_at_all_is_refused_by_name() {
        let error = Grant::check(AddResult::default(), "static").unwrap_err();
        assert_eq!(error.to_string(), "IPAM plugin \"static\" returned no address");
    }

    #[test]
    fn a_route_without_gateway_takes_its_familys() {
        let grant = grant(
            vec![ip("10.1.0.5/16", Some("10.1.0.1")), ip("fd00::5/64", Some("fd00::1"))],
            vec![to("0.0.0.0/0"), to("::/0")],
        );
        let gateways: Vec<_> = grant.routes.iter().map(|route| grant.route(route).gateway).collect();
        assert_eq!(gateways, [Some("10.1.0.1".parse().unwrap()), Some("fd00::1".parse().unwrap())]);
    }

    #[test]
    fn route_mtu_and_advmss_reach_the_kernel() {
        let route = cni::Route { mtu: Some(1400), advmss: Some(1360), ..to("192.0.2.0/24") };
        let grant = grant(vec![ip("10.1.0.5/16", Some("10.1.0.1"))], vec![]);
        let route = grant.route(&route);
        assert_eq!((route.mtu, route.advmss), (Some(1400), Some(1360)));
    }

    #[test]
    fn addresses_come_up_before_routes_and_only_checked_ones_are_waited_for() {
        let grant = grant(vec![ip("fd00::5/64", Some("fd00::1"))], vec![to("::/0")]);
        let kinds = |dad| -> Vec<String> {
            let text = |step: &Step| format!("{step:?}").split(['(', ' ']).next().unwrap().to_owned();
            grant.steps("eth0", dad).iter().map(text).collect()
        };
        assert_eq!(kinds(Dad::Skip), ["Sysctls", "AddAddress", "RaiseLink", "AddRoute"]);
        assert_eq!(kinds(Dad::Run), ["Sysctls", "AddAddress", "RaiseLink", "AwaitAddresses", "AddRoute"]);
    }
}
