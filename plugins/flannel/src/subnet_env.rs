//! The file in which the daemon tells this node's plugins its subnet (flannel-behaviour §9.1).

use std::io::ErrorKind;
use std::path::Path;

use cni::Cidr;

use crate::Error;

/// What the file says. Networks and subnets have their host bits cleared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubnetEnv {
    /// All IPv4 networks of the cluster, in order.
    pub networks: Vec<Cidr>,
    /// This node's IPv4 part.
    pub subnet: Option<Cidr>,
    /// All IPv6 networks of the cluster, in order.
    pub networks_v6: Vec<Cidr>,
    /// This node's IPv6 part.
    pub subnet_v6: Option<Cidr>,
    /// MTU of the pods, in bytes.
    pub mtu: u32,
    /// The daemon masquerades, so the delegate need not.
    pub daemon_masquerades: bool,
}

impl SubnetEnv {
    /// Reads the file at `path`.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == ErrorKind::NotFound => {
                return Err(Error::NoSubnetFile { path: path.to_owned() });
            }
            Err(source) => return Err(Error::SubnetFile { path: path.to_owned(), source }),
        };
        Self::parse(&String::from_utf8_lossy(&bytes))
            .map_err(|reason| Error::BadSubnetFile { path: path.to_owned(), reason })
    }

    /// Reads the text of the file. Unknown lines are ignored, the last of equal keys wins; the error is a reason in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut draft = Draft::default();
        for (number, line) in (1..).zip(text.lines()) {
            draft.take(line).map_err(|reason| format!("line {number}: {reason}"))?;
        }
        draft.finish()
    }
}

#[derive(Default)]
struct Draft {
    networks: Vec<Cidr>,
    subnet: Option<Cidr>,
    networks_v6: Vec<Cidr>,
    subnet_v6: Option<Cidr>,
    mtu: Option<u32>,
    masquerades: Option<bool>,
}

impl Draft {
    fn take(&mut self, line: &str) -> Result<(), String> {
        let (key, value) = line.split_once('=').map_or((line, None), |(key, value)| (key, Some(value)));
        let value = || value.ok_or_else(|| format!("{key} has no \"=\" and no value"));
        match key {
            "FLANNEL_NETWORK" => self.networks = networks(key, value()?)?,
            "FLANNEL_IPV6_NETWORK" => self.networks_v6 = networks(key, value()?)?,
            "FLANNEL_SUBNET" => self.subnet = Some(network(key, value()?)?),
            "FLANNEL_IPV6_SUBNET" => self.subnet_v6 = Some(network(key, value()?)?),
            "FLANNEL_MTU" => {
                let text = value()?;
                // As Go's ParseUint: digits only, no sign.
                let digits = text.bytes().all(|b| b.is_ascii_digit());
                let mtu = text.parse().ok().filter(|_| digits);
                self.mtu = Some(mtu.ok_or_else(|| format!("FLANNEL_MTU={text} is not a number of bytes"))?);
            }
            "FLANNEL_IPMASQ" => self.masquerades = Some(value()? == "true"),
            _ => {}
        }
        Ok(())
    }

    fn finish(self) -> Result<SubnetEnv, String> {
        let mut missing = Vec::new();
        if self.networks.is_empty() && self.networks_v6.is_empty() {
            missing.push("FLANNEL_NETWORK or FLANNEL_IPV6_NETWORK");
        }
        if self.subnet.is_none() && self.subnet_v6.is_none() {
            missing.push("FLANNEL_SUBNET or FLANNEL_IPV6_SUBNET");
        }
        if self.mtu.is_none() {
            missing.push("FLANNEL_MTU");
        }
        if self.masquerades.is_none() {
            missing.push("FLANNEL_IPMASQ");
        }
        match (self.mtu, self.masquerades) {
            (Some(mtu), Some(daemon_masquerades)) if missing.is_empty() => Ok(SubnetEnv {
                networks: self.networks,
                subnet: self.subnet,
                networks_v6: self.networks_v6,
                subnet_v6: self.subnet_v6,
                mtu,
                daemon_masquerades,
            }),
            _ => Err(format!("it is missing {}", missing.join(", "))),
        }
    }
}

