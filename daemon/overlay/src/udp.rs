//! The udp backend: one tun device to which the whole network is routed, and a table of which node gets the packets for
//! which subnet, each in a UDP datagram of its own.

use std::net::{IpAddr, SocketAddrV4};

use ipnetwork::IpNetwork;

use crate::config::{BackendConfig, NetworkConfig, UDP_DEVICE, UdpConfig};
use crate::device::{Device, Home, Tunnel, UdpLink, base_address, local_address};
use crate::ground::Ground;
use crate::lease::{Lease, LeaseAttributes, Subnets};
use crate::problem::Problem;
use crate::route::Hop;
use crate::uplink::Uplink;
use crate::vxlan::{Passage, Through};

/// What the outer IPv4 header and the UDP header take.
const OVERHEAD: u32 = 20 + 8;

/// The device that this node needs.
#[must_use]
pub fn device(
    (config, udp): (&NetworkConfig, UdpConfig),
    own: &Subnets,
    published: &LeaseAttributes,
    uplink: &Uplink,
) -> Option<Device> {
    let IpAddr::V4(local) = local_address(uplink, published.public_v4().map(IpAddr::from))? else {
        return None;
    };
    let (Some(own @ IpNetwork::V4(subnet)), Some(family)) = (own.v4, config.v4) else { return None };
    Some(Device {
        name: UDP_DEVICE.to_owned(),
        tunnel: Tunnel::Udp(UdpLink { local: SocketAddrV4::new(local, udp.port), subnet }),
        mac: None,
        mtu: uplink.mtu.saturating_sub(OVERHEAD),
        homes: vec![Home { address: base_address(own)?, network: family.network }],
    })
}

/// flannel's one route: a packet for a subnet that nobody has comes to the daemon too, which answers that the network
/// is unreachable.
pub fn route(config: &NetworkConfig, ground: Ground) -> Option<(IpNetwork, Hop)> {
    let BackendConfig::Udp(_) = config.backend else { return None };
    let end = ground.ends.v4?;
    Some((config.v4?.network, Hop { gateway: None, oif: end.index, onlink: false }))
}

