//! Reading the elements of a set or map: one by its key, or all of them.

use super::{
    assemble::{ELEMENTS, SET_NAME},
    attribute::Attributes,
    element::{Edge, Element, Entry, KEY, LIST_ELEMENT},
    interval::{self, Pairing},
    message::Kind,
    object::SetName,
    read::named,
    socket::Nft,
    value::Value,
};
use crate::{
    Error,
    error::{Absent, During},
    wire::Received,
};

/// `NFTA_DATA_VALUE`.
const DATA_VALUE: u16 = 1;

impl Nft {
    /// All elements of a set or map. Ranges of sets with intervals are put together; exact keys come in no order.
    pub fn elements(&mut self, set: SetName<'_>) -> Result<Vec<Element>, Error> {
        let doing = || format!("listing elements of nftables set {set}");
        let request = named(Kind::GetElement, set.table, Some((SET_NAME, set.name)));
        let entries = self.channel.dump(request, |received, list: &mut Vec<Entry>| {
            list.extend(entries(received));
        });
        let entries = entries.during(doing)?;
        // Only plain sets with intervals have ends of their own; each interval but an open one has one.
        let kind = self.pairing(set, &entries)?;
        Ok(interval::pair(entries, kind))
    }

    /// The element with exactly that key, if it is there: its data and comment. In a set with intervals, that of the
    /// range that the key lies in: it has the range's first key, and in a plain set no last one. An absent set is an
    /// error.
    pub fn element(&mut self, set: SetName<'_>, key: impl Into<Value>) -> Result<Option<Element>, Error> {
        let key = key.into();
        match self.read_element(set, key) {
            Ok(element) => Ok(Some(element)),
            // The kernel says the same of an absent set.
            Err(e) if e.is_absent() && self.set_exists(set)? => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// The element with exactly that key, if it is there; nothing also where the set is absent. One question.
    pub fn find(&mut self, set: SetName<'_>, key: impl Into<Value>) -> Result<Option<Element>, Error> {
        self.read_element(set, key.into()).absent_is_none()
    }

    fn read_element(&mut self, set: SetName<'_>, key: Value) -> Result<Element, Error> {
        let mut request = named(Kind::GetElement, set.table, Some((SET_NAME, set.name)));
        request.nest(ELEMENTS, |list| {
            list.nest(LIST_ELEMENT, |element| {
                element.nest(KEY, |value| value.put(DATA_VALUE, key.as_bytes()));
            });
        });
        let found = self.channel.get(request, |received| {
            entries(received).find(|entry| entry.edge == Edge::Start).map(|entry| entry.element)
        });
        found.during(|| format!("reading element {key} of nftables set {set}"))
    }

    /// How a set keeps ranges. Without any end among its entries it may still hold one range up to the last key.
    fn pairing(&mut self, set: SetName<'_>, entries: &[Entry]) -> Result<Pairing, Error> {
        if entries.iter().any(|entry| entry.edge == Edge::End) {
            return Ok(Pairing::StartAndEnd);
        }
        // A range of a concatenation stands in one entry, and two open ranges cannot be.
        if entries.len() != 1 || entries.iter().any(|entry| entry.element.last.is_some()) {
            return Ok(Pairing::None);
        }
        let state = self.set(set)?;
        Ok(match state {
            Some(state) if state.keys == super::set::Keys::Intervals => Pairing::StartAndEnd,
            _ => Pairing::None,
        })
    }
}

/// The entries of one message.
pub(super) fn entries<'a>(received: &Received<'a>) -> impl Iterator<Item = Entry> + use<'a> {
    let list = Attributes::of(received).nested(ELEMENTS);
    list.iter().filter_map(|entry| Entry::read(Attributes(entry.value)))
}
