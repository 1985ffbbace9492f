//! flannel's rules in its own iptables chains: written by one `iptables-restore` a family, watched without any program.

use std::time::{Duration, Instant};

use ipnetwork::IpNetwork;
use kernel::nft::{self, Nft, Table};
use overlay::{NetworkConfig, Subnets};

use super::RulesError;
use super::program::{Program, Variant};
use crate::flags::Switch;
use crate::options::{Ports, RuleChoice};

/// The legacy tables tell of no change: they are read by a program, so often at most.
const LEGACY_PAUSE: Duration = Duration::from_secs(5);

/// The mark of kube-proxy, one bit among others.
const KUBE_PROXY: &str = "0x4000/0x4000";

/// One of flannel's two chains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The table.
    pub table: &'static str,
    /// The built-in chain that leads to it.
    pub base: &'static str,
    /// Its name.
    pub chain: &'static str,
    /// The comment on every rule.
    pub comment: &'static str,
}

/// Both chains; the masquerade first.
pub const PLACES: [Place; 2] = [
    Place { table: "nat", base: "POSTROUTING", chain: "FLANNEL-POSTRTG", comment: "flanneld masq" },
    Place { table: "filter", base: "FORWARD", chain: "FLANNEL-FWD", comment: "flanneld forward" },
];

/// The rules of one family.
#[derive(Debug)]
pub struct Iptables {
    program: Program,
    /// Asked for once.
    variant: Option<Variant>,
    wanted: Vec<(Place, Vec<String>)>,
    unwanted: Vec<Place>,
    /// What the kernel held after the last writing; `None` until then.
    level: Option<Vec<State>>,
    /// When the legacy tables may be read again.
    not_before: Option<Instant>,
}

/// One chain as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// A number for each rule, in order.
    pub rules: Vec<u64>,
    /// How many rules of the built-in chain lead to it.
    pub jumps: usize,
}

/// The families of a network that this node has rules for: the program, the network and this node's subnet.
pub fn plan(choice: RuleChoice, config: &NetworkConfig, own: &Subnets) -> Vec<Iptables> {
    let families = [
        (Program::V4, config.v4.map(|f| f.network), own.v4),
        (Program::V6, config.v6.map(|f| f.network), own.v6),
    ];
    families
        .into_iter()
        .filter_map(|(program, network, subnet)| {
            let (masquerade, forward) = (rules(choice.masquerade, network?, subnet?), accepts(network?));
            let lines = [masquerade, (choice.forward == Switch::On).then_some(forward)];
            let places = || PLACES.into_iter().zip(lines.clone());
            Some(Iptables {
                program,
                variant: None,
                wanted: places().filter_map(|(place, lines)| Some((place, lines?))).collect(),
                unwanted: places().filter(|(_, lines)| lines.is_none()).map(|(place, _)| place).collect(),
                level: None,
                not_before: None,
            })
        })
        .collect()
}

/// flannel-behaviour §10.1 in its order, each rule without chain and comment.
fn rules(ports: Option<Ports>, network: IpNetwork, subnet: IpNetwork) -> Option<Vec<String>> {
    let multicast = if network.is_ipv4() { "224.0.0.0/4" } else { "ff00::/8" };
    let masquerade = match ports? {
        Ports::Random => "MASQUERADE --random-fully",
        Ports::Kept => "MASQUERADE",
    };
    Some(vec![
        format!("-m mark --mark {KUBE_PROXY} -j RETURN"),
        format!("-s {subnet} -d {network} -j RETURN"),
        format!("-s {network} -d {subnet} -j RETURN"),
        format!("! -s {network} -d {subnet} -j RETURN"),
        format!("-s {network} ! -d {multicast} -j {masquerade}"),
        format!("! -s {network} -d {network} -j {masquerade}"),
    ])
}

fn accepts(network: IpNetwork) -> Vec<String> {
    vec![format!("-s {network} -j ACCEPT"), format!("-d {network} -j ACCEPT")]
}

impl Iptables {
    /// How many rules there should be.
    pub fn count(&self) -> usize {
        self.wanted.iter().map(|(_, lines)| lines.len()).sum()
    }

    /// Compares and mends: one text, in which each table is replaced at its COMMIT, so no packet meets a part of it. The
    /// answer is how many rules had to be put in place.
    pub fn ensure(&mut self, nft: &mut Nft) -> Result<usize, RulesError> {
        if self.not_before.is_some_and(|moment| Instant::now() < moment) {
            return Ok(0);
        }
        let now = self.read(nft)?;
        if self.level.as_ref() == Some(&now) {
            return Ok(0);
        }
        tracing::info!(program = self.program.restore(), "iptables rules put in place");
        self.program.restore_text(&self.text(&now, Flags::All)).or_else(|error| {
            tracing::debug!(%error, "without --random-fully, which an old iptables does not know");
            self.program.restore_text(&self.text(&now, Flags::Old))
        })?;
        for place in &self.unwanted {
            super::leftover::remove(nft, self.program, *place)?;
        }
        let level = self.read(nft)?;
        let whole =
            level.iter().zip(&self.wanted).all(|(state, (_, lines))| state.rules.len() == lines.len());
        self.level = Some(level).filter(|_| whole);
        Ok(self.count())
    }

