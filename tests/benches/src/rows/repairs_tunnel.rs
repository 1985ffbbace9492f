//! Injuries to a VXLAN backend's objects: its device, the device's address, and a peer's entries.

use std::net::{IpAddr, Ipv4Addr};

use kernel::{Address, Forwarding, Neighbour, Rtnl};

use super::daemon::subnet;
use super::repairs::{Injury, PEERS, peer};
use crate::error::Error;

const DEVICE: &str = "flannel.1";

/// The tunnel's end on the node.
pub(super) struct Tunnel(Rtnl);

pub(super) const INJURIES: [Injury<Tunnel>; 5] = [
    Injury {
        name: "a neighbour of the tunnel deleted",
        hurt: |tunnel, at| {
            let index = tunnel.index()?;
            Ok(tunnel.0.delete_neighbour(index, end(at))?)
        },
        is_whole: |tunnel, at| Ok(tunnel.neighbours()?.iter().any(|entry| entry.address == end(at))),
    },
    Injury {
        name: "a forwarding entry of the tunnel deleted",
        hurt: |tunnel, at| {
            let entries = tunnel.forwardings()?;
            let entry = entries.iter().find(|entry| entry.destination == Some(peer(at)));
            Ok(entry.map_or(Ok(()), |entry| tunnel.0.delete_forwarding(entry))?)
        },
        is_whole: |tunnel, at| {
            Ok(tunnel.forwardings()?.iter().any(|entry| entry.destination == Some(peer(at))))
        },
    },
    Injury {
        name: "the tunnel's address removed",
        hurt: |tunnel, _| {
            let index = tunnel.index()?;
            let own = tunnel.addresses()?;
            Ok(own.iter().try_for_each(|address| tunnel.0.delete_address(index, address.network))?)
        },
        is_whole: |tunnel, _| Ok(!tunnel.addresses()?.is_empty()),
    },
    Injury {
        name: "the tunnel set down",
        hurt: |tunnel, _| {
            let index = tunnel.index()?;
            Ok(tunnel.0.set_link_down(index)?)
        },
        is_whole: |tunnel, _| tunnel.is_full(),
    },
    Injury {
        name: "the tunnel deleted, until all 1,000 peers are back",
        hurt: |tunnel, _| {
            let index = tunnel.index()?;
            Ok(tunnel.0.delete_link(index)?)
        },
        is_whole: |tunnel, _| tunnel.is_full(),
    },
];

impl Tunnel {
    pub(super) fn open() -> Result<Self, Error> {
        Ok(Self(Rtnl::open()?))
    }

    /// 0, which no device has, while there is none.
    fn index(&mut self) -> Result<u32, Error> {
        Ok(self.0.link(DEVICE)?.map_or(0, |link| link.index))
    }

    fn neighbours(&mut self) -> Result<Vec<Neighbour>, Error> {
        let index = self.index()?;
        let mut all = self.0.neighbours(index)?;
        all.retain(Neighbour::is_permanent);
        Ok(all)
    }

    fn forwardings(&mut self) -> Result<Vec<Forwarding>, Error> {
        let index = self.index()?;
        let mut all = self.0.forwardings(index)?;
        all.retain(Forwarding::is_permanent);
        Ok(all)
    }

    fn addresses(&mut self) -> Result<Vec<Address>, Error> {
        let index = self.index()?;
        let mut all = self.0.addresses(index)?;
        all.retain(|address| address.network.is_ipv4());
        Ok(all)
    }

    /// Everything of every peer; the routes come last.
    fn is_full(&mut self) -> Result<bool, Error> {
        let within = IpAddr::from(Ipv4Addr::from(subnet(PEERS - 1) + 1));
        let index = self.index()?;
        let route = self.0.route_to(within)?;
        let is_routed = route.is_some_and(|route| index != 0 && route.oif == Some(index));
        let all = usize::try_from(PEERS).unwrap_or(usize::MAX);
        Ok(is_routed && self.neighbours()?.len() >= all && self.forwardings()?.len() >= all)
    }
}

/// The tunnel's end of that peer.
fn end(at: u32) -> IpAddr {
    Ipv4Addr::from(subnet(at)).into()
}