/// Where the packets for one subnet of a peer's lease go.
pub fn passage(lease: &Lease, subnet: IpNetwork, udp: UdpConfig, ground: Ground) -> Result<Passage, Problem> {
    let host = lease
        .attributes
        .public_v4()
        .ok_or_else(|| Problem::NoGateway { subnet, lease: lease.to_string() })?;
    if ground.uplink.owns(host.into()) {
        return Err(Problem::OwnAddress { subnet, address: host.into(), lease: lease.to_string() });
    }
    let end = ground.ends.v4.ok_or_else(|| {
        let why = "this node has no tunnel end".to_owned();
        Problem::BackendData { subnet, why, lease: lease.to_string() }
    })?;
    let hop = Hop { gateway: None, oif: end.index, onlink: false };
    Ok(Passage { hop, through: Some(Through::Frames(SocketAddrV4::new(host, udp.port))) })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::desired::desired;
    use crate::diff::{Change, diff};
    use crate::ground::{End, Ends};
    use crate::lease::Snapshot;
    use crate::reach::Reach;
    use crate::route::Actual;

    fn lease(subnet: &str, host: &str, rest: &str) -> Lease {
        let value = format!(r#"{{"PublicIP":"{host}","PublicIPv6":null{rest}}}"#);
        Lease {
            subnets: Subnets::parse_key(subnet).unwrap(),
            attributes: LeaseAttributes::parse(value.as_bytes()).unwrap(),
            reserved: false,
            revision: 1,
        }
    }

    fn config(backend: &str) -> NetworkConfig {
        NetworkConfig::parse(format!(r#"{{"Network":"10.3.0.0/16"{backend}}}"#).as_bytes()).unwrap()
    }

    fn uplink() -> Uplink {
        Uplink { index: 7, v4: vec!["192.0.2.1/24".parse().unwrap()], mtu: 1500, ..Uplink::default() }
    }

    #[test]
    fn a_configuration_without_backend_is_udp_with_flannels_port_and_another_port_is_taken() {
        let port = |backend| {
            let BackendConfig::Udp(udp) = config(backend).backend else { panic!("{backend}") };
            udp.port
        };
        assert_eq!(port(""), 8285);
        assert_eq!(port(r#","Backend":{"type":"UDP","port":0}"#), 8285);
        assert_eq!(port(r#","Backend":{"Type":"udp","Port":9000}"#), 9000);
        let dual = r#"{"Network":"10.3.0.0/16","EnableIPv6":true,"IPv6Network":"fd03::/48"}"#;
        let error = NetworkConfig::parse(dual.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("udp carries IPv4 only"), "{error}");
    }

    #[test]
    fn the_device_is_flannels_and_one_of_another_process_is_spared() {
        let config = config("");
        let (own, ours) = (lease("10.3.1.0-24", "192.0.2.1", ""), uplink());
        let BackendConfig::Udp(udp) = config.backend else { panic!("udp") };
        let device = device((&config, udp), &own.subnets, &own.attributes, &ours).unwrap();
        assert_eq!((device.name.as_str(), device.mtu), ("flannel0", 1472));
        assert_eq!(device.homes[0].address.to_string(), "10.3.1.0/32");
        assert_eq!(
            device.tunnel,
            Tunnel::Udp(UdpLink {
                local: "192.0.2.1:8285".parse().unwrap(),
                subnet: "10.3.1.0/24".parse().unwrap()
            })
        );
        let mut found = crate::FoundDevice {
            index: 9,
            tunnel: None,
            mac: None,
            mtu: 1472,
            up: true,
            addresses: vec!["10.3.1.0/32".parse().unwrap()],
        };
        assert_eq!(device.remedy(Some(&found)), [crate::DeviceChange::Spare]);
        found.tunnel = Some(device.tunnel);
        assert_eq!(device.remedy(Some(&found)), []);
        let moved =
            UdpLink { local: "192.0.2.9:8285".parse().unwrap(), subnet: "10.3.1.0/24".parse().unwrap() };
        found.tunnel = Some(Tunnel::Udp(moved));
        assert!(matches!(device.remedy(Some(&found)).as_slice(), [crate::DeviceChange::Recreate { .. }]));
    }

    #[test]
    fn the_network_is_one_route_and_peers_are_a_table_that_follows_their_leases() {
        let config = config("");
        let own = lease("10.3.1.0-24", "192.0.2.1", "");
        let (uplink, reach) = (uplink(), Reach::default());
        let ends = Ends { v4: Some(End { index: 21, mac: None, mtu: 1472 }), v6: None };
        let ground = Ground { uplink: &uplink, ends: &ends, reach: &reach };
        let leases = vec![
            own.clone(),
            lease("10.3.2.0-24", "192.0.2.2", ""),
            lease("10.3.3.0-24", "203.0.113.3", ""),
            lease("10.3.4.0-24", "192.0.2.4", r#","BackendType":"vxlan""#),
            lease("10.3.5.0-24", "192.0.2.1", ""),
        ];
        let leases = leases.into_iter().map(Arc::new).collect();
        let snapshot = Snapshot { revision: 1, leases, junk: vec![] };
        let wanted = desired(&config, &snapshot, &own.subnets, ground);
        let routes: Vec<String> = wanted.routes.iter().map(|(to, hop)| format!("{to} {hop}")).collect();
        assert_eq!(routes, ["10.3.0.0/16 interface 21"]);
        let carried: Vec<String> = wanted.carried.iter().map(|(to, node)| format!("{to} {node}")).collect();
        assert_eq!(carried, ["10.3.2.0/24 192.0.2.2:8285", "10.3.3.0/24 203.0.113.3:8285"]);
        assert_eq!((wanted.reached, wanted.other_backends), (2, 1));
        assert!(wanted.problems.iter().any(|p| matches!(p, Problem::OwnAddress { .. })));
        let stale: IpNetwork = "10.3.9.0/24".parse().unwrap();
        let mut actual = Actual { carried: wanted.carried.clone(), ..Actual::default() };
        actual.carried.insert(stale, "192.0.2.9:8285".parse().unwrap());
        actual.carried.insert("10.3.2.0/24".parse().unwrap(), "192.0.2.8:8285".parse().unwrap());
        let changes = diff(&wanted, &actual);
        assert!(matches!(changes.first(), Some(Change::PutCarried { .. })), "{changes:?}");
        assert_eq!(changes.last(), Some(&Change::DeleteCarried { subnet: stale }));
        assert_eq!(changes.len(), 3, "{changes:?}");
    }
}
