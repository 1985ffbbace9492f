//! Ranges of addresses: as written, then checked, so that a range that exists is a range that can be served.
use crate::error::Error;
use cni::Cidr;
use serde::Deserialize;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One range as it stands in the configuration.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RangeConf {
    /// The subnet, whose prefix length the address is given with.
    pub subnet: Option<Cidr>,
    /// First address to give out; the subnet's second when absent.
    #[serde(deserialize_with = "cni::opt_ip")]
    pub range_start: Option<IpAddr>,
    /// Last address to give out; by default the last of an IPv6 subnet, the last but one of an IPv4 one.
    #[serde(deserialize_with = "cni::opt_ip")]
    pub range_end: Option<IpAddr>,
    /// The sandbox's gateway; the subnet's second address when absent.
    #[serde(deserialize_with = "cni::opt_ip")]
    pub gateway: Option<IpAddr>,
}

/// A checked range: `start..=end` lies in `subnet`, which is a network address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    subnet: Cidr,
    start: IpAddr,
    end: IpAddr,
    gateway: IpAddr,
}

/// Where a range stands in the configuration: what an error calls it.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// Number of the range set, counted from 0 in the order `ipRanges`, old form, `ranges`.
    pub set: usize,
    /// Number of the range in its set.
    pub range: usize,
}

impl Range {
    /// Checks one range; an error names it by `place` and subnet.
    pub fn check(conf: &RangeConf, place: Place) -> Result<Self, Error> {
        let subnet = conf.subnet.ok_or(Error::NoSubnet { place: place.to_string() })?;
        let named = || format!("{place} ({subnet})");
        let bits: u8 = if subnet.is_ipv4() { 32 } else { 128 };
        if subnet.prefix() > bits - 2 {
            return Err(Error::TooSmall { range: named() });
        }
        let network = subnet.network();
        if network.ip() != subnet.ip() {
            return Err(Error::HostBits { range: named(), network });
        }
        let second = successor(network.ip());
        let start = conf.range_start.unwrap_or(second);
        if !subnet.contains(start) {
            return Err(Error::StartOutside { range: named(), start });
        }
        let end = conf.range_end.unwrap_or_else(|| default_end(subnet));
        if !subnet.contains(end) {
            return Err(Error::EndOutside { range: named(), end });
        }
        if end < start {
            return Err(Error::EndBeforeStart { range: named(), start, end });
        }
        Ok(Self { subnet, start, end, gateway: conf.gateway.unwrap_or(second) })
    }

    /// Whether `address` is one that this range may give out (the gateway included, which picking skips).
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        // IpAddr orders IPv4 before IPv6, so a bound of the other family never encloses an address.
        self.start <= address && address <= self.end
    }

    /// First address, inclusive.
    #[must_use]
    pub fn start(&self) -> IpAddr {
        self.start
    }

    /// Last address, inclusive.
    #[must_use]
    pub fn end(&self) -> IpAddr {
        self.end
    }

    /// The gateway that goes with an address of this range.
    #[must_use]
    pub fn gateway(&self) -> IpAddr {
        self.gateway
    }

    /// Prefix length of the subnet, in bits.
    #[must_use]
    pub fn prefix(&self) -> u8 {
        self.subnet.prefix()
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.start <= other.end && other.start <= self.end
    }
}

/// Ranges of one family that do not overlap: they are tried in turn and yield one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeSet {
    ranges: Vec<Range>,
}

impl RangeSet {
    /// Checks range set number `set`.
    pub fn check(confs: &[RangeConf], set: usize) -> Result<Self, Error> {
        let ranges: Vec<Range> = confs
            .iter()
            .enumerate()
            .map(|(range, conf)| Range::check(conf, Place { set, range }))
            .collect::<Result<_, _>>()?;
        let first = ranges.first().ok_or(Error::EmptySet { set })?;
        if let Some(other) = ranges.iter().find(|range| range.start.is_ipv4() != first.start.is_ipv4()) {
            return Err(Error::MixedFamilies { set, one: first.to_string(), other: other.to_string() });
        }
        for (at, range) in ranges.iter().enumerate() {
            if let Some(other) = ranges.iter().skip(at + 1).find(|other| range.overlaps(other)) {
                return Err(Error::Overlap { set, one: range.to_string(), other: other.to_string() });
            }
        }
        Ok(Self { ranges })
    }

    /// Checks all sets of a configuration, each by itself and among each other.
    pub fn check_all(confs: &[Vec<RangeConf>]) -> Result<Vec<Self>, Error> {
        let sets: Vec<Self> =
            confs.iter().enumerate().map(|(at, conf)| Self::check(conf, at)).collect::<Result<_, _>>()?;
        if sets.is_empty() {
            return Err(Error::NoRanges);
        }
        for (one, set) in sets.iter().enumerate() {
            for (other, rest) in sets.iter().enumerate().skip(one + 1) {
                if set.ranges.iter().any(|range| rest.ranges.iter().any(|also| range.overlaps(also))) {
                    return Err(Error::SetsOverlap {
                        one,
                        other,
                        ranges: set.to_string(),
                        others: rest.to_string(),
                    });
                }
            }
        }
        Ok(sets)
    }

    /// The ranges in the order in which they are tried. Never empty.
    #[must_use]
    pub fn ranges(&self) -> &[Range] {
        &self.ranges
    }

    /// The range that `address` belongs to.
    #[must_use]
    pub fn range_of(&self, address: IpAddr) -> Option<&Range> {
        self.ranges.iter().find(|range| range.contains(address))
    }

    /// Whether the set gives out IPv4 addresses.
    #[must_use]
    pub fn is_ipv4(&self) -> bool {
        self.ranges.first().is_some_and(|range| range.start.is_ipv4())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "range set {}, range {}", self.set, self.range)
    }
}

impl fmt::Display for Range {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}-{}", self.start, self.end)
    }
}

impl fmt::Display for RangeSet {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ranges: Vec<String> = self.ranges.iter().map(Range::to_string).collect();
        to.write_str(&ranges.join(","))
    }
}

/// The address after `address`; the last of its family is followed by the first.
#[must_use]
pub fn successor(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits().wrapping_add(1)).into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits().wrapping_add(1)).into(),
    }
}

/// The last address of a subnet that is given out by default: an IPv4 subnet's very last is its broadcast.
fn default_end(subnet: Cidr) -> IpAddr {
    let prefix = u32::from(subnet.prefix());
    match subnet.ip() {
        IpAddr::V4(v4) => {
            let ones = u32::MAX.checked_shr(prefix).unwrap_or(0);
            Ipv4Addr::from_bits((v4.to_bits() | ones).saturating_sub(1)).into()
        }
        IpAddr::V6(v6) => {
            let ones = u128::MAX.checked_shr(prefix).unwrap_or(0);
            Ipv6Addr::from_bits(v6.to_bits() | ones).into()
        }
    }
}

#[cfg(test)]
#[path = "range_tests.rs"]
mod tests;
