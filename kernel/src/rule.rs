//! Policy routing rules: which packets are routed by which table.

use crate::{
    Error, Family, Rtnl,
    abi::{af, fra, nlm, rtm},
    error::During,
    wire::{Attribute, Message, Received, attributes, u32_at},
};
use ipnetwork::IpNetwork;
use nix::libc;

/// Length of `struct fib_rule_hdr`.
const FIXED: usize = 12;

/// A rule by source address; what else a rule can ask for is only told of.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rule {
    /// IPv4 or IPv6.
    pub family: Family,
    /// Packets from here; without, from anywhere.
    pub source: Option<IpNetwork>,
    /// The table that routes them.
    pub table: u32,
    /// Lower ones are asked first. Without, a new rule goes before all but the first of those that are there.
    pub priority: Option<u32>,
    /// Who made it (`RTPROT_*`, `/etc/iproute2/rt_protos`).
    pub protocol: u8,
    /// It asks for more than the source: destination, mark, link, port, or does something else than route.
    pub is_special: bool,
}

impl Rtnl {
    /// Adds a rule.
    ///
    /// # Errors
    /// `EEXIST` if there is the same one.
    pub fn add_rule(&mut self, rule: &Rule) -> Result<(), Error> {
        self.change(message(rule, rtm::NEWRULE, nlm::CREATE | nlm::EXCL), || doing("adding", rule))
    }

    /// Deletes a rule. What the value says must fit.
    ///
    /// # Errors
    /// `ENOENT` if there is none.
    pub fn delete_rule(&mut self, rule: &Rule) -> Result<(), Error> {
        self.change(message(rule, rtm::DELRULE, 0), || doing("deleting", rule))
    }

    /// The rules of a family, in the order in which the kernel asks them.
    pub fn rules(&mut self, family: Family) -> Result<Vec<Rule>, Error> {
        let fixed = [[number(family), 0, 0, 0], [0; 4], [0; 4]];
        let message = Message::new(rtm::GETRULE, 0, fixed.as_flattened());
        self.channel.dump(message, collect).during(|| format!("listing the rules of {family:?}"))
    }

    /// The rules of both families. A kernel without IPv6 has none of that.
    pub fn all_rules(&mut self) -> Result<Vec<Rule>, Error> {
        let mut rules = self.rules(Family::V4)?;
        match self.rules(Family::V6) {
            Err(error) if error.errno() == Some(libc::EOPNOTSUPP) => {}
            more => rules.extend(more?),
        }
        Ok(rules)
    }
}

fn doing(verb: &str, rule: &Rule) -> String {
    let source = rule.source.map_or_else(|| "anywhere".to_owned(), |source| source.to_string());
    format!("{verb} rule from {source} to table {}", rule.table)
}

fn number(family: Family) -> u8 {
    match family {
        Family::V4 => af::INET,
        Family::V6 => af::INET6,
    }
}

fn message(rule: &Rule, kind: u16, flags: u16) -> Message {
    let small = u8::try_from(rule.table).unwrap_or(0);
    let length = rule.source.map_or(0, |source| source.prefix());
    // family, lengths of destination and source, tos; table, two reserved, action; flags
    let fixed = [[number(rule.family), 0, length, 0], [small, 0, 0, fra::TO_TABLE], [0; 4]];
    let mut message = Message::new(kind, flags, fixed.as_flattened());
    if let Some(source) = rule.source.filter(|source| source.prefix() > 0) {
        message.put_ip(fra::SRC, source.ip());
    }
    message.put_u32(fra::TABLE, rule.table);
    if let Some(priority) = rule.priority {
        message.put_u32(fra::PRIORITY, priority);
    }
    message.put(fra::PROTOCOL, &[rule.protocol]);
    message
}

fn collect(received: &Received<'_>, rules: &mut Vec<Rule>) {
    rules.extend(read_rule(received));
}

fn read_rule(received: &Received<'_>) -> Option<Rule> {
    if received.kind != rtm::NEWRULE {
        return None;
    }
    let [family, destination, source, tos] = *received.payload.first_chunk()?;
    let [table, _, _, action] = *received.payload.get(4..)?.first_chunk()?;
    let mut rule = Rule {
        family: if family == af::INET { Family::V4 } else { Family::V6 },
        source: None,
        table: u32::from(table),
        // The kernel leaves out a zero.
        priority: Some(0),
        protocol: 0,
        is_special: destination != 0
            || tos != 0
            || action != fra::TO_TABLE
            || u32_at(received.payload, 8)? != 0,
    };
    for attribute in attributes(received.payload, FIXED) {
        read_attribute(&mut rule, &attribute, source);
    }
    Some(rule)
}

fn read_attribute(rule: &mut Rule, attribute: &Attribute<'_>, prefix: u8) {
    match attribute.kind {
        fra::SRC => rule.source = attribute.ip().and_then(|ip| IpNetwork::new(ip, prefix).ok()),
        fra::TABLE => rule.table = attribute.u32().unwrap_or(rule.table),
        fra::PRIORITY => rule.priority = attribute.u32(),
        fra::PROTOCOL => rule.protocol = attribute.u8().unwrap_or(0),
        kind => rule.is_special |= fra::SELECTORS.contains(&kind),
    }
}
