//! The bridge plugin's configuration: as written ([`NetConf`]), as meant ([`Conf`]), and what a removal needs of it ([`Scope`]).

use attach::masquerade::{Backend, Extent};
use attach::step::{Conflict, Promiscuity};
use cni::{Call, Dns};
use kernel::{BridgePort, Dad, Mac};
use serde::Deserialize;

use attach::Error;

use crate::spoofing::Spoofing;

/// The configuration as written. Every key is optional; unknown ones are ignored.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "the keys are the reference's; `Conf` has none of them")]
pub struct NetConf {
    /// Bridge interface.
    pub bridge: String,
    /// Put the gateway's address on the bridge.
    pub is_gateway: bool,
    /// The same, and route everything through it.
    pub is_default_gateway: bool,
    /// Replace a bridge address that differs.
    pub force_address: bool,
    /// Masquerade what leaves the network.
    pub ip_masq: bool,
    /// Who makes the masquerade's rules.
    pub ip_masq_backend: Option<String>,
    /// MTU in bytes.
    pub mtu: i64,
    /// Frames may return through their own port.
    pub hairpin_mode: bool,
    /// The bridge takes every frame.
    pub promisc_mode: bool,
    /// VLAN of the port.
    pub vlan: i64,
    /// VLANs let through tagged.
    pub vlan_trunk: Vec<VlanTrunk>,
    /// Keep VLAN 1 on the port.
    pub preserve_default_vlan: bool,
    /// Drop frames with a foreign source address.
    pub macspoofchk: bool,
    /// Drop packets with a foreign source address too; a key of ours.
    pub ipspoofchk: bool,
    /// Test IPv6 addresses for duplicates before use.
    pub enabledad: bool,
    /// Leave the sandbox's interface down.
    pub disable_container_interface: bool,
    /// Ports of isolated attachments do not reach each other.
    pub port_isolation: bool,
    /// Name resolution; replaces IPAM's.
    pub dns: Dns,
    /// IPAM's own configuration; only the type matters here.
    pub ipam: Ipam,
    /// Arguments of the network's user.
    pub args: Args,
    /// Capabilities.
    pub runtime_config: MacArg,
}

/// An entry of `vlanTrunk`; only its presence matters so far.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub struct VlanTrunk {}

/// `ipam`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Ipam {
    /// Name of the IPAM plugin; empty means layer 2 only.
    #[serde(rename = "type")]
    pub kind: String,
}

/// `args`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Args {
    /// `args.cni`.
    pub cni: MacArg,
}

/// `args.cni` and `runtimeConfig`, as far as an interface plugin reads them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct MacArg {
    /// Requested MAC address.
    pub mac: String,
}

/// The configuration as meant: a value of this type can be acted upon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conf {
    /// Bridge interface.
    pub bridge: String,
    /// MTU of the pair, and of a bridge that is made now, in bytes.
    pub mtu: Option<u32>,
    /// Hairpin and isolation of the port.
    pub port: BridgePort,
    /// Whether the bridge takes every frame.
    pub promiscuity: Promiscuity,
    /// MAC address of the sandbox's interface.
    pub mac: Option<Mac>,
    /// Which source addresses of the sandbox are checked.
    pub spoofing: Spoofing,
    /// What the sandbox's interface carries.
    pub mode: Mode,
    /// Name resolution that replaces IPAM's.
    pub dns: Option<Dns>,
}

/// Layer 2 or layer 3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// No addresses.
    Layer2(Carrier),
    /// Addresses from IPAM.
    Layer3(Layer3),
}

/// Whether the sandbox's interface is raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// Up.
    Up,
    /// Left down: `disableContainerInterface`.
    Down,
}

/// Settings of a network with addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer3 {
    /// Name of the IPAM plugin.
    pub ipam: String,
    /// Whether the bridge is the gateway.
    pub gateway: Gateway,
    /// What happens to another address of the bridge.
    pub conflict: Conflict,
    /// Who masquerades, if anyone.
    pub masquerade: Option<Backend>,
    /// Whether the kernel tests for duplicate addresses.
    pub dad: Dad,
}

/// The bridge's part in routing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gateway {
    /// None: the bridge has no address.
    None,
    /// It has the gateway's address.
    Present,
    /// It has the gateway's address, and the sandbox's default route leads to it.
    Default,
}

/// What DEL and GC need of a configuration. It cannot fail on what ADD once accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Name of the IPAM plugin.
    pub ipam: Option<String>,
    /// Whose masquerade to look for.
    pub rules: Extent,
}

