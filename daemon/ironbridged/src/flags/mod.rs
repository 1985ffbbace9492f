//! The command line as it was written: flanneld's flags and variables, and a few of ours.

mod argv;
mod unsupported;

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use clap::{ArgAction, CommandFactory, FromArgMatches, Parser, ValueEnum};

use crate::store::Secret;

/// A boolean flag, in Go's spelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    /// True.
    On,
    /// False.
    Off,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Leases this node its subnet and programs routes to its peers. Takes the place of flanneld: every flag may also be
/// given as `FLANNELD_` and its name in upper case with underscores; the command line wins.
#[derive(Debug, Parser)]
#[command(name = "ironbridged", version, args_override_self = true)]
pub struct Flags {
    /// Comma-separated etcd endpoints
    #[arg(long, default_value = "http://127.0.0.1:4001,http://127.0.0.1:2379")]
    pub etcd_endpoints: String,
    /// Prefix of all keys in etcd
    #[arg(long, default_value = "/coreos.com/network")]
    pub etcd_prefix: String,
    /// Private key of the client certificate for etcd
    #[arg(long)]
    pub etcd_keyfile: Option<PathBuf>,
    /// Client certificate for etcd
    #[arg(long)]
    pub etcd_certfile: Option<PathBuf>,
    /// Who signs etcd's certificate; may be given alone
    #[arg(long)]
    pub etcd_cafile: Option<PathBuf>,
    /// User name for etcd
    #[arg(long, default_value = "")]
    pub etcd_username: String,
    /// Password for etcd
    #[arg(long, default_value = "", value_parser = secret, hide_default_value = true)]
    pub etcd_password: Secret,
    /// Where leases live: etcd, or a directory or a JSON file
    #[arg(long, default_value = "etcd", value_name = "etcd|file:PATH")]
    pub store: String,
    /// This node's name: finds its lease again after a change of address and tells two nodes with one address apart;
    /// - is none [default: the host's name and a part of its machine id]
    #[arg(long)]
    pub node_name: Option<String>,
    /// Uplink by name or address; repeatable, the first match wins
    #[arg(long)]
    pub iface: Vec<String>,
    /// Uplink by a regular expression on addresses, then on names; tried after --iface
    #[arg(long)]
    pub iface_regex: Vec<String>,
    /// Uplink by the route to this address; tried last
    #[arg(long)]
    pub iface_can_reach: Option<IpAddr>,
    /// IPv4 address that peers shall use
    #[arg(long)]
    pub public_ip: Option<Ipv4Addr>,
    /// IPv6 address that peers shall use
    #[arg(long)]
    pub public_ipv6: Option<Ipv6Addr>,
    /// File for the CNI plugin
    #[arg(long, default_value = "/run/flannel/subnet.env")]
    pub subnet_file: PathBuf,
    /// Minutes before its end at which the lease is renewed
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=1439))]
    pub subnet_lease_renew_margin: u64,
    /// Masquerade what leaves the cluster network
    #[arg(long, default_value = "false", default_missing_value = "true", num_args = 0..=1, require_equals = true,
          action = ArgAction::Set, value_parser = switch)]
    pub ip_masq: Switch,
    /// Let masqueraded connections keep their source port where possible
    #[arg(long, default_value = "false", default_missing_value = "true", num_args = 0..=1, require_equals = true,
          action = ArgAction::Set, value_parser = switch)]
    pub ip_masq_fully_random_disable: Switch,
    /// Accept forwarded traffic of the cluster network (in nftables, despite the name)
    #[arg(long, default_value = "true", default_missing_value = "true", num_args = 0..=1, require_equals = true,
          action = ArgAction::Set, value_parser = switch)]
    pub iptables_forward_rules: Switch,
    /// Drop what is for this node's subnet and for no pod, instead of sending it round by the default route
    #[arg(long, default_value = "false", default_missing_value = "true", num_args = 0..=1, require_equals = true,
          action = ArgAction::Set, value_parser = switch)]
    pub ip_blackhole_route: Switch,
    /// Accepted and unused: rules are put back when the kernel reports a change
    #[arg(long)]
    pub iptables_resync: Option<i64>,
    /// Address of the health server
    #[arg(long, default_value = "0.0.0.0")]
    pub healthz_ip: IpAddr,
    /// Port of the health server; 0 is none
    #[arg(long, default_value_t = 0)]
    pub healthz_port: u16,
    /// Socket that `ironbridge status` asks [default: ironbridged.sock beside the subnet file]
    #[arg(long)]
    pub status_socket: Option<PathBuf>,
    /// How log lines look
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// Verbosity: 0 as usual, 1 to 3 more, 4 and above everything
    #[arg(long, default_value_t = 0)]
    pub v: i32,
    /// Accepted and unused
    #[arg(long, hide = true)]
    pub vmodule: Option<String>,
    /// Accepted and unused
    #[arg(long = "log_backtrace_at", hide = true)]
    pub log_backtrace_at: Option<String>,
}

