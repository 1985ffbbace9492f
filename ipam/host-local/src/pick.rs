//! Which address is tried next: the reference's round robin, as a pure sequence of candidates.
use crate::range::{RangeSet, successor};
use std::net::IpAddr;

/// An address that may be given out, with what goes into the result beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// The address.
    pub address: IpAddr,
    /// Prefix length of its subnet, in bits.
    pub prefix: u8,
    /// Gateway of its range.
    pub gateway: IpAddr,
}

/// The candidates of one set: from the address after the last reserved one, through the ranges in turn and round to where
/// it began, without gateways. A last reserved address outside of the set counts as none.
#[must_use]
pub fn candidates(set: &RangeSet, last: Option<IpAddr>) -> RoundRobin<'_> {
    let at = last.and_then(|last| {
        let range = set.ranges().iter().position(|range| range.contains(last))?;
        Some((range, last))
    });
    let (range, previous) = at.map_or((0, None), |(range, last)| (range, Some(last)));
    RoundRobin { set, range, previous, first: None, is_round: false }
}

/// See [`candidates`].
#[derive(Debug, Clone)]
pub struct RoundRobin<'a> {
    set: &'a RangeSet,
    range: usize,
    previous: Option<IpAddr>,
    first: Option<IpAddr>,
    is_round: bool,
}

impl RoundRobin<'_> {
    /// The next address in the circle, gateways included; `None` once round.
    fn advance(&mut self) -> Option<IpAddr> {
        if self.is_round {
            return None;
        }
        let ranges = self.set.ranges();
        let here = ranges.get(self.range)?;
        let next = match self.previous {
            None => here.start(),
            Some(address) if address == here.end() => {
                self.range = (self.range + 1) % ranges.len();
                ranges.get(self.range)?.start()
            }
            Some(address) => successor(address),
        };
        match self.first {
            None => self.first = Some(next),
            Some(first) if first == next => {
                self.is_round = true;
                return None;
            }
            Some(_) => {}
        }
        self.previous = Some(next);
        Some(next)
    }
}

impl Iterator for RoundRobin<'_> {
    type Item = Candidate;

    fn next(&mut self) -> Option<Candidate> {
        loop {
            let address = self.advance()?;
            let range = self.set.ranges().get(self.range)?;
            if address != range.gateway() {
                return Some(Candidate { address, prefix: range.prefix(), gateway: range.gateway() });
            }
        }
    }
}

/// Once round it stays so, however often it is asked.
impl std::iter::FusedIterator for RoundRobin<'_> {}

#[cfg(test)]
#[path = "pick_tests.rs"]
mod tests;
