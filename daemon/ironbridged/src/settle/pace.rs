//! When the next pass is due: soon after something happened, not at every single event of a burst, and now and then anyway.

use std::time::{Duration, Instant};

/// How long to wait for more of the same after the first event.
const GATHER: Duration = Duration::from_millis(3);
/// The pause after a pass, in lengths of that pass: a storm of events costs at most a fifth of a processor.
const BREATHS: u32 = 4;
/// The longest such pause: a pass that waited (for a kernel module, or the lock of iptables) is no storm.
const LONGEST_BREATH: Duration = Duration::from_secs(1);
/// How often everything is compared although nothing was reported.
const AUDIT: Duration = Duration::from_secs(30);
/// An audit of thousands of peers comes more rarely: so many times as long as the pass before it took,
const AUDITS: u32 = 2500;
/// but not more rarely than this.
const LONGEST_AUDIT: Duration = Duration::from_secs(90);
/// The first and the longest pause after a pass that failed in part.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// The moment of the next pass.
#[derive(Debug)]
pub struct Pace {
    next: Instant,
    not_before: Instant,
    retry: Duration,
}

impl Pace {
    /// The first pass is due at once.
    pub fn new(now: Instant) -> Self {
        Pace { next: now, not_before: now, retry: RETRY.0 }
    }

    /// How long until the next pass.
    pub fn until_next(&self, now: Instant) -> Duration {
        self.next.saturating_duration_since(now)
    }

    /// There is a new snapshot: a whole, which more of the same would not complete.
    pub fn told(&mut self, now: Instant) {
        self.next = self.next.min(now.max(self.not_before));
    }

    /// Something happened in the kernel.
    pub fn woken(&mut self, now: Instant) {
        self.next = self.next.min((now + GATHER).max(self.not_before));
    }

    /// A pass is over that began at `began`, and everything is as it should be.
    pub fn done(&mut self, began: Instant, now: Instant) {
        self.retry = RETRY.0;
        self.not_before = now + breath(now - began);
        self.next = now + AUDIT.max(((now - began) * AUDITS).min(LONGEST_AUDIT));
    }

    /// A pass is over that began at `began`, and something failed that may succeed later.
    pub fn failed(&mut self, began: Instant, now: Instant) {
        self.not_before = now + breath(now - began);
        self.next = (now + self.retry).max(self.not_before);
        self.retry = (self.retry * 2).min(RETRY.1);
    }

    /// A pass is due at that moment at the latest.
    pub fn not_after(&mut self, moment: Instant) {
        self.next = self.next.min(moment);
    }
}

fn breath(pass: Duration) -> Duration {
    (pass * BREATHS).min(LONGEST_BREATH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_events_makes_one_pass_and_a_lone_event_does_not_wait() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        pace.done(start, start);
        let later = start + Duration::from_secs(5);
        pace.woken(later);
        pace.woken(later + Duration::from_millis(2));
        assert_eq!(pace.until_next(later), GATHER);
    }

    #[test]
    fn a_snapshot_does_not_wait_for_more() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        pace.done(start, start);
        pace.told(start + Duration::from_secs(5));
        assert_eq!(pace.until_next(start), Duration::from_secs(5));
    }

    #[test]
    fn a_storm_of_events_after_a_long_pass_waits_longer() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let end = start + Duration::from_millis(20);
        pace.done(start, end);
        pace.woken(end);
        assert_eq!(pace.until_next(end), Duration::from_millis(80));
    }

    #[test]
    fn after_a_pass_that_waited_for_long_the_next_is_not_put_off_for_longer() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let end = start + Duration::from_secs(6);
        pace.done(start, end);
        pace.told(end);
        assert_eq!(pace.until_next(end), LONGEST_BREATH);
    }

    #[test]
    fn looking_at_thousands_of_peers_in_vain_costs_no_more_than_a_fixed_part_of_a_processor() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        for (pass, audit) in [(1, 30), (12, 30), (20, 50), (40, 90), (6000, 90)] {
            let end = start + Duration::from_millis(pass);
            pace.done(start, end);
            assert_eq!(pace.until_next(end), Duration::from_secs(audit), "after {pass} ms");
        }
    }

    #[test]
    fn failures_are_retried_ever_more_rarely_and_an_event_ends_the_pause() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        for want in [200, 400, 800, 1600, 3200, 6400, 10_000, 10_000] {
            pace.failed(start, start);
            assert_eq!(pace.until_next(start).as_millis(), want);
        }
        pace.woken(start + Duration::from_secs(1));
        assert!(pace.until_next(start) < Duration::from_millis(1100));
        pace.done(start, start);
        assert_eq!(pace.until_next(start), AUDIT);
    }
}
