//! Keeping the backend's own devices: made, adopted, mended, or made anew when they cannot be mended.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use kernel::{Dad, Ipip, Link, NewVxlan, Rtnl, Vxlan, sysctl};
use overlay::{Device, DeviceChange, End, Ends, FoundDevice, IpipLink, Mac, Tunnel, VxlanLink};

use super::carriage::{self, Carriage};
use crate::carrier::CarrierError;

/// A device is complete after it was made, and then given its address: more rounds mean that somebody undoes it.
const ROUNDS: usize = 4;

/// The kernel's VXLAN port when its answer has none.
const KERNEL_PORT: u16 = 8472;

/// Why a device is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    #[error("tunnel device {name}: {source}{remedy}")]
    Kernel { name: String, source: kernel::Error, remedy: &'static str },
    #[error("tunnel device {name} does not stay as it is set: another program changes it ({last})")]
    Contested { name: String, last: String },
    #[error(
        "tunnel device {0} belongs to another process (flanneld, or a daemon of another network): it is left alone; end that process, or delete the device"
    )]
    Foreign(String),
    #[error(transparent)]
    Carrier(#[from] CarrierError),
}

/// Another device of the same identifier, port and family keeps ours from being made.
const TAKEN: &str = "; another VXLAN device has the same VNI and port (`ip -d link show type vxlan`): delete it, or \
                     give this network another VNI";

/// Brings every device to what it should be; the answer has those that are there then.
pub fn ensure(rtnl: &mut Rtnl, carriage: &mut Carriage, wanted: &[Device]) -> Result<Ends, DeviceError> {
    let mut ends = Ends::default();
    for device in wanted {
        let end = ensure_one((rtnl, carriage), device)?;
        for home in &device.homes {
            let slot = if home.address.is_ipv4() { &mut ends.v4 } else { &mut ends.v6 };
            *slot = Some(end);
        }
    }
    Ok(ends)
}

fn ensure_one((rtnl, carriage): (&mut Rtnl, &mut Carriage), device: &Device) -> Result<End, DeviceError> {
    let failed = |source: kernel::Error| {
        let remedy = if source.is_present() { TAKEN } else { "" };
        DeviceError::Kernel { name: device.name.clone(), source, remedy }
    };
    let mut last = String::new();
    for _ in 0..ROUNDS {
        carriage.clear();
        let mut found = find(rtnl, &device.name).map_err(failed)?;
        if let Some(found) = &mut found {
            found.tunnel = found.tunnel.or(carriage.tunnel(found.index));
        }
        let changes = device.remedy(found.as_ref());
        match (&found, changes.as_slice()) {
            (Some(found), []) => {
                carriage::level(device);
                return Ok(End { index: found.index, mac: found.mac, mtu: found.mtu });
            }
            (_, [DeviceChange::Spare]) => return Err(DeviceError::Foreign(device.name.clone())),
            (found, changes) => {
                last = format!("{changes:?}");
                let index = found.as_ref().map_or(0, |found| found.index);
                apply(rtnl, (device, index), changes).map_err(failed)?;
                if let [DeviceChange::Create | DeviceChange::Recreate { .. }] = changes {
                    carriage.make(device)?;
                }
            }
        }
    }
    Err(DeviceError::Contested { name: device.name.clone(), last })
}

/// Deletes the tunnel devices that another backend, or another configuration of this one, left in these networks. One
/// that has no address in them belongs to a daemon of another network. The answer is how many there were.
pub fn retire(rtnl: &mut Rtnl, wanted: &[Device], scope: &[IpNetwork]) -> Result<usize, kernel::Error> {
    let addresses = rtnl.all_addresses()?;
    let is_inside = |link: &Link| {
        let mut own = addresses.iter().filter(|address| address.index == link.index);
        own.any(|address| {
            let ip = address.network.ip();
            scope.iter().any(|network| network.is_ipv4() == ip.is_ipv4() && network.contains(ip))
        })
    };
    let links = rtnl.links()?;
    let is_kept = |link: &Link| wanted.iter().any(|device| device.name == link.name);
    let stale: Vec<&Link> =
        links.iter().filter(|link| is_flannels(link) && !is_kept(link) && is_inside(link)).collect();
    for link in &stale {
        tracing::warn!(device = link.name, "a tunnel device that the backend does not use is removed");
        rtnl.delete_link(link.index)?;
    }
    Ok(stale.len())
}

