//! Waiting for a condition with a deadline, the one place of the test worlds where a thread sleeps.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

const STEP: Duration = Duration::from_millis(5);

/// Asks `look` until it gives a value, at most for `limit`, which is longer on a machine that is known to be slow;
/// `None` afterwards.
pub fn within<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit * slowness();
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

/// How many times slower than other machines this one is: `IRONBRIDGE_SLOWNESS`, set by `./test-vm`; 1 without.
fn slowness() -> u32 {
    static SLOWNESS: OnceLock<u32> = OnceLock::new();
    *SLOWNESS.get_or_init(|| {
        let told = std::env::var_os("IRONBRIDGE_SLOWNESS").map(|value| value.to_string_lossy().parse());
        told.map_or(1, |times| times.expect("IRONBRIDGE_SLOWNESS is a number"))
    })
}
