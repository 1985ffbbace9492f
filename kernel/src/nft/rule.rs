//! A rule in the making: what it matches. What it then does is in `statement.rs`.

use super::{
    expression::{Expression, Membership, Relation},
    field::{self, Field, Network, Premise},
    keys::{AddressType, CtKey, CtState, CtStatus, FibResult, MetaKey},
    object::Family,
    register::Register,
    value::Value,
    verdict::Verdict,
};
use crate::Mac;
use ipnetwork::IpNetwork;

/// A rule: matches first, then what to do. It becomes the same instructions that nft makes of the same text.
///
/// ```
/// use kernel::nft::{Family, NatFlags, Relation, Rule};
/// // ip saddr 10.1.0.0/24 ip daddr != 224.0.0.0/4 masquerade fully-random comment "pods"
/// let rule = Rule::new(Family::Ip)
///     .source(Relation::Equal, "10.1.0.0/24".parse()?)
///     .destination(Relation::NotEqual, "224.0.0.0/4".parse()?)
///     .masquerade(NatFlags::FULLY_RANDOM)
///     .comment("pods");
/// # Ok::<(), ipnetwork::IpNetworkError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    family: Family,
    expressions: Vec<Expression>,
    comment: Option<String>,
    /// Tests that already stand in the rule.
    proved: Vec<Premise>,
    protocol: Option<u8>,
}

impl Rule {
    /// An empty rule for a table of that family.
    #[must_use]
    pub fn new(family: Family) -> Self {
        Self {
            family,
            expressions: Vec::with_capacity(12),
            comment: None,
            proved: Vec::new(),
            protocol: None,
        }
    }

    /// Adds a remark that `nft list` shows; at most 253 bytes.
    #[must_use]
    pub fn comment(mut self, comment: impl Into<String>) -> Self {
        self.comment = Some(comment.into());
        self
    }

    /// Adds an instruction as it is.
    #[must_use]
    pub fn push(mut self, expression: Expression) -> Self {
        self.expressions.push(expression);
        self
    }

    /// Its instructions.
    #[must_use]
    pub fn expressions(&self) -> &[Expression] {
        &self.expressions
    }

    pub(super) fn comment_text(&self) -> Option<&str> {
        self.comment.as_deref()
    }

    pub(super) fn family(&self) -> Family {
        self.family
    }

    /// Matches the source address: [`Relation::Equal`] is "in the network", [`Relation::NotEqual`] "outside".
    #[must_use]
    pub fn source(self, relation: Relation, network: IpNetwork) -> Self {
        self.address(Field::Source(of(network)), relation, network)
    }

    /// Matches the destination address, as [`Rule::source`] does.
    #[must_use]
    pub fn destination(self, relation: Relation, network: IpNetwork) -> Self {
        self.address(Field::Destination(of(network)), relation, network)
    }

    /// Matches any other field as a whole.
    #[must_use]
    pub fn field(self, field: Field, relation: Relation, value: impl Into<Value>) -> Self {
        self.premise(field).push(field.load(field.length(), Register::FIRST)).compare(relation, value.into())
    }

    /// Matches packets of one network protocol.
    #[must_use]
    pub fn network(self, network: Network) -> Self {
        self.prove(Premise::Network(network))
    }

    /// Matches the protocol over IP: 6 is TCP, 17 UDP, 132 SCTP.
    #[must_use]
    pub fn protocol(mut self, protocol: u8) -> Self {
        if self.protocol.replace(protocol) == Some(protocol) {
            return self;
        }
        self.field(Field::Protocol, Relation::Equal, Value::protocol(protocol))
    }

    /// Matches the destination port of a protocol.
    #[must_use]
    pub fn destination_port(self, protocol: u8, port: u16) -> Self {
        self.protocol(protocol).field(Field::DestinationPort, Relation::Equal, Value::port(port))
    }

    /// Matches the source port of a protocol.
    #[must_use]
    pub fn source_port(self, protocol: u8, port: u16) -> Self {
        self.protocol(protocol).field(Field::SourcePort, Relation::Equal, Value::port(port))
    }

    /// Matches the interface where the packet came in; a `*` at the end stands for any rest.
    #[must_use]
    pub fn input_interface(self, relation: Relation, name: &str) -> Self {
        self.interface(MetaKey::IIFNAME, relation, name)
    }

    /// Matches the interface where the packet goes out; a `*` at the end stands for any rest.
    #[must_use]
    pub fn output_interface(self, relation: Relation, name: &str) -> Self {
        self.interface(MetaKey::OIFNAME, relation, name)
    }

    /// Matches the frame's source.
    #[must_use]
    pub fn ether_source(self, relation: Relation, mac: Mac) -> Self {
        self.field(Field::EtherSource, relation, mac)
    }

    /// Matches the whole packet mark.
    #[must_use]
    pub fn mark(self, relation: Relation, mark: u32) -> Self {
        self.field(Field::Mark, relation, Value::mark(mark))
    }

