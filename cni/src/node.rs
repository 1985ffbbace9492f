//! A JSON document as a small ordered tree: what stdin is parsed into, once, and what results are printed from.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

/// A JSON value; the entries of an object are in the order of the text, duplicates included.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// a number; whole ones keep all their digits
    Number(Number),
    /// a string
    String(String),
    /// a list
    Array(Vec<Node>),
    /// an object
    Object(Vec<(String, Node)>),
}

impl Node {
    /// Parses one JSON document with nothing behind it. Bytes that are not UTF-8 become U+FFFD in
    /// strings, as in Go; nesting deeper than 127 is an error.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, serde_json::Error> {
        match String::from_utf8_lossy(text) {
            Cow::Borrowed(text) => serde_json::from_str(text),
            Cow::Owned(text) => serde_json::from_str(&text),
        }
    }

    /// What a struct field of this name would be given: keys match in any ASCII case, the last one wins,
    /// and null is as good as absent (Go's `encoding/json`; containerd depends on it).
    pub(crate) fn field(&self, name: &str) -> Option<&Node> {
        let Self::Object(entries) = self else { return None };
        let mine = |(key, value): &&(String, Node)| key.eq_ignore_ascii_case(name) && *value != Self::Null;
        entries.iter().rev().find(mine).map(|(_, value)| value)
    }
}

impl From<&str> for Node {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Node {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<u64> for Node {
    fn from(number: u64) -> Self {
        Self::Number(number.into())
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Builder)
    }
}

struct Builder;

impl<'de> Visitor<'de> for Builder {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        // JSON has no infinity and no NaN, so `from_f64` cannot refuse what was parsed
        Ok(Number::from_f64(value).map_or(Node::Null, Node::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::from(value))
    }

    fn visit_string<E>(self, value: String) -> Result<Node, E> {
        Ok(Node::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element()? {
            array.push(item);
        }
        Ok(Node::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut object = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            object.push(entry);
        }
        Ok(Node::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_duplicates_survive() {
        let node = Node::parse(br#"{"b":1,"a":[true,null,-2,1.5,"x"],"b":{}}"#).unwrap();
        let Node::Object(entries) = node else { panic!("{node:?}") };
        let keys: Vec<&str> = entries.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, ["b", "a", "b"]);
        assert_eq!(entries[2].1, Node::Object(vec![]));
    }

    #[test]
    fn deep_nesting_is_an_error_and_not_a_stack_overflow() {
        let deep = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
        assert!(Node::parse(&deep(100)).is_ok());
        assert!(Node::parse(&deep(1_000_000)).is_err());
        assert!(Node::parse("{\"a\":".repeat(100_000).as_bytes()).is_err());
    }

    #[test]
    fn bytes_that_are_not_utf8_are_replaced_as_go_does() {
        assert_eq!(Node::parse(b"\"a\xffb\"").unwrap(), Node::from("a\u{fffd}b"));
        assert!(Node::parse(b"\xff").is_err());
    }

    #[test]
    fn text_behind_the_document_is_an_error() {
        for text in ["", " ", "{} {}", "{},", "{\"a\":1,}", "nul", "{'a':1}", "\u{feff}{}"] {
            assert!(Node::parse(text.as_bytes()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_field_is_found_in_any_case_last_one_first_and_never_null() {
        let node = Node::parse(br#"{"name":"a","NAME":"b","Name":null,"other":1}"#).unwrap();
        assert_eq!(node.field("name"), Some(&Node::from("b")));
        assert_eq!(node.field("absent"), None);
        assert_eq!(Node::Null.field("name"), None);
    }
}
