//! Port mappings as the runtime sends them, and as meant: a protocol, a host port, a container port, and on which addresses.

use std::fmt;
use std::net::IpAddr;

use kernel::Family;
use serde::Deserialize;

/// An entry of `runtimeConfig.portMappings` as written; containerd capitalises the keys.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PortMapping {
    /// Port of the host.
    pub host_port: i64,
    /// Port in the sandbox.
    pub container_port: i64,
    /// `tcp`, `udp` or `sctp`, in any case.
    pub protocol: String,
    /// Address of the host; empty for all.
    #[serde(rename = "hostIP")]
    pub host_ip: String,
}

/// A protocol with ports that connection tracking can translate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP
    Tcp,
    /// UDP
    Udp,
    /// SCTP
    Sctp,
}

impl Protocol {
    /// All of them, in the order of their names.
    pub const ALL: [Self; 3] = [Self::Sctp, Self::Tcp, Self::Udp];

    /// The number over IP (`IPPROTO_*`).
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }

    /// The name in lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.as_str().eq_ignore_ascii_case(text))
    }

    /// The protocol of that number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.number() == number)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// On which addresses of the host a port is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostIp {
    /// All of both families: no `hostIP`.
    All,
    /// All of one family: `0.0.0.0` or `::`.
    Every(Family),
    /// This one.
    One(IpAddr),
}

/// A port mapping that can be acted upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The protocol.
    pub protocol: Protocol,
    /// On which addresses.
    pub host_ip: HostIp,
    /// Port of the host, 1 to 65535.
    pub host_port: u16,
    /// Port in the sandbox, 1 to 65535.
    pub container_port: u16,
}

/// What a packet must ask for to meet a mapping: at most one owner on the host has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The family.
    pub family: Family,
    /// The protocol.
    pub protocol: Protocol,
    /// The host's address; none for every address of the family.
    pub address: Option<IpAddr>,
    /// The host's port.
    pub port: u16,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.address, self.family) {
            (Some(IpAddr::V6(address)), _) => write!(f, "[{address}]:{}/{}", self.port, self.protocol),
            (Some(address), _) => write!(f, "{address}:{}/{}", self.port, self.protocol),
            (None, Family::V4) => write!(f, "0.0.0.0:{}/{}", self.port, self.protocol),
            (None, Family::V6) => write!(f, "[::]:{}/{}", self.port, self.protocol),
        }
    }
}

impl Mapping {
    /// Checks one entry.
    ///
    /// # Errors
    /// What is wrong, with the value.
    pub fn parse(written: &PortMapping) -> Result<Self, String> {
        let port = |name: &str, value: i64| {
            u16::try_from(value)
                .ok()
                .filter(|port| *port != 0)
                .ok_or_else(|| format!("portMappings: {name} {value} is not between 1 and 65535"))
        };
        let protocol = Protocol::parse(&written.protocol).ok_or_else(|| {
            format!("portMappings: protocol \"{}\" is none of tcp, udp and sctp", written.protocol)
        })?;
        Ok(Self {
            protocol,
            host_ip: host_ip(&written.host_ip)?,
            host_port: port("hostPort", written.host_port)?,
            container_port: port("containerPort", written.container_port)?,
        })
    }

    /// The key that the mapping takes in a family; none if its address is of the other one.
    #[must_use]
    pub fn key(&self, family: Family) -> Option<Key> {
        let address = match self.host_ip {
            HostIp::All => None,
            HostIp::Every(only) => (only == family).then_some(None)?,
            HostIp::One(address) => (Family::from(address) == family).then_some(Some(address))?,
        };
        Some(Key { family, protocol: self.protocol, address, port: self.host_port })
    }

    /// The keys that the mapping takes, in both families.
    pub fn keys(&self) -> impl Iterator<Item = Key> {
        [Family::V4, Family::V6].into_iter().filter_map(|family| self.key(family))
    }
}

fn host_ip(text: &str) -> Result<HostIp, String> {
    if text.is_empty() {
        return Ok(HostIp::All);
    }
    let address: IpAddr =
        text.parse().map_err(|_| format!("portMappings: hostIP \"{text}\" is not an IP address"))?;
    let address = address.to_canonical();
    if address.is_unspecified() {
        return Ok(HostIp::Every(Family::from(address)));
    }
    if address.is_multicast() {
        return Err(format!("portMappings: hostIP \"{text}\" is a multicast address, not one of the host"));
    }
    Ok(HostIp::One(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Mapping, String> {
        Mapping::parse(&cni::from_json(json.as_bytes()).unwrap())
    }

    #[test]
    fn both_spellings_of_keys_and_any_case_of_protocols_are_read() {
        let one = parse(r#"{"hostPort":8080,"containerPort":80,"protocol":"tcp"}"#).unwrap();
        let two = parse(r#"{"HostPort":8080,"ContainerPort":80,"Protocol":"TCP","HostIP":""}"#).unwrap();
        assert_eq!(one, two);
        assert_eq!(
            parse(r#"{"hostPort":1,"containerPort":1,"protocol":"Sctp"}"#).unwrap().protocol.number(),
            132
        );
    }

    #[test]
    fn ports_addresses_and_protocols_are_checked_weakness_43() {
        for (json, text) in [
            (r#"{"hostPort":65536,"containerPort":80,"protocol":"tcp"}"#, "hostPort 65536"),
            (r#"{"hostPort":0,"containerPort":80,"protocol":"tcp"}"#, "hostPort 0"),
            (r#"{"hostPort":1,"containerPort":-1,"protocol":"tcp"}"#, "containerPort -1"),
            (r#"{"hostPort":1,"containerPort":1,"protocol":"icmp"}"#, "\"icmp\""),
            (r#"{"hostPort":1,"containerPort":1,"protocol":"tcp","hostIP":"10.0.0"}"#, "\"10.0.0\""),
            (r#"{"hostPort":1,"containerPort":1,"protocol":"tcp","hostIP":"ff02::1"}"#, "multicast"),
        ] {
            assert!(parse(json).unwrap_err().contains(text), "{json}");
        }
    }

    #[test]
    fn an_address_decides_the_families() {
        let keys = |ip: &str| -> Vec<String> {
            let json = format!(r#"{{"hostPort":53,"containerPort":5353,"protocol":"udp","hostIP":"{ip}"}}"#);
            parse(&json).unwrap().keys().map(|key| key.to_string()).collect()
        };
        assert_eq!(keys(""), ["0.0.0.0:53/udp", "[::]:53/udp"]);
        assert_eq!(keys("0.0.0.0"), ["0.0.0.0:53/udp"]);
        assert_eq!(keys("::"), ["[::]:53/udp"]);
        assert_eq!(keys("fd50::1"), ["[fd50::1]:53/udp"]);
        assert_eq!(keys("::ffff:10.0.0.1"), ["10.0.0.1:53/udp"]);
    }
}
