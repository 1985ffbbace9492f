//! When the store reached which revision, so that the age of a lease follows from the revision that it was written in.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Ages are known to a minute.
const GRAIN: Duration = Duration::from_mins(1);
/// More than two lives of a lease.
const KEPT: usize = 3000;

/// The revisions that snapshots had, each with the moment when it was first seen.
#[derive(Debug, Default)]
pub struct Revisions(VecDeque<(i64, Instant)>);

/// How long ago something was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Age {
    /// That long ago, to a minute.
    About(Duration),
    /// Before the first snapshot that is remembered.
    AtLeast(Duration),
}

impl Revisions {
    /// A snapshot of that revision arrived.
    pub fn saw(&mut self, revision: i64, now: Instant) {
        let is_first = self.0.len() == 1;
        match self.0.back_mut() {
            Some((last, _)) if *last >= revision => {}
            // The first one divides what is known from what is older, so nothing is put into its place.
            Some((last, at)) if !is_first && now < *at + GRAIN => *last = revision,
            _ => self.0.push_back((revision, now)),
        }
        if self.0.len() > KEPT {
            self.0.pop_front();
        }
    }

    /// The age of what was written in that revision.
    pub fn age(&self, revision: i64, now: Instant) -> Option<Age> {
        let at = self.0.partition_point(|(seen, _)| *seen < revision);
        let (_, moment) = self.0.get(at)?;
        let age = now.saturating_duration_since(*moment);
        Some(if at == 0 { Age::AtLeast(age) } else { Age::About(age) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_under_our_eyes_has_an_age_and_what_is_older_has_a_least_one() {
        let start = Instant::now();
        let at = |minutes| start + GRAIN * minutes;
        let mut revisions = Revisions::default();
        assert_eq!(revisions.age(1, start), None);
        for (revision, minute) in [(10, 0), (12, 5), (13, 5), (14, 9)] {
            revisions.saw(revision, at(minute));
        }
        let minutes = |count: u32| GRAIN * count;
        assert_eq!(revisions.age(7, at(10)), Some(Age::AtLeast(minutes(10))));
        assert_eq!(revisions.age(10, at(10)), Some(Age::AtLeast(minutes(10))));
        assert_eq!(revisions.age(11, at(10)), Some(Age::About(minutes(5))));
        assert_eq!(revisions.age(13, at(10)), Some(Age::About(minutes(5))));
        assert_eq!(revisions.age(14, at(10)), Some(Age::About(minutes(1))));
        assert_eq!(revisions.age(15, at(10)), None, "not seen yet");
    }

    #[test]
    fn years_of_churn_cost_a_fixed_memory() {
        let mut revisions = Revisions::default();
        let start = Instant::now();
        for minute in 0..10_000_u32 {
            revisions.saw(minute.into(), start + GRAIN * minute);
        }
        assert_eq!(revisions.0.len(), KEPT);
    }
}
