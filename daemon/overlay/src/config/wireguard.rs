//! The keys of the wireguard backend.

use super::ConfigError;
use super::backend::key;
use crate::folded::Members;
use crate::key::Secret;

/// The keys of the wireguard backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WireguardConfig {
    /// `ListenPort`, 51820 by default.
    pub port: u16,
    /// `ListenPortV6`, 51821 by default.
    pub port_v6: u16,
    /// `MTU` of the underlay; without, the uplink's.
    pub mtu: Option<u32>,
    /// `PSK`: a key that the whole cluster shares.
    pub shared: Option<Secret>,
    /// `PersistentKeepaliveInterval` in seconds; 0 is never.
    pub keepalive: u16,
    /// `Mode`.
    pub mode: Mode,
}

/// Which devices there are, and which family carries their packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// One device for each family, carried by that family.
    Separate,
    /// One device, carried by IPv4 unless only IPv6 is public.
    Auto,
    /// One device, carried by IPv4.
    Ipv4,
    /// One device, carried by IPv6.
    Ipv6,
}

impl WireguardConfig {
    /// The devices' names; the second is used in separate mode only.
    #[must_use]
    pub fn names(&self) -> [String; 2] {
        ["flannel-wg".to_owned(), "flannel-wg-v6".to_owned()]
    }

    /// The port of the device that carries IPv6 alone, where that is one of its own.
    #[must_use]
    pub fn port_for_v6(&self) -> u16 {
        if self.mode == Mode::Separate { self.port_v6 } else { self.port }
    }
}

/// Reads the object.
pub fn read(object: &Members) -> Result<WireguardConfig, ConfigError> {
    let shared = key::<String>(object, "PSK")?.filter(|text| !text.is_empty());
    let shared = shared.map(|text| {
        let why = "it is no key of 32 bytes in base64 (`wg genpsk` makes one)".to_owned();
        text.parse().map(Secret).map_err(|()| ConfigError::Value { key: "PSK", why })
    });
    let mode: String = key(object, "Mode")?.unwrap_or_default();
    Ok(WireguardConfig {
        port: key::<u16>(object, "ListenPort")?.filter(|port| *port != 0).unwrap_or(51820),
        port_v6: key::<u16>(object, "ListenPortV6")?.filter(|port| *port != 0).unwrap_or(51821),
        mtu: key::<u32>(object, "MTU")?.filter(|mtu| *mtu != 0),
        shared: shared.transpose()?,
        keepalive: key(object, "PersistentKeepaliveInterval")?.unwrap_or(0),
        mode: match mode.as_str() {
            "" | "separate" => Mode::Separate,
            "auto" => Mode::Auto,
            "ipv4" => Mode::Ipv4,
            "ipv6" => Mode::Ipv6,
            _ => {
                let why = format!("{mode:?} is none of separate, auto, ipv4, ipv6");
                return Err(ConfigError::Value { key: "Mode", why });
            }
        },
    })
}
