//! The configuration: as written, then checked for ADD, CHECK and STATUS, or only located for DEL and GC.
use crate::error::Error;
use crate::range::{RangeConf, RangeSet};
use crate::slot::{Slot, assign};
use cni::{Call, Cidr, Route, Version};
use serde::Deserialize;
use std::net::IpAddr;
use std::path::PathBuf;

/// Where reservations are kept when the configuration does not say (the reference's default).
pub const DEFAULT_DATA_DIR: &str = "/var/lib/cni/networks";

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct NetConf {
    ipam: Option<Ipam>,
    runtime_config: RuntimeConfig,
    args: Args,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Ipam {
    // The old form: one range, written straight into `ipam`. Go embeds its range type here.
    subnet: Option<Cidr>,
    #[serde(deserialize_with = "cni::opt_ip")]
    range_start: Option<IpAddr>,
    #[serde(deserialize_with = "cni::opt_ip")]
    range_end: Option<IpAddr>,
    #[serde(deserialize_with = "cni::opt_ip")]
    gateway: Option<IpAddr>,
    ranges: Vec<Vec<RangeConf>>,
    routes: Vec<Route>,
    data_dir: String,
    resolv_conf: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RuntimeConfig {
    #[serde(rename = "ipRanges")]
    ip_ranges: Vec<Vec<RangeConf>>,
    ips: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Args {
    cni: CniArgs,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct CniArgs {
    ips: Vec<String>,
}

/// A configuration that an ADD can be served from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conf {
    /// One address is given from each, in this order: a requested one, or the next.
    pub slots: Vec<Slot>,
    /// Copied into the result.
    pub routes: Vec<Route>,
    /// File to read the result's DNS part from.
    pub resolv_conf: Option<PathBuf>,
    /// Where the network's files are.
    pub scope: Scope,
}

/// What DEL and GC need: no more than where to look. Ranges that are gone or invalid by now do not matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// Directory of all networks.
    pub data_dir: PathBuf,
    /// The network's name, which is its directory's.
    pub network: String,
}

impl Conf {
    /// Reads and checks the whole configuration.
    pub fn read(call: &Call) -> Result<Self, cni::Error> {
        let NetConf { ipam, runtime_config, args } = call.conf()?;
        let ipam = ipam.ok_or(Error::NoIpam)?;
        let mut requests = addresses(&env_address(call)?, "CNI_ARGS")?;
        requests.extend(addresses(&args.cni.ips, "args.cni.ips")?);
        requests.extend(addresses(&runtime_config.ips, "runtimeConfig.ips")?);
        let scope = Scope::new(ipam.data_dir.as_str(), call);
        let old_form = ipam.subnet.map(|subnet| RangeConf {
            subnet: Some(subnet),
            range_start: ipam.range_start,
            range_end: ipam.range_end,
            gateway: ipam.gateway,
        });
        let mut written = runtime_config.ip_ranges;
        written.extend(old_form.map(|range| vec![range]));
        written.extend(ipam.ranges);
        let sets = RangeSet::check_all(&written)?;
        fit_version(&sets, call.version)?;
        let resolv_conf = Some(ipam.resolv_conf).filter(|path| !path.is_empty()).map(PathBuf::from);
        Ok(Self { slots: assign(sets, requests)?, routes: ipam.routes, resolv_conf, scope })
    }
}

impl Scope {
    /// Finds the network's files in a configuration that may have lost everything else.
    pub fn read(call: &Call) -> Result<Self, cni::Error> {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Located {
            ipam: Home,
        }
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Home {
            #[serde(rename = "dataDir")]
            data_dir: String,
        }
        let Located { ipam } = call.conf()?;
        Ok(Self::new(&ipam.data_dir, call))
    }

    fn new(data_dir: &str, call: &Call) -> Self {
        let data_dir = if data_dir.is_empty() { DEFAULT_DATA_DIR } else { data_dir };
        Self { data_dir: PathBuf::from(data_dir), network: call.network.clone() }
    }
}

/// `IP` of `CNI_ARGS` (cni-contract §12.3).
fn env_address(call: &Call) -> Result<Vec<String>, cni::Error> {
    Ok(call.cni_args(&["IP"])?.into_iter().filter(|(key, _)| key == "IP").map(|(_, value)| value).collect())
}

/// Requested addresses; a prefix length that comes with one is read and not used, as in the reference.
fn addresses(texts: &[String], from: &'static str) -> Result<Vec<IpAddr>, Error> {
    let read = |text: &String| {
        let plain = text.parse::<IpAddr>().ok().map(|address| address.to_canonical());
        plain
            .or_else(|| text.parse::<Cidr>().ok().map(Cidr::ip))
            .ok_or_else(|| Error::BadRequest { text: text.clone(), from })
    };
    texts.iter().map(read).collect()
}

/// Results before 0.3.0 have one `ip4` and one `ip6`.
fn fit_version(sets: &[RangeSet], version: Version) -> Result<(), Error> {
    let v4 = sets.iter().filter(|set| set.is_ipv4()).count();
    if version < Version::V0_3_0 && (v4 > 1 || sets.len() - v4 > 1) {
        return Err(Error::TooManyAddresses { version, sets: sets.len() });
    }
    Ok(())
}

#[cfg(test)]
#[path = "conf_tests.rs"]
mod tests;
