//! The portmap plugin's configuration: as written ([`NetConf`]), as meant ([`Conf`]), and what a removal needs of it ([`Scope`]).

use cni::Call;
use kernel::Family;
use serde::Deserialize;

use crate::condition::{Condition, REMEDY};
use crate::error::Error;
use crate::mapping::{Key, Mapping, PortMapping};
use crate::matches::translate;

/// The configuration as written. Every key is optional; unknown ones are ignored.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct NetConf {
    /// Who makes the rules.
    pub backend: String,
    /// Masquerade what would not find its way back: hairpin, the pod's own network, loopback. On by default.
    pub snat: Option<bool>,
    /// Masquerade everything that is mapped.
    pub masq_all: bool,
    /// Bit of the packet mark that says "masquerade this".
    pub mark_masq_bit: Option<i64>,
    /// Chain of another program that marks what shall be masqueraded (iptables).
    pub external_set_mark_chain: String,
    /// What an IPv4 packet must be besides.
    #[serde(rename = "conditionsV4")]
    pub conditions_v4: Vec<String>,
    /// What an IPv6 packet must be besides.
    #[serde(rename = "conditionsV6")]
    pub conditions_v6: Vec<String>,
    /// Capabilities.
    pub runtime_config: RuntimeConfig,
}

/// `runtimeConfig`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RuntimeConfig {
    /// The ports to publish.
    pub port_mappings: Vec<PortMapping>,
}

/// The configuration as meant: a value of this type can be acted upon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conf {
    /// The ports to publish; no key twice.
    pub mappings: Vec<Mapping>,
    /// Whose sources are hidden.
    pub masquerade: Masquerade,
    /// Who makes the rules, with what only that one knows.
    pub backend: Backend,
}

/// Which mapped traffic is masqueraded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Masquerade {
    /// None: `snat` is off.
    Off,
    /// What would otherwise be answered past the host: from the sandbox itself, from its network, from loopback.
    Local,
    /// Everything: `masqAll`.
    All,
}

/// Who makes the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backend {
    /// We do, over netlink.
    Nftables {
        /// Bit of the packet mark, as a mask.
        mark: u32,
        /// What an IPv4 packet must be besides.
        conditions4: Vec<Condition>,
        /// What an IPv6 packet must be besides.
        conditions6: Vec<Condition>,
    },
    /// The `iptables` programs, in the reference's chains.
    Iptables {
        /// How packets to be masqueraded are marked.
        marking: Marking,
        /// Matches of `iptables`.
        conditions4: Vec<String>,
        /// Matches of `ip6tables`.
        conditions6: Vec<String>,
    },
}

/// How the iptables backend marks what shall be masqueraded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Marking {
    /// With a bit, given as a mask, and masquerades by it.
    Mark(u32),
    /// By a jump to another program's chain, which is expected to see to the rest.
    Chain(String),
}

/// The reference's default of `markMasqBit`.
const MARK_BIT: i64 = 13;

/// What DEL and GC need of a configuration. It cannot fail on what ADD once accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Keys that the attachment is likely to have; a removal finds the others too.
    pub hints: Vec<Key>,
}

