//! The reference's chains as they are now: read over netlink where `iptables` is `iptables-nft`, by `iptables-save` where it
//! is the legacy one.

use std::collections::BTreeSet;
use std::net::IpAddr;

use attach::Error;
use attach::step::Family;
use kernel::nft::{self, Nft, Table};

use crate::program;
use crate::shape::Shape;

/// The chain that every forwarded packet passes.
pub const FORWARD: &str = "FORWARD";
/// The reference's chain of accept rules.
pub const CNI_FORWARD: &str = "CNI-FORWARD";
/// The reference's chain of what leaves a policed bridge.
pub const STAGE_1: &str = "CNI-ISOLATION-STAGE-1";
/// The reference's chain of what leaves one for another.
pub const STAGE_2: &str = "CNI-ISOLATION-STAGE-2";

/// Chains with their rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ruleset {
    /// Those of the asked-for chains that are there.
    pub chains: BTreeSet<String>,
    /// Their rules, in order within a chain.
    pub rules: Vec<Found>,
}

/// A rule that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its chain.
    pub chain: String,
    /// Its parts.
    pub shape: Shape,
    /// What deletes it.
    pub place: Place,
}

/// What deletes a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Its handle, over netlink.
    Handle(u64),
    /// Its specification, after `-D` and the chain.
    Specification(String),
}

/// The table of `iptables-nft` for a family.
#[must_use]
pub fn table(family: Family) -> Table<'static> {
    match family {
        Family::V4 => Table::new(nft::Family::Ip, "filter"),
        Family::V6 => Table::new(nft::Family::Ip6, "filter"),
    }
}

/// Reads `chains` over netlink.
pub fn read(nft: &mut Nft, family: Family, chains: &[&str]) -> Result<Ruleset, Error> {
    let (table, mut ruleset) = (table(family), Ruleset::default());
    for chain in chains {
        if !nft.chain_exists(table.chain(chain))? {
            continue;
        }
        ruleset.chains.insert((*chain).to_owned());
        ruleset.rules.extend(nft.rules(table.chain(chain))?.iter().map(|rule| Found {
            chain: (*chain).to_owned(),
            shape: Shape::of_rule(rule),
            place: Place::Handle(rule.handle),
        }));
    }
    Ok(ruleset)
}

/// Reads everything of the legacy tables by `program` (`iptables-save` or its like).
pub fn read_legacy(program: &str) -> Result<Ruleset, Error> {
    Ok(parse(&program::run(program, &["-t", "filter"], "")?))
}

/// Reads the output of `iptables-save`.
#[must_use]
pub fn parse(text: &str) -> Ruleset {
    let mut ruleset = Ruleset::default();
    for line in text.lines() {
        if let Some(chain) = line.strip_prefix(':') {
            ruleset.chains.extend(chain.split(' ').next().map(str::to_owned));
        }
        let Some((chain, shape)) = Shape::of_line(line) else { continue };
        let specification = line.splitn(3, ' ').nth(2).unwrap_or_default().to_owned();
        ruleset.rules.push(Found { chain, shape, place: Place::Specification(specification) });
    }
    ruleset
}

impl Ruleset {
    /// The rules of a chain.
    pub fn of<'a>(&'a self, chain: &'a str) -> impl Iterator<Item = &'a Found> {
        self.rules.iter().filter(move |found| found.chain == chain)
    }

    /// Whether a rule of `chain` leads to `target`.
    #[must_use]
    pub fn jumps(&self, chain: &str, target: &str) -> bool {
        self.of(chain).any(|found| found.shape.target.as_deref() == Some(target))
    }

    /// The reference's rules of these addresses.
    pub fn of_addresses<'a>(&'a self, addresses: &'a [IpAddr]) -> impl Iterator<Item = &'a Found> {
        let wanted = |shape: &Shape| addresses.iter().any(|address| shape.accepts(*address).is_some());
        self.of(CNI_FORWARD).filter(move |found| wanted(&found.shape))
    }

    /// The isolation rules of a bridge.
    pub fn of_bridge<'a>(&'a self, bridge: &'a str) -> impl Iterator<Item = &'a Found> {
        let stages = self.of(STAGE_1).chain(self.of(STAGE_2));
        stages.filter(move |found| found.shape.isolates(bridge))
    }

    /// The addresses that the reference's rules accept packets from.
    pub fn accepted(&self) -> impl Iterator<Item = IpAddr> {
        let sources = self.of(CNI_FORWARD).filter_map(|found| Some((found.shape.source?, &found.shape)));
        sources.filter(|(address, shape)| shape.accepts(*address).is_some()).map(|(address, _)| address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAVED: &str = r#"# Generated
*filter
:FORWARD DROP [0:0]
:CNI-FORWARD - [0:0]
:CNI-ISOLATION-STAGE-1 - [0:0]
-A FORWARD -m comment --comment "CNI firewall plugin rules" -j CNI-FORWARD
-A CNI-FORWARD -d 10.0.0.2/32 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A CNI-FORWARD -s 10.0.0.2/32 -j ACCEPT
-A CNI-ISOLATION-STAGE-1 -i cni0 ! -o cni0 -m comment --comment "x y" -j CNI-ISOLATION-STAGE-2
COMMIT
"#;

    #[test]
    fn what_iptables_save_prints_is_read() {
        let ruleset = parse(SAVED);
        assert!(ruleset.chains.contains("CNI-FORWARD") && ruleset.jumps(FORWARD, CNI_FORWARD));
        assert_eq!(ruleset.of_addresses(&["10.0.0.2".parse().unwrap()]).count(), 2);
        assert_eq!(ruleset.of_addresses(&["10.0.0.3".parse().unwrap()]).count(), 0);
        assert_eq!(ruleset.accepted().collect::<Vec<IpAddr>>(), ["10.0.0.2".parse::<IpAddr>().unwrap()]);
        let place = ruleset.of_bridge("cni0").map(|found| found.place.clone()).next();
        let text = r#"-i cni0 ! -o cni0 -m comment --comment "x y" -j CNI-ISOLATION-STAGE-2"#;
        assert_eq!(place, Some(Place::Specification(text.into())));
    }
}
