//! What this node's lease tells its peers, so that it stays the same over restarts and reboots.

use kernel::{Rtnl, Wireguard};
use overlay::{
    Announced, BackendConfig, Claim, ExtensionConfig, Key, LeaseAttributes, Mac, Mode, NetworkConfig, Node,
    Secret, Vtep, VxlanConfig, WireguardConfig,
};

use crate::commands::{self, CommandError};
use crate::store::{LeaseStore, Store};

/// Which family's tunnel end, in the words that its hardware address is derived from.
const FAMILIES: [&str; 2] = ["v4", "v6"];

/// The attributes for the lease. A tunnel end keeps the hardware address of the device that is there (flanneld's, or an
/// earlier run's), else that of the lease that is still in the store, else it has one that this node's identity gives.
pub async fn attributes(
    store: &mut Store,
    (node, config): (&Node, &NetworkConfig),
    secret: Option<&Secret>,
) -> Result<LeaseAttributes, PublishError> {
    let mut attributes = LeaseAttributes {
        public_ip: node.public_ip,
        public_ipv6: node.public_ipv6,
        backend_type: config.backend.lease_type().to_owned(),
        backend_data: None,
        backend_v6_data: None,
        node: node.name.clone(),
    };
    match &config.backend {
        BackendConfig::Vxlan(vxlan) => ends(store, (node, config, vxlan), &mut attributes).await,
        BackendConfig::Extension(ExtensionConfig { pre_startup: Some(line), .. }) => {
            attributes.backend_data = Some(commands::run(("PreStartupCommand", line), &[], "")?.into());
        }
        BackendConfig::Wireguard(wireguard) => {
            let key = secret.map(|secret| public_key(config, wireguard, secret)).transpose()?;
            let data = |port| key.map(|key| Announced { key, port: Some(port) }.to_data());
            attributes.backend_data = data(wireguard.port).filter(|_| config.v4.is_some());
            attributes.backend_v6_data = data(wireguard.port_for_v6()).filter(|_| config.v6.is_some());
        }
        BackendConfig::HostGw
        | BackendConfig::Ipip(_)
        | BackendConfig::Udp(_)
        | BackendConfig::Alloc
        | BackendConfig::Extension(_) => {}
    }
    Ok(attributes)
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

async fn ends(
    store: &mut Store,
    (node, config, vxlan): (&Node, &NetworkConfig, &VxlanConfig),
    attributes: &mut LeaseAttributes,
) {
    let devices = macs_of_devices(vxlan);
    let used = [config.v4.is_some(), config.v6.is_some()];
    let all_there = used.iter().zip(&devices).all(|(used, mac)| !used || mac.is_some());
    let leased = if all_there { [None, None] } else { macs_of_lease(store, node, config).await };
    let [v4, v6] = [0, 1].map(|at| {
        let kept = devices.get(at).copied().flatten().or(leased.get(at).copied().flatten());
        let family = FAMILIES.get(at).copied().unwrap_or_default();
        let mac = kept.unwrap_or_else(|| derived(node, vxlan, family));
        Vtep { vni: vxlan.vni, mac }.to_data()
    });
    attributes.backend_data = config.v4.map(|_| v4);
    attributes.backend_v6_data = config.v6.map(|_| v6);
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

/// What cannot be read now is derived: the peers learn of it with the lease.
async fn macs_of_lease(store: &mut Store, node: &Node, config: &NetworkConfig) -> [Option<Mac>; 2] {
    let Ok(snapshot) = store.snapshot().await else { return [None, None] };
    match overlay::claim(config, &snapshot, node, &mut |_| 0) {
        Ok(Claim::Retake(lease) | Claim::Replace { delete: lease, .. }) => {
            let LeaseAttributes { backend_data, backend_v6_data, .. } = lease.attributes;
            [backend_data, backend_v6_data].map(|data| Vtep::parse(data.as_ref()).ok().map(|vtep| vtep.mac))
        }
        Ok(Claim::Create(_)) | Err(_) => [None, None],
    }
}
