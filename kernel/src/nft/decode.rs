//! Expressions as read from the kernel; what is not understood to the last attribute stays [`Expression::Other`].

use super::{
    attribute::Attributes,
    element::read_value,
    encode::{INVERTED, VERDICT_REGISTER},
    expression::{Direction, Expression, Header, Membership, Nat, NatKind, Relation},
    keys::{CtKey, FibResult, MetaKey, NatFlags},
    object::Family,
    register::Register,
    verdict::Verdict,
};

/// `enum nft_expr_attributes`.
const NAME: u16 = 1;
const DATA: u16 = 2;

/// Reads a list of expressions.
pub(super) fn read(list: Attributes<'_>) -> Vec<Expression> {
    list.iter().map(|entry| read_one(Attributes(entry.value))).collect()
}

fn read_one(entry: Attributes<'_>) -> Expression {
    let name = entry.text(NAME).unwrap_or_default();
    let data = entry.nested(DATA);
    known(&name, data).unwrap_or_else(|| Expression::Other { name, attributes: data.0.to_vec() })
}

fn known(name: &str, data: Attributes<'_>) -> Option<Expression> {
    match name {
        "payload" => payload(data),
        "meta" => meta(data),
        "ct" => ct(data),
        "fib" => fib(data),
        "cmp" => compare(data),
        "bitwise" => bitwise(data),
        "immediate" => immediate(data),
        "lookup" => lookup(data),
        "counter" => counter(data),
        "masq" => masquerade(data),
        "nat" => nat(data),
        "redir" => redirect(data),
        "reject" => reject(data),
        _ => None,
    }
}

/// `None` when there are other attributes than these, so that nothing is silently dropped.
fn only(data: Attributes<'_>, kinds: &[u16]) -> Option<()> {
    data.iter().all(|attribute| kinds.contains(&attribute.kind)).then_some(())
}

fn register(data: Attributes<'_>, kind: u16) -> Option<Register> {
    Register::from_number(data.u32(kind)?)
}

fn byte(data: Attributes<'_>, kind: u16) -> Option<u8> {
    data.find(kind)?.u8()
}

fn payload(data: Attributes<'_>) -> Option<Expression> {
    only(data, &[1, 2, 3, 4])?;
    let header = match data.u32(2)? {
        0 => Header::Link,
        1 => Header::Network,
        2 => Header::Transport,
        _ => return None,
    };
    Some(Expression::Payload { header, offset: data.u32(3)?, length: data.u32(4)?, into: register(data, 1)? })
}

fn meta(data: Attributes<'_>) -> Option<Expression> {
    let key = MetaKey(data.u32(2)?);
    match register(data, 3) {
        Some(from) => only(data, &[2, 3]).map(|()| Expression::SetMeta { key, from }),
        None => only(data, &[1, 2]).and_then(|()| Some(Expression::Meta { key, into: register(data, 1)? })),
    }
}

fn ct(data: Attributes<'_>) -> Option<Expression> {
    let key = CtKey(data.u32(2)?);
    if let Some(from) = register(data, 4) {
        return only(data, &[2, 4]).map(|()| Expression::SetCt { key, from });
    }
    only(data, &[1, 2, 3])?;
    let direction = match byte(data, 3) {
        None => None,
        Some(0) => Some(Direction::Original),
        Some(1) => Some(Direction::Reply),
        Some(_) => return None,
    };
    Some(Expression::Ct { key, direction, into: register(data, 1)? })
}

fn fib(data: Attributes<'_>) -> Option<Expression> {
    only(data, &[1, 2, 3])?;
    Some(Expression::Fib { by: data.u32(3)?, result: FibResult(data.u32(2)?), into: register(data, 1)? })
}

fn compare(data: Attributes<'_>) -> Option<Expression> {
    only(data, &[1, 2, 3])?;
    let relation = match data.u32(2)? {
        0 => Relation::Equal,
        1 => Relation::NotEqual,
        2 => Relation::Less,
        3 => Relation::AtMost,
        4 => Relation::Greater,
        5 => Relation::AtLeast,
        _ => return None,
    };
    Some(Expression::Compare { from: register(data, 1)?, relation, value: read_value(data.nested(3))? })
}

fn bitwise(data: Attributes<'_>) -> Option<Expression> {
    // Attribute 6 is the operation; 0, the only one here, is "mask and xor". The length is that of the mask.
    only(data, &[1, 2, 3, 4, 5, 6])?;
    if data.u32(6).is_some_and(|operation| operation != 0) {
        return None;
    }
    Some(Expression::Bitwise {
        from: register(data, 1)?,
        into: register(data, 2)?,
        mask: read_value(data.nested(4))?,
        xor: read_value(data.nested(5))?,
    })
}

fn immediate(data: Attributes<'_>) -> Option<Expression> {
    only(data, &[1, 2])?;
    let content = data.nested(2);
    match data.u32(1)? {
        VERDICT_REGISTER => Verdict::read(content).map(Expression::Verdict),
        number => {
            Some(Expression::Immediate { into: Register::from_number(number)?, value: read_value(content)? })
        }
    }
}

