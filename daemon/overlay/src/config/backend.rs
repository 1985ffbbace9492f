//! The `Backend` object of the network configuration: which backend, and the keys that it reads.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::ConfigError;
use super::wireguard::{self, WireguardConfig};
use crate::folded::Members;

/// The backend types of flannel that this version serves.
const SUPPORTED: &str = "alloc, extension, host-gw, ipip, udp, vxlan, wireguard";

/// flannel's name for the IP-in-IP device.
pub const IPIP_DEVICE: &str = "flannel.ipip";

/// What flannel's tun device is called when it is the first.
pub const UDP_DEVICE: &str = "flannel0";

/// flannel's port for packets in UDP.
const UDP_PORT: u16 = 8285;

/// `IFNAMSIZ` without its end: the longest name of a link.
const LONGEST_NAME: usize = 15;

/// The smallest MTU below a tunnel: RFC 791's least datagram under the largest of our headers.
const LEAST_MTU: u32 = 576;

/// The backend with the keys that it reads from the `Backend` object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackendConfig {
    /// A route for each peer's subnet through the peer's own address; no keys.
    HostGw,
    /// A tunnel device for each family, with an entry for each peer.
    Vxlan(VxlanConfig),
    /// A tunnel device for IPv4 whose routes lead to the peers' own addresses.
    Ipip(IpipConfig),
    /// Encrypted tunnels between all nodes.
    Wireguard(WireguardConfig),
    /// Each IPv4 packet is carried by the daemon itself, in a UDP datagram of its own.
    Udp(UdpConfig),
    /// A lease and nothing else: something other carries the traffic. No keys.
    Alloc,
    /// The operator's commands carry the traffic.
    Extension(ExtensionConfig),
}

/// The keys of the ipip backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IpipConfig {
    /// `DirectRouting`: peers in the same layer-2 network are reached without the tunnel.
    pub direct_routing: bool,
}

/// The keys of the udp backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UdpConfig {
    /// `Port`: the same on all nodes, for no lease tells it.
    pub port: u16,
}

/// The keys of the extension backend: command lines for a shell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExtensionConfig {
    /// `PreStartupCommand`: what it prints becomes the lease's `BackendData`.
    pub pre_startup: Option<String>,
    /// `PostStartupCommand`, once the lease is there.
    pub post_startup: Option<String>,
    /// `ShutdownCommand`, at the daemon's end.
    pub shutdown: Option<String>,
    /// `SubnetAddCommand`, for each peer.
    pub subnet_add: Option<String>,
    /// `SubnetRemoveCommand`, for a peer that left.
    pub subnet_remove: Option<String>,
}

/// The keys of the vxlan backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VxlanConfig {
    /// `VNI`, 1 by default.
    pub vni: u32,
    /// `Port`; without, the kernel's 8472.
    pub port: Option<u16>,
    /// `MTU` of the underlay; without, the uplink's.
    pub mtu: Option<u32>,
    /// `GBP`.
    pub gbp: bool,
    /// `Learning`.
    pub learning: bool,
    /// `DirectRouting`: peers in the same layer-2 network are reached without the tunnel.
    pub direct_routing: bool,
}

impl VxlanConfig {
    /// The devices' names: IPv4 underlay, IPv6 underlay.
    #[must_use]
    pub fn names(&self) -> [String; 2] {
        [format!("flannel.{}", self.vni), format!("flannel-v6.{}", self.vni)]
    }
}

impl BackendConfig {
    /// The name of the backend.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            BackendConfig::HostGw => "host-gw",
            BackendConfig::Vxlan(_) => "vxlan",
            BackendConfig::Ipip(_) => "ipip",
            BackendConfig::Wireguard(_) => "wireguard",
            BackendConfig::Udp(_) => "udp",
            BackendConfig::Alloc => "alloc",
            BackendConfig::Extension(_) => "extension",
        }
    }

    /// What a lease carries as its `BackendType`; flannel's alloc and udp leave it empty.
    #[must_use]
    pub fn lease_type(&self) -> &'static str {
        match self {
            BackendConfig::Alloc | BackendConfig::Udp(_) => "",
            BackendConfig::HostGw
            | BackendConfig::Vxlan(_)
            | BackendConfig::Ipip(_)
            | BackendConfig::Wireguard(_)
            | BackendConfig::Extension(_) => self.type_name(),
        }
    }

    /// Whether peers are reached by routes of ours; with the others, something else carries the traffic.
    #[must_use]
    pub fn is_routed(&self) -> bool {
        match self {
            BackendConfig::HostGw
            | BackendConfig::Vxlan(_)
            | BackendConfig::Ipip(_)
            | BackendConfig::Wireguard(_)
            | BackendConfig::Udp(_) => true,
            BackendConfig::Alloc | BackendConfig::Extension(_) => false,
        }
    }

    /// The names of the devices that it keeps: IPv4's, IPv6's.
    #[must_use]
    pub fn device_names(&self) -> Vec<String> {
        match self {
            BackendConfig::Vxlan(vxlan) => vxlan.names().into(),
            BackendConfig::Ipip(_) => vec![IPIP_DEVICE.to_owned()],
            BackendConfig::Wireguard(wireguard) => wireguard.names().into(),
            BackendConfig::Udp(_) => vec![UDP_DEVICE.to_owned()],
            BackendConfig::HostGw | BackendConfig::Alloc | BackendConfig::Extension(_) => Vec::new(),
        }
    }

    /// Whether a peer in the same layer-2 network is reached without the tunnel.
    #[must_use]
    pub fn direct_routing(&self) -> bool {
        match self {
            BackendConfig::Vxlan(vxlan) => vxlan.direct_routing,
            BackendConfig::Ipip(ipip) => ipip.direct_routing,
            BackendConfig::Wireguard(_)
            | BackendConfig::Udp(_)
            | BackendConfig::HostGw
            | BackendConfig::Alloc
            | BackendConfig::Extension(_) => false,
        }
    }

    /// Whether forwarding entries come by themselves from traffic.
    #[must_use]
    pub fn learns(&self) -> bool {
        matches!(self, BackendConfig::Vxlan(VxlanConfig { learning: true, .. }))
    }
}

