//! `WireGuard` devices' keys, ports and peers: read, compared, written. The kernel tells of no change to them, so the
//! slow audit is what mends peers that somebody else removed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kernel::{PeerChange, Wireguard, WireguardPeer};
use overlay::{BackendConfig, Change, Ends, FoundPeer, Key, Peer, Secret};

use super::Assignment;
use super::ahead::Ahead;

/// A handshake holds for three minutes (`REJECT_AFTER_TIME`): a peer that was heard since is where it was heard.
const HEARD: Duration = Duration::from_mins(3);

/// Any interval, in seconds: it is set to the wanted one right after.
const GREETING: u16 = 60;

/// The client, opened when the backend is wireguard.
#[derive(Debug, Default)]
pub struct Crypto {
    client: Option<Wireguard>,
    ahead: Ahead,
}

/// When peers are written: before the routes that need them, or after those that needed them are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Peers to set.
    BeforeRoutes,
    /// Peers to remove.
    AfterRoutes,
}

impl Crypto {
    /// Gives each device its key and port, and reads its peers.
    pub fn ensure(&mut self, assignment: &Assignment, ends: &Ends) -> Result<Vec<FoundPeer>, kernel::Error> {
        let (BackendConfig::Wireguard(config), Some(Secret(secret))) =
            (&assignment.config.backend, &assignment.secret)
        else {
            return Ok(Vec::new());
        };
        let client = match &mut self.client {
            Some(client) => client,
            none => none.insert(Wireguard::open()?),
        };
        let v6_alone = ends.v6.filter(|end| ends.v4.is_none_or(|v4| v4.index != end.index));
        let is_separate = v6_alone.map(|end| (end.index, config.port_for_v6()));
        let devices = ends.v4.map(|end| (end.index, config.port)).into_iter().chain(is_separate);
        let mut peers = Vec::new();
        for (index, port) in devices {
            let device = client.device(index)?;
            if device.private_key != secret.0 || device.port != port {
                tracing::info!(interface = index, port, "key and port of the device are set");
                client.set_device(index, &secret.0, port)?;
            }
            let forgotten = self.ahead.judge((index, &device.peers), SystemTime::now(), Instant::now());
            if !forgotten.is_empty() {
                tracing::warn!(
                    interface = index,
                    peers = forgotten.len(),
                    "the clock was set back: peers that refuse handshakes of the past are set anew"
                );
                let removed: Vec<_> = forgotten.iter().map(|key| PeerChange::Remove(*key)).collect();
                client.change_peers(index, &removed)?;
            }
            let kept = device.peers.iter().filter(|peer| !forgotten.contains(&peer.public_key));
            peers.extend(kept.map(|peer| found(index, peer)));
        }
        Ok(peers)
    }

    /// Writes the peers of that turn.
    pub fn write(&mut self, changes: &[Change], turn: Turn) -> Result<(), kernel::Error> {
        let Some(client) = &mut self.client else { return Ok(()) };
        let mut by_device: BTreeMap<u32, Vec<PeerChange>> = BTreeMap::new();
        for change in changes {
            if let (Change::PutPeer { index, key, peer }, Turn::BeforeRoutes) = (change, turn) {
                by_device.entry(*index).or_default().push(PeerChange::Set(message(*key, peer)));
            }
            if let (Change::DeletePeer { index, key }, Turn::AfterRoutes) = (change, turn) {
                by_device.entry(*index).or_default().push(PeerChange::Remove(key.0));
            }
        }
        for (index, changes) in &by_device {
            client.change_peers(*index, &changes.iter().map(greeting).collect::<Vec<_>>())?;
            client.change_peers(*index, changes)?;
        }
        Ok(())
    }
}

/// A peer that begins to keep its session alive shakes hands at once. Without, one that still has a session with the
/// device before this one would send into it for 15 seconds.
fn greeting(change: &PeerChange) -> PeerChange {
    match change {
        PeerChange::Set(peer) => PeerChange::Set(WireguardPeer { keepalive: GREETING, ..peer.clone() }),
        PeerChange::Remove(key) => PeerChange::Remove(*key),
    }
}

fn message(key: Key, peer: &Peer) -> WireguardPeer {
    WireguardPeer {
        public_key: key.0,
        preshared_key: peer.shared.map(|Secret(key)| key.0).unwrap_or_default(),
        endpoint: Some(peer.endpoint),
        keepalive: peer.keepalive,
        last_handshake: 0,
        allowed: peer.allowed.iter().copied().collect(),
    }
}

fn found(index: u32, peer: &WireguardPeer) -> FoundPeer {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let age = now.saturating_sub(Duration::from_secs(peer.last_handshake));
    FoundPeer {
        index,
        key: Key(peer.public_key),
        endpoint: peer.endpoint,
        allowed: peer.allowed.iter().copied().collect(),
        shared: Some(Secret(Key(peer.preshared_key))).filter(|_| peer.preshared_key != [0; 32]),
        keepalive: peer.keepalive,
        is_heard: age < HEARD,
    }
}
