//! The ipip backend: one IP-in-IP device, and a route to each peer's subnet whose gateway is the peer's own address.

use std::net::IpAddr;

use ipnetwork::IpNetwork;

use crate::config::{IPIP_DEVICE, IpipConfig, NetworkConfig};
use crate::device::{Device, Home, IpipLink, Tunnel, base_address, local_address};
use crate::ground::Ground;
use crate::lease::{Lease, LeaseAttributes, Subnets};
use crate::problem::Problem;
use crate::route::Hop;
use crate::uplink::Uplink;

/// What the outer IPv4 header takes.
const OVERHEAD: u32 = 20;

/// The device that this node needs.
#[must_use]
pub fn device(
    config: &NetworkConfig,
    own: &Subnets,
    published: &LeaseAttributes,
    uplink: &Uplink,
) -> Option<Device> {
    let local = local_address(uplink, published.public_v4().map(IpAddr::from));
    Some(Device {
        name: IPIP_DEVICE.to_owned(),
        tunnel: Tunnel::Ipip(IpipLink { local: Some(local?), remote: None }),
        mac: None,
        mtu: uplink.mtu.saturating_sub(OVERHEAD),
        homes: vec![Home { address: base_address(own.v4?)?, network: config.v4?.network }],
    })
}

/// The next hop for one subnet of a peer's lease: in the tunnel or, when asked for, to the neighbour itself.
pub fn hop(lease: &Lease, subnet: IpNetwork, ipip: IpipConfig, ground: Ground) -> Result<Hop, Problem> {
    let host = lease.attributes.public_v4().map(IpAddr::from);
    let host = host.ok_or_else(|| Problem::NoGateway { subnet, lease: lease.to_string() })?;
    if ground.uplink.owns(host) {
        return Err(Problem::OwnAddress { subnet, address: host, lease: lease.to_string() });
    }
    let direct = ground.reach.on_link(host).filter(|_| ipip.direct_routing);
    let through = |oif, onlink| Hop { gateway: Some(host), oif, onlink };
    match (direct, ground.ends.v4) {
        (Some(oif), _) => Ok(through(oif, false)),
        (None, Some(end)) => Ok(through(end.index, true)),
        (None, None) => {
            let why = "this node has no tunnel end".to_owned();
            Err(Problem::BackendData { subnet, why, lease: lease.to_string() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ground::{End, Ends};
    use crate::reach::Reach;

    fn lease(host: &str) -> Lease {
        let value = format!(r#"{{"PublicIP":"{host}","PublicIPv6":null,"BackendType":"ipip"}}"#);
        Lease {
            subnets: Subnets::parse_key("10.3.2.0-24").unwrap(),
            attributes: LeaseAttributes::parse(value.as_bytes()).unwrap(),
            reserved: false,
            revision: 1,
        }
    }

    fn uplink() -> Uplink {
        Uplink { index: 7, v4: vec!["192.0.2.1/24".parse().unwrap()], mtu: 1500, ..Uplink::default() }
    }

    #[test]
    fn a_peer_is_behind_the_tunnel_and_a_neighbour_beside_it_when_asked_for() {
        let mut reach = Reach::default();
        reach.learn("192.0.2.0/24".parse().unwrap(), 0, Some(7));
        let end = End { index: 21, mac: None, mtu: 1480 };
        let (uplink, ends) = (uplink(), Ends { v4: Some(end), v6: None });
        let ground = Ground { uplink: &uplink, ends: &ends, reach: &reach };
        let to = |host: &str, direct_routing| {
            let ipip = IpipConfig { direct_routing };
            hop(&lease(host), "10.3.2.0/24".parse().unwrap(), ipip, ground).map(|hop| (hop.oif, hop.onlink))
        };
        assert_eq!(to("192.0.2.2", false), Ok((21, true)));
        assert_eq!(to("192.0.2.2", true), Ok((7, false)));
        assert_eq!(to("198.51.100.2", true), Ok((21, true)));
        assert!(matches!(to("192.0.2.1", true), Err(Problem::OwnAddress { .. })));
    }

    #[test]
    fn the_device_is_flannels() {
        let config = NetworkConfig::parse(br#"{"Network":"10.3.0.0/16","Backend":{"Type":"ipip"}}"#).unwrap();
        let own = Subnets::parse_key("10.3.1.0-24").unwrap();
        let device = device(&config, &own, &lease("192.0.2.1").attributes, &uplink()).unwrap();
        assert_eq!((device.name.as_str(), device.mtu), ("flannel.ipip", 1480));
        assert_eq!(device.homes[0].address.to_string(), "10.3.1.0/32");
    }
}
