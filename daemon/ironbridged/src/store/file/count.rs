//! The time by which leases of a directory end: the machine's uptime, counted from one reading of the time of day.
//!
//! Ends are seconds since 1970, for people and for the next boot, but the time of day is set by people and programs: one
//! jump of a day would end every lease on the machine. So who uses the directory first after a boot notes when the
//! machine started, and until the next boot everybody adds the uptime to that.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::clock::Moment;

/// What the note is called, beside the leases.
pub(super) const CLOCK: &str = "clock";
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

/// One boot of this machine, and when it was, in nanoseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Count {
    boot: String,
    started: u64,
}

impl Count {
    /// The one that begins at this moment.
    pub(super) fn begin(moment: Moment) -> Self {
        let since = moment.day.duration_since(UNIX_EPOCH).unwrap_or_default();
        let started = since.saturating_sub(moment.uptime).as_nanos();
        Count { boot: boot(), started: u64::try_from(started).unwrap_or_default() }
    }

    /// The one that was noted, if it was in this boot. Whatever else is there is overwritten.
    pub(super) fn read(root: &Path) -> Option<Self> {
        let text = fs::read_to_string(root.join(CLOCK)).ok()?;
        let (noted, started) = text.trim().split_once(' ')?;
        (noted == boot()).then_some(Count { boot: noted.to_owned(), started: started.parse().ok()? })
    }

    /// What is noted.
    pub(super) fn text(&self) -> String {
        format!("{} {}\n", self.boot, self.started)
    }

    /// The time at a moment.
    pub(super) fn at(&self, moment: Moment) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(self.started).saturating_add(moment.uptime)
    }
}

/// This boot's name. Where it cannot be read, all boots are one.
fn boot() -> String {
    fs::read_to_string(BOOT).map_or_else(|_| "unknown".to_owned(), |id| id.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(day: u64, uptime: u64) -> Moment {
        Moment { day: UNIX_EPOCH + Duration::from_secs(day), uptime: Duration::from_secs(uptime) }
    }

    #[test]
    fn time_passes_with_the_uptime_whatever_the_time_of_day_is_set_to() {
        let count = Count::begin(moment(1_000_000, 500));
        for day in [0, 1_000_000, 99_000_000] {
            assert_eq!(count.at(moment(day, 510)), UNIX_EPOCH + Duration::from_secs(1_000_010));
        }
    }

    #[test]
    fn a_note_holds_until_the_next_boot_and_one_that_is_torn_does_not_hold() {
        let folder = tempfile::tempdir().unwrap();
        let note = |text: &str| fs::write(folder.path().join(CLOCK), text).unwrap();
        let count = Count::begin(moment(1_000_000, 500));
        note(&count.text());
        assert_eq!(Count::read(folder.path()), Some(count.clone()));
        for torn in ["", "x", "another-boot 5", &format!("{} soon", count.boot)] {
            note(torn);
            assert_eq!(Count::read(folder.path()), None, "{torn:?}");
        }
    }
}
