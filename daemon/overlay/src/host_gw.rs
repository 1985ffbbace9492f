//! The host-gw backend: a peer's subnet is reached through the peer's own address on the uplink.

use std::net::IpAddr;

use ipnetwork::IpNetwork;

use crate::lease::Lease;
use crate::problem::Problem;
use crate::route::Hop;
use crate::uplink::Uplink;

/// The next hop for one subnet of a peer's lease.
pub fn hop(lease: &Lease, subnet: IpNetwork, uplink: &Uplink) -> Result<Hop, Problem> {
    let published: Option<IpAddr> = if subnet.is_ipv4() {
        lease.attributes.public_v4().map(IpAddr::from)
    } else {
        lease.attributes.public_ipv6.map(IpAddr::from)
    };
    let gateway = published.ok_or_else(|| Problem::NoGateway { subnet, lease: lease.to_string() })?;
    if uplink.owns(gateway) {
        return Err(Problem::OwnAddress { subnet, address: gateway, lease: lease.to_string() });
    }
    if !uplink.reaches(gateway) {
        let (uplink, lease) = (uplink.name.clone(), lease.to_string());
        return Err(Problem::NotOnLink { subnet, gateway, uplink, lease });
    }
    Ok(Hop { gateway: Some(gateway), oif: uplink.index, onlink: false })
}
