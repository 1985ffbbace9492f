//! The packet scheduler's clock: how many of its ticks make a microsecond.

use crate::{Cause, Error, error::During};
use std::fs;

/// Where the kernel says it (`net/sched/sch_api.c`, `psched_show`).
const FILE: &str = "/proc/net/psched";

/// Ticks in a microsecond, as a fraction: 1000/64 on every kernel of this century.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    ticks: u64,
    microseconds: u64,
}

impl Clock {
    /// Reads the clock of this kernel.
    pub fn read() -> Result<Self, Error> {
        let text = fs::read_to_string(FILE).during(|| format!("reading {FILE}"))?;
        Self::parse(&text)
            .ok_or(Cause::Malformed("four hexadecimal numbers"))
            .during(|| format!("reading {FILE}"))
    }

    /// Four hexadecimal numbers: ticks to microseconds, upper and lower part; units of the clock in a second; timer
    /// resolution. A clock in nanoseconds has a first number that is to be taken for the second's (`tc_core_init` of
    /// iproute2).
    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split_whitespace().map(|number| u64::from_str_radix(number, 16).ok());
        let (to_us, per_us, resolution) = (numbers.next()??, numbers.next()??, numbers.next()??);
        let per_us = if resolution == 1_000_000_000 { to_us } else { per_us };
        let clock =
            Self { ticks: to_us.checked_mul(resolution)?, microseconds: per_us.checked_mul(1_000_000)? };
        (clock.ticks != 0 && clock.microseconds != 0).then_some(clock)
    }

    /// How many whole ticks a time in microseconds has.
    #[must_use]
    pub fn ticks(self, microseconds: u64) -> u64 {
        let ticks = u128::from(microseconds) * u128::from(self.ticks) / u128::from(self.microseconds);
        u64::try_from(ticks).unwrap_or(u64::MAX)
    }
}

impl Default for Clock {
    /// A tick of 64 nanoseconds (`PSCHED_SHIFT` 6).
    fn default() -> Self {
        Self { ticks: 1000, microseconds: 64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_microsecond_has_fifteen_ticks_and_five_eighths() {
        let clock = Clock::parse("000003e8 00000040 000f4240 3b9aca00\n").unwrap();
        assert_eq!(clock.ticks(8), 125);
        assert_eq!(clock.ticks(1), 15);
        assert_eq!(clock.ticks(u64::from(u32::MAX)), 67_108_863_984);
        assert_eq!(clock.ticks(250_000), Clock::default().ticks(250_000));
    }

    #[test]
    fn what_is_no_clock_is_refused() {
        for text in ["", "1 2", "x y z w", "000003e8 00000000 000f4240 0", "ffffffffffffffff 1 f4240 0"] {
            assert_eq!(Clock::parse(text), None, "{text}");
        }
    }
}
