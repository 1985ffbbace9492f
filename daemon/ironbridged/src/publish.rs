//! What this node's lease tells its peers, so that it stays the same over restarts and reboots.

use kernel::{Rtnl, Wireguard};
use overlay::{
    Announced, BackendConfig, BackendData, ExtensionConfig, Key, Lease, LeaseAttributes, Mac, Mode,
    NetworkConfig, Node, Secret, Vtep, VxlanConfig, WireguardConfig,
};
use serde_json::Value;

use crate::commands::{self, CommandError};

/// Which family's tunnel end, in the words that its hardware address is derived from.
const FAMILIES: [&str; 2] = ["v4", "v6"];

/// What the lease is filled with.
pub struct Publisher<'a> {
    plain: LeaseAttributes,
    ends: Option<TunnelEnds<'a>>,
}

/// A VXLAN backend's ends on this node.
struct TunnelEnds<'a> {
    node: &'a Node,
    config: &'a NetworkConfig,
    vxlan: &'a VxlanConfig,
    /// The hardware addresses of the devices that are there (flanneld's, or an earlier run's).
    devices: [Option<Mac>; 2],
}

impl<'a> Publisher<'a> {
    /// Finds out what the lease needs that is not in it: the devices' hardware addresses, the public key, what the
    /// operator's command says.
    pub fn new(
        (node, config): (&'a Node, &'a NetworkConfig),
        secret: Option<&Secret>,
    ) -> Result<Self, PublishError> {
        let mut plain = LeaseAttributes {
            public_ip: node.public_ip,
            public_ipv6: node.public_ipv6,
            backend_type: config.backend.lease_type().to_owned(),
            backend_data: None,
            backend_v6_data: None,
            node: node.name.clone(),
        };
        let mut ends = None;
        match &config.backend {
            BackendConfig::Vxlan(vxlan) => {
                ends = Some(TunnelEnds { node, config, vxlan, devices: macs_of_devices(vxlan) });
            }
            BackendConfig::Extension(ExtensionConfig { pre_startup: Some(line), .. }) => {
                let said = commands::run(("PreStartupCommand", line), &[], "")?;
                plain.backend_data = Some(Value::from(said).into());
            }
            BackendConfig::Wireguard(wireguard) => {
                let key = secret.map(|secret| public_key(config, wireguard, secret)).transpose()?;
                let data = |port| key.map(|key| Announced { key, port: Some(port) }.to_data());
                plain.backend_data = data(wireguard.port).filter(|_| config.v4.is_some());
                plain.backend_v6_data = data(wireguard.port_for_v6()).filter(|_| config.v6.is_some());
            }
            BackendConfig::HostGw
            | BackendConfig::Ipip(_)
            | BackendConfig::Udp(_)
            | BackendConfig::Alloc
            | BackendConfig::Extension(_) => {}
        }
        Ok(Publisher { plain, ends })
    }

    /// The attributes for the lease, given the one that the node has already. A tunnel end keeps the hardware address of
    /// the device that is there, else that of the lease, else it has one that this node's identity gives.
    pub fn attributes(&self, present: Option<&Lease>) -> LeaseAttributes {
        let plain = self.plain.clone();
        match &self.ends {
            Some(ends) => {
                let [v4, v6] = ends.data(present);
                LeaseAttributes {
                    backend_data: ends.config.v4.map(|_| v4),
                    backend_v6_data: ends.config.v6.map(|_| v6),
                    ..plain
                }
            }
            None => plain,
        }
    }
}

/// Why the lease cannot be filled in.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error("the public key of the wireguard backend is not to be had: {0}")]
    Kernel(#[from] kernel::Error),
}

/// The kernel computes the public key: the device is made before the lease, without address and peers.
fn public_key(
    config: &NetworkConfig,
    wireguard: &WireguardConfig,
    secret: &Secret,
) -> Result<Key, kernel::Error> {
    let [first, second] = wireguard.names();
    let v6_alone = config.v4.is_none() && wireguard.mode == Mode::Separate;
    let (name, port) = if v6_alone { (second, wireguard.port_v6) } else { (first, wireguard.port) };
    let mut rtnl = Rtnl::open()?;
    if rtnl.link(&name)?.is_none() {
        // The settling loop sets the MTU that the uplink leaves.
        rtnl.create_wireguard(&name, 1420)?;
    }
    let index = rtnl.link(&name)?.map_or(0, |link| link.index);
    let mut client = Wireguard::open()?;
    client.set_device(index, &secret.0.0, port)?;
    client.device(index).map(|device| Key(device.public_key))
}

impl TunnelEnds<'_> {
    fn data(&self, present: Option<&Lease>) -> [BackendData; 2] {
        let leased = present.map_or([None, None], macs_of_lease);
        [0, 1].map(|at| {
            let kept = self.devices.get(at).copied().flatten().or(leased.get(at).copied().flatten());
            let family = FAMILIES.get(at).copied().unwrap_or_default();
            let mac = kept.unwrap_or_else(|| derived(self.node, self.vxlan, family));
            Vtep { vni: self.vxlan.vni, mac }.to_data()
        })
    }
}

/// The public addresses tell nodes apart, so their tunnel ends differ too, even where machines are clones of one image.
fn derived(node: &Node, vxlan: &VxlanConfig, family: &str) -> Mac {
    let v6 = node.public_ipv6.map_or_else(String::new, |ip| ip.to_string());
    let name = node.name.as_deref().unwrap_or_default();
    Mac::derived(&[&node.public_ip.to_string(), &v6, name, &vxlan.vni.to_string(), family])
}

/// A kernel that does not answer now will say why when the devices are made.
fn macs_of_devices(vxlan: &VxlanConfig) -> [Option<Mac>; 2] {
    let Ok(mut rtnl) = Rtnl::open() else { return [None, None] };
    vxlan.names().map(|name| {
        let link = rtnl.link(&name).ok().flatten()?;
        let is_ours = link.vxlan.is_some_and(|there| there.vni == vxlan.vni);
        link.mac.filter(|_| is_ours).map(|mac| Mac(mac.0)).filter(Mac::is_unicast)
    })
}

fn macs_of_lease(lease: &Lease) -> [Option<Mac>; 2] {
    let LeaseAttributes { backend_data, backend_v6_data, .. } = &lease.attributes;
    [backend_data, backend_v6_data].map(|data| Vtep::parse(data.as_ref()).ok().map(|vtep| vtep.mac))
}
