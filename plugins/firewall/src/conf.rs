//! The firewall plugin's configuration: as written ([`NetConf`]), and as meant ([`Conf`]).

use std::net::IpAddr;

use attach::Error;
use cni::{AddResult, Attachment, Call};
use serde::Deserialize;

/// The configuration as written. Every key is optional; unknown ones are ignored.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct NetConf {
    /// Who makes the rules.
    pub backend: String,
    /// Chain for the administrator's own rules, of backend `iptables`.
    pub iptables_admin_chain_name: String,
    /// Zone that addresses are put into, of backend `firewalld`.
    pub firewalld_zone: String,
    /// What may reach the attachment.
    pub ingress_policy: String,
}

/// The configuration as meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conf {
    /// Who makes the rules.
    pub backend: Backend,
    /// Chain for the administrator's own rules, of [`Backend::Iptables`].
    pub admin_chain: String,
    /// Zone of [`Backend::Firewalld`].
    pub zone: String,
    /// What may reach the attachment.
    pub policy: Policy,
}

/// Who makes the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Whoever this node needs: see [`mod@crate::choose`].
    Auto,
    /// We do, in a table of our own.
    Nftables,
    /// `iptables-restore` does, in the reference's chains.
    Iptables,
    /// The firewalld daemon does.
    Firewalld,
}

/// What may reach an attachment (`ingressPolicy`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Everything.
    Open,
    /// The attachments of the same bridge and the world outside, but not those of other bridges with a policy.
    SameBridge,
    /// Only the world outside.
    Isolated,
}

/// Longest name of an iptables chain (`XT_EXTENSION_MAXNAMELEN` less its zero).
const CHAIN_BYTES: usize = 28;

impl Conf {
    /// Checks the configuration of `call`.
    ///
    /// # Errors
    /// [`Error::Conf`] for a value that cannot be meant, [`Error::Unsupported`] for a backend that this build lacks.
    pub fn of(call: &Call) -> Result<Self, Error> {
        Self::check(call.conf()?, &call.network)
    }

    fn check(written: NetConf, network: &str) -> Result<Self, Error> {
        let refuse = |reason: String| Error::Conf { network: network.to_owned(), reason };
        let or = |text: String, default: &str| if text.is_empty() { default.to_owned() } else { text };
        let admin_chain = or(written.iptables_admin_chain_name, "CNI-ADMIN");
        if !is_chain_name(&admin_chain) {
            return Err(refuse(format!(
                "iptablesAdminChainName \"{admin_chain}\" is not a chain name of 1 to {CHAIN_BYTES} bytes"
            )));
        }
        Ok(Self {
            backend: backend(&written.backend).map_err(refuse)??,
            admin_chain,
            zone: or(written.firewalld_zone, "trusted"),
            policy: policy(&written.ingress_policy).map_err(refuse)?,
        })
    }
}

fn backend(name: &str) -> Result<Result<Backend, Error>, String> {
    match name {
        "" => Ok(Ok(Backend::Auto)),
        "nftables" => Ok(Ok(Backend::Nftables)),
        "iptables" => Ok(Ok(Backend::Iptables)),
        "firewalld" if cfg!(feature = "firewalld") => Ok(Ok(Backend::Firewalld)),
        "firewalld" => Ok(Err(Error::Unsupported {
            field: "backend",
            value: "\"firewalld\"".into(),
            remedy: "this build has no D-Bus; build it with the feature \"firewalld\"",
        })),
        other => Err(format!(
            "backend \"{other}\" is none of \"nftables\", \"iptables\", \"firewalld\" and \"\" (automatic)"
        )),
    }
}

fn policy(name: &str) -> Result<Policy, String> {
    match name {
        "" | "open" => Ok(Policy::Open),
        "same-bridge" => Ok(Policy::SameBridge),
        "isolated" => Ok(Policy::Isolated),
        other => {
            Err(format!("ingressPolicy \"{other}\" is none of \"open\", \"same-bridge\" and \"isolated\""))
        }
    }
}

