//! Routes and tunnel entries whose lease is gone: each stays for a moment, in which its node may put the lease back.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use overlay::Removal;

/// How long a lease must be gone before its route goes: a node that puts its lease back needs some milliseconds, and
/// its pods shall not notice.
const LINGER: Duration = Duration::from_millis(400);

/// What nobody wants at present, each since when.
#[derive(Debug, Default)]
pub struct Leaving(BTreeMap<Removal, Instant>);

impl Leaving {
    /// Takes what is unwanted now; what was wanted again meanwhile begins anew.
    pub fn update(&mut self, unwanted: impl Iterator<Item = Removal>, now: Instant) {
        let before = std::mem::take(&mut self.0);
        let since = |what: &Removal| before.get(what).copied().unwrap_or(now);
        self.0 = unwanted.map(|what| (since(&what), what)).map(|(since, what)| (what, since)).collect();
    }

    /// Whether it was unwanted for long enough.
    pub fn may_go(&self, what: &Removal, now: Instant) -> bool {
        self.0.get(what).is_some_and(|since| *since + LINGER <= now)
    }

    /// When the next one may go, of those that may not go yet.
    pub fn next(&self, now: Instant) -> Option<Instant> {
        self.0.values().map(|since| *since + LINGER).filter(|moment| *moment > now).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> Removal {
        Removal::Route(text.parse().unwrap())
    }

    #[test]
    fn each_destination_has_a_time_of_its_own_and_a_return_begins_it_anew() {
        let (a, b) = (net("10.5.1.0/24"), net("10.5.2.0/24"));
        let start = Instant::now();
        let later = start + LINGER * 3 / 4;
        let mut leaving = Leaving::default();
        leaving.update([a.clone()].into_iter(), start);
        leaving.update([a.clone(), b.clone()].into_iter(), later);
        assert_eq!(leaving.next(later), Some(start + LINGER));
        let end = start + LINGER;
        assert!(leaving.may_go(&a, end) && !leaving.may_go(&b, end));
        assert_eq!(leaving.next(end), Some(later + LINGER));
        leaving.update([b.clone()].into_iter(), end);
        leaving.update([a.clone(), b].into_iter(), end);
        assert!(!leaving.may_go(&a, end), "it came back and left again");
        leaving.update([].into_iter(), end);
        assert_eq!(leaving.next(end), None);
    }
}
