//! What is measured: the rows of the table.

mod attach;
mod chain;
mod chained;
mod cluster;
mod counts;
mod crowd;
mod daemon;
mod fanout;
mod first_packet;
mod published;
mod repairs;
mod repairs_tunnel;
mod reservations;
mod scale;
mod simulator;
mod workers;

pub use repairs::REPAIR;
pub use scale::{COLD, TUNNEL};
use serde_json::{Value, json};

use crate::error::Error;
use crate::figure::Figure;
use crate::options::Effort;
use crate::programs::{Programs, Side};
use crate::site::BRIDGE;

/// A part of the bench that can be run alone.
pub struct Row {
    /// What it is called on the command line.
    pub name: &'static str,
    /// Measures it.
    pub run: fn(&Programs, Effort) -> Result<Vec<Figure>, Error>,
}

/// All of them, in the table's order.
pub const ROWS: [Row; 17] = [
    Row { name: "loopback", run: attach::loopback },
    Row { name: "bridge", run: attach::bridge },
    Row { name: "dual", run: attach::dual_stack },
    Row { name: "masquerade", run: attach::masquerade },
    Row { name: "crowd", run: crowd::run },
    Row { name: "host-local", run: reservations::run },
    Row { name: "workers", run: workers::run },
    Row { name: "chain", run: chain::run },
    Row { name: "published", run: published::run },
    Row { name: "chain-workers", run: workers::chain },
    Row { name: "chained", run: chained::run },
    Row { name: "first-packet", run: first_packet::run },
    Row { name: "counts", run: counts::run },
    Row { name: "daemon", run: daemon::run },
    Row { name: "scale", run: scale::run },
    Row { name: "fanout", run: fanout::run },
    Row { name: "repairs", run: repairs::run },
];

/// host-local's configuration for one side: each keeps its own reservations.
fn ipam(programs: &Programs, side: Side, row: &str, subnets: &[&str]) -> Value {
    let ranges: Vec<Value> = subnets.iter().map(|subnet| json!([{"subnet": subnet}])).collect();
    json!({"type": "host-local", "dataDir": programs.state(side, row), "ranges": ranges})
}

/// A configuration with further keys.
fn with(mut config: Value, keys: &Value) -> Value {
    if let (Some(members), Some(more)) = (config.as_object_mut(), keys.as_object()) {
        members.extend(more.clone());
    }
    config
}

/// A bridge network: gateway, default route, addresses from host-local.
fn bridge(ipam: &Value) -> Value {
    json!({"cniVersion": "1.0.0", "name": "pfnet", "type": "bridge", "bridge": BRIDGE, "isDefaultGateway": true, "ipam": ipam})
}
