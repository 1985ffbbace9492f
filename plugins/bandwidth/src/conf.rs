//! The bandwidth plugin's configuration: as written ([`NetConf`]) and as meant ([`Conf`]).

use attach::Error;
use cni::{Call, Cidr};
use ipnetwork::IpNetwork;
use serde::Deserialize;

/// The configuration as written. Each key may be missing; unknown ones are ignored.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct NetConf {
    /// Bits a second into the container.
    pub ingress_rate: Option<u64>,
    /// Bits that may come in at once.
    pub ingress_burst: Option<u64>,
    /// Bits a second out of the container.
    pub egress_rate: Option<u64>,
    /// Bits that may go out at once.
    pub egress_burst: Option<u64>,
    /// Only traffic with these networks is limited.
    pub shaped_subnets: Option<Vec<String>>,
    /// Traffic with these networks is not limited.
    pub unshaped_subnets: Option<Vec<String>>,
    /// Capabilities.
    pub runtime_config: RuntimeConfig,
}

/// `runtimeConfig`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct RuntimeConfig {
    /// The capability `bandwidth`.
    pub bandwidth: Option<Entry>,
}

/// The same keys, as a runtime sends them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Entry {
    /// As in [`NetConf`].
    pub ingress_rate: Option<u64>,
    /// As in [`NetConf`].
    pub ingress_burst: Option<u64>,
    /// As in [`NetConf`].
    pub egress_rate: Option<u64>,
    /// As in [`NetConf`].
    pub egress_burst: Option<u64>,
    /// As in [`NetConf`].
    pub shaped_subnets: Option<Vec<String>>,
    /// As in [`NetConf`].
    pub unshaped_subnets: Option<Vec<String>>,
}

/// The configuration as meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conf {
    /// Limit of what comes into the container.
    pub ingress: Option<Limit>,
    /// Limit of what goes out of it.
    pub egress: Option<Limit>,
    /// Which traffic the limits are for.
    pub selection: Selection,
}

/// Rate and burst of one direction; neither is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Bytes in a second.
    pub rate: u64,
    /// Bytes that may pass at once.
    pub burst: u32,
}

/// Which traffic is limited, by the address of the other side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// All.
    All,
    /// With these networks only.
    Only(Vec<IpNetwork>),
    /// With all but these.
    AllBut(Vec<IpNetwork>),
}

impl Conf {
    /// Checks the configuration of `call`.
    ///
    /// # Errors
    /// [`Error::Conf`] for values that cannot be meant.
    pub fn of(call: &Call) -> Result<Self, Error> {
        let entry = entry(call.conf()?);
        Self::check(entry).map_err(|reason| Error::Conf { network: call.network.clone(), reason })
    }

    /// Whether nothing is limited.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ingress.is_none() && self.egress.is_none()
    }

    fn check(entry: Entry) -> Result<Self, String> {
        Ok(Self {
            ingress: limit("ingress", entry.ingress_rate, entry.ingress_burst)?,
            egress: limit("egress", entry.egress_rate, entry.egress_burst)?,
            selection: selection(entry.shaped_subnets, entry.unshaped_subnets)?,
        })
    }
}

/// Any key at the top level wins over all of the runtime's (`getBandwidth` of the reference: its keys come as one
/// embedded structure, which is there as soon as one key is).
fn entry(written: NetConf) -> Entry {
    let own = Entry {
        ingress_rate: written.ingress_rate,
        ingress_burst: written.ingress_burst,
        egress_rate: written.egress_rate,
        egress_burst: written.egress_burst,
        shaped_subnets: written.shaped_subnets,
        unshaped_subnets: written.unshaped_subnets,
    };
    let numbers = [own.ingress_rate, own.ingress_burst, own.egress_rate, own.egress_burst];
    let given =
        numbers.iter().any(Option::is_some) || own.shaped_subnets.is_some() || own.unshaped_subnets.is_some();
    match written.runtime_config.bandwidth {
        Some(runtime) if !given => runtime,
        _ => own,
    }
}

