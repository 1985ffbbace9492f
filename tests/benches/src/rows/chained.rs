//! Chained plugins alone, after a bridge attachment that is not measured.

use serde_json::{Value, json};

use super::attach::sides;
use super::chain::publishing;
use super::{bridge, ipam, with};
use crate::contender::Contender;
use crate::error::Error;
use crate::figure::Figure;
use crate::options::Effort;
use crate::programs::{Programs, Side};
use crate::site::Site;

const ROUNDS: usize = 60;
/// Of the reference and of the floor.
const LIMITS: (f64, f64) = (0.25, 1.5);

/// ADD of each.
pub fn run(programs: &Programs, effort: Effort) -> Result<Vec<Figure>, Error> {
    let tuned = json!({"sysctl": {"net.core.somaxconn": "500", "net.ipv4.ip_local_port_range": "1024\t65000"}, "mtu": 1400});
    let rate = json!({"ingressRate": 100_000_000, "ingressBurst": 10_000_000, "egressRate": 100_000_000, "egressBurst": 10_000_000});
    let limited = json!({"capabilities": {"bandwidth": true}, "runtimeConfig": {"bandwidth": rate}});
    let plugins = [
        ("portmap without mappings, ADD", "portmap", publishing(&json!([]))),
        ("tuning, two sysctls and MTU, ADD", "tuning", conf("tuning", &tuned)),
        ("bandwidth, ingress and egress, ADD", "bandwidth", conf("bandwidth", &limited)),
        ("firewall (nftables), ADD", "firewall", conf("firewall", &json!({}))),
    ];
    plugins.iter().map(|(work, plugin, config)| alone(programs, effort, (work, plugin, config))).collect()
}

fn conf(plugin: &str, keys: &Value) -> Value {
    with(json!({"cniVersion": "1.0.0", "name": "pfnet", "type": plugin}), keys)
}

fn alone(
    programs: &Programs,
    effort: Effort,
    (work, plugin, config): (&str, &'static str, &Value),
) -> Result<Figure, Error> {
    let network = bridge(&ipam(programs, Side::Ours, plugin, &["10.77.0.0/16"]));
    let sides = sides(&Site::new(), effort.rounds(ROUNDS), |side| {
        let own = match (plugin, side) {
            ("tuning", _) => with(config.clone(), &json!({"dataDir": programs.state(side, "tuned")})),
            // What each is when it is not told: the reference knows no backend of its own in nftables.
            ("firewall", Side::Reference) => with(config.clone(), &json!({"backend": "iptables"})),
            ("firewall", Side::Ours) => with(config.clone(), &json!({"backend": "nftables"})),
            _ => config.clone(),
        };
        Contender::new(programs, side, plugin, &own).on_attachment(programs, &network)
    })?;
    Ok(sides.figure(work, |cycles| &cycles.add, LIMITS))
}