    /// Matches the bits of the packet mark that `mask` has: `meta mark & mask == bits`.
    #[must_use]
    pub fn mark_bits(self, mask: u32, bits: u32) -> Self {
        self.push(Expression::Meta { key: MetaKey::MARK, into: Register::FIRST })
            .mask(&mask.to_ne_bytes())
            .compare(Relation::Equal, Value::mark(bits))
    }

    /// Matches connections in one of these states.
    #[must_use]
    pub fn state(self, states: CtState) -> Self {
        self.any_bit(CtKey::STATE, states.0)
    }

    /// Matches connections of which one of these is true.
    #[must_use]
    pub fn status(self, status: CtStatus) -> Self {
        self.any_bit(CtKey::STATUS, status.0)
    }

    /// Matches what the routing table says of the destination address (`fib daddr type local`).
    #[must_use]
    pub fn destination_type(self, relation: Relation, kind: AddressType) -> Self {
        self.address_type(FIB_DESTINATION, relation, kind)
    }

    /// Matches what the routing table says of the source address (`fib saddr type local`).
    #[must_use]
    pub fn source_type(self, relation: Relation, kind: AddressType) -> Self {
        self.address_type(FIB_SOURCE, relation, kind)
    }

    /// Matches when a set of this table has (or has not) the key that the fields make.
    #[must_use]
    pub fn lookup(self, fields: &[Field], membership: Membership, set: &str) -> Self {
        self.load(fields).push(Expression::Lookup { set: set.to_owned(), from: Register::FIRST, membership })
    }

    /// Loads the fields into consecutive registers, as the key of a set is laid out.
    pub(super) fn load(self, fields: &[Field]) -> Self {
        let tested = fields.iter().fold(self, |rule, field| rule.premise(*field));
        let (rule, _) = fields.iter().fold((tested, Register::FIRST), |(rule, into), field| {
            let next = into.after(field.length());
            (rule.push(field.load(field.length(), into)), next)
        });
        rule
    }

    /// Goes on only if the first register compares.
    pub(super) fn compare(self, relation: Relation, value: Value) -> Self {
        self.push(Expression::Compare { from: Register::FIRST, relation, value })
    }

    /// Keeps the bits of the first register that the mask has.
    pub(super) fn mask(self, mask: &[u8]) -> Self {
        let zero = Value::new(&vec![0; mask.len()]);
        let place = Register::FIRST;
        self.push(Expression::Bitwise { from: place, into: place, mask: Value::new(mask), xor: zero })
    }

    pub(super) fn decide(self, verdict: Verdict) -> Self {
        self.push(Expression::Verdict(verdict))
    }

    fn premise(self, field: Field) -> Self {
        self.prove(field.premise())
    }

    /// Adds a test, unless it stands there already or its family needs none.
    fn prove(mut self, premise: Premise) -> Self {
        if self.proved.contains(&premise) {
            return self;
        }
        if let Some(test) = premise.test(self.family) {
            self.proved.push(premise);
            self.expressions.extend(field::equal(test));
        }
        self
    }

    fn address(self, field: Field, relation: Relation, network: IpNetwork) -> Self {
        let base = Value::from(network.network());
        let bits = network.prefix();
        let whole = u32::from(bits / 8);
        // As nft does: whole bytes are loaded and compared alone, anything else is masked.
        if bits.is_multiple_of(8) && bits > 0 {
            let bytes = base.as_bytes().get(..whole as usize).unwrap_or_default();
            return self
                .premise(field)
                .push(field.load(whole, Register::FIRST))
                .compare(relation, Value::new(bytes));
        }
        let mask = Value::from(network.mask());
        let loaded = self.premise(field).push(field.load(field.length(), Register::FIRST));
        loaded.mask(mask.as_bytes()).compare(relation, base)
    }

    fn interface(self, key: MetaKey, relation: Relation, name: &str) -> Self {
        let value = match name.strip_suffix('*') {
            Some(beginning) => Value::new(beginning.as_bytes()),
            None => Value::ifname(name),
        };
        self.push(Expression::Meta { key, into: Register::FIRST }).compare(relation, value)
    }

    fn any_bit(self, key: CtKey, bits: u32) -> Self {
        self.push(Expression::Ct { key, direction: None, into: Register::FIRST })
            .mask(&bits.to_ne_bytes())
            .compare(Relation::NotEqual, Value::new(&[0; 4]))
    }

    fn address_type(self, by: u32, relation: Relation, kind: AddressType) -> Self {
        let into = Register::FIRST;
        self.push(Expression::Fib { by, result: FibResult::ADDRESS_TYPE, into })
            .compare(relation, Value::mark(kind.0))
    }
}

/// `NFTA_FIB_F_SADDR` and `NFTA_FIB_F_DADDR`.
const FIB_SOURCE: u32 = 1;
const FIB_DESTINATION: u32 = 2;

fn of(network: IpNetwork) -> Network {
    match network {
        IpNetwork::V4(_) => Network::Ip,
        IpNetwork::V6(_) => Network::Ip6,
    }
}
