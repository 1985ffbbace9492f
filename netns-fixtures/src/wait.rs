//! Waiting for a condition with a deadline, the one place of the test worlds where a thread sleeps.

use std::time::{Duration, Instant};

const STEP: Duration = Duration::from_millis(5);

/// Asks `look` until it gives a value, at most for `limit`; `None` afterwards.
pub fn within<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::park_timeout(STEP);
    }
}

/// Waits until `look` gives a value; the test fails with `what` after `limit`.
#[track_caller]
pub fn eventually<T>(what: &str, limit: Duration, look: impl FnMut() -> Option<T>) -> T {
    match within(limit, look) {
        Some(found) => found,
        None => panic!("not within {limit:?}: {what}"),
    }
}