/// Reads the object; without one flannel's code says udp, its documentation vxlan.
pub fn read(members: &Members) -> Result<BackendConfig, ConfigError> {
    let object = match members.get("Backend") {
        Some(object) => Some(self::members(object)?),
        None => None,
    };
    let name = match &object {
        Some(object) => key(object, "Type")?.unwrap_or_default(),
        None if members.names("Backend") => String::new(),
        None => "udp".to_owned(),
    };
    match (name.to_ascii_lowercase().as_str(), &object) {
        ("udp", object) => {
            let port = object.as_ref().map_or(Ok(None), |object| key::<u16>(object, "Port"))?;
            let port = port.filter(|port| *port != 0).unwrap_or(UDP_PORT);
            Ok(BackendConfig::Udp(UdpConfig { port }))
        }
        ("host-gw", _) => Ok(BackendConfig::HostGw),
        ("vxlan", Some(object)) => vxlan(object).map(BackendConfig::Vxlan),
        ("ipip", Some(object)) => {
            let direct_routing = key(object, "DirectRouting")?.unwrap_or(false);
            Ok(BackendConfig::Ipip(IpipConfig { direct_routing }))
        }
        ("wireguard", Some(object)) => wireguard::read(object).map(BackendConfig::Wireguard),
        ("alloc", _) => Ok(BackendConfig::Alloc),
        ("extension", Some(object)) => extension(object).map(BackendConfig::Extension),
        _ => Err(ConfigError::UnsupportedBackend { name, supported: SUPPORTED }),
    }
}

fn vxlan(object: &Members) -> Result<VxlanConfig, ConfigError> {
    let read = VxlanConfig {
        vni: key(object, "VNI")?.unwrap_or(1),
        port: key::<u16>(object, "Port")?.filter(|port| *port != 0),
        mtu: key::<u32>(object, "MTU")?.filter(|mtu| *mtu != 0),
        gbp: key(object, "GBP")?.unwrap_or(false),
        learning: key(object, "Learning")?.unwrap_or(false),
        direct_routing: key(object, "DirectRouting")?.unwrap_or(false),
    };
    if read.vni >= 1 << 24 {
        let why = format!("{} is no VXLAN network identifier: the largest is 16777215", read.vni);
        return Err(ConfigError::Value { key: "VNI", why });
    }
    if let Some(mtu) = read.mtu.filter(|mtu| *mtu < LEAST_MTU) {
        let why = format!("{mtu} leaves no room for a tunnel: it is the underlay's, {LEAST_MTU} at least");
        return Err(ConfigError::Value { key: "MTU", why });
    }
    Ok(read)
}

fn extension(object: &Members) -> Result<ExtensionConfig, ConfigError> {
    let command = |name| Ok(key::<String>(object, name)?.filter(|line| !line.trim().is_empty()));
    Ok(ExtensionConfig {
        pre_startup: command("PreStartupCommand")?,
        post_startup: command("PostStartupCommand")?,
        shutdown: command("ShutdownCommand")?,
        subnet_add: command("SubnetAddCommand")?,
        subnet_remove: command("SubnetRemoveCommand")?,
    })
}

/// The backend must carry the families in use (IPv4, IPv6), and its devices have names that the kernel takes.
pub fn check(backend: &BackendConfig, families: [bool; 2]) -> Result<(), ConfigError> {
    if let (BackendConfig::Ipip(_) | BackendConfig::Udp(_), [_, true]) = (backend, families) {
        let name = backend.type_name();
        let why =
            format!("{name} carries IPv4 only, and EnableIPv6 is true: take vxlan, or leave EnableIPv6 out");
        return Err(ConfigError::Value { key: "Backend", why });
    }
    let BackendConfig::Vxlan(vxlan) = backend else { return Ok(()) };
    let mut names = vxlan.names().into_iter().zip(families).filter(|(_, used)| *used);
    match names.find(|(name, _)| name.len() > LONGEST_NAME) {
        Some((name, _)) => {
            let why =
                format!("its device would be {name}, and the kernel's names have {LONGEST_NAME} characters");
            Err(ConfigError::Value { key: "VNI", why })
        }
        None => Ok(()),
    }
}

fn members(object: &Value) -> Result<Members, ConfigError> {
    serde_json::from_value(object.clone())
        .map_err(|e| ConfigError::Value { key: "Backend", why: e.to_string() })
}

/// One key of the object.
pub fn key<T: DeserializeOwned>(object: &Members, name: &'static str) -> Result<Option<T>, ConfigError> {
    object.read(name).map_err(|e| ConfigError::Value { key: name, why: e.to_string() })
}
