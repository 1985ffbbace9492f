//! Expressions as the attributes that the kernel reads.

use super::{
    attribute::Writer,
    element::write_value,
    expression::{Expression, Membership, Nat, NatKind},
    keys::NatFlags,
    register::Register,
    value::Value,
};

/// `NFTA_LIST_ELEM`, and `enum nft_expr_attributes`.
const LIST_ELEMENT: u16 = 1;
const NAME: u16 = 1;
const DATA: u16 = 2;
/// `NFT_REG_VERDICT`.
pub(super) const VERDICT_REGISTER: u32 = 0;
/// `NFT_LOOKUP_F_INV`.
pub(super) const INVERTED: u32 = 1;

/// Writes a list of expressions.
pub(super) fn write(writer: &mut Writer, expressions: &[Expression]) {
    for expression in expressions {
        writer.nest(LIST_ELEMENT, |entry| {
            entry.text(NAME, expression.name());
            entry.nest(DATA, |data| write_one(data, expression));
        });
    }
}

impl Expression {
    /// The kernel's name of the instruction.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Payload { .. } => "payload",
            Self::Meta { .. } | Self::SetMeta { .. } => "meta",
            Self::Ct { .. } | Self::SetCt { .. } => "ct",
            Self::Fib { .. } => "fib",
            Self::Compare { .. } => "cmp",
            Self::Bitwise { .. } => "bitwise",
            Self::Immediate { .. } | Self::Verdict(_) => "immediate",
            Self::Lookup { .. } | Self::Map { .. } | Self::VerdictMap { .. } => "lookup",
            Self::Counter { .. } => "counter",
            Self::Masquerade(_) => "masq",
            Self::Nat(_) => "nat",
            Self::Redirect { .. } => "redir",
            Self::Reject { .. } => "reject",
            Self::Other { name, .. } => name,
        }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the other half follows")]
fn write_one(w: &mut Writer, expression: &Expression) {
    match expression {
        Expression::Payload { header, offset, length, into } => {
            numbers(w, &[(1, into.number()), (2, *header as u32), (3, *offset), (4, *length)]);
        }
        Expression::Compare { from, relation, value } => {
            numbers(w, &[(1, from.number()), (2, *relation as u32)]);
            write_value(w, 3, value);
        }
        Expression::Bitwise { from, into, mask, xor } => {
            let length = u32::try_from(mask.as_bytes().len()).unwrap_or(u32::MAX);
            numbers(w, &[(1, from.number()), (2, into.number()), (3, length)]);
            write_value(w, 4, mask);
            write_value(w, 5, xor);
        }
        Expression::Immediate { into, value } => write_immediate(w, *into, value),
        Expression::Verdict(verdict) => {
            w.u32(1, VERDICT_REGISTER);
            w.nest(2, |data| verdict.write(data));
        }
        Expression::Lookup { set, from, membership } => {
            w.text(1, set);
            w.u32(2, from.number());
            if *membership == Membership::NotIn {
                w.u32(5, INVERTED);
            }
        }
        Expression::Map { map, from, into } => write_map(w, map, (*from, into.number())),
        Expression::VerdictMap { map, from } => write_map(w, map, (*from, VERDICT_REGISTER)),
        Expression::Other { attributes, .. } => w.raw(attributes),
        other => write_plain(w, other),
    }
}

/// The expressions whose attributes are numbers alone.
#[expect(clippy::wildcard_enum_match_arm, reason = "the second half of one match, split for its length")]
fn write_plain(w: &mut Writer, expression: &Expression) {
    match expression {
        Expression::Meta { key, into } => numbers(w, &[(1, into.number()), (2, key.0)]),
        Expression::SetMeta { key, from } => numbers(w, &[(2, key.0), (3, from.number())]),
        Expression::Ct { key, direction, into } => {
            numbers(w, &[(1, into.number()), (2, key.0)]);
            if let Some(direction) = direction {
                w.bytes(3, &[*direction as u8]);
            }
        }
        Expression::SetCt { key, from } => numbers(w, &[(2, key.0), (4, from.number())]),
        Expression::Fib { by, result, into } => {
            numbers(w, &[(1, into.number()), (2, result.0), (3, *by)]);
        }
        Expression::Counter { packets, bytes } => {
            w.u64(1, *bytes);
            w.u64(2, *packets);
        }
        Expression::Masquerade(flags) => write_flags(w, 1, *flags),
        Expression::Nat(nat) => write_nat(w, nat),
        Expression::Redirect { port, flags } => {
            if let Some(port) = port {
                w.u32(1, port.number());
            }
            write_flags(w, 3, *flags);
        }
        Expression::Reject { kind, code } => {
            w.u32(1, *kind);
            w.bytes(2, &[*code]);
        }
        _ => {}
    }
}

fn numbers(w: &mut Writer, attributes: &[(u16, u32)]) {
    for (kind, value) in attributes {
        w.u32(*kind, *value);
    }
}

fn write_immediate(w: &mut Writer, into: Register, value: &Value) {
    w.u32(1, into.number());
    write_value(w, 2, value);
}

fn write_map(w: &mut Writer, map: &str, (from, into): (Register, u32)) {
    w.text(1, map);
    numbers(w, &[(2, from.number()), (3, into)]);
}

fn write_nat(w: &mut Writer, nat: &Nat) {
    let kind = match nat.kind {
        NatKind::Source => 0,
        NatKind::Destination => 1,
    };
    numbers(w, &[(1, kind), (2, u32::from(nat.family.number()))]);
    if let Some(address) = nat.address {
        w.u32(3, address.number());
    }
    if let Some(port) = nat.port {
        w.u32(5, port.number());
    }
    write_flags(w, 7, nat.flags);
}

fn write_flags(w: &mut Writer, kind: u16, flags: NatFlags) {
    if flags != NatFlags::NONE {
        w.u32(kind, flags.0);
    }
}
