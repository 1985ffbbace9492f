//! What else a packet must be to be mapped (`conditionsV4`, `conditionsV6`): tests, read from nft's words, and the rules that
//! turn away what fails them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;
use kernel::Family;
use kernel::nft::{Expression, MetaKey, Register, Relation, Rule, Value};

use crate::table::rule;

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// What is asked for.
    pub test: Test,
    /// Whether it must be so, or must not.
    pub sense: Sense,
}

/// What a packet can be asked for: one of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// `ip saddr`, `ip6 saddr`.
    Source(Vec<IpNetwork>),
    /// `ip daddr`, `ip6 daddr`.
    Destination(Vec<IpNetwork>),
    /// `iifname`; a `*` at the end stands for any rest.
    InputInterface(Vec<String>),
    /// `meta mark`, or some bits of it.
    PacketMark(Bits),
}

/// Bits of the packet mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bits {
    /// Which are looked at.
    pub mask: u32,
    /// What they are.
    pub value: u32,
}

/// Whether a condition is meant as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sense {
    /// It is.
    Is,
    /// The opposite.
    IsNot,
}

/// The advice where a condition is not understood.
pub const REMEDY: &str = "known are \"ip saddr\", \"ip daddr\" (or ip6) with an address, a network, a range or a set of them, \"iifname\" \
with a name or a set of them, and \"meta mark\" with an optional mask, each with an optional \"!=\", one after the other; for anything \
else set \"backend\" to \"iptables\" and write iptables matches";

impl Condition {
    /// Reads the tokens of one family, all of which must hold.
    ///
    /// # Errors
    /// The words that are not understood.
    pub fn parse(family: Family, tokens: &[String]) -> Result<Vec<Self>, String> {
        let spaced = tokens.join(" ").replace(',', " , ").replace('{', " { ").replace('}', " } ");
        let words: Vec<&str> = spaced.split_whitespace().collect();
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
        match words {
            ["meta", "mark", after @ ..] => marked(after),
            [first, field @ ("saddr" | "daddr"), after @ ..] if *first == ip => {
                let (sense, values, after) = values(after)?;
                let mut networks = Vec::new();
                for value in values {
                    networks.extend(addresses(family, value)?);
                }
                let test =
                    if *field == "saddr" { Test::Source(networks) } else { Test::Destination(networks) };
                Some((Self { test, sense }, after))
            }
            ["iifname", after @ ..] | ["meta", "iifname", after @ ..] => {
                let (sense, values, after) = values(after)?;
                let names = values.into_iter().map(interface).collect::<Option<Vec<_>>>()?;
                Some((Self { test: Test::InputInterface(names), sense }, after))
            }
            _ => None,
        }
    }

    /// Rules that give a packet back which is not as it must be: in a chain, what comes after them need not ask.
    #[must_use]
    pub fn guards(&self) -> Vec<Rule> {
        match self.sense {
            // It is none of them.
            Sense::Is => {
                vec![(0..self.test.len()).fold(rule(), |rule, nth| self.on(rule, nth, Relation::NotEqual))]
            }
            Sense::IsNot => (0..self.test.len()).map(|nth| self.on(rule(), nth, Relation::Equal)).collect(),
        }
        .into_iter()
        .map(Rule::give_back)
        .collect()
    }

    fn on(&self, rule: Rule, nth: usize, relation: Relation) -> Rule {
        match &self.test {
            Test::Source(networks) => {
                networks.get(nth).map(|network| rule.clone().source(relation, *network))
            }
            Test::Destination(networks) => {
                networks.get(nth).map(|network| rule.clone().destination(relation, *network))
            }
            Test::InputInterface(names) => {
                names.get(nth).map(|name| rule.clone().input_interface(relation, name))
            }
            Test::PacketMark(bits) => Some(bits.on(rule.clone(), relation)),
        }
        .unwrap_or(rule)
    }
}

impl Test {
    fn len(&self) -> usize {
        match self {
            Self::Source(networks) | Self::Destination(networks) => networks.len(),
            Self::InputInterface(names) => names.len(),
            Self::PacketMark(_) => 1,
        }
    }
}

