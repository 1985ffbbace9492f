//! `conditionsV4` and `conditionsV6` in nft's words, as far as they are understood here: what a packet must be to be mapped.

use ipnetwork::IpNetwork;
use kernel::Family;
use kernel::nft::{Relation, Rule};

/// What else a packet must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// `ip saddr`, `ip6 saddr`.
    Source(Relation, IpNetwork),
    /// `ip daddr`, `ip6 daddr`.
    Destination(Relation, IpNetwork),
    /// `iifname`; a `*` at the end stands for any rest.
    InputInterface(Relation, String),
    /// `meta mark`.
    PacketMark(Relation, u32),
}

/// The advice where a condition is not understood.
pub const REMEDY: &str = "known are \"ip saddr\", \"ip daddr\" (or ip6) with an address or network, \"iifname\" and \"meta mark\", each \
with an optional \"!=\", one after the other; for anything else set \"backend\" to \"iptables\" and write iptables matches";

impl Condition {
    /// Reads the tokens of one family, all of which must hold.
    ///
    /// # Errors
    /// The words that are not understood.
    pub fn parse(family: Family, tokens: &[String]) -> Result<Vec<Self>, String> {
        let joined = tokens.join(" ");
        let words: Vec<&str> = joined.split_whitespace().collect();
        let mut rest = words.as_slice();
        let mut conditions = Vec::new();
        while !rest.is_empty() {
            let (condition, after) = Self::next(family, rest).ok_or_else(|| rest.join(" "))?;
            conditions.push(condition);
            rest = after;
        }
        Ok(conditions)
    }

    fn next<'w>(family: Family, words: &'w [&'w str]) -> Option<(Self, &'w [&'w str])> {
        let ip = if family == Family::V4 { "ip" } else { "ip6" };
        let (field, after) = match words {
            [first, second, after @ ..] if *first == ip => (*second, after),
            ["meta", second, after @ ..] => (*second, after),
            [first @ "iifname", after @ ..] => (*first, after),
            _ => return None,
        };
        let in_meta = words.first().is_some_and(|word| *word == "meta");
        let (relation, after) = match after {
            ["!=" | "ne", after @ ..] => (Relation::NotEqual, after),
            ["==" | "eq", after @ ..] => (Relation::Equal, after),
            _ => (Relation::Equal, after),
        };
        let (value, after) = after.split_first()?;
        let condition = match field {
            "saddr" if !in_meta => Self::Source(relation, network(family, value)?),
            "daddr" if !in_meta => Self::Destination(relation, network(family, value)?),
            "iifname" => Self::InputInterface(relation, interface(value)?),
            "mark" if in_meta => Self::PacketMark(relation, number(value)?),
            _ => return None,
        };
        Some((condition, after))
    }

    /// The rule with this test in it.
    #[must_use]
    pub fn on(&self, rule: Rule) -> Rule {
        match self {
            Self::Source(relation, network) => rule.source(*relation, *network),
            Self::Destination(relation, network) => rule.destination(*relation, *network),
            Self::InputInterface(relation, name) => rule.input_interface(*relation, name),
            Self::PacketMark(relation, mark) => rule.mark(*relation, *mark),
        }
    }
}

/// An address, or a network with a prefix length; dotted masks and short forms are none.
fn network(family: Family, text: &str) -> Option<IpNetwork> {
    let network: IpNetwork = if text.contains('/') {
        text.parse::<cni::Cidr>().ok()?.network().into()
    } else {
        IpNetwork::from(text.parse::<std::net::IpAddr>().ok()?)
    };
    (Family::from(network.ip()) == family).then_some(network)
}

fn interface(text: &str) -> Option<String> {
    let name = text.trim_matches('"');
    let fits = (1..=15).contains(&name.len()) && !name.contains(['/', '"', '{', '@']);
    fits.then(|| name.to_owned())
}

fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(tokens: &[&str]) -> Result<Vec<Condition>, String> {
        let tokens: Vec<String> = tokens.iter().map(|token| (*token).to_owned()).collect();
        Condition::parse(Family::V4, &tokens)
    }

    #[test]
    fn one_or_many_tokens_make_the_same_conditions() {
        let wanted = vec![
            Condition::Source(Relation::NotEqual, "192.0.2.0/24".parse().unwrap()),
            Condition::InputInterface(Relation::Equal, "eth0".into()),
        ];
        assert_eq!(parse(&["ip saddr != 192.0.2.0/24 iifname eth0"]).unwrap(), wanted);
        assert_eq!(parse(&["ip", "saddr", "!=", "192.0.2.7/24", "iifname", "\"eth0\""]).unwrap(), wanted);
        assert_eq!(parse(&["meta", "mark", "0x10"]).unwrap(), [Condition::PacketMark(Relation::Equal, 16)]);
        assert_eq!(parse(&[]).unwrap(), []);
    }

    #[test]
    fn what_is_not_understood_is_named_from_where_it_begins() {
        for (tokens, named) in [
            (&["ip saddr 10.0.0.1 ct state new"][..], "ct state new"),
            (&["ip6 saddr fd00::1"], "ip6 saddr fd00::1"),
            (&["ip saddr { 10.0.0.1, 10.0.0.2 }"], "ip saddr { 10.0.0.1, 10.0.0.2 }"),
            (&["ip", "daddr"], "ip daddr"),
            (&["ip daddr fd00::1"], "ip daddr fd00::1"),
            (&["meta saddr 10.0.0.1"], "meta saddr 10.0.0.1"),
        ] {
            assert_eq!(parse(tokens).unwrap_err(), named);
        }
    }
}
