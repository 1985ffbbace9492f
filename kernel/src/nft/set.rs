//! Sets, maps and verdict maps: what they are keyed by and what they hold.

use super::{
    attribute::Writer,
    comment::{self, Order},
    object::SetName,
};

/// The type of one field of a key or of a map's data. Only `nft list` reads it; the kernel knows lengths alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Type {
    /// `ipv4_addr`
    Ipv4Addr,
    /// `ipv6_addr`
    Ipv6Addr,
    /// `ether_addr`
    EtherAddr,
    /// `inet_proto`
    InetProto,
    /// `inet_service`
    InetService,
    /// `mark`
    Mark,
    /// `ifname`
    IfName,
}

impl Type {
    const ALL: [Self; 7] = [
        Self::Ipv4Addr,
        Self::Ipv6Addr,
        Self::EtherAddr,
        Self::InetProto,
        Self::InetService,
        Self::Mark,
        Self::IfName,
    ];

    /// `enum datatypes` of nft.
    const fn number(self) -> u32 {
        match self {
            Self::Ipv4Addr => 7,
            Self::Ipv6Addr => 8,
            Self::EtherAddr => 9,
            Self::InetProto => 12,
            Self::InetService => 13,
            Self::Mark => 19,
            Self::IfName => 41,
        }
    }

    /// The length of such a field alone, in bytes.
    #[must_use]
    pub const fn length(self) -> usize {
        match self {
            Self::InetProto => 1,
            Self::InetService => 2,
            Self::Ipv4Addr | Self::Mark => 4,
            Self::EtherAddr => 6,
            Self::Ipv6Addr | Self::IfName => 16,
        }
    }

    const fn order(self) -> Order {
        match self {
            Self::Mark | Self::IfName => Order::Host,
            Self::Ipv4Addr | Self::Ipv6Addr | Self::EtherAddr | Self::InetProto | Self::InetService => {
                Order::Big
            }
        }
    }
}

/// Bits of one field in the number of a concatenated type.
const TYPE_BITS: u32 = 6;

/// The type number of a key: one type, or `a << 6 | b` for a concatenation.
fn type_number(fields: &[Type]) -> u32 {
    fields.iter().fold(0, |number, field| number << TYPE_BITS | field.number())
}

/// The types behind a number; `None` when one of them is not known here.
pub(super) fn types(mut number: u32) -> Option<Vec<Type>> {
    let mut fields = Vec::new();
    while number != 0 {
        let low = number & ((1 << TYPE_BITS) - 1);
        fields.insert(0, Type::ALL.into_iter().find(|field| field.number() == low)?);
        number >>= TYPE_BITS;
    }
    Some(fields)
}

/// The length of a key: one field as it is, or several, each padded to four bytes.
fn length(fields: &[Type]) -> u32 {
    let bytes = match fields {
        [one] => one.length(),
        several => several.iter().map(|field| field.length().next_multiple_of(4)).sum(),
    };
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

fn order(fields: &[Type]) -> Order {
    match fields {
        [one] => one.order(),
        _ => Order::Mixed,
    }
}

/// What stands behind the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contents<'a> {
    /// Nothing: a set.
    Keys,
    /// Values of these fields: a map.
    Values(&'a [Type]),
    /// Verdicts: a verdict map.
    Verdicts,
}

/// Whether a key is one value or a range of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// Each element is one key; found by hash.
    Exact,
    /// Each element is a range of keys (a prefix, a range of ports).
    Intervals,
}

/// A set or map to be made.
///
/// ```
/// use kernel::nft::{Family, Set, Table, Type};
/// let table = Table::new(Family::Ip, "ports");
/// let key = [Type::InetProto, Type::InetService];
/// let map = Set::map(table.set("published"), &key, &[Type::Ipv4Addr, Type::InetService]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Set<'a> {
    /// Its name.
    pub at: SetName<'a>,
    /// The fields of its key.
    pub key: &'a [Type],
    /// Exact keys or ranges.
    pub keys: Keys,
    /// What stands behind a key.
    pub contents: Contents<'a>,
    /// A remark that `nft list` shows; kernel 5.10 and later keep it.
    pub comment: Option<&'a str>,
}

impl<'a> Set<'a> {
    /// A set of exact keys.
    #[must_use]
    pub const fn plain(at: SetName<'a>, key: &'a [Type]) -> Self {
        Self { at, key, keys: Keys::Exact, contents: Contents::Keys, comment: None }
    }

    /// A map from exact keys to values.
    #[must_use]
    pub const fn map(at: SetName<'a>, key: &'a [Type], data: &'a [Type]) -> Self {
        Self { at, key, keys: Keys::Exact, contents: Contents::Values(data), comment: None }
    }