    fn read(&mut self, nft: &mut Nft) -> Result<Vec<State>, RulesError> {
        let variant = match self.variant {
            Some(known) => known,
            None => *self.variant.insert(self.program.variant()?),
        };
        match variant {
            Variant::Nft => self.wanted.iter().map(|(place, _)| state(nft, self.program, *place)).collect(),
            Variant::Legacy => {
                self.not_before = Some(Instant::now() + LEGACY_PAUSE);
                self.wanted.iter().map(|(place, _)| self.program.saved(*place)).collect()
            }
        }
    }

    fn text(&self, now: &[State], flags: Flags) -> String {
        let tables = self.wanted.iter().zip(now).map(|((place, lines), state)| {
            let Place { table, base, chain, comment } = place;
            let remark = format!("-m comment --comment \"{comment}\"");
            let jump = (state.jumps == 0).then(|| format!("-A {base} {remark} -j {chain}\n"));
            let rules = lines.iter().map(|line| {
                let (matches, target) = line.rsplit_once("-j ").unwrap_or((line, "RETURN"));
                let target = match flags {
                    Flags::All => target.to_owned(),
                    Flags::Old => target.replace(" --random-fully", ""),
                };
                format!("-A {chain} {matches}{remark} -j {target}\n")
            });
            // A chain that is declared is made, or emptied.
            let begin = format!("*{table}\n:{chain} - [0:0]\n");
            let lines: String = jump.into_iter().chain(rules).collect();
            format!("{begin}{lines}COMMIT\n")
        });
        tables.collect()
    }
}

/// Whether the program knows all flags that we want.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flags {
    All,
    Old,
}

/// The table of `iptables-nft`.
pub fn table(program: Program, place: Place) -> Table<'static> {
    let family = match program {
        Program::V4 => nft::Family::Ip,
        Program::V6 => nft::Family::Ip6,
    };
    Table::new(family, place.table)
}

/// A chain of `iptables-nft`, read over netlink; nothing is listed but the two chains in question.
fn state(nft: &mut Nft, program: Program, place: Place) -> Result<State, RulesError> {
    let table = table(program, place);
    let rules = nft.rules(table.chain(place.chain))?;
    let base = nft.rules(table.chain(place.base))?;
    Ok(State {
        rules: rules.iter().map(nft::RuleState::fingerprint).collect(),
        jumps: base.iter().filter(|rule| rule.leads_to(place.chain)).count(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(masquerade: Option<Ports>) -> Vec<Iptables> {
        let config = NetworkConfig::parse(
            br#"{"Network":"10.3.0.0/16","EnableIPv6":true,"IPv6Network":"fd03::/48","EnableNFTables":false,"Backend":{"Type":"host-gw"}}"#,
        )
        .unwrap();
        let own = Subnets::parse_key("10.3.1.0-24&fd03:0:0:1::-64").unwrap();
        plan(RuleChoice { masquerade, forward: Switch::On }, &config, &own)
    }

    #[test]
    fn the_text_is_flannels_rules_in_their_order_with_their_comments() {
        let empty = [State { rules: vec![], jumps: 0 }, State { rules: vec![], jumps: 1 }];
        let want = "*nat\n:FLANNEL-POSTRTG - [0:0]\n\
            -A POSTROUTING -m comment --comment \"flanneld masq\" -j FLANNEL-POSTRTG\n\
            -A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -m comment --comment \"flanneld masq\" -j RETURN\n\
            -A FLANNEL-POSTRTG -s 10.3.1.0/24 -d 10.3.0.0/16 -m comment --comment \"flanneld masq\" -j RETURN\n\
            -A FLANNEL-POSTRTG -s 10.3.0.0/16 -d 10.3.1.0/24 -m comment --comment \"flanneld masq\" -j RETURN\n\
            -A FLANNEL-POSTRTG ! -s 10.3.0.0/16 -d 10.3.1.0/24 -m comment --comment \"flanneld masq\" -j RETURN\n\
            -A FLANNEL-POSTRTG -s 10.3.0.0/16 ! -d 224.0.0.0/4 -m comment --comment \"flanneld masq\" -j MASQUERADE --random-fully\n\
            -A FLANNEL-POSTRTG ! -s 10.3.0.0/16 -d 10.3.0.0/16 -m comment --comment \"flanneld masq\" -j MASQUERADE --random-fully\n\
            COMMIT\n*filter\n:FLANNEL-FWD - [0:0]\n\
            -A FLANNEL-FWD -s 10.3.0.0/16 -m comment --comment \"flanneld forward\" -j ACCEPT\n\
            -A FLANNEL-FWD -d 10.3.0.0/16 -m comment --comment \"flanneld forward\" -j ACCEPT\nCOMMIT\n";
        let families = planned(Some(Ports::Random));
        assert_eq!(families[0].text(&empty, Flags::All), want);
        assert!(families[1].text(&empty, Flags::All).contains("-s fd03::/48 ! -d ff00::/8"));
        assert!(!families[0].text(&empty, Flags::Old).contains("--random-fully"));
    }

    #[test]
    fn without_masquerade_its_chain_is_one_to_remove() {
        let families = planned(None);
        assert_eq!(families[0].unwanted, [PLACES[0]]);
        assert_eq!(families[0].wanted.len(), 1);
    }
}
