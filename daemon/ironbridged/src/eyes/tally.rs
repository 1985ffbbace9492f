//! The counters of the daemon's own data path, which its threads add to without asking anybody.

use overlay::LossReason;
use prometheus_client::metrics::counter::Counter;

use super::metrics::Metrics;

/// Which way a packet goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To another node.
    Out,
    /// From another node.
    In,
}

/// Why a packet was not carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// It may go no further.
    Reason(LossReason),
    /// The tun device did not take it, or gave something that cannot be used.
    Device,
    /// The socket did not take it.
    Socket,
}

impl Lost {
    const ALL: [Lost; 9] = [
        Lost::Reason(LossReason::Short),
        Lost::Reason(LossReason::Malformed),
        Lost::Reason(LossReason::UnknownNode),
        Lost::Reason(LossReason::ForeignSource),
        Lost::Reason(LossReason::ForeignDestination),
        Lost::Reason(LossReason::NoPeer),
        Lost::Reason(LossReason::Expired),
        Lost::Device,
        Lost::Socket,
    ];

    fn name(self) -> &'static str {
        match self {
            Lost::Reason(LossReason::Short) => "short",
            Lost::Reason(LossReason::Malformed) => "malformed",
            Lost::Reason(LossReason::UnknownNode) => "unknown_node",
            Lost::Reason(LossReason::ForeignSource) => "foreign_source",
            Lost::Reason(LossReason::ForeignDestination) => "foreign_destination",
            Lost::Reason(LossReason::NoPeer) => "no_peer",
            Lost::Reason(LossReason::Expired) => "expired",
            Lost::Device => "device",
            Lost::Socket => "socket",
        }
    }
}

/// A hold on those counters.
#[derive(Debug, Clone)]
pub struct Tally {
    /// Packets and bytes.
    out: [Counter; 2],
    into: [Counter; 2],
    lost: Vec<(Lost, Counter)>,
}

impl Tally {
    /// All of them, whether anything was counted or not yet.
    pub fn new(metrics: &Metrics) -> Self {
        let both = |direction| {
            let label = [("direction", direction)];
            let packets = metrics.carried_packets.get_or_create(&label).clone();
            [packets, metrics.carried_bytes.get_or_create(&label).clone()]
        };
        let lost = Lost::ALL
            .map(|lost| (lost, metrics.lost_packets.get_or_create(&[("reason", lost.name())]).clone()));
        Tally { out: both("out"), into: both("in"), lost: lost.into() }
    }

    /// A packet of that length went that way.
    pub fn carried(&self, direction: Direction, length: usize) {
        let [packets, bytes] = match direction {
            Direction::Out => &self.out,
            Direction::In => &self.into,
        };
        packets.inc();
        bytes.inc_by(u64::try_from(length).unwrap_or(u64::MAX));
    }

    /// A packet went nowhere.
    pub fn lost(&self, why: Lost) {
        if let Some((_, counter)) = self.lost.iter().find(|(lost, _)| *lost == why) {
            counter.inc();
        }
    }
}