fn network(key: &str, text: &str) -> Result<Cidr, String> {
    let cidr: Cidr = text.parse().map_err(|_| format!("{key}={text} is not of the form ADDRESS/LENGTH"))?;
    Ok(cidr.network())
}

fn networks(key: &str, text: &str) -> Result<Vec<Cidr>, String> {
    let mut all = Vec::new();
    for part in text.split(',') {
        let network = network(key, part)?;
        if !all.contains(&network) {
            all.push(network);
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "FLANNEL_NETWORK=10.1.0.0/16\nFLANNEL_SUBNET=10.1.17.1/24\nFLANNEL_MTU=1472\nFLANNEL_IPMASQ=true\n";

    fn cidr(text: &str) -> Cidr {
        text.parse().unwrap()
    }

    #[test]
    fn the_daemons_file_is_read_and_host_bits_are_cleared() {
        let env = SubnetEnv::parse(GOOD).unwrap();
        assert_eq!(env.networks, [cidr("10.1.0.0/16")]);
        assert_eq!(env.subnet, Some(cidr("10.1.17.0/24")));
        assert_eq!((env.subnet_v6, env.mtu, env.daemon_masquerades), (None, 1472, true));
    }

    #[test]
    fn dual_stack_and_lists_with_doubles() {
        let env = SubnetEnv::parse(&format!(
            "{GOOD}FLANNEL_NETWORK=10.1.0.0/16,192.168.0.0/16,10.1.0.0/16\r\nFLANNEL_IPV6_NETWORK=fc00::/48,fd00::/48\n\
             FLANNEL_IPV6_SUBNET=fc00:0:0:1::1/64\nOTHER\n# remark\n\n"
        ))
        .unwrap();
        assert_eq!(env.networks, [cidr("10.1.0.0/16"), cidr("192.168.0.0/16")]);
        assert_eq!(env.networks_v6.len(), 2);
        assert_eq!(env.subnet_v6, Some(cidr("fc00:0:0:1::/64")));
    }

    #[test]
    fn weakness_38_a_key_without_a_value_is_an_error_and_no_panic() {
        for key in [
            "FLANNEL_NETWORK",
            "FLANNEL_SUBNET",
            "FLANNEL_IPV6_NETWORK",
            "FLANNEL_IPV6_SUBNET",
            "FLANNEL_MTU",
            "FLANNEL_IPMASQ",
        ] {
            let error = SubnetEnv::parse(&format!("{GOOD}{key}\n")).unwrap_err();
            assert!(error.starts_with(&format!("line 5: {key}")), "{error}");
        }
    }

    #[test]
    fn a_bad_value_is_named_with_its_line() {
        for (line, named) in [
            ("FLANNEL_SUBNET=10.1.17.1", "10.1.17.1 is not"),
            ("FLANNEL_SUBNET=10.1.017.1/24", "10.1.017.1/24"),
            ("FLANNEL_NETWORK=", "FLANNEL_NETWORK= is not"),
            ("FLANNEL_MTU=+1450", "+1450"),
            ("FLANNEL_MTU=99999999999", "99999999999"),
            ("FLANNEL_MTU=", "FLANNEL_MTU="),
        ] {
            let error = SubnetEnv::parse(&format!("{GOOD}{line}\n")).unwrap_err();
            assert!(error.starts_with("line 5: ") && error.contains(named), "{line}: {error}");
        }
    }

    #[test]
    fn all_that_is_missing_is_named_at_once() {
        let error = SubnetEnv::parse("").unwrap_err();
        for key in ["FLANNEL_NETWORK", "FLANNEL_IPV6_SUBNET", "FLANNEL_MTU", "FLANNEL_IPMASQ"] {
            assert!(error.contains(key), "{error}");
        }
        let error = SubnetEnv::parse(&GOOD.replace("FLANNEL_MTU", "MTU")).unwrap_err();
        assert_eq!(error, "it is missing FLANNEL_MTU");
    }
}
