//! The tuning plugin's configuration: as written ([`NetConf`]), as meant ([`Conf`]), and what a removal needs of it ([`Scope`]).

use std::path::PathBuf;

use attach::Error;
use cni::Call;
use kernel::Mac;
use serde::Deserialize;

use crate::keys::{self, Entries, Parameter};

/// Where backups are kept unless `dataDir` says otherwise.
const DATA_DIR: &str = "/run/cni/tuning";
/// The largest MTU of any device.
const MTU: i64 = 65_535;

/// The configuration as written. Each key may be missing; unknown ones are ignored.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct NetConf {
    /// Kernel parameters of the sandbox.
    pub sysctl: Entries,
    /// MAC address.
    pub mac: String,
    /// Receive all frames.
    pub promisc: bool,
    /// MTU in bytes; 0 is untouched.
    pub mtu: i64,
    /// Receive all multicast frames.
    pub allmulti: Option<bool>,
    /// Length of the transmit queue in packets.
    #[serde(rename = "txQLen")]
    pub tx_q_len: Option<i64>,
    /// Where backups are kept.
    pub data_dir: String,
    /// Capabilities.
    pub runtime_config: RuntimeConfig,
    /// Arguments of the network's user.
    pub args: Args,
}

/// `runtimeConfig`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct RuntimeConfig {
    /// MAC address.
    pub mac: String,
}

/// `args`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Args {
    /// `args.cni`.
    pub cni: CniArgs,
}

/// `args.cni`: what a network's user may say, over what the network says.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct CniArgs {
    /// Further parameters, or other values.
    pub sysctl: Entries,
    /// MAC address.
    pub mac: Option<String>,
    /// As in [`NetConf`].
    pub promisc: Option<bool>,
    /// As in [`NetConf`].
    pub mtu: Option<i64>,
    /// As in [`NetConf`].
    pub allmulti: Option<bool>,
    /// As in [`NetConf`].
    #[serde(rename = "txQLen")]
    pub tx_q_len: Option<i64>,
}

/// The configuration as meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conf {
    /// Parameters in the order in which they were written.
    pub parameters: Vec<Parameter>,
    /// What the interface is to be.
    pub link: Wanted,
    /// Where backups are kept.
    pub data_dir: PathBuf,
}

/// What an interface is to be; what is not said stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// MAC address.
    pub mac: Option<Mac>,
    /// Receive all frames.
    pub promiscuous: Option<bool>,
    /// MTU in bytes.
    pub mtu: Option<u32>,
    /// Receive all multicast frames.
    pub all_multicast: Option<bool>,
    /// Length of the transmit queue in packets.
    pub txqlen: Option<u32>,
}

/// What DEL and GC need of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Where backups are kept.
    pub data_dir: PathBuf,
}

