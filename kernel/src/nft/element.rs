//! Elements of sets and maps.

use super::{
    attribute::{Attributes, Writer, number},
    comment, interval,
    value::Value,
    verdict::Verdict,
};
use ipnetwork::IpNetwork;

/// What stands behind a key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Data {
    /// Nothing: the element of a set.
    None,
    /// A value.
    Value(Value),
    /// A verdict.
    Verdict(Verdict),
}

/// One element of a set or map, to be added or as read.
///
/// ```
/// use kernel::nft::{Element, Value, Verdict};
/// use std::net::Ipv4Addr;
/// let pod = Ipv4Addr::new(10, 1, 0, 2);
/// Element::new(pod);
/// Element::new(Value::protocol(6).and(Value::port(8080))).with_value(Value::from(pod).and(Value::port(80)));
/// Element::new(pod).with_verdict(Verdict::jump("pod-1")).with_comment("eth0:f00d");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Element {
    /// Its key, or the first key of its range.
    pub key: Value,
    /// The last key of its range (inclusive); exactly the elements of sets with intervals have it.
    pub last: Option<Value>,
    /// What stands behind the key.
    pub data: Data,
    /// A remark: whose it is. At most 253 bytes.
    pub comment: Option<String>,
}

impl Element {
    /// The element of a set with exact keys.
    pub fn new(key: impl Into<Value>) -> Self {
        Self { key: key.into(), last: None, data: Data::None, comment: None }
    }

    /// The element of a set with intervals: all keys from the first to the last, both included. In a concatenation,
    /// the range of each field by itself.
    pub fn range(first: impl Into<Value>, last: impl Into<Value>) -> Self {
        Self { last: Some(last.into()), ..Self::new(first) }
    }

    /// The element of a set with intervals: all addresses of a network.
    #[must_use]
    pub fn network(network: IpNetwork) -> Self {
        let last = match network {
            IpNetwork::V4(network) => Value::from(network.broadcast()),
            IpNetwork::V6(network) => Value::from(network.broadcast()),
        };
        Self::range(network.network(), last)
    }

    /// The same with a value behind the key.
    #[must_use]
    pub fn with_value(mut self, value: impl Into<Value>) -> Self {
        self.data = Data::Value(value.into());
        self
    }

    /// The same with a verdict behind the key.
    #[must_use]
    pub fn with_verdict(mut self, verdict: Verdict) -> Self {
        self.data = Data::Verdict(verdict);
        self
    }

    /// The same with a remark.
    #[must_use]
    pub fn with_comment(mut self, comment: impl Into<String>) -> Self {
        self.comment = Some(comment.into());
        self
    }

    /// Writes the one or two list entries that the kernel wants for it.
    pub(super) fn write(&self, writer: &mut Writer) {
        match &self.last {
            Some(last) if !self.key.is_concatenation() => {
                writer.nest(LIST_ELEMENT, |inner| self.write_start(inner));
                if let Some(beyond) = interval::successor(last) {
                    writer.nest(LIST_ELEMENT, |inner| {
                        write_value(inner, KEY, &beyond);
                        inner.u32(FLAGS, INTERVAL_END);
                    });
                }
            }
            Some(last) => writer.nest(LIST_ELEMENT, |inner| {
                self.write_start(inner);
                write_value(inner, KEY_END, last);
            }),
            None => writer.nest(LIST_ELEMENT, |inner| self.write_start(inner)),
        }
    }

    fn write_start(&self, writer: &mut Writer) {
        write_value(writer, KEY, &self.key);
        match &self.data {
            Data::None => {}
            Data::Value(value) => write_value(writer, DATA, value),
            Data::Verdict(verdict) => writer.nest(DATA, |inner| verdict.write(inner)),
        }
        comment::write(writer, USER_DATA, self.comment.as_deref());
    }
}

/// One list entry as the kernel holds it: a key, a range of a concatenation, or one end of an interval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) element: Element,
    pub(super) edge: Edge,
}

/// Which end of a range an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Edge {
    /// The first key beyond a range.
    End,
    /// A key by itself, or the first of a range.
    Start,
}

impl Entry {
    /// Reads an entry; `None` for one without key (the catch-all element).
    pub(super) fn read(entry: Attributes<'_>) -> Option<Self> {
        let mut found = Element::new(read_value(entry.nested(KEY))?);
        let mut flags = 0;
        for attribute in entry.iter() {
            match attribute.kind {
                DATA => found.data = read_data(Attributes(attribute.value)),
                FLAGS => flags = number(&attribute).unwrap_or_default(),
                USER_DATA => found.comment = comment::read(attribute.value),
                KEY_END => found.last = read_value(Attributes(attribute.value)),
                _ => {}
            }
        }
        let edge = if flags & INTERVAL_END == 0 { Edge::Start } else { Edge::End };
        Some(Self { element: found, edge })
    }
}

/// Writes a value as a data attribute.
pub(super) fn write_value(writer: &mut Writer, kind: u16, value: &Value) {
    if !value.fits() {
        writer.refuse("a value over 64 bytes, or an interface name over 15");
    }
    writer.nest(kind, |inner| inner.bytes(DATA_VALUE, value.as_bytes()));
}

/// Reads a value from the content of a data attribute.
pub(super) fn read_value(data: Attributes<'_>) -> Option<Value> {
    Some(Value::new(data.find(DATA_VALUE)?.value))
}

fn read_data(data: Attributes<'_>) -> Data {
    match (read_value(data), Verdict::read(data)) {
        (Some(value), _) => Data::Value(value),
        (None, Some(verdict)) => Data::Verdict(verdict),
        (None, None) => Data::None,
    }
}

/// `NFTA_LIST_ELEM`.
pub(super) const LIST_ELEMENT: u16 = 1;
/// `enum nft_set_elem_attributes`.
pub(super) const KEY: u16 = 1;
const DATA: u16 = 2;
const FLAGS: u16 = 3;
const USER_DATA: u16 = 6;
const KEY_END: u16 = 10;
/// `NFTA_DATA_VALUE`.
const DATA_VALUE: u16 = 1;
/// `NFT_SET_ELEM_INTERVAL_END`.
const INTERVAL_END: u32 = 1;
