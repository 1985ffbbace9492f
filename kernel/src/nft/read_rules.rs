//! Reading the rules of one chain, our own and those of other programs.

use super::{
    assemble::{RULE_CHAIN, RULE_EXPRESSIONS, RULE_HANDLE, RULE_USER_DATA},
    attribute::{Attributes, Writer},
    comment, decode, encode,
    expression::Expression,
    message::Kind,
    object::{ChainName, Table},
    read::named,
    rule::Rule,
    socket::Nft,
    verdict::Verdict,
};
use crate::{Error, error::During, wire::Received};

/// A rule that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleState {
    /// What [`Transaction::delete_rule`](super::Transaction::delete_rule) wants.
    pub handle: u64,
    /// Its remark; that of `iptables -m comment` too.
    pub comment: Option<String>,
    /// Its instructions.
    pub expressions: Vec<Expression>,
}

impl Nft {
    /// Whether these chains of a table have these rules and no others. One question for all of them, and nothing of the
    /// answer is kept.
    pub fn has_rules(&mut self, table: Table<'_>, wanted: &[(&str, &[Rule])]) -> Result<bool, Error> {
        let request = named(Kind::GetRule, table, None);
        // What was read: of which chain a rule is, and whether it is the one that is wanted at its place.
        let all = self.channel.dump(request, |received, list: &mut Vec<(usize, bool)>| {
            let chain = Attributes::of(received).text(RULE_CHAIN);
            let Some(at) = wanted.iter().position(|(name, _)| chain.as_deref() == Some(*name)) else {
                return;
            };
            let before = list.iter().filter(|(chain, _)| *chain == at).count();
            let expected = wanted.get(at).and_then(|(_, rules)| rules.get(before));
            let same = expected.zip(read_rule(received)).is_some_and(|(wanted, there)| there.is(wanted));
            list.push((at, same));
        });
        let all = all.during(|| format!("listing rules of nftables table {table}"))?;
        // A chain may be named twice.
        let place = |name: &str| wanted.iter().position(|(known, _)| *known == name);
        let complete = |(name, rules): &(&str, &[Rule])| {
            all.iter().filter(|(chain, _)| Some(*chain) == place(name)).count() == rules.len()
        };
        Ok(all.iter().all(|(_, same)| *same) && wanted.iter().all(complete))
    }

    /// The rules of a chain, in order; none if the chain does not exist.
    pub fn rules(&mut self, chain: ChainName<'_>) -> Result<Vec<RuleState>, Error> {
        let request = named(Kind::GetRule, chain.table, Some((RULE_CHAIN, chain.name)));
        let all = self.channel.dump(request, |received, list| list.extend(read_rule(received)));
        all.during(|| format!("listing rules of nftables chain {chain}"))
    }
}

impl RuleState {
    /// The chains that this rule itself leads to, by jump or goto.
    pub fn targets(&self) -> impl Iterator<Item = &str> {
        self.expressions.iter().filter_map(|expression| match verdict(expression) {
            Some(verdict) => verdict.target(),
            None => None,
        })
    }

    /// Whether this rule itself leads to that chain.
    #[must_use]
    pub fn leads_to(&self, chain: &str) -> bool {
        self.targets().any(|target| target == chain)
    }

    /// Whether this is that rule: the same instructions (whatever was counted so far) and the same comment.
    #[must_use]
    pub fn is(&self, rule: &Rule) -> bool {
        // Mostly they read back as they were written; what is encoded alike is the same too.
        self.comment.as_deref() == rule.comment_text()
            && (self.expressions == rule.expressions() || self.fingerprint() == rule.fingerprint())
    }

    /// A number for the instructions; see [`fingerprint`].
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        fingerprint(&self.expressions)
    }
}

impl Rule {
    /// A number for the instructions; see [`fingerprint`].
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        fingerprint(self.expressions())
    }
}

/// A number that is the same for the same instructions, whether they are to be sent or were read back, whatever they
/// have counted; and the same in every run and version of this program (FNV-1a over the encoded form).
#[must_use]
pub fn fingerprint(expressions: &[Expression]) -> u64 {
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let fresh: Vec<_> = expressions.iter().map(uncounted).collect();
    let mut writer = Writer::default();
    encode::write(&mut writer, &fresh);
    writer.as_bytes().iter().fold(BASIS, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME))
}

#[expect(clippy::wildcard_enum_match_arm, reason = "only counters count")]
fn uncounted(expression: &Expression) -> Expression {
    match expression {
        Expression::Counter { .. } => Expression::Counter { packets: 0, bytes: 0 },
        other => other.clone(),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "only one instruction has a verdict of its own")]
fn verdict(expression: &Expression) -> Option<&Verdict> {
    match expression {
        Expression::Verdict(verdict) => Some(verdict),
        _ => None,
    }
}

pub(super) fn read_rule(received: &Received<'_>) -> Option<RuleState> {
    let attributes = Attributes::of(received);
    let expressions = decode::read(attributes.nested(RULE_EXPRESSIONS));
    let remark = attributes.find(RULE_USER_DATA).and_then(|data| comment::read(data.value));
    Some(RuleState {
        handle: attributes.u64(RULE_HANDLE)?,
        comment: remark.or_else(|| expressions.iter().find_map(xtables_comment)),
        expressions,
    })
}

/// `NFTA_MATCH_NAME` and `NFTA_MATCH_INFO` of `nf_tables_compat.h`.
const MATCH_NAME: u16 = 1;
const MATCH_INFO: u16 = 3;

/// The text of an iptables-nft rule's comment match: its data is `struct xt_comment_info`, the text with its zero.
#[expect(clippy::wildcard_enum_match_arm, reason = "only one instruction carries iptables matches")]
fn xtables_comment(expression: &Expression) -> Option<String> {
    match expression {
        Expression::Other { name, attributes } if name == "match" => {
            let data = Attributes(attributes);
            (data.text(MATCH_NAME)? == "comment").then(|| data.text(MATCH_INFO))?
        }
        _ => None,
    }
}
