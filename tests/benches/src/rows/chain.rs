//! The chain of most nodes: `bridge` with `host-local` and masquerade, then `portmap` with two ports.

use serde_json::{Value, json};

use super::{bridge, ipam, with};
use crate::contender::{Contender, PORTS};
use crate::contest::interleave;
use crate::error::Error;
use crate::figure::{Figure, Measure};
use crate::options::Effort;
use crate::programs::{Programs, Side};
use crate::rows::attach::Sides;
use crate::site::Site;

const ROUNDS: usize = 90;

/// ADD and DEL of the chain on a node without others; and its ADD with the iptables backends, where they are chosen.
pub fn run(programs: &Programs, effort: Effort) -> Result<Vec<Figure>, Error> {
    let mut contenders = Side::ALL.map(|side| contender(programs, side, "chain")).to_vec();
    contenders.push(by_iptables(programs));
    let mut cycles = interleave(&Site::new(), &contenders, effort.rounds(ROUNDS))?;
    let chosen = cycles.pop().unwrap_or_default();
    let sides = Sides::of(cycles);
    let iptables = Figure::new("the same ADD, both backends iptables", Measure::Milliseconds, &chosen.add)
        .reference(&sides.reference().add, Some(0.13));
    Ok(vec![
        sides.figure("bridge + ipMasq + portmap with two ports, ADD", |cycles| &cycles.add, (0.05, 1.7)),
        sides.figure("the same chain, DEL", |cycles| &cycles.del, (0.03, 1.7)),
        iptables,
    ])
}

/// One side's chain.
pub(super) fn contender(programs: &Programs, side: Side, row: &str) -> Contender {
    let network = masqueraded(programs, side, row);
    Contender::new(programs, side, "bridge", &network).then(programs, ("portmap", &portmap()), side)
}

fn masqueraded(programs: &Programs, side: Side, row: &str) -> Value {
    with(bridge(&ipam(programs, side, row, &["10.77.0.0/16"])), &json!({"ipMasq": true}))
}

/// Ours, told to make the reference's chains.
fn by_iptables(programs: &Programs) -> Contender {
    let network = masqueraded(programs, Side::Ours, "chain-iptables");
    let network = with(network, &json!({"ipMasqBackend": "iptables"}));
    let portmap = with(portmap(), &json!({"backend": "iptables"}));
    Contender::new(programs, Side::Ours, "bridge", &network).then(programs, ("portmap", &portmap), Side::Ours)
}

/// `portmap` with a TCP and a UDP port of the host.
pub(super) fn portmap() -> Value {
    let [tcp, udp] = PORTS;
    publishing(&json!([
        {"hostPort": tcp, "containerPort": 80, "protocol": "tcp"},
        {"hostPort": udp, "containerPort": 53, "protocol": "udp"},
    ]))
}

/// `portmap` with these mappings.
pub(super) fn publishing(mappings: &Value) -> Value {
    json!({
        "cniVersion": "1.0.0", "name": "pfnet", "type": "portmap", "snat": true,
        "capabilities": {"portMappings": true}, "runtimeConfig": {"portMappings": mappings},
    })
}
