//! The arithmetic of a token bucket: from rate and burst to what the kernel is told, and what it then shows.

use kernel::psched::Clock;
use kernel::{Burst, Tbf};

use crate::conf::Limit;

/// How long a packet may wait, as parts of a second: 25 ms, as in the reference.
const WAITS: u64 = 40;
/// A tick in nanoseconds is `1 << TICK` (`PSCHED_SHIFT` of `net/pkt_sched.h`).
const TICK: u32 = 6;
/// Nanoseconds in a second.
const SECOND: u64 = 1_000_000_000;

/// The limiter of `limit`.
///
/// The bucket goes to the kernel in ticks, as the reference sends it. Where those do not fit 32 bits (containerd's
/// burst at less than 16 Mbit/s) or a bucket would have none, it goes in bytes, which the kernel takes as well.
#[must_use]
pub fn limiter(limit: Limit, clock: Clock) -> Tbf {
    let ticks = u32::try_from(ticks(limit, clock)).ok().filter(|ticks| *ticks > 0);
    let waiting = (limit.rate / WAITS).saturating_add(u64::from(limit.burst));
    Tbf {
        rate: limit.rate,
        limit: u32::try_from(waiting).unwrap_or(u32::MAX),
        burst: ticks.map_or(Burst::Bytes(limit.burst), Burst::Ticks),
    }
}

/// The time in which the rate fills the bucket, in ticks; at most some 275 s, which is all that 32 bits hold.
#[must_use]
pub fn ticks_at_most(limit: Limit, clock: Clock) -> u32 {
    u32::try_from(ticks(limit, clock).max(1)).unwrap_or(u32::MAX)
}

/// Whether `shown` by the kernel is the limiter of `limit`: as we make it, or as the reference does, whose ticks and
/// waiting bytes keep the low 32 bits of what they should be.
#[must_use]
pub fn is_limiter(shown: Tbf, limit: Limit, clock: Clock) -> bool {
    let ours = limiter(limit, clock);
    let ticks = match ours.burst {
        Burst::Ticks(ticks) => ticks,
        Burst::Bytes(bytes) => shown_ticks(limit.rate, bytes),
    };
    let theirs = (low(limit.rate / WAITS).wrapping_add(limit.burst), reference_ticks(limit, clock));
    let (Burst::Ticks(bucket) | Burst::Bytes(bucket)) = shown.burst;
    shown.rate == limit.rate
        && ((shown.limit, bucket) == (ours.limit, ticks) || (shown.limit, bucket) == theirs)
}

fn microseconds(limit: Limit) -> u64 {
    u64::from(limit.burst) * 1_000_000 / limit.rate.max(1)
}

fn ticks(limit: Limit, clock: Clock) -> u64 {
    clock.ticks(microseconds(limit))
}

fn reference_ticks(limit: Limit, clock: Clock) -> u32 {
    low(clock.ticks(u64::from(low(microseconds(limit)))))
}

/// What the kernel makes of a bucket in bytes, and of that the 32 bits that it shows: a multiplication and a shift,
/// with a factor of 32 bits (`psched_ratecfg_precompute__` of `net/sched/sch_generic.c`).
fn shown_ticks(rate: u64, bytes: u32) -> u32 {
    let (mut factor, mut shift) = (SECOND, 0);
    let multiplier = loop {
        let multiplier = factor / rate.max(1);
        if multiplier & (1 << 31) != 0 || factor & (1 << 63) != 0 {
            break multiplier;
        }
        (factor, shift) = (factor << 1, shift + 1);
    };
    low((u64::from(bytes).wrapping_mul(multiplier) >> shift) >> TICK)
}

fn low(number: u64) -> u32 {
    u32::try_from(number & u64::from(u32::MAX)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTAINERD: u32 = 536_870_911; // 4294967295 bits

    fn limit(rate: u64, burst: u32) -> Limit {
        Limit { rate, burst }
    }

    #[test]
    fn ordinary_limits_are_the_references_to_the_bit() {
        for (rate, burst, buffer, waiting) in [
            (100, 25, 3_906_250, 27),
            (1_000, 2_000, 31_250_000, 2_025),
            (125_000, 10_000, 1_250_000, 13_125),
            (12_500_000, CONTAINERD, 671_088_625, 537_183_411),
            (125_000_000, CONTAINERD, 67_108_859, 539_995_911),
            (5_000_000_000, CONTAINERD, 1_677_718, 661_870_911),
        ] {
            let made = limiter(limit(rate, burst), Clock::default());
            assert_eq!(made, Tbf { rate, limit: waiting, burst: Burst::Ticks(buffer) });
        }
    }

    #[test]
    fn weakness_47_a_huge_burst_at_a_low_rate_keeps_its_size() {
        for rate in [1_000, 125_000, 1_250_000] {
            let made = limiter(limit(rate, CONTAINERD), Clock::default());
            assert_eq!(made.burst, Burst::Bytes(CONTAINERD), "{rate}");
        }
        let tiny = limiter(limit(5_000_000_000, 4_000), Clock::default());
        assert_eq!(tiny.burst, Burst::Bytes(4_000), "the reference sends a bucket of no size");
    }

    #[test]
    fn swap_what_the_reference_made_is_the_limiter() {
        for (rate, buffer, waiting) in
            [(125_000, 2_684_354_435, 536_874_036), (1_250_000, 2_415_919_079, 536_902_161)]
        {
            let shown = Tbf { rate, limit: waiting, burst: Burst::Ticks(buffer) };
            assert!(is_limiter(shown, limit(rate, CONTAINERD), Clock::default()), "{rate}");
        }
    }

    #[test]
    fn an_altered_limiter_is_none() {
        let wanted = limit(125_000, 10_000);
        let made = limiter(wanted, Clock::default());
        assert!(is_limiter(made, wanted, Clock::default()));
        for altered in [
            Tbf { rate: made.rate + 1, ..made },
            Tbf { limit: made.limit - 1, ..made },
            Tbf { burst: Burst::Ticks(1_250_001), ..made },
        ] {
            assert!(!is_limiter(altered, wanted, Clock::default()), "{altered:?}");
        }
    }

    #[test]
    fn no_limit_overflows() {
        for rate in [1, 7, 1 << 31, u64::MAX] {
            for burst in [1, u32::MAX - 1] {
                let wanted = limit(rate, burst);
                assert!(limiter(wanted, Clock::default()).limit >= burst);
                assert!(ticks_at_most(wanted, Clock::default()) > 0);
                shown_ticks(rate, burst);
                reference_ticks(wanted, Clock::default());
            }
        }
    }
}