    /// A map from exact keys to verdicts.
    #[must_use]
    pub const fn verdict_map(at: SetName<'a>, key: &'a [Type]) -> Self {
        Self { at, key, keys: Keys::Exact, contents: Contents::Verdicts, comment: None }
    }

    /// The same with ranges as keys.
    #[must_use]
    pub const fn with_intervals(mut self) -> Self {
        self.keys = Keys::Intervals;
        self
    }

    /// The same with a remark.
    #[must_use]
    pub const fn with_comment(mut self, comment: &'a str) -> Self {
        self.comment = Some(comment);
        self
    }

    /// `NFT_SET_INTERVAL`, `NFT_SET_MAP`, `NFT_SET_CONCAT`.
    fn flags(&self) -> u32 {
        let map = match self.contents {
            Contents::Keys => 0,
            Contents::Values(_) | Contents::Verdicts => flag::MAP,
        };
        let ranges = match (self.keys, self.key) {
            (Keys::Exact, _) => 0,
            (Keys::Intervals, [_]) => flag::INTERVAL,
            (Keys::Intervals, _) => flag::INTERVAL | flag::CONCATENATION,
        };
        map | ranges
    }

    /// Writes the attributes of `NFT_MSG_NEWSET` except the table. `id` is the set's number in its batch.
    pub(super) fn write(&self, writer: &mut Writer, id: u32) {
        let flags = self.flags();
        writer.text(NAME, self.at.name);
        writer.u32(FLAGS, flags);
        writer.u32(KEY_TYPE, type_number(self.key));
        writer.u32(KEY_LENGTH, length(self.key));
        let data_order = self.write_data(writer);
        writer.u32(ID, id);
        if flags & flag::CONCATENATION != 0 {
            writer.nest(DESCRIPTION, |inner| inner.nest(CONCATENATION, |list| self.write_fields(list)));
        }
        comment::write_set(writer, USER_DATA, (order(self.key), data_order), self.comment);
    }

    fn write_data(&self, writer: &mut Writer) -> Option<Order> {
        let (number, length, order) = match self.contents {
            Contents::Keys => return None,
            Contents::Values(fields) => (type_number(fields), length(fields), order(fields)),
            Contents::Verdicts => (VERDICT_TYPE, 0, Order::Mixed),
        };
        writer.u32(DATA_TYPE, number);
        writer.u32(DATA_LENGTH, length);
        Some(order)
    }

    /// The length of each field, so that the kernel can match ranges field by field.
    fn write_fields(&self, writer: &mut Writer) {
        for field in self.key {
            let length = u32::try_from(field.length()).unwrap_or(u32::MAX);
            writer.nest(LIST_ELEMENT, |inner| inner.u32(FIELD_LENGTH, length));
        }
    }
}

/// `enum nft_set_flags`.
pub(super) mod flag {
    pub(in super::super) const INTERVAL: u32 = 4;
    pub(in super::super) const MAP: u32 = 8;
    pub(super) const CONCATENATION: u32 = 0x80;
}

/// `enum nft_set_attributes`.
pub(super) const NAME: u16 = 2;
pub(super) const FLAGS: u16 = 3;
pub(super) const KEY_TYPE: u16 = 4;
pub(super) const KEY_LENGTH: u16 = 5;
pub(super) const DATA_TYPE: u16 = 6;
const DATA_LENGTH: u16 = 7;
const DESCRIPTION: u16 = 9;
const ID: u16 = 10;
pub(super) const USER_DATA: u16 = 13;
/// `enum nft_set_desc_attributes`, `nft_set_field_attributes`, `nft_list_attributes`.
const CONCATENATION: u16 = 2;
const FIELD_LENGTH: u16 = 1;
const LIST_ELEMENT: u16 = 1;
/// `NFT_DATA_VERDICT`.
pub(super) const VERDICT_TYPE: u32 = 0xffff_ff00;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_concatenated_type_is_six_bits_a_field() {
        let key = [Type::InetProto, Type::Ipv4Addr, Type::InetService];
        assert_eq!(type_number(&key), (12 * 64 + 7) * 64 + 13);
        assert_eq!(types(type_number(&key)).as_deref(), Some(&key[..]));
        assert_eq!(types(63), None);
    }

    #[test]
    fn only_the_fields_of_a_concatenation_are_padded() {
        assert_eq!(length(&[Type::InetProto]), 1);
        assert_eq!(length(&[Type::EtherAddr]), 6);
        assert_eq!(length(&[Type::InetProto, Type::InetService]), 8);
        assert_eq!(length(&[Type::IfName, Type::EtherAddr]), 24);
    }
}
