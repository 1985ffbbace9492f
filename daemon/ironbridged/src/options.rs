//! What the command line means: flags that were checked against one another.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use regex_lite::Regex;

use crate::flags::{Flags, LogFormat, Switch};
use crate::key_file;
use crate::node_name;
use crate::store::{EtcdOptions, StoreError, TlsFiles};

/// What `--node-name` says when there shall be none.
const NAMELESS: &str = "-";
/// The status socket's usual name.
const SOCKET: &str = "ironbridged.sock";

/// Everything that the daemon is told at its start. Its debug text holds no password.
#[derive(Debug)]
pub struct Options {
    /// Where leases live.
    pub store: StoreChoice,
    /// This node's name, if it has one.
    pub node_name: Option<String>,
    /// How to find the uplink.
    pub uplink: UplinkChoice,
    /// The file for the CNI plugin.
    pub subnet_file: PathBuf,
    /// How long before its end the lease is renewed.
    pub renew_margin: Duration,
    /// Which rules to keep.
    pub rules: RuleChoice,
    /// Whether to keep a blackhole route for this node's subnet.
    pub blackhole: Switch,
    /// The file of the wireguard backend's private key.
    pub wireguard_key: PathBuf,
    /// Where to serve health.
    pub health: Option<SocketAddr>,
    /// Where to answer `ironbridge status`.
    pub status_socket: PathBuf,
}

/// Where leases live.
#[derive(Debug, PartialEq, Eq)]
pub enum StoreChoice {
    /// An etcd cluster.
    Etcd(Box<EtcdOptions>),
    /// A directory or a JSON file.
    File(PathBuf),
}

/// How to find the uplink and what to publish.
#[derive(Debug, Clone, Default)]
pub struct UplinkChoice {
    /// Tried in order; with none, the owner of a public address or of the default route is taken.
    pub wishes: Vec<Wish>,
    /// The IPv4 address for peers, when it was given.
    pub public_ip: Option<Ipv4Addr>,
    /// The IPv6 address for peers, when it was given.
    pub public_ipv6: Option<Ipv6Addr>,
}

/// One way to find the uplink.
#[derive(Debug, Clone)]
pub enum Wish {
    /// By name.
    Name(String),
    /// By an address that it has.
    Address(IpAddr),
    /// By a pattern on its addresses, then on its name.
    Pattern(Regex),
    /// By the kernel's route to an address.
    Reach(IpAddr),
}

impl fmt::Display for Wish {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Wish::Name(name) => write!(f, "name {name}"),
            Wish::Address(address) => write!(f, "address {address}"),
            Wish::Pattern(pattern) => write!(f, "pattern {:?}", pattern.as_str()),
            Wish::Reach(address) => write!(f, "route to {address}"),
        }
    }
}

/// Which nftables rules the daemon keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuleChoice {
    /// `--ip-masq`, and how source ports are chosen.
    pub masquerade: Option<Ports>,
    /// `--iptables-forward-rules`.
    pub forward: Switch,
}

/// How masquerading chooses source ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ports {
    /// `fully-random`: no collisions of two connections that start at once (flannel #1004).
    Random,
    /// The connection's own port where possible.
    Kept,
}

/// Why the flags contradict one another.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    #[error("--store {0:?} is neither \"etcd\" nor \"file:PATH\"")]
    Store(String),
    #[error("--iface-regex {pattern:?}: {why}")]
    Pattern { pattern: String, why: String },
    #[error(transparent)]
    Etcd(#[from] StoreError),
}

impl Options {
    /// Checks the flags.
    pub fn new(flags: &Flags) -> Result<Options, OptionsError> {
        Ok(Options {
            store: store(flags)?,
            node_name: flags.node_name.clone().or_else(node_name::of_host).filter(|name| name != NAMELESS),
            uplink: UplinkChoice {
                wishes: wishes(flags)?,
                public_ip: flags.public_ip,
                public_ipv6: flags.public_ipv6,
            },
            subnet_file: flags.subnet_file.clone(),
            renew_margin: Duration::from_secs(60 * flags.subnet_lease_renew_margin),
            rules: rules(flags),
            blackhole: flags.ip_blackhole_route,
            wireguard_key: key_file::DEFAULT.into(),
            health: (flags.healthz_port != 0).then(|| (flags.healthz_ip, flags.healthz_port).into()),
            status_socket: status_socket(flags),
        })
    }
}

