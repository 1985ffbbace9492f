//! What `iptables-restore --noflush` is told: pure functions from what is wanted and what is there to one text.

use std::fmt::Write as _;
use std::net::IpAddr;

use crate::conf::{Policed, Policy};
use crate::ruleset::{CNI_FORWARD, FORWARD, Place, Ruleset, STAGE_1, STAGE_2};
use crate::shape::{Shape, Side};

/// What the reference's chains shall hold for one family.
#[derive(Clone, Copy, Debug)]
pub struct Chains<'a> {
    /// Addresses of the family.
    pub addresses: &'a [IpAddr],
    /// Chain for the administrator's own rules.
    pub admin: &'a str,
    /// The bridge with its policy.
    pub policed: Option<&'a Policed>,
}

/// The text that adds what is missing; `None` when nothing is.
///
/// A chain is made by `-N`, which fails on one that exists: a line `:CHAIN` would empty one that another process has
/// just made. The whole text is one transaction, and the caller reads again and retries.
#[must_use]
pub fn additions(wanted: &Chains<'_>, present: &Ruleset) -> Option<String> {
    whole(&lines(wanted, present))
}

/// The lines of [`additions`] within the table.
#[must_use]
pub fn lines(wanted: &Chains<'_>, present: &Ruleset) -> Vec<String> {
    let mut lines = Vec::new();
    if !wanted.addresses.is_empty() {
        forward(wanted, present, &mut lines);
    }
    if let Some(policed) = wanted.policed {
        isolation(policed, present, &mut lines);
    }
    lines
}

fn forward(wanted: &Chains<'_>, present: &Ruleset, lines: &mut Vec<String>) {
    for chain in [CNI_FORWARD, wanted.admin] {
        make(chain, present, lines);
    }
    if !present.jumps(FORWARD, CNI_FORWARD) {
        let note = "-m comment --comment \"CNI firewall plugin rules\"";
        lines.push(format!("-I {FORWARD} 1 {note} -j {CNI_FORWARD}"));
    }
    if !present.jumps(CNI_FORWARD, wanted.admin) {
        let note = "-m comment --comment \"CNI firewall plugin admin overrides\"";
        lines.push(format!("-I {CNI_FORWARD} 1 {note} -j {}", wanted.admin));
    }
    for address in wanted.addresses {
        let has = |side| present.of(CNI_FORWARD).any(|found| found.shape.accepts(*address) == Some(side));
        if !has(Side::To) {
            let states = "-m conntrack --ctstate RELATED,ESTABLISHED";
            lines.push(format!("-A {CNI_FORWARD} -d {address} {states} -j ACCEPT"));
        }
        if !has(Side::From) {
            lines.push(format!("-A {CNI_FORWARD} -s {address} -j ACCEPT"));
        }
    }
}

fn isolation(policed: &Policed, present: &Ruleset, lines: &mut Vec<String>) {
    let bridge = &policed.bridge;
    let both = "-m comment --comment \"CNI firewall plugin rules (ingressPolicy: same-bridge|isolated)\"";
    let name = if policed.policy == Policy::Isolated { "isolated" } else { "same-bridge" };
    let own = format!("-m comment --comment \"CNI firewall plugin rules (ingressPolicy: {name})\"");
    make(STAGE_1, present, lines);
    make(STAGE_2, present, lines);
    if !present.jumps(FORWARD, STAGE_1) {
        lines.push(format!("-I {FORWARD} 1 {both} -j {STAGE_1}"));
    }
    if !has_rule(present, STAGE_1, bridge, STAGE_2) {
        lines.push(format!("-I {STAGE_1} 1 -i {bridge} ! -o {bridge} {own} -j {STAGE_2}"));
    }
    if policed.policy == Policy::Isolated && !has_rule(present, STAGE_1, bridge, "DROP") {
        lines.push(format!("-I {STAGE_1} 1 -i {bridge} -o {bridge} {own} -j DROP"));
    }
    if !has_rule(present, STAGE_2, bridge, "DROP") {
        lines.push(format!("-I {STAGE_2} 1 -o {bridge} {both} -j DROP"));
    }
    for stage in [STAGE_1, STAGE_2] {
        if !present.jumps(stage, "RETURN") {
            lines.push(format!("-A {stage} {both} -j RETURN"));
        }
    }
}