fn limit(way: &str, rate: Option<u64>, burst: Option<u64>) -> Result<Option<Limit>, String> {
    let (rate, burst) = (rate.unwrap_or(0), burst.unwrap_or(0));
    match (rate, burst) {
        (0, 0) => return Ok(None),
        (0, _) => return Err(format!("{way}Burst is {burst}, so {way}Rate must be set too")),
        (_, 0) => return Err(format!("{way}Rate is {rate}, so {way}Burst must be set too")),
        (1..8, _) => return Err(format!("{way}Rate {rate} is less than 8 bits (one byte) a second")),
        (_, 1..8) => {
            return Err(format!("{way}Burst {burst} is less than 8 bits: not even a byte would pass"));
        }
        (_, _) => {}
    }
    let bytes = u32::try_from(burst / 8).ok().filter(|bytes| *bytes < u32::MAX);
    let burst =
        bytes.ok_or_else(|| format!("{way}Burst {burst} is too large: {} bits are the most", most()))?;
    Ok(Some(Limit { rate: rate / 8, burst }))
}

/// The largest burst in bits: of the reference, whose bytes must be less than the largest number of 32 bits.
fn most() -> u64 {
    u64::from(u32::MAX - 1) * 8 + 7
}

fn selection(shaped: Option<Vec<String>>, unshaped: Option<Vec<String>>) -> Result<Selection, String> {
    let (shaped, unshaped) = (shaped.unwrap_or_default(), unshaped.unwrap_or_default());
    match (shaped.is_empty(), unshaped.is_empty()) {
        (true, true) => Ok(Selection::All),
        (false, true) => Ok(Selection::Only(networks("shapedSubnets", &shaped)?)),
        (true, false) => Ok(Selection::AllBut(networks("unshapedSubnets", &unshaped)?)),
        (false, false) => {
            Err("shapedSubnets and unshapedSubnets exclude each other: set one of them".to_owned())
        }
    }
}

fn networks(field: &str, texts: &[String]) -> Result<Vec<IpNetwork>, String> {
    let parse = |text: &String| {
        let cidr: Cidr = text.parse().map_err(|_| format!("{field} has \"{text}\", which is no subnet"))?;
        Ok(cidr.network().into())
    };
    texts.iter().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Conf, String> {
        Conf::check(entry(cni::from_json(json.as_bytes()).unwrap()))
    }

    #[test]
    fn what_containerd_sends_is_understood_whatever_its_case() {
        let conf = read(
            r#"{"runtimeConfig":{"bandwidth":{"IngressRate":1000000,"IngressBurst":4294967295,
                "egressRate":8,"EGRESSBURST":8}}}"#,
        );
        let ingress = Some(Limit { rate: 125_000, burst: 536_870_911 });
        let egress = Some(Limit { rate: 1, burst: 1 });
        assert_eq!(conf, Ok(Conf { ingress, egress, selection: Selection::All }));
    }

    #[test]
    fn one_key_of_the_network_hides_all_of_the_runtimes() {
        let conf =
            read(r#"{"ingressRate":0,"runtimeConfig":{"bandwidth":{"egressRate":80,"egressBurst":80}}}"#);
        assert!(conf.unwrap().is_empty());
        assert!(read("{}").unwrap().is_empty());
    }

    #[test]
    fn half_a_limit_and_one_below_a_byte_are_refused_by_name() {
        for (json, named) in [
            (r#"{"ingressRate":80}"#, "ingressBurst"),
            (r#"{"egressBurst":80}"#, "egressRate"),
            (r#"{"egressRate":7,"egressBurst":80}"#, "egressRate 7"),
            (r#"{"ingressRate":80,"ingressBurst":1}"#, "ingressBurst 1"),
            (r#"{"ingressRate":80,"ingressBurst":34359738360}"#, "34359738359 bits"),
            (r#"{"shapedSubnets":["10.0.0.0/8"],"unshapedSubnets":["::/0"]}"#, "exclude each other"),
            (r#"{"unshapedSubnets":["10.0.0.0/8","hello"]}"#, "hello"),
        ] {
            let reason = read(json).unwrap_err();
            assert!(reason.contains(named), "{json}: {reason}");
        }
        assert!(read(r#"{"ingressRate":80,"ingressBurst":34359738359}"#).is_ok());
    }

    #[test]
    fn host_bits_of_a_subnet_do_not_count() {
        let conf = read(r#"{"unshapedSubnets":["10.1.2.3/8","fd00::1/64"]}"#).unwrap();
        let networks = ["10.0.0.0/8", "fd00::/64"].map(|text| text.parse().unwrap());
        assert_eq!(conf.selection, Selection::AllBut(networks.to_vec()));
    }
}
