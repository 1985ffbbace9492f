//! `WireGuard` peers whose last handshake lies in the future: the clock was set back since.
//!
//! A handshake carries the time of day, and a kernel refuses one that is older than the last it took from that peer. Where
//! both ends were set back neither hears the other until the clocks have caught up, in hours or days. A peer that is removed
//! and set again has no such memory. That is done when no session can be left that it would cost.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kernel::WireguardPeer;

type PublicKey = [u8; 32];

/// `REJECT_AFTER_TIME`: a session without a new handshake does not live longer.
const DEAD: Duration = Duration::from_mins(3);

/// Since when which handshake of which peer of which device was found in the future.
#[derive(Debug, Default)]
pub struct Ahead(BTreeMap<(u32, PublicKey), (u64, Instant)>);

impl Ahead {
    /// The peers of that device that shall be forgotten now.
    pub fn judge(
        &mut self,
        (index, peers): (u32, &[WireguardPeer]),
        day: SystemTime,
        now: Instant,
    ) -> Vec<PublicKey> {
        let day = day.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let ahead = peers.iter().filter(|peer| peer.last_handshake > day);
        let ahead: BTreeMap<PublicKey, u64> =
            ahead.map(|peer| (peer.public_key, peer.last_handshake)).collect();
        self.0.retain(|(of, key), (handshake, _)| *of != index || ahead.get(key) == Some(handshake));
        let since = |(key, handshake): (&PublicKey, &u64)| {
            let (_, since) = *self.0.entry((index, *key)).or_insert((*handshake, now));
            (now.saturating_duration_since(since) >= DEAD).then_some(*key)
        };
        ahead.iter().filter_map(since).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: PublicKey = [7; 32];

    fn peer(last_handshake: u64) -> WireguardPeer {
        WireguardPeer { public_key: PEER, last_handshake, ..WireguardPeer::default() }
    }

    fn day(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_peer_of_the_future_is_forgotten_when_its_session_is_dead_and_not_before() {
        let (mut ahead, start) = (Ahead::default(), Instant::now());
        let found = [peer(90_000)];
        assert!(ahead.judge((1, &found), day(1000), start).is_empty());
        assert!(ahead.judge((1, &found), day(1170), start + DEAD / 2).is_empty());
        assert_eq!(ahead.judge((1, &found), day(1180), start + DEAD), [PEER]);
        assert!(ahead.judge((2, &found), day(1180), start + DEAD).is_empty(), "another device's");
    }

    #[test]
    fn a_peer_that_shook_hands_since_or_whose_clock_was_never_set_stays() {
        let (mut ahead, start) = (Ahead::default(), Instant::now());
        assert!(ahead.judge((1, &[peer(90_000)]), day(1000), start).is_empty());
        assert!(ahead.judge((1, &[peer(1100)]), day(1170), start + DEAD / 2).is_empty());
        assert!(ahead.judge((1, &[peer(1100)]), day(9000), start + DEAD * 9).is_empty());
        assert!(ahead.judge((1, &[peer(0)]), day(9000), start + DEAD * 20).is_empty());
        // Set back once more: the three minutes begin anew.
        assert!(ahead.judge((1, &[peer(90_000)]), day(1000), start + DEAD * 21).is_empty());
    }
}