/// Whether `chain` has the bridge's rule with that target, whatever its comment says: builds of the reference differ in it.
fn has_rule(present: &Ruleset, chain: &str, bridge: &str, target: &str) -> bool {
    let is = |shape: &Shape| shape.target.as_deref() == Some(target) && shape.isolates(bridge);
    present.of(chain).any(|found| is(&found.shape))
}

fn make(chain: &str, present: &Ruleset, lines: &mut Vec<String>) {
    let made = format!("-N {chain}");
    if !present.chains.contains(chain) && !lines.contains(&made) {
        lines.push(made);
    }
}

/// The text that removes rules of the legacy tables; `None` when there are none.
#[must_use]
pub fn removals<'a>(rules: impl Iterator<Item = &'a crate::ruleset::Found>) -> Option<String> {
    let lines: Vec<String> = rules
        .filter_map(|found| match &found.place {
            Place::Specification(text) => Some(format!("-D {} {text}", found.chain)),
            Place::Handle(_) => None,
        })
        .collect();
    whole(&lines)
}

fn whole(lines: &[String]) -> Option<String> {
    if lines.is_empty() {
        return None;
    }
    let mut text = String::from("*filter\n");
    for line in lines {
        writeln!(text, "{line}").ok(); // a String
    }
    text.push_str("COMMIT\n");
    Some(text)
}

/// The first part of what [`additions`] would add, for CHECK: its line.
#[must_use]
pub fn missing(wanted: &Chains<'_>, present: &Ruleset) -> Option<String> {
    let text = additions(wanted, present)?;
    text.lines().find(|line| line.starts_with('-')).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ruleset::parse;

    fn policed(policy: Policy) -> Policed {
        Policed { bridge: "cni0".into(), ports: Vec::new(), policy }
    }

    /// What `iptables-save` would print after the text was applied to nothing.
    fn applied(text: &str) -> Ruleset {
        let chains = ":FORWARD ACCEPT [0:0]\n";
        let mut lines = vec![chains.to_owned()];
        for line in text.lines() {
            let line = line.replacen("-N ", ":", 1).replacen("-I ", "-A ", 1).replacen(" 1 ", " ", 1);
            lines.push(
                line.replace("-s 10.0.0.2 ", "-s 10.0.0.2/32 ").replace("-d 10.0.0.2 ", "-d 10.0.0.2/32 "),
            );
        }
        parse(&lines.join("\n"))
    }

    #[test]
    fn the_rules_are_the_references_to_the_letter() {
        let addresses = ["10.0.0.2".parse().unwrap()];
        let chains = Chains { addresses: &addresses, admin: "CNI-ADMIN", policed: None };
        assert_eq!(
            additions(&chains, &Ruleset::default()).unwrap(),
            "*filter\n-N CNI-FORWARD\n-N CNI-ADMIN\n\
             -I FORWARD 1 -m comment --comment \"CNI firewall plugin rules\" -j CNI-FORWARD\n\
             -I CNI-FORWARD 1 -m comment --comment \"CNI firewall plugin admin overrides\" -j CNI-ADMIN\n\
             -A CNI-FORWARD -d 10.0.0.2 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n\
             -A CNI-FORWARD -s 10.0.0.2 -j ACCEPT\nCOMMIT\n"
        );
    }

    #[test]
    fn what_is_there_is_not_added_again_weakness_54() {
        let addresses = ["10.0.0.2".parse().unwrap()];
        for policy in [Policy::SameBridge, Policy::Isolated] {
            let policed = policed(policy);
            let chains = Chains { addresses: &addresses, admin: "CNI-ADMIN", policed: Some(&policed) };
            let text = additions(&chains, &Ruleset::default()).unwrap();
            assert_eq!(additions(&chains, &applied(&text)), None, "{text}");
        }
    }

    #[test]
    fn isolation_after_same_bridge_adds_one_rule_only() {
        let (same, isolated) = (policed(Policy::SameBridge), policed(Policy::Isolated));
        let chains = |policed| Chains { addresses: &[], admin: "CNI-ADMIN", policed: Some(policed) };
        let present = applied(&additions(&chains(&same), &Ruleset::default()).unwrap());
        let more = additions(&chains(&isolated), &present).unwrap();
        assert_eq!(more.lines().count(), 3, "{more}");
        assert!(more.contains("-i cni0 -o cni0"));
    }
}
