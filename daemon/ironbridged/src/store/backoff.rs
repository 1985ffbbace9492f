//! Growing pauses between attempts, spread so that a thousand nodes do not come back in the same instant.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// A pause that doubles with every failure, up to a ceiling, each time moved by up to a quarter.
#[derive(Debug, Clone)]
pub struct Backoff {
    floor: Duration,
    ceiling: Duration,
    next: Duration,
}

impl Backoff {
    /// Pauses from about `floor` to about `ceiling`.
    #[must_use]
    pub fn new(floor: Duration, ceiling: Duration) -> Self {
        Backoff { floor, ceiling, next: floor }
    }

    /// How long to wait now; the next pause is twice as long.
    pub fn pause(&mut self) -> Duration {
        let pause = spread(self.next);
        self.next = (self.next * 2).min(self.ceiling);
        pause
    }

    /// The attempt succeeded: start over with the shortest pause.
    pub fn reset(&mut self) {
        self.next = self.floor;
    }
}

/// The duration, moved by up to a quarter to either side.
#[must_use]
pub(super) fn spread(around: Duration) -> Duration {
    const STEPS: usize = 512;
    let step = u32::try_from(random_below(STEPS + 1)).unwrap_or_default();
    around * 3 / 4 + around * step / 1024
}

/// A number below `n`, and 0 below 0. Spreading load needs no cryptographic strength: the seed that the standard
/// library draws from the operating system for its hash tables is random enough.
#[must_use]
pub fn random_below(n: usize) -> usize {
    let drawn = RandomState::new().build_hasher().finish();
    let n = u64::try_from(n).unwrap_or(u64::MAX).max(1);
    usize::try_from(drawn % n).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_ceiling_and_start_over_after_a_success() {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
        for around in [200, 400, 800, 1600, 3200, 6400, 10_000, 10_000] {
            let pause = backoff.pause().as_millis();
            assert!(
                (around * 3 / 4..=around * 5 / 4).contains(&pause),
                "{pause} ms instead of about {around}"
            );
        }
        backoff.reset();
        assert!(backoff.pause() <= Duration::from_millis(250));
    }

    #[test]
    fn pauses_of_many_nodes_differ() {
        let pauses: std::collections::BTreeSet<_> =
            (0..50).map(|_| spread(Duration::from_secs(10))).collect();
        assert!(pauses.len() > 25, "{} different pauses", pauses.len());
    }

    #[test]
    fn a_random_number_is_below_its_bound() {
        assert!((0..200).all(|_| random_below(3) < 3));
        assert_eq!(random_below(0), 0);
        assert_eq!(random_below(1), 0);
    }
}
