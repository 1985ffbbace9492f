//! Intervals: the kernel keeps a range of a plain set as a start and the first key beyond it.

use super::{
    element::{Edge, Element, Entry},
    value::Value,
};

/// The next key, as a big-endian number; `None` after the highest, whose range is left open.
pub(super) fn successor(key: &Value) -> Option<Value> {
    stepped(key, |byte| byte.overflowing_add(1))
}

/// The key before; `None` before zero.
fn predecessor(key: &Value) -> Option<Value> {
    stepped(key, |byte| byte.overflowing_sub(1))
}

fn stepped(key: &Value, step: impl Fn(u8) -> (u8, bool)) -> Option<Value> {
    let mut bytes = key.as_bytes().to_vec();
    for byte in bytes.iter_mut().rev() {
        let (stepped, carry) = step(*byte);
        *byte = stepped;
        if !carry {
            return Some(Value::new(&bytes));
        }
    }
    None
}

/// Puts entries together to elements: starts and ends are paired, everything else passes through. `Intervals` of a
/// plain set come out in order; a start without an end reaches up to the highest key.
pub(super) fn pair(mut entries: Vec<Entry>, kind: Pairing) -> Vec<Element> {
    match kind {
        Pairing::None => entries.into_iter().map(|entry| entry.element).collect(),
        Pairing::StartAndEnd => {
            // At one key, an end comes before the start of the range that follows it.
            entries.sort_by(|a, b| a.element.key.cmp(&b.element.key).then(a.edge.cmp(&b.edge)));
            let ends = entries.iter().skip(1).map(|entry| Some(entry.element.key)).chain([None]);
            let ends: Vec<_> = ends.collect();
            entries
                .into_iter()
                .zip(ends)
                .filter(|(entry, _)| entry.edge == Edge::Start)
                .map(|(entry, beyond)| close(entry.element, beyond))
                .collect()
        }
    }
}

/// How a set keeps ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pairing {
    /// Exact keys, or ranges in one entry (concatenations).
    None,
    /// Two entries a range.
    StartAndEnd,
}

fn close(element: Element, beyond: Option<Value>) -> Element {
    let highest = Value::new(&vec![u8::MAX; element.key.as_bytes().len()]);
    let last = beyond.as_ref().and_then(predecessor).unwrap_or(highest);
    Element { last: Some(last), ..element }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn entry(address: [u8; 4], edge: Edge) -> Entry {
        Entry { element: Element::new(Ipv4Addr::from(address)), edge }
    }

    #[test]
    fn a_carry_runs_through_all_bytes() {
        assert_eq!(
            successor(&Value::from(Ipv4Addr::new(10, 0, 255, 255))),
            Some(Ipv4Addr::new(10, 1, 0, 0).into())
        );
        assert_eq!(successor(&Value::from(Ipv4Addr::BROADCAST)), None);
        assert_eq!(predecessor(&Value::from(Ipv4Addr::UNSPECIFIED)), None);
    }

    #[test]
    fn entries_in_any_order_pair_to_ranges() {
        // 10.0.0.0/24 and 10.0.1.0/24 touch; 240.0.0.0/4 reaches the end.
        let entries = vec![
            entry([240, 0, 0, 0], Edge::Start),
            entry([10, 0, 1, 0], Edge::Start),
            entry([10, 0, 2, 0], Edge::End),
            entry([10, 0, 0, 0], Edge::Start),
            entry([10, 0, 1, 0], Edge::End),
            entry([0, 0, 0, 0], Edge::End),
        ];
        let want =
            ["10.0.0.0/24", "10.0.1.0/24", "240.0.0.0/4"].map(|n| Element::network(n.parse().unwrap()));
        assert_eq!(pair(entries, Pairing::StartAndEnd), want);
    }
}
