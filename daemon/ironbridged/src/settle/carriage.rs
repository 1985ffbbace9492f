//! The udp backend's device as one of the settling loop's: made by opening it, filled by its table.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;

use ipnetwork::IpNetwork;
use kernel::sysctl;
use overlay::{Change, Device, Tunnel};

use crate::carrier::{Carrier, CarrierError};
use crate::eyes::Tally;

/// The data path, where the backend has one.
#[derive(Debug)]
pub struct Carriage {
    carrier: Option<Carrier>,
    tally: Tally,
}

impl Carriage {
    /// None yet.
    pub fn new(tally: Tally) -> Self {
        Carriage { carrier: None, tally }
    }

    /// Gives up a data path that has ended by itself, and its device, if there is one still.
    pub fn clear(&mut self) {
        self.carrier = self.carrier.take().filter(Carrier::is_whole);
    }

    /// What the device with that index is, if it is ours.
    pub fn tunnel(&self, index: u32) -> Option<Tunnel> {
        let ours = self.carrier.as_ref().filter(|carrier| carrier.index == index);
        ours.map(|carrier| Tunnel::Udp(carrier.link))
    }

    /// Makes such a device, which no other is in the place of; what was there before goes first, with its socket. Other
    /// kinds are not made here.
    pub fn make(&mut self, device: &Device) -> Result<(), CarrierError> {
        let Tunnel::Udp(link) = device.tunnel else { return Ok(()) };
        self.carrier = None;
        self.carrier = Some(Carrier::open(&device.name, link, self.tally.clone())?);
        // Before it is up: no packet of IPv6 leaves.
        level(device);
        tracing::info!(device = device.name, mtu = device.mtu, local = %link.local, "tunnel device made");
        Ok(())
    }

    /// The subnets that are carried.
    pub fn carried(&self) -> BTreeMap<IpNetwork, SocketAddrV4> {
        self.carrier.as_ref().map(|carrier| carrier.carried().clone()).unwrap_or_default()
    }

    /// Makes the changes that are its own, all at once.
    pub fn write(&mut self, changes: &[Change]) {
        let Some(ours) = &mut self.carrier else { return };
        let mut table = ours.carried().clone();
        for change in changes {
            if let Change::PutCarried { subnet, node } = change {
                tracing::info!(%subnet, %node, "packets for the subnet are carried");
                table.insert(*subnet, *node);
            }
            if let Change::DeleteCarried { subnet } = change {
                tracing::info!(%subnet, "packets for the subnet are carried no more");
                table.remove(subnet);
            }
        }
        if table != *ours.carried() {
            ours.carry(table);
        }
    }
}

/// Keeps the setting of such a device.
pub fn level(device: &Device) {
    let Tunnel::Udp(_) = device.tunnel else { return };
    // It carries IPv4 alone. A kernel without IPv6 has no such switch.
    sysctl::ensure(&format!("net/ipv6/conf/{}/disable_ipv6", device.name), "1").ok();
}
