//! An address with a prefix length, read as strictly as Go reads it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnetwork::IpNetwork;
use serde::de::{self, Deserialize, Deserializer};
use serde::{Serialize, Serializer};

/// `a.b.c.d/len` or `x::y/len`: an address with its prefix length; host bits are kept as given.
///
/// `ipnetwork` alone also accepts a bare address, dotted masks and leading zeros; this type does not
/// (design decision 16). An IPv4-mapped IPv6 address is held as the IPv4 address that Go prints for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr(IpNetwork);

/// Why a text is not a [`Cidr`]; Go's wording.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid CIDR address: {0}")]
pub struct CidrError(String);

impl Cidr {
    /// The address with a prefix length in bits; None when that is longer than the address, or when an
    /// IPv4-mapped address has a prefix that ends before its IPv4 part.
    #[must_use]
    pub fn new(ip: IpAddr, prefix: u8) -> Option<Self> {
        let canonical = ip.to_canonical();
        let mapped = ip.is_ipv6() && canonical.is_ipv4();
        let prefix = if mapped { prefix.checked_sub(96)? } else { prefix };
        IpNetwork::new(canonical, prefix).ok().map(Self)
    }

    /// The address alone: full length.
    #[must_use]
    pub fn host(ip: IpAddr) -> Self {
        Self(IpNetwork::from(ip.to_canonical()))
    }

    /// The address, host bits included.
    #[must_use]
    pub fn ip(self) -> IpAddr {
        self.0.ip()
    }

    /// The prefix length in bits.
    #[must_use]
    pub fn prefix(self) -> u8 {
        self.0.prefix()
    }

    /// The network that the address is in: the same with the host bits cleared.
    #[must_use]
    pub fn network(self) -> Self {
        match self.0 {
            IpNetwork::V4(network) => Self(
                ipnetwork::Ipv4Network::new(network.network(), network.prefix())
                    .map_or(self.0, IpNetwork::V4),
            ),
            IpNetwork::V6(network) => Self(
                ipnetwork::Ipv6Network::new(network.network(), network.prefix())
                    .map_or(self.0, IpNetwork::V6),
            ),
        }
    }

    /// Whether the address is in this network; never for the other family.
    #[must_use]
    pub fn contains(self, ip: IpAddr) -> bool {
        self.0.contains(ip.to_canonical())
    }

    /// Whether this is IPv4.
    #[must_use]
    pub fn is_ipv4(self) -> bool {
        self.0.is_ipv4()
    }
}

impl From<Cidr> for IpNetwork {
    fn from(cidr: Cidr) -> Self {
        cidr.0
    }
}

impl From<IpNetwork> for Cidr {
    fn from(network: IpNetwork) -> Self {
        Self::new(network.ip(), network.prefix()).unwrap_or(Self(network))
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip(), self.prefix())
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let refused = || CidrError(text.to_owned());
        let (ip, prefix) = text.split_once('/').ok_or_else(refused)?;
        let decimal = prefix.bytes().all(|byte| byte.is_ascii_digit());
        if !decimal || (prefix.len() > 1 && prefix.starts_with('0')) {
            return Err(refused());
        }
        let ip = ip.parse().map_err(|_| refused())?;
        let prefix = prefix.parse().map_err(|_| refused())?;
        Self::new(ip, prefix).ok_or_else(refused)
    }
}

impl Serialize for Cidr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cidr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = Cidr;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an address with a prefix length, such as \"10.0.0.1/24\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Cidr, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(input: &str) -> Option<String> {
        input.parse::<Cidr>().ok().map(|cidr| cidr.to_string())
    }

    #[test]
    fn host_bits_are_kept_and_text_is_canonical() {
        for (input, printed) in [
            ("10.1.2.3/16", "10.1.2.3/16"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("FD00:0:0::1/64", "fd00::1/64"),
            ("::/0", "::/0"),
            ("::ffff:10.1.2.3/120", "10.1.2.3/24"),
            ("1:0:0:2:0:0:0:3/128", "1:0:0:2::3/128"),
        ] {
            assert_eq!(text(input).as_deref(), Some(printed), "{input}");
        }
    }

    #[test]
    fn what_ipnetwork_alone_would_accept_is_refused() {
        for input in [
            "",
            "/",
            "10.0.0.0",
            "10.0.0.0/",
            "10.0.0.0/024",
            "10.0.0.0/255.0.0.0",
            "10.0.0.0/33",
            "10.0.0/8",
            "010.0.0.0/8",
            "10.0.0.0/+8",
            "10.0.0.0/-1",
            " 10.0.0.0/8",
            "10.0.0.0/8 ",
            "10.0.0.0/8/8",
            "fd00::/129",
            "fe80::1%eth0/64",
            "::ffff:10.0.0.1/95",
            "10.0.0.0/256",
            "x/8",
        ] {
            assert_eq!(text(input), None, "{input:?}");
        }
    }

    #[test]
    fn a_network_contains_its_own_family_only() {
        let cidr: Cidr = "10.1.2.3/16".parse().unwrap();
        assert_eq!(cidr.network().to_string(), "10.1.0.0/16");
        assert!(cidr.contains("10.1.255.255".parse().unwrap()));
        assert!(!cidr.contains("10.2.0.0".parse().unwrap()));
        assert!(!cidr.contains("::1".parse().unwrap()));
        assert!(cidr.is_ipv4());
        assert_eq!(Cidr::host("fd00::1".parse().unwrap()).to_string(), "fd00::1/128");
        let six: Cidr = "fd00::1:2/112".parse().unwrap();
        assert_eq!(six.network().to_string(), "fd00::1:0/112");
    }

    #[test]
    fn it_is_a_string_in_json() {
        let cidr: Cidr = crate::from_json(b"\"10.0.0.1/8\"").unwrap();
        assert_eq!(serde_json::to_string(&cidr).unwrap(), "\"10.0.0.1/8\"");
        assert!(crate::from_json::<Cidr>(b"8").is_err());
        assert!(crate::from_json::<Cidr>(b"null").is_err());
    }
}