/// What `iptables-restore` takes for a chain: nothing that it would read as an option or as two words.
fn is_chain_name(name: &str) -> bool {
    (1..=CHAIN_BYTES).contains(&name.len())
        && !name.starts_with(['-', '!'])
        && name.chars().all(|c| c.is_ascii_graphic() && c != '"' && c != '\\')
}

/// What an attachment needs of a firewall.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Whose.
    pub attachment: Attachment,
    /// Every address of the result so far.
    pub addresses: Vec<IpAddr>,
    /// The bridge with its policy, where there is one.
    pub policed: Option<Policed>,
}

/// A bridge whose attachments are not open to everybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policed {
    /// The interface by which packets of its attachments come and go.
    pub bridge: String,
    /// The attachment's own ports of the bridge.
    pub ports: Vec<String>,
    /// [`Policy::SameBridge`] or [`Policy::Isolated`].
    pub policy: Policy,
}

/// Every address of a result, each once; which interface it is on does not matter, as in the reference.
#[must_use]
pub fn addresses(result: Option<&AddResult>) -> Vec<IpAddr> {
    let mut all: Vec<IpAddr> = Vec::new();
    for ip in result.iter().flat_map(|result| &result.ips) {
        if !all.contains(&ip.address.ip()) {
            all.push(ip.address.ip());
        }
    }
    all
}

/// The names of a result's interfaces that are on the host, in order: a bridge and its port, or a veth's end.
pub fn host_interfaces(result: &AddResult) -> impl Iterator<Item = &str> {
    let on_host = |interface: &&cni::Interface| interface.sandbox.as_deref().is_none_or(str::is_empty);
    result.interfaces.iter().filter(on_host).map(|interface| interface.name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conf(json: &str) -> Result<Conf, Error> {
        Conf::check(cni::from_json(json.as_bytes()).unwrap(), "net")
    }

    #[test]
    fn nothing_written_means_automatic_and_open_with_the_references_names() {
        for json in ["{}", r#"{"backend":"","ingressPolicy":""}"#] {
            let conf = conf(json).unwrap();
            assert_eq!((conf.backend, conf.policy), (Backend::Auto, Policy::Open), "{json}");
            assert_eq!((conf.admin_chain.as_str(), conf.zone.as_str()), ("CNI-ADMIN", "trusted"));
        }
    }

    #[test]
    fn bad_values_are_named() {
        for (json, text) in [
            (r#"{"backend":"ipfw"}"#, "backend \"ipfw\""),
            (r#"{"ingressPolicy":"closed"}"#, "ingressPolicy \"closed\""),
            (r#"{"iptablesAdminChainName":"a b"}"#, "\"a b\""),
            (r#"{"iptablesAdminChainName":"-j"}"#, "\"-j\""),
            (r#"{"iptablesAdminChainName":"A23456789012345678901234567890"}"#, "1 to 28 bytes"),
        ] {
            let error = conf(json).unwrap_err();
            assert_eq!(error.code(), cni::Code::INVALID_CONFIG, "{json}");
            assert!(error.to_string().contains(text), "{error}");
        }
    }

    #[test]
    fn a_result_gives_each_address_once_and_the_interfaces_of_the_host() {
        let ip = |text: &str| cni::Ip { address: text.parse().unwrap(), gateway: None, interface: None };
        let link = |name: &str, sandbox: Option<&str>| cni::Interface {
            name: name.into(),
            sandbox: sandbox.map(Into::into),
            ..cni::Interface::default()
        };
        let result = AddResult {
            ips: vec![ip("10.1.0.2/16"), ip("fd00::2/64"), ip("10.1.0.2/24")],
            interfaces: vec![link("cni0", None), link("veth1", Some("")), link("eth0", Some("/ns"))],
            ..AddResult::default()
        };
        assert_eq!(addresses(Some(&result)).len(), 2);
        assert_eq!(host_interfaces(&result).collect::<Vec<_>>(), ["cni0", "veth1"]);
    }
}