/// By flannel's names and the kinds that they belong to.
fn is_flannels(link: &Link) -> bool {
    let number = |prefix: &str| {
        link.name.strip_prefix(prefix).is_some_and(|vni| vni.bytes().all(|b| b.is_ascii_digit()))
    };
    match link.kind.as_deref() {
        Some("vxlan") => number("flannel.") || number("flannel-v6."),
        Some("ipip") => link.name == "flannel.ipip",
        Some("wireguard") => matches!(link.name.as_str(), "flannel-wg" | "flannel-wg-v6"),
        Some("tun") => number("flannel"),
        Some(_) | None => false,
    }
}

/// The device of that name as it is.
fn find(rtnl: &mut Rtnl, name: &str) -> Result<Option<FoundDevice>, kernel::Error> {
    let Some(link) = rtnl.link(name)? else { return Ok(None) };
    let addresses = match rtnl.addresses(link.index) {
        Err(error) if error.is_absent() => return Ok(None),
        read => read?,
    };
    Ok(Some(FoundDevice {
        index: link.index,
        tunnel: tunnel(&link),
        mac: link.mac.map(|mac| Mac(mac.0)),
        mtu: link.mtu,
        up: link.up,
        addresses: addresses.iter().map(|address| address.network).collect(),
    }))
}

fn tunnel(link: &Link) -> Option<Tunnel> {
    if let Some(Ipip { local, remote }) = link.ipip {
        return Some(Tunnel::Ipip(IpipLink { local, remote }));
    }
    if link.kind.as_deref() == Some("wireguard") {
        return Some(Tunnel::Wireguard);
    }
    let there = link.vxlan?;
    Some(Tunnel::Vxlan(VxlanLink {
        vni: there.vni,
        port: there.port.unwrap_or(KERNEL_PORT),
        parent: there.parent,
        local: there.local,
        group: there.group.filter(|group: &IpAddr| !group.is_unspecified()),
        learning: there.learning,
        gbp: there.gbp,
        l2miss: there.l2miss,
    }))
}

fn apply(
    rtnl: &mut Rtnl,
    (device, index): (&Device, u32),
    changes: &[DeviceChange],
) -> Result<(), kernel::Error> {
    let name = &device.name;
    for change in changes {
        match change {
            DeviceChange::Create => create(rtnl, device)?,
            DeviceChange::Recreate { why } => {
                tracing::warn!(device = name, %why, "the device cannot be kept: it is made anew");
                rtnl.delete_link(index)?;
                create(rtnl, device)?;
            }
            DeviceChange::SetMac(mac) => {
                tracing::warn!(device = name, %mac, "the device had another hardware address than its lease: set");
                rtnl.set_link_mac(index, kernel::Mac(mac.0))?;
            }
            DeviceChange::SetMtu(mtu) => {
                tracing::info!(device = name, mtu, "the device's MTU is set");
                rtnl.set_link_mtu(index, *mtu)?;
            }
            DeviceChange::Spare => {}
            DeviceChange::Raise => rtnl.set_link_up(index)?,
            DeviceChange::AddAddress(address) => rtnl.add_address(index, *address, Dad::Skip)?,
            DeviceChange::DeleteAddress(address) => {
                tracing::info!(device = name, %address, "an address of an earlier subnet is taken off the device");
                rtnl.delete_address(index, *address)?;
            }
        }
    }
    Ok(())
}

fn create(rtnl: &mut Rtnl, device: &Device) -> Result<(), kernel::Error> {
    match device.tunnel {
        Tunnel::Vxlan(link) => create_vxlan(rtnl, device, link)?,
        Tunnel::Wireguard => rtnl.create_wireguard(&device.name, device.mtu)?,
        Tunnel::Ipip(IpipLink { local, remote }) => {
            rtnl.create_ipip(&device.name, device.mtu, &Ipip { local, remote })?;
        }
        // Who makes it holds it.
        Tunnel::Udp(_) => return Ok(()),
    }
    tracing::info!(device = device.name, mtu = device.mtu, "tunnel device made");
    // Nobody sends router advertisements through the tunnel; on a kernel without IPv6 there is no such switch.
    sysctl::ensure(&format!("net/ipv6/conf/{}/accept_ra", device.name), "0").ok();
    Ok(())
}

fn create_vxlan(rtnl: &mut Rtnl, device: &Device, link: VxlanLink) -> Result<(), kernel::Error> {
    let mac = kernel::Mac(device.mac.map_or([0; 6], |mac| mac.0));
    let parameters = Vxlan {
        vni: link.vni,
        port: Some(link.port),
        parent: link.parent,
        local: link.local,
        group: link.group,
        learning: link.learning,
        gbp: link.gbp,
        l2miss: link.l2miss,
    };
    rtnl.create_vxlan(&NewVxlan { name: &device.name, mac, mtu: device.mtu, parameters })
}