impl Bits {
    fn on(self, rule: Rule, relation: Relation) -> Rule {
        let (from, into) = (Register::FIRST, Register::FIRST);
        let (mask, xor) = (Value::mark(self.mask), Value::mark(0));
        rule.push(Expression::Meta { key: MetaKey::MARK, into })
            .push(Expression::Bitwise { from, into, mask, xor })
            .push(Expression::Compare { from, relation, value: Value::mark(self.value) })
    }
}

/// `[!=] VALUE`, or `[!=] { VALUE, ... }`.
type Values<'w> = (Sense, Vec<&'w str>, &'w [&'w str]);

fn values<'w>(words: &'w [&'w str]) -> Option<Values<'w>> {
    let (sense, words) = sense(words);
    let Some(("{", after)) = words.split_first().map(|(first, after)| (*first, after)) else {
        let (value, after) = words.split_first()?;
        return Some((sense, vec![*value], after));
    };
    let end = after.iter().position(|word| *word == "}")?;
    let (inside, after) = (after.get(..end)?, after.get(end + 1..)?);
    let values: Vec<&str> = inside.iter().copied().step_by(2).collect();
    let commas = inside.iter().skip(1).step_by(2);
    (!values.is_empty() && !values.contains(&",") && commas.into_iter().all(|word| *word == ","))
        .then_some((sense, values, after))
}

fn sense<'w>(words: &'w [&'w str]) -> (Sense, &'w [&'w str]) {
    match words {
        ["!=" | "ne", after @ ..] => (Sense::IsNot, after),
        ["==" | "eq", after @ ..] => (Sense::Is, after),
        _ => (Sense::Is, words),
    }
}

/// What comes behind `meta mark`: `[!=] VALUE`, or `& MASK [!=] VALUE`.
fn marked<'w>(words: &'w [&'w str]) -> Option<(Condition, &'w [&'w str])> {
    let (mask, words) = match words {
        ["&" | "and", mask, after @ ..] => (number(mask)?, after),
        _ => (u32::MAX, words),
    };
    let (sense, words) = sense(words);
    let (value, after) = words.split_first()?;
    let test = Test::PacketMark(Bits { mask, value: number(value)? });
    Some((Condition { test, sense }, after))
}

/// An address, a network with a prefix length, or a range from one address to another; dotted masks and short forms
/// are none.
#[must_use]
pub fn addresses(family: Family, text: &str) -> Option<Vec<IpNetwork>> {
    let networks = if text.contains('/') {
        vec![text.parse::<cni::Cidr>().ok()?.network().into()]
    } else if let Some((first, last)) = text.split_once('-') {
        range(first.parse().ok()?, last.parse().ok()?)?
    } else {
        vec![IpNetwork::from(text.parse::<IpAddr>().ok()?)]
    };
    networks.iter().all(|network| Family::from(network.ip()) == family).then_some(networks)
}

/// The fewest networks that make up a range of addresses.
fn range(first: IpAddr, last: IpAddr) -> Option<Vec<IpNetwork>> {
    let (width, first, last) = match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => {
            (32, u128::from(first.to_bits()), u128::from(last.to_bits()))
        }
        (IpAddr::V6(first), IpAddr::V6(last)) => (128, first.to_bits(), last.to_bits()),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return None,
    };
    let mut networks = Vec::new();
    let mut next = Some(first).filter(|first| *first <= last);
    while let Some(begin) = next {
        // As many addresses as alignment and what is left allow.
        let mut host_bits = begin.trailing_zeros().min(width);
        while host_bits > 0 && begin | (u128::MAX >> (128 - host_bits)) > last {
            host_bits -= 1;
        }
        let end = begin | u128::MAX.checked_shr(128 - host_bits).unwrap_or(0);
        let address = if width == 32 {
            IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(begin).ok()?))
        } else {
            IpAddr::V6(Ipv6Addr::from_bits(begin))
        };
        networks.push(IpNetwork::new(address, u8::try_from(width - host_bits).ok()?).ok()?);
        next = end.checked_add(1).filter(|begin| *begin <= last);
    }
    (!networks.is_empty()).then_some(networks)
}

fn interface(text: &str) -> Option<String> {
    let name = text.trim_matches('"');
    let fits = (1..=15).contains(&name.len()) && name != "*" && !name.contains(['/', '"', '@', '$']);
    fits.then(|| name.to_owned())
}

