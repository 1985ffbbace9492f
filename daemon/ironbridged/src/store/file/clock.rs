//! The machine's two clocks, from outside, so that a test can let a day pass, or set the time of day.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use nix::time::{ClockId, clock_gettime};

/// A moment on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The time of day, which people and programs set.
    pub day: SystemTime,
    /// The time since the machine's start, suspends included, which nobody sets.
    pub uptime: Duration,
}

/// Tells the time.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Moment + Send + Sync>);

impl Clock {
    /// The machine's clocks.
    #[must_use]
    pub fn system() -> Self {
        Clock::new(|| {
            let day = SystemTime::now();
            // Every kernel that has nftables has this clock.
            let uptime = clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default();
            Moment { day, uptime }
        })
    }

    /// A clock of one's own.
    pub fn new(now: impl Fn() -> Moment + Send + Sync + 'static) -> Self {
        Clock(Arc::new(now))
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Moment {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("Clock")
    }
}