impl Scope {
    /// Reads the little that a removal needs. Other keys may hold anything.
    pub fn of(call: &Call) -> Result<Self, Error> {
        let written: DataDir = call.conf()?;
        Ok(Self { data_dir: data_dir(written.data_dir) })
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct DataDir {
    data_dir: String,
}

impl Conf {
    /// Checks the configuration of `call`.
    ///
    /// # Errors
    /// [`Error::Conf`] for values that cannot be meant.
    pub fn of(call: &Call) -> Result<Self, Error> {
        let mac = call.cni_args(&["MAC"])?.pop().map(|(_, mac)| mac);
        let checked = Self::check(call.conf()?, mac, &call.ifname);
        checked.map_err(|reason| Error::Conf { network: call.network.clone(), reason })
    }

    fn check(written: NetConf, mac_arg: Option<String>, ifname: &str) -> Result<Self, String> {
        let args = written.args.cni;
        // The later wins: the network's, CNI_ARGS', the runtime's, the user's.
        let macs = [Some(written.mac), mac_arg, Some(written.runtime_config.mac), args.mac];
        let mac = macs.into_iter().flatten().rfind(|mac| !mac.is_empty());
        let promiscuous = args.promisc.unwrap_or(written.promisc);
        Ok(Self {
            parameters: parameters(written.sysctl, args.sysctl, ifname)?,
            link: Wanted {
                mac: mac.map(|mac| unicast(&mac)).transpose()?,
                promiscuous: promiscuous.then_some(true),
                mtu: number("mtu", Some(args.mtu.unwrap_or(written.mtu)), MTU)?.filter(|mtu| *mtu != 0),
                all_multicast: args.allmulti.or(written.allmulti),
                txqlen: number("txQLen", args.tx_q_len.or(written.tx_q_len), u32::MAX.into())?,
            },
            data_dir: data_dir(written.data_dir),
        })
    }
}

fn data_dir(written: String) -> PathBuf {
    PathBuf::from(if written.is_empty() { DATA_DIR.to_owned() } else { written })
}

fn unicast(text: &str) -> Result<Mac, String> {
    let mac: Mac = text.parse().map_err(|_| format!("mac \"{text}\" is not a MAC address of six bytes"))?;
    let Mac([first, ..]) = mac;
    if first & 1 == 1 || mac == Mac([0; 6]) {
        return Err(format!("mac \"{text}\" is not a unicast address, which an interface needs"));
    }
    Ok(mac)
}

fn number(field: &str, value: Option<i64>, most: i64) -> Result<Option<u32>, String> {
    let Some(value) = value else { return Ok(None) };
    let checked = u32::try_from(value).ok().filter(|_| value <= most);
    checked.map(Some).ok_or_else(|| format!("{field} {value} is not between 0 and {most}"))
}

/// The network's parameters, then the user's; a value of the user's stands in the place of the network's.
fn parameters(network: Entries, user: Entries, ifname: &str) -> Result<Vec<Parameter>, String> {
    let mut merged: Vec<(String, String)> = Vec::new();
    for Entries(entries) in [&network, &user] {
        if let Some(twice) = duplicate(entries) {
            return Err(format!("sysctl \"{twice}\" is there twice"));
        }
    }
    for (key, value) in network.0.into_iter().chain(user.0) {
        match merged.iter_mut().find(|(known, _)| *known == key) {
            Some((_, earlier)) => *earlier = value,
            None => merged.push((key, value)),
        }
    }
    let parameter = |(key, value): (String, String)| match keys::path(&key, ifname) {
        Some(path) => Ok(Parameter { key, path, value }),
        None => Err(format!("sysctl \"{key}\" is not below net/, which is all that belongs to the sandbox")),
    };
    merged.into_iter().map(parameter).collect()
}

fn duplicate(entries: &[(String, String)]) -> Option<&str> {
    let mut rest = entries;
    while let [(key, _), later @ ..] = rest {
        if later.iter().any(|(other, _)| other == key) {
            return Some(key);
        }
        rest = later;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str, mac_arg: Option<&str>) -> Result<Conf, String> {
        Conf::check(cni::from_json(json.as_bytes()).unwrap(), mac_arg.map(str::to_owned), "eth0")
    }

    #[test]
    fn the_later_mac_wins() {
        let network = r#""mac":"02:00:00:00:00:01""#;
        let runtime = r#""runtimeConfig":{"mac":"02:00:00:00:00:03"}"#;
        let user = r#""args":{"cni":{"mac":"02:00:00:00:00:04"}}"#;
        for (json, arg, last) in [
            (format!("{{{network}}}"), None, 1),
            (format!("{{{network}}}"), Some("02:00:00:00:00:02"), 2),
            (format!("{{{network},{runtime}}}"), Some("02:00:00:00:00:02"), 3),
            (format!("{{{network},{runtime},{user}}}"), Some("02:00:00:00:00:02"), 4),
        ] {
            assert_eq!(read(&json, arg).unwrap().link.mac, Some(Mac([2, 0, 0, 0, 0, last])), "{json}");
        }
    }

    #[test]
    fn weakness_51_a_user_may_name_parameters_where_the_network_has_none() {
        let conf = read(r#"{"args":{"cni":{"sysctl":{"net.core.somaxconn":"7"}}}}"#, None).unwrap();
        assert_eq!(conf.parameters[0].path, "net/core/somaxconn");
    }

    #[test]
    fn weakness_51_parameters_keep_their_order_and_the_users_value_wins() {
        let conf = read(
            r#"{"sysctl":{"net.b":"1","net.a":"2","net.c":"3"},"args":{"cni":{"sysctl":{"net.a":"9","net.d":"4"}}}}"#,
            None,
        );
        let pairs: Vec<_> =
            conf.unwrap().parameters.into_iter().map(|p| format!("{}={}", p.path, p.value)).collect();
        assert_eq!(pairs, ["net/b=1", "net/a=9", "net/c=3", "net/d=4"]);
    }

    #[test]
    fn what_is_not_said_stays_and_a_false_is_said() {
        assert_eq!(read("{}", None).unwrap().link, Wanted::default());
        let said = read(r#"{"promisc":false,"allmulti":false,"txQLen":0,"mtu":0}"#, None).unwrap();
        assert_eq!(said.link, Wanted { all_multicast: Some(false), txqlen: Some(0), ..Wanted::default() });
        let user =
            read(r#"{"mtu":1400,"args":{"cni":{"mtu":1300,"promisc":true,"txQLen":5}}}"#, None).unwrap();
        let wanted =
            Wanted { mtu: Some(1300), promiscuous: Some(true), txqlen: Some(5), ..Wanted::default() };
        assert_eq!(user.link, wanted);
    }

    #[test]
    fn impossible_values_are_refused_by_name() {
        for (json, named) in [
            (r#"{"mtu":-1}"#, "mtu -1"),
            (r#"{"mtu":65536}"#, "mtu 65536"),
            (r#"{"txQLen":-5}"#, "txQLen -5"),
            (r#"{"mac":"nonsense"}"#, "nonsense"),
            (r#"{"mac":"01:00:5e:00:00:01"}"#, "unicast"),
            (r#"{"sysctl":{"net.a":"1","net.a":"1"}}"#, "twice"),
            (r#"{"sysctl":{"kernel.hostname":"x"}}"#, "kernel.hostname"),
        ] {
            let reason = read(json, None).unwrap_err();
            assert!(reason.contains(named), "{json}: {reason}");
        }
    }
}