fn lookup(data: Attributes<'_>) -> Option<Expression> {
    only(data, &[1, 2, 3, 5])?;
    let (name, from) = (data.text(1)?, register(data, 2)?);
    let flags = data.u32(5).unwrap_or_default();
    Some(match (data.u32(3), flags) {
        (None, 0) => Expression::Lookup { set: name, from, membership: Membership::In },
        (None, INVERTED) => Expression::Lookup { set: name, from, membership: Membership::NotIn },
        (Some(VERDICT_REGISTER), 0) => Expression::VerdictMap { map: name, from },
        (Some(number), 0) => Expression::Map { map: name, from, into: Register::from_number(number)? },
        _ => return None,
    })
}

fn counter(data: Attributes<'_>) -> Option<Expression> {
    Some(Expression::Counter { packets: data.u64(2)?, bytes: data.u64(1)? })
}

/// The flags without those that follow from what else is given.
fn flags(data: Attributes<'_>, kind: u16) -> NatFlags {
    NatFlags(data.u32(kind).unwrap_or_default() & !NatFlags::IMPLIED)
}

/// A range of several values, which is not known here.
struct Several;

/// The register of a value that is given as a range; the kernel repeats a single value as both ends.
fn single(data: Attributes<'_>, low: u16, high: u16) -> Result<Option<Register>, Several> {
    match (data.u32(low), data.u32(high)) {
        (None, None) => Ok(None),
        (Some(low), high) if high.is_none_or(|high| high == low) => {
            Register::from_number(low).map(Some).ok_or(Several)
        }
        _ => Err(Several),
    }
}

fn masquerade(data: Attributes<'_>) -> Option<Expression> {
    only(data, &[1])?;
    Some(Expression::Masquerade(flags(data, 1)))
}

fn nat(data: Attributes<'_>) -> Option<Expression> {
    only(data, &[1, 2, 3, 4, 5, 6, 7])?;
    let kind = match data.u32(1)? {
        0 => NatKind::Source,
        1 => NatKind::Destination,
        _ => return None,
    };
    let family = Family::from_number(u8::try_from(data.u32(2)?).ok()?)?;
    Some(Expression::Nat(Nat {
        kind,
        family,
        address: single(data, 3, 4).ok()?,
        port: single(data, 5, 6).ok()?,
        flags: flags(data, 7),
    }))
}

fn redirect(data: Attributes<'_>) -> Option<Expression> {
    only(data, &[1, 2, 3])?;
    Some(Expression::Redirect { port: single(data, 1, 2).ok()?, flags: flags(data, 3) })
}

fn reject(data: Attributes<'_>) -> Option<Expression> {
    only(data, &[1, 2])?;
    let code = byte(data, 2).unwrap_or_default();
    Some(Expression::Reject { kind: data.u32(1)?, code })
}

#[cfg(test)]
mod tests {
    use super::super::field::{Field, Network};
    use super::super::{attribute::Writer, encode, keys::AddressType, rule::Rule, statement::Destinations};
    use super::*;

    fn rule() -> Rule {
        let fields = [Field::Protocol, Field::DestinationPort];
        Rule::new(Family::Ip)
            .destination_type(Relation::Equal, AddressType::LOCAL)
            .source(Relation::NotEqual, "10.0.0.0/12".parse().unwrap())
            .lookup(&fields, Membership::NotIn, "s")
            .counter()
            .destination_map(&fields, "m", Destinations::AddressAndPort(Network::Ip))
            .jump("c")
    }

    fn encoded(expressions: &[Expression]) -> Vec<u8> {
        let mut writer = Writer::default();
        encode::write(&mut writer, expressions);
        writer.as_bytes().to_vec()
    }

    #[test]
    fn what_is_encoded_decodes_to_the_same() {
        assert_eq!(read(Attributes(&encoded(rule().expressions()))), rule().expressions());
    }

    #[test]
    fn an_attribute_that_is_not_known_is_kept_and_not_dropped() {
        let mut writer = Writer::default();
        writer.nest(1, |entry| {
            entry.text(NAME, "masq");
            entry.nest(DATA, |data| data.u32(2, 1));
        });
        let expressions = read(Attributes(writer.as_bytes()));
        assert!(matches!(&expressions[..], [Expression::Other { name, .. }] if name == "masq"));
        assert_eq!(encoded(&expressions), writer.as_bytes());
    }

    #[test]
    fn no_change_of_any_byte_makes_reading_panic() {
        let bytes = encoded(rule().expressions());
        for at in 0..bytes.len() {
            for change in [0, 1, 2, 3, 4, 5, 0x7f, 0xff] {
                let mut torn = bytes.clone();
                torn[at] = change;
                assert!(read(Attributes(&torn)).len() <= bytes.len() / 4);
                assert!(read(Attributes(&torn[..at])).len() <= bytes.len() / 4);
            }
        }
    }
}