impl Scope {
    /// Reads the little that a removal needs.
    pub fn of(call: &Call) -> Result<Self, Error> {
        let conf: RemovalConf = call.conf()?;
        Ok(Self {
            ipam: Some(conf.ipam.kind).filter(|kind| !kind.is_empty()),
            rules: if conf.ip_masq { Extent::Everyones } else { Extent::Ours },
        })
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RemovalConf {
    ipam: Ipam,
    ip_masq: bool,
}

impl Conf {
    /// Checks the configuration of `call`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for fields that this version refuses, [`Error::Conf`] for values that cannot be meant.
    pub fn of(call: &Call) -> Result<Self, Error> {
        refuse_pattern(call)?;
        let mac = call.cni_args(&["MAC"])?.into_iter().find(|(key, _)| key == "MAC").map(|(_, mac)| mac);
        Self::check(call.conf()?, mac, &call.network)
    }

    fn check(written: NetConf, mac_arg: Option<String>, network: &str) -> Result<Self, Error> {
        refuse_unsupported(&written)?;
        let refuse = |reason: String| Error::Conf { network: network.to_owned(), reason };
        if written.hairpin_mode && written.promisc_mode {
            return Err(refuse("hairpinMode and promiscMode exclude each other: set one of them".into()));
        }
        let mtu = u32::try_from(written.mtu).ok().filter(|mtu| *mtu <= 65_535);
        let mtu = mtu.ok_or_else(|| refuse(format!("mtu {} is not between 0 and 65535", written.mtu)))?;
        let bridge = if written.bridge.is_empty() { "cni0".to_owned() } else { written.bridge.clone() };
        if !is_interface_name(&bridge) {
            return Err(refuse(format!("bridge \"{bridge}\" is not an interface name of 1 to 15 bytes")));
        }
        Ok(Self {
            bridge,
            mtu: (mtu != 0).then_some(mtu),
            port: BridgePort { hairpin: written.hairpin_mode, isolated: written.port_isolation },
            promiscuity: if written.promisc_mode { Promiscuity::On } else { Promiscuity::Untouched },
            mac: requested_mac(&written, mac_arg).map_err(refuse)?,
            spoofing: Spoofing::of(&written).map_err(refuse)?,
            mode: mode(&written).map_err(refuse)?,
            dns: Some(written.dns).filter(|dns| !dns.is_empty()),
        })
    }
}

/// The kernel takes a `%` for a pattern and makes another name of it (`dev_alloc_name`).
fn refuse_pattern(call: &Call) -> Result<(), Error> {
    if !call.ifname.contains('%') {
        return Ok(());
    }
    let reason = format!("CNI_IFNAME \"{}\" contains %, which the kernel takes for a pattern", call.ifname);
    Err(Error::Conf { network: call.network.clone(), reason })
}

fn refuse_unsupported(written: &NetConf) -> Result<(), Error> {
    let refuse = |field, value: String| {
        Err(Error::Unsupported {
            field,
            value,
            remedy: "remove it, or use the reference plugin for this network",
        })
    };
    if written.vlan != 0 {
        return refuse("vlan", written.vlan.to_string());
    }
    if !written.vlan_trunk.is_empty() {
        return refuse("vlanTrunk", format!("of {} entries", written.vlan_trunk.len()));
    }
    if written.preserve_default_vlan {
        return refuse("preserveDefaultVlan", "true".into());
    }
    Ok(())
}

/// `CNI_ARGS`' MAC gives way to `args.cni.mac`, and that to the runtime's.
fn requested_mac(written: &NetConf, mac_arg: Option<String>) -> Result<Option<Mac>, String> {
    let candidates =
        [written.runtime_config.mac.clone(), written.args.cni.mac.clone(), mac_arg.unwrap_or_default()];
    let Some(text) = candidates.into_iter().find(|text| !text.is_empty()) else { return Ok(None) };
    let mac: Mac = text.parse().map_err(|_| format!("mac \"{text}\" is not a MAC address of six bytes"))?;
    let Mac([first, ..]) = mac;
    if first & 1 == 1 || mac == Mac([0; 6]) {
        return Err(format!("mac \"{text}\" is not a unicast address, which an interface needs"));
    }
    Ok(Some(mac))
}

fn mode(written: &NetConf) -> Result<Mode, String> {
    if written.ipam.kind.is_empty() {
        let carrier = if written.disable_container_interface { Carrier::Down } else { Carrier::Up };
        return Ok(Mode::Layer2(carrier));
    }
    if written.disable_container_interface {
        return Err("disableContainerInterface cannot be used when IPAM is configured".into());
    }
    Ok(Mode::Layer3(Layer3 {
        ipam: written.ipam.kind.clone(),
        gateway: match (written.is_gateway, written.is_default_gateway) {
            (_, true) => Gateway::Default,
            (true, false) => Gateway::Present,
            (false, false) => Gateway::None,
        },
        conflict: if written.force_address { Conflict::Replace } else { Conflict::Refuse },
        masquerade: if written.ip_masq { Some(backend(written.ip_masq_backend.as_deref())?) } else { None },
        dad: if written.enabledad { Dad::Run } else { Dad::Skip },
    }))
}

fn backend(name: Option<&str>) -> Result<Backend, String> {
    match name {
        None | Some("" | "nftables") => Ok(Backend::Nftables),
        Some("iptables") => Ok(Backend::Iptables),
        Some(other) => Err(format!("ipMasqBackend \"{other}\" is neither \"nftables\" nor \"iptables\"")),
    }
}

/// The kernel's rule (`dev_valid_name`).
fn is_interface_name(name: &str) -> bool {
    (1..=15).contains(&name.len())
        && name != "."
        && name != ".."
        && !name.contains(|c: char| matches!(c, '/' | ':' | '%') || c.is_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conf(json: &str) -> Result<Conf, Error> {
        Conf::check(cni::from_json(json.as_bytes()).unwrap(), None, "net")
    }

    #[test]
    fn nothing_written_means_a_layer_2_port_on_cni0() {
        let conf = conf("{}").unwrap();
        assert_eq!((conf.bridge.as_str(), conf.mode), ("cni0", Mode::Layer2(Carrier::Up)));
    }

    #[test]
    fn hairpin_and_promiscuous_together_are_refused_for_every_verb_that_acts() {
        let error = conf(r#"{"hairpinMode":true,"promiscMode":true}"#).unwrap_err();
        assert_eq!(error.code(), cni::Code::INVALID_CONFIG);
    }

    #[test]
    fn what_this_version_lacks_is_refused_by_name_and_value() {
        for (json, text) in [
            (r#"{"vlan":5}"#, "field \"vlan\" with value 5"),
            (r#"{"vlanTrunk":[{"id":3}]}"#, "field \"vlanTrunk\""),
            (r#"{"preserveDefaultVlan":true}"#, "field \"preserveDefaultVlan\" with value true"),
        ] {
            let error = conf(json).unwrap_err();
            assert_eq!(error.code(), cni::Code::UNSUPPORTED_FIELD, "{json}");
            assert!(error.to_string().contains(text), "{error}");
        }
    }

    #[test]
    fn the_runtimes_mac_wins_over_args_and_those_over_cni_args() {
        let written = |json: &str| cni::from_json::<NetConf>(json.as_bytes()).unwrap();
        let arg = Some("02:00:00:00:00:03".to_owned());
        let all =
            r#"{"args":{"cni":{"mac":"02:00:00:00:00:02"}},"runtimeConfig":{"mac":"02:00:00:00:00:01"}}"#;
        let args = r#"{"args":{"cni":{"mac":"02:00:00:00:00:02"}}}"#;
        for (json, last) in [(all, 1), (args, 2), ("{}", 3)] {
            assert_eq!(requested_mac(&written(json), arg.clone()), Ok(Some(Mac([2, 0, 0, 0, 0, last]))));
        }
    }

    #[test]
    fn bad_values_are_named() {
        for (json, text) in [
            (r#"{"mtu":-1}"#, "mtu -1"),
            (r#"{"bridge":"a/b"}"#, "\"a/b\""),
            (r#"{"runtimeConfig":{"mac":"01:00:5e:00:00:01"}}"#, "not a unicast address"),
            (r#"{"ipMasq":true,"ipMasqBackend":"ipfw","ipam":{"type":"x"}}"#, "\"ipfw\""),
            (r#"{"ipspoofchk":true}"#, "ipspoofchk needs addresses"),
            (r#"{"disableContainerInterface":true,"ipam":{"type":"x"}}"#, "disableContainerInterface"),
        ] {
            let error = conf(json).unwrap_err();
            assert!(error.to_string().contains(text), "{json}: {error}");
        }
    }
}
