//! Arithmetic on addresses of either family: subnets as numbered slots of a range, and the strict text form of a network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;

/// Bits of an address of that family.
pub fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// The address as a number; IPv4 addresses use the low 32 bits.
pub fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// The address with that number in the family of `like`; `None` when it does not fit.
pub fn address(like: IpAddr, number: u128) -> Option<IpAddr> {
    match like {
        IpAddr::V4(_) => u32::try_from(number).ok().map(|bits| Ipv4Addr::from_bits(bits).into()),
        IpAddr::V6(_) => Some(Ipv6Addr::from_bits(number).into()),
    }
}

/// How many addresses a subnet of that prefix holds, less one: a /0 of IPv6 would not fit otherwise.
pub fn last_offset(like: IpAddr, prefix: u8) -> u128 {
    match width(like).saturating_sub(prefix) {
        128 => u128::MAX,
        host_bits => (1u128 << host_bits) - 1,
    }
}

/// First and last address of a network as numbers.
pub fn bounds(network: IpNetwork) -> (u128, u128) {
    let first = number(network.network());
    (first, first | last_offset(network.ip(), network.prefix()))
}

/// Whether two networks of the same family share an address.
pub fn overlap(a: IpNetwork, b: IpNetwork) -> bool {
    let ((a_first, a_last), (b_first, b_last)) = (bounds(a), bounds(b));
    a.is_ipv4() == b.is_ipv4() && a_first <= b_last && b_first <= a_last
}

/// Whether every address of `inner` is one of `outer`.
pub fn covers(outer: IpNetwork, inner: IpNetwork) -> bool {
    outer.is_ipv4() == inner.is_ipv4() && outer.prefix() <= inner.prefix() && outer.contains(inner.network())
}

/// The network with its host bits cleared.
pub fn masked(network: IpNetwork) -> IpNetwork {
    IpNetwork::new(network.network(), network.prefix()).unwrap_or(network)
}

/// Reads `address/prefix` as Go's `net.ParseCIDR` does (no bare address, no dotted mask) and, stricter, no leading zeros in the prefix.
pub fn parse_cidr(text: &str) -> Option<IpNetwork> {
    let (address, prefix) = text.split_once('/')?;
    IpNetwork::new(address.parse().ok()?, parse_prefix(prefix)?).ok()
}

/// Reads a prefix length: decimal digits without sign or leading zeros.
pub fn parse_prefix(text: &str) -> Option<u8> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipnetworks_loose_forms_are_not_networks() {
        for text in [
            "10.0.0.0",
            "10.0.0.0/024",
            "10.0.0.0/+24",
            "10.0.0.0/255.255.255.0",
            "10.0.0.0/",
            "010.0.0.0/8",
            "10.0.0.0/33",
        ] {
            assert_eq!(parse_cidr(text), None, "{text}");
        }
        assert_eq!(parse_cidr("10.0.0.7/0").map(|n| n.prefix()), Some(0));
    }

    #[test]
    fn the_whole_of_ipv6_has_bounds() {
        assert_eq!(bounds("::/0".parse().unwrap()), (0, u128::MAX));
        assert!(overlap("::/0".parse().unwrap(), "fd00::/64".parse().unwrap()));
        assert!(!overlap("0.0.0.0/0".parse().unwrap(), "fd00::/64".parse().unwrap()));
    }
}