/// Beside `subnet.env`, so that two daemons with a file each have a socket each.
fn status_socket(flags: &Flags) -> PathBuf {
    flags.status_socket.clone().unwrap_or_else(|| flags.subnet_file.with_file_name(SOCKET))
}

fn store(flags: &Flags) -> Result<StoreChoice, OptionsError> {
    match flags.store.split_once(':') {
        None if flags.store == "etcd" => {
            let tls = TlsFiles {
                ca: flags.etcd_cafile.clone(),
                cert: flags.etcd_certfile.clone(),
                key: flags.etcd_keyfile.clone(),
            };
            let options = EtcdOptions::new(&flags.etcd_endpoints, &flags.etcd_prefix, tls)?;
            let options = options.with_user(&flags.etcd_username, flags.etcd_password.clone());
            Ok(StoreChoice::Etcd(Box::new(options)))
        }
        Some(("file", path)) if !path.is_empty() => Ok(StoreChoice::File(path.into())),
        _ => Err(OptionsError::Store(flags.store.clone())),
    }
}

fn wishes(flags: &Flags) -> Result<Vec<Wish>, OptionsError> {
    let by_name = flags.iface.iter().filter(|text| !text.is_empty()).map(|text| match text.parse() {
        Ok(address) => Ok(Wish::Address(address)),
        Err(_) => Ok(Wish::Name(text.clone())),
    });
    let by_pattern = flags.iface_regex.iter().filter(|text| !text.is_empty()).map(|pattern| {
        Regex::new(pattern)
            .map(Wish::Pattern)
            .map_err(|e| OptionsError::Pattern { pattern: pattern.clone(), why: e.to_string() })
    });
    let by_route = flags.iface_can_reach.into_iter().map(|address| Ok(Wish::Reach(address)));
    by_name.chain(by_pattern).chain(by_route).collect()
}

fn rules(flags: &Flags) -> RuleChoice {
    let ports = match flags.ip_masq_fully_random_disable {
        Switch::On => Ports::Kept,
        Switch::Off => Ports::Random,
    };
    RuleChoice {
        masquerade: (flags.ip_masq == Switch::On).then_some(ports),
        forward: flags.iptables_forward_rules,
    }
}

/// What the log shall look like; known before anything else, so that every refusal is a log line of that form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogChoice {
    /// Text or JSON.
    pub format: LogFormat,
    /// flannel's `-v`.
    pub verbosity: i32,
}

impl From<&Flags> for LogChoice {
    fn from(flags: &Flags) -> Self {
        LogChoice { format: flags.log_format, verbosity: flags.v }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    fn options(line: &[&str]) -> Result<Options, OptionsError> {
        Options::new(&Flags::read(line.iter().map(OsString::from), &[]).unwrap())
    }

    #[test]
    fn uplinks_are_tried_in_flannels_order() {
        let line = ["-iface-can-reach=192.0.2.9", "-iface-regex=^eth", "-iface", "192.0.2.1", "-iface=bond0"];
        let wishes = options(&line).unwrap().uplink.wishes;
        assert!(matches!(
            wishes.as_slice(),
            [Wish::Address(_), Wish::Name(_), Wish::Pattern(_), Wish::Reach(_)]
        ));
    }

    #[test]
    fn stores_are_named() {
        assert_eq!(options(&["-store=file:/x"]).unwrap().store, StoreChoice::File("/x".into()));
        assert!(matches!(options(&[]).unwrap().store, StoreChoice::Etcd(_)));
        for store in ["file:", "consul", "etcd:x"] {
            assert!(matches!(options(&["-store", store]), Err(OptionsError::Store(_))), "{store}");
        }
    }

    #[test]
    fn the_status_socket_is_beside_subnet_env_unless_told_otherwise() {
        let socket = |line: &[&str]| options(line).unwrap().status_socket;
        assert_eq!(socket(&[]), PathBuf::from("/run/flannel/ironbridged.sock"));
        assert_eq!(socket(&["-subnet-file=/x/y.env"]), PathBuf::from("/x/ironbridged.sock"));
        assert_eq!(socket(&["-status-socket=/z"]), PathBuf::from("/z"));
    }

    #[test]
    fn a_bad_pattern_is_shown() {
        let error = options(&["-iface-regex=("]).unwrap_err().to_string();
        assert!(error.starts_with("--iface-regex \"(\": "), "{error}");
    }

    #[test]
    fn the_password_is_in_no_debug_text() {
        let options = options(&["-etcd-username=root", "-etcd-password=hunter2"]).unwrap();
        assert!(!format!("{options:?}").contains("hunter2"));
    }
}