/// A decimal or hexadecimal number; octal ones, which both programs take a leading zero for, are none.
#[must_use]
pub fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None if text.len() > 1 && text.starts_with('0') => None,
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

    fn networks(texts: &[&str]) -> Vec<IpNetwork> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn one_or_many_tokens_make_the_same_conditions() {
        let wanted = vec![
            Condition { test: Test::Source(networks(&["192.0.2.0/24"])), sense: Sense::IsNot },
            Condition { test: Test::InputInterface(vec!["eth0".into()]), sense: Sense::Is },
        ];
        assert_eq!(parse(&["ip saddr != 192.0.2.0/24 iifname eth0"]).unwrap(), wanted);
        assert_eq!(
            parse(&["ip", "saddr", "!=", "192.0.2.7/24", "meta iifname", "\"eth0\""]).unwrap(),
            wanted
        );
        assert_eq!(parse(&[]).unwrap(), []);
    }

    #[test]
    fn sets_ranges_and_masks_are_read() {
        // As a user of the reference wrote it: containernetworking/plugins#1115.
        let set = parse(&["ip", "daddr", "!=", "{ 127.0.0.0/8, 198.19.254.254 }"]).unwrap();
        let both = networks(&["127.0.0.0/8", "198.19.254.254/32"]);
        assert_eq!(set, [Condition { test: Test::Destination(both), sense: Sense::IsNot }]);
        assert_eq!(set[0].guards().len(), 2);
        let range = parse(&["ip saddr 10.0.0.1-10.0.0.6"]).unwrap();
        let pieces = networks(&["10.0.0.1/32", "10.0.0.2/31", "10.0.0.4/31", "10.0.0.6/32"]);
        assert_eq!(range, [Condition { test: Test::Source(pieces), sense: Sense::Is }]);
        assert_eq!(range[0].guards().len(), 1);
        let mark = parse(&["meta mark & 0xff00 != 0x1000", "meta mark 7"]).unwrap();
        assert_eq!(mark[0].test, Test::PacketMark(Bits { mask: 0xff00, value: 0x1000 }));
        assert_eq!((mark[0].sense, mark[1].sense), (Sense::IsNot, Sense::Is));
        let names = parse(&["iifname {eth0,eth1*}"]).unwrap();
        assert_eq!(names[0].test, Test::InputInterface(vec!["eth0".into(), "eth1*".into()]));
    }

    #[test]
    fn a_range_is_exactly_its_networks() {
        let check = |first: &str, last: &str, wanted: &[&str]| {
            assert_eq!(
                range(first.parse().unwrap(), last.parse().unwrap()).unwrap_or_default(),
                networks(wanted)
            );
        };
        check("0.0.0.0", "255.255.255.255", &["0.0.0.0/0"]);
        check("255.255.255.255", "255.255.255.255", &["255.255.255.255/32"]);
        check("10.0.0.0", "10.0.1.0", &["10.0.0.0/24", "10.0.1.0/32"]);
        check("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", &["::/0"]);
        check("fd00::ffff", "fd00::1:0", &["fd00::ffff/128", "fd00::1:0/128"]);
        check("10.0.0.2", "10.0.0.1", &[]);
        check("10.0.0.2", "fd00::1", &[]);
    }

    #[test]
    fn what_is_not_understood_is_named_from_where_it_begins() {
        for (tokens, named) in [
            (&["ip saddr 10.0.0.1 ct state new"][..], "ct state new"),
            (&["ip6 saddr fd00::1"], "ip6 saddr fd00::1"),
            (&["ip saddr { 10.0.0.1 10.0.0.2 }"], "ip saddr { 10.0.0.1 10.0.0.2 }"),
            (&["ip saddr { }"], "ip saddr { }"),
            (&["ip saddr { 10.0.0.1"], "ip saddr { 10.0.0.1"),
            (&["ip saddr @allowed"], "ip saddr @allowed"),
            (&["ip", "daddr"], "ip daddr"),
            (&["ip daddr fd00::1"], "ip daddr fd00::1"),
            (&["meta saddr 10.0.0.1"], "meta saddr 10.0.0.1"),
            (&["iifname @uplinks"], "iifname @uplinks"),
            (&["meta mark 010"], "meta mark 010"),
        ] {
            assert_eq!(parse(tokens).unwrap_err(), named);
        }
    }
}
