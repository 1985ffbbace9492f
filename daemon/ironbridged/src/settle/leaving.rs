//! Routes whose lease is gone: each stays for a moment, in which its node may put the lease back.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ipnetwork::IpNetwork;

/// How long a lease must be gone before its route goes: a node that puts its lease back needs some milliseconds, and
/// its pods shall not notice.
const LINGER: Duration = Duration::from_millis(400);

/// Destinations that nobody wants at present, each since when.
#[derive(Debug, Default)]
pub struct Leaving(BTreeMap<IpNetwork, Instant>);

impl Leaving {
    /// Takes the destinations that are unwanted now; one that was wanted again meanwhile begins anew.
    pub fn update(&mut self, unwanted: impl Iterator<Item = IpNetwork>, now: Instant) {
        let before = std::mem::take(&mut self.0);
        self.0 = unwanted.map(|to| (to, before.get(&to).copied().unwrap_or(now))).collect();
    }

    /// Whether the destination was unwanted for long enough.
    pub fn may_go(&self, destination: &IpNetwork, now: Instant) -> bool {
        self.0.get(destination).is_some_and(|since| *since + LINGER <= now)
    }

    /// When the next one may go, of those that may not go yet.
    pub fn next(&self, now: Instant) -> Option<Instant> {
        self.0.values().map(|since| *since + LINGER).filter(|moment| *moment > now).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNetwork {
        text.parse().unwrap()
    }

    #[test]
    fn each_destination_has_a_time_of_its_own_and_a_return_begins_it_anew() {
        let (a, b) = (net("10.5.1.0/24"), net("10.5.2.0/24"));
        let start = Instant::now();
        let later = start + LINGER * 3 / 4;
        let mut leaving = Leaving::default();
        leaving.update([a].into_iter(), start);
        leaving.update([a, b].into_iter(), later);
        assert_eq!(leaving.next(later), Some(start + LINGER));
        let end = start + LINGER;
        assert!(leaving.may_go(&a, end) && !leaving.may_go(&b, end));
        assert_eq!(leaving.next(end), Some(later + LINGER));
        leaving.update([b].into_iter(), end);
        leaving.update([a, b].into_iter(), end);
        assert!(!leaving.may_go(&a, end), "it came back and left again");
        leaving.update([].into_iter(), end);
        assert_eq!(leaving.next(end), None);
    }
}