impl Flags {
    /// Reads the arguments after the program's name. An error is clap's own: it knows its stream and exit status (2, or
    /// 0 for help and version).
    pub fn read(
        arguments: impl IntoIterator<Item = OsString>,
        environment: &[(String, String)],
    ) -> Result<Flags, clap::Error> {
        let mut command = unsupported::declare(Flags::command());
        let argv = argv::rewrite(&command, arguments, environment);
        let named = |error: clap::Error| match (error.use_stderr(), argv.variables.as_slice()) {
            (true, [_, ..]) => with_variables(&error, &argv.variables),
            _ => error,
        };
        let matches = command.try_get_matches_from_mut(argv.words).map_err(named)?;
        match unsupported::refusal(&matches) {
            Some(text) => Err(command.error(clap::error::ErrorKind::ValueValidation, text)),
            None => Flags::from_arg_matches(&matches),
        }
    }
}

impl Flags {
    /// Flags of flanneld that were given and change nothing: rules are put back when the kernel tells that they
    /// changed, and the log has its own verbosity.
    pub fn unused(&self) -> impl Iterator<Item = &'static str> {
        let given = [
            ("iptables-resync", self.iptables_resync.is_some()),
            ("vmodule", self.vmodule.is_some()),
            ("log_backtrace_at", self.log_backtrace_at.is_some()),
        ];
        given.into_iter().filter(|(_, is_given)| *is_given).map(|(name, _)| name)
    }
}

/// A bad value may stand in a unit's environment, where nobody would look for a "flag".
fn with_variables(error: &clap::Error, variables: &[String]) -> clap::Error {
    let text = error.to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text).trim_end();
    let text = format!("{text}\n\nfrom the environment: {}\n", variables.join(", "));
    clap::Error::raw(error.kind(), text)
}

/// The spellings of Go's `strconv.ParseBool`.
fn switch(text: &str) -> Result<Switch, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Switch::On),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Switch::Off),
        _ => Err("say true or false".to_owned()),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the signature of a clap value parser")]
fn secret(text: &str) -> Result<Secret, String> {
    Ok(Secret::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &[&str]) -> Result<Flags, clap::Error> {
        Flags::read(line.iter().map(OsString::from), &[])
    }

    #[test]
    fn a_flanneld_unit_file_starts_us() {
        let flags = read(&[
            "-etcd-endpoints=https://10.0.0.1:2379",
            "-etcd-cafile",
            "/ca.pem",
            "--ip-masq",
            "-iface=eth1",
            "--iface",
            "eth0",
            "-subnet-lease-renew-margin",
            "30",
            "-healthz-port=8471",
            "-v=10",
            "-iptables-resync",
            "30",
            "-iptables-forward-rules=false",
            "-kube-subnet-mgr=false",
        ])
        .unwrap();
        assert_eq!(flags.iface, ["eth1", "eth0"]);
        assert_eq!((flags.ip_masq, flags.iptables_forward_rules), (Switch::On, Switch::Off));
        assert_eq!((flags.healthz_port, flags.v, flags.subnet_lease_renew_margin), (8471, 10, 30));
    }

    #[test]
    fn defaults_are_flannels() {
        let flags = read(&[]).unwrap();
        assert_eq!(flags.etcd_endpoints, "http://127.0.0.1:4001,http://127.0.0.1:2379");
        assert_eq!(flags.subnet_file, PathBuf::from("/run/flannel/subnet.env"));
        assert_eq!((flags.ip_masq, flags.iptables_forward_rules), (Switch::Off, Switch::On));
    }

    #[test]
    fn a_wrong_flag_ends_with_status_2_where_flannel_exits_0() {
        for line in [
            &["--no-such-flag"][..],
            &["stray"],
            &["-subnet-lease-renew-margin=1440"],
            &["-ip-masq=maybe"],
            &["-"],
        ] {
            assert_eq!(read(line).unwrap_err().exit_code(), 2, "{line:?}");
        }
    }

    #[test]
    fn what_is_not_served_is_refused_by_name_with_a_remedy() {
        let error = read(&["-kube-subnet-mgr"]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("--kube-subnet-mgr=true is not supported"), "{error}");
        assert!(error.to_string().contains("--store file:PATH"), "{error}");
    }

    #[test]
    fn a_bad_variable_is_named() {
        let environment = [("FLANNELD_HEALTHZ_PORT".to_owned(), "http".to_owned())];
        let error = Flags::read([], &environment).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("FLANNELD_HEALTHZ_PORT"), "{error}");
    }

    #[test]
    fn the_password_is_in_no_debug_text() {
        let flags = read(&["-etcd-password", "hunter2"]).unwrap();
        assert!(!format!("{flags:?}").contains("hunter2"));
    }
}