impl Scope {
    /// Reads the little that a removal needs; what does not decode is no hint.
    #[must_use]
    pub fn of(call: &Call) -> Self {
        let written: HintsOnly = call.conf().unwrap_or_default();
        let mappings = written.runtime_config.port_mappings;
        let mappings = mappings.iter().filter_map(|mapping| Mapping::parse(mapping).ok());
        Self { hints: mappings.flat_map(|mapping| mapping.keys().collect::<Vec<_>>()).collect() }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct HintsOnly {
    runtime_config: RuntimeConfig,
}

impl Conf {
    /// Checks the configuration of `call`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for conditions that are not understood, [`Error::Conf`] for values that cannot be meant.
    pub fn of(call: &Call) -> Result<Self, Error> {
        Self::check(&call.conf()?, &call.network)
    }

    /// What only some packets must be, for one family; none with the iptables backend.
    #[must_use]
    pub fn conditions(&self, family: Family) -> &[Condition] {
        match (&self.backend, family) {
            (Backend::Nftables { conditions4, .. }, Family::V4) => conditions4,
            (Backend::Nftables { conditions6, .. }, Family::V6) => conditions6,
            (Backend::Iptables { .. }, _) => &[],
        }
    }

    /// The mark that iptables' chains set and masquerade by; none where another program does, or nobody.
    #[must_use]
    pub fn iptables_mark(&self) -> Option<u32> {
        match &self.backend {
            Backend::Iptables { marking: Marking::Mark(mark), .. } if self.masquerade != Masquerade::Off => {
                Some(*mark)
            }
            Backend::Iptables { .. } | Backend::Nftables { .. } => None,
        }
    }

    /// The same by the iptables backend, with the conditions as they are written: in iptables' words.
    #[must_use]
    pub fn for_reference(mut self, written: NetConf) -> Self {
        if let Backend::Nftables { mark, .. } = self.backend {
            let (conditions4, conditions6) = (written.conditions_v4, written.conditions_v6);
            self.backend = Backend::Iptables { marking: Marking::Mark(mark), conditions4, conditions6 };
        }
        self
    }

    fn check(written: &NetConf, network: &str) -> Result<Self, Error> {
        let refuse = |reason| Error::Conf { network: network.to_owned(), reason };
        Ok(Self {
            mappings: mappings(&written.runtime_config.port_mappings).map_err(refuse)?,
            masquerade: match (written.snat.unwrap_or(true), written.masq_all) {
                (false, _) => Masquerade::Off,
                (true, false) => Masquerade::Local,
                (true, true) => Masquerade::All,
            },
            backend: backend(written, network)?,
        })
    }
}

fn backend(written: &NetConf, network: &str) -> Result<Backend, Error> {
    let refuse = |reason| Error::Conf { network: network.to_owned(), reason };
    let in_iptables_words = is_iptables(written).map_err(refuse)?;
    if in_iptables_words && let Some((conditions4, conditions6)) = translated(written) {
        return Ok(Backend::Nftables { mark: mark(written).map_err(refuse)?, conditions4, conditions6 });
    }
    if in_iptables_words {
        return Ok(Backend::Iptables {
            marking: marking(written).map_err(refuse)?,
            conditions4: written.conditions_v4.clone(),
            conditions6: written.conditions_v6.clone(),
        });
    }
    Ok(Backend::Nftables {
        mark: mark(written).map_err(refuse)?,
        conditions4: conditions(Family::V4, "conditionsV4", &written.conditions_v4)?,
        conditions6: conditions(Family::V6, "conditionsV6", &written.conditions_v6)?,
    })
}

fn mappings(written: &[PortMapping]) -> Result<Vec<Mapping>, String> {
    let mappings = written.iter().map(Mapping::parse).collect::<Result<Vec<_>, _>>()?;
    let mut keys: Vec<Key> = mappings.iter().flat_map(|mapping| mapping.keys().collect::<Vec<_>>()).collect();
    keys.sort_unstable();
    match keys.windows(2).find(|pair| pair.first() == pair.last()) {
        Some([twice, ..]) => Err(format!("portMappings: host port {twice} is asked for twice")),
        _ => Ok(mappings),
    }
}

/// Whether the reference would use iptables: an explicit backend is that; without one, what only iptables knows decides.
fn is_iptables(written: &NetConf) -> Result<bool, String> {
    let mut theirs = Vec::new();
    let mut ours = Vec::new();
    if !written.external_set_mark_chain.is_empty() {
        theirs.push("externalSetMarkChain");
    }
    let both = [("conditionsV4", &written.conditions_v4), ("conditionsV6", &written.conditions_v6)];
    for (name, conditions) in both {
        match conditions.first() {
            Some(first) if first.starts_with(['-', '!']) => theirs.push(name),
            Some(_) => ours.push(name),
            None => {}
        }
    }
    let wrong = |backend, options: &[&str]| {
        Err(format!("backend \"{backend}\" cannot serve {}, which is for the other one", options.join(", ")))
    };
    match written.backend.as_str() {
        "nftables" if !theirs.is_empty() => wrong("nftables", &theirs),
        "iptables" if !ours.is_empty() => wrong("iptables", &ours),
        "" if !theirs.is_empty() && !ours.is_empty() => wrong("iptables", &ours),
        "nftables" => Ok(false),
        "iptables" => Ok(true),
        "" => Ok(!theirs.is_empty()),
        other => Err(format!("backend \"{other}\" is neither \"nftables\" nor \"iptables\"")),
    }
}

/// Conditions in iptables' words, where they alone choose it and nftables says the same.
fn translated(written: &NetConf) -> Option<(Vec<Condition>, Vec<Condition>)> {
    if !written.backend.is_empty() || !written.external_set_mark_chain.is_empty() {
        return None;
    }
    let (v4, v6) = (&written.conditions_v4, &written.conditions_v6);
    Some((translate(Family::V4, v4)?, translate(Family::V6, v6)?))
}

fn mark(written: &NetConf) -> Result<u32, String> {
    let bit = written.mark_masq_bit.unwrap_or(MARK_BIT);
    match u32::try_from(bit).ok().and_then(|bit| 1u32.checked_shl(bit)) {
        Some(mark) => Ok(mark),
        None => Err(format!("markMasqBit {bit} is not between 0 and 31")),
    }
}

fn marking(written: &NetConf) -> Result<Marking, String> {
    let chain = written.external_set_mark_chain.as_str();
    match (chain, written.mark_masq_bit) {
        ("", _) => Ok(Marking::Mark(mark(written)?)),
        (_, Some(_)) => {
            Err("externalSetMarkChain and markMasqBit exclude each other: set one of them".to_owned())
        }
        // XT_EXTENSION_MAXNAMELEN; and a name that could end its line would be read as another rule.
        (chain, None)
            if chain.len() < 29 && !chain.contains(|c: char| c.is_whitespace() || c.is_control()) =>
        {
            Ok(Marking::Chain(chain.to_owned()))
        }
        (chain, None) => Err(format!("externalSetMarkChain \"{chain}\" is not the name of a chain")),
    }
}

fn conditions(family: Family, field: &'static str, tokens: &[String]) -> Result<Vec<Condition>, Error> {
    Condition::parse(family, tokens).map_err(|value| Error::Unsupported {
        field,
        value: format!("\"{value}\""),
        remedy: REMEDY,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conf(json: &str) -> Result<Conf, Error> {
        Conf::check(&cni::from_json(json.as_bytes()).unwrap(), "net")
    }

    #[test]
    fn nothing_written_means_nftables_with_local_masquerade_on_bit_13() {
        let conf = conf("{}").unwrap();
        assert_eq!((conf.masquerade, conf.mappings.len()), (Masquerade::Local, 0));
        assert!(matches!(conf.backend, Backend::Nftables { mark: 0x2000, .. }));
    }

    #[test]
    fn what_only_iptables_knows_chooses_it_and_contradictions_are_refused() {
        for json in [
            r#"{"externalSetMarkChain":"KUBE-MARK-MASQ"}"#,
            r#"{"conditionsV4":["-m","set","--match-set","allowed","src"]}"#,
            r#"{"conditionsV4":["!","-s","192.0.2.0/24"],"conditionsV6":["-p","tcp"]}"#,
            r#"{"backend":"iptables"}"#,
        ] {
            assert!(matches!(conf(json).unwrap().backend, Backend::Iptables { .. }), "{json}");
        }
        for (json, text) in [
            (r#"{"backend":"nftables","externalSetMarkChain":"X"}"#, "externalSetMarkChain"),
            (r#"{"backend":"iptables","conditionsV6":["ip6","saddr","fd00::1"]}"#, "conditionsV6"),
            (r#"{"conditionsV4":["-s","1.2.3.4"],"conditionsV6":["ip6 saddr fd00::1"]}"#, "conditionsV6"),
            (r#"{"backend":"ipfw"}"#, "\"ipfw\""),
            (r#"{"markMasqBit":32}"#, "markMasqBit 32"),
            (r#"{"markMasqBit":1,"externalSetMarkChain":"X"}"#, "exclude each other"),
            (r#"{"externalSetMarkChain":"X\n-F"}"#, "not the name of a chain"),
        ] {
            let error = conf(json).unwrap_err();
            assert_eq!(error.code(), cni::Code::INVALID_CONFIG, "{json}");
            assert!(error.to_string().contains(text), "{json}: {error}");
        }
    }

    #[test]
    fn iptables_words_that_nftables_says_exactly_need_no_iptables() {
        let same = |theirs: &str, ours: &str| assert_eq!(conf(theirs).unwrap(), conf(ours).unwrap());
        same(
            r#"{"conditionsV4":["!","-d","192.0.2.0/24"],"conditionsV6":["!","-d","fc00::/7"]}"#,
            r#"{"conditionsV4":["ip daddr != 192.0.2.0/24"],"conditionsV6":["ip6 daddr != fc00::/7"]}"#,
        );
        let by_name = conf(r#"{"backend":"iptables","conditionsV4":["!","-d","192.0.2.0/24"]}"#).unwrap();
        assert!(matches!(by_name.backend, Backend::Iptables { .. }));
    }

    #[test]
    fn a_condition_that_is_not_understood_is_code_2_with_advice() {
        let error = conf(r#"{"conditionsV4":["ct","state","new"]}"#).unwrap_err();
        assert_eq!(error.code(), cni::Code::UNSUPPORTED_FIELD);
        assert!(error.to_string().contains("\"ct state new\""), "{error}");
    }

    #[test]
    fn a_key_twice_in_one_request_is_refused_weakness_43() {
        let two = |first: &str, second: &str| {
            let mapping =
                |ip| format!(r#"{{"hostPort":80,"containerPort":80,"protocol":"tcp","hostIP":"{ip}"}}"#);
            conf(&format!(
                r#"{{"runtimeConfig":{{"portMappings":[{},{}]}}}}"#,
                mapping(first),
                mapping(second)
            ))
        };
        for (first, second) in [("", ""), ("", "::"), ("0.0.0.0", ""), ("fd00::1", "fd00:0::1")] {
            let error = two(first, second).unwrap_err().to_string();
            assert!(error.contains("asked for twice"), "{first} {second}: {error}");
        }
        for (first, second) in [("0.0.0.0", "::"), ("", "10.0.0.1"), ("10.0.0.2", "10.0.0.1")] {
            assert_eq!(two(first, second).unwrap().mappings.len(), 2, "{first} {second}");
        }
    }
}
