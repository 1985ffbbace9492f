//! Go's JSON habits over any serde type: struct keys in any case, the last one wins, null means default.

use std::fmt;
use std::net::IpAddr;

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{
    self, Deserialize, DeserializeOwned, DeserializeSeed, Deserializer, Error as _, IntoDeserializer,
    MapAccess, SeqAccess, Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;

use crate::error::{Code, Error};
use crate::node::Node;

/// Decodes JSON as Go's `encoding/json` would; the types use `#[serde(default)]`.
///
/// Struct keys match in any ASCII case, the last of several wins, null leaves the default, unknown keys are
/// ignored; map keys stay as they are. Aliases, `flatten` and untagged enums are not for such types.
/// An error has code 6 and names the field.
pub fn from_json<T: DeserializeOwned>(text: &[u8]) -> Result<T, Error> {
    let node = Node::parse(text).map_err(|cause| Error::new(Code::DECODE, cause.to_string()))?;
    from_node(&node).map_err(|cause| Error::new(Code::DECODE, cause.to_string()))
}

/// The same over a document that is parsed already.
pub(crate) fn from_node<'de, T: Deserialize<'de>>(node: &'de Node) -> Result<T, Mismatch> {
    T::deserialize(Folded(node))
}

/// For `#[serde(deserialize_with)]`: an address in Go's text form, where an empty string means unset.
///
/// An IPv4-mapped IPv6 address becomes the IPv4 address, as Go prints it.
pub fn opt_ip<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<IpAddr>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Ok(None);
    }
    match text.parse::<IpAddr>() {
        Ok(ip) => Ok(Some(ip.to_canonical())),
        Err(_) => Err(D::Error::custom(format_args!("invalid IP address: {text}"))),
    }
}

/// Where a document does not fit its type: the path of field names, then what is wrong there.
#[derive(Debug)]
pub(crate) struct Mismatch {
    path: String,
    what: String,
}

impl Mismatch {
    fn inside(mut self, name: &str) -> Self {
        let separator = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = format!("{name}{separator}{}", self.path);
        self
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.what)
    }
}

impl std::error::Error for Mismatch {}

impl de::Error for Mismatch {
    fn custom<T: fmt::Display>(what: T) -> Self {
        Self { path: String::new(), what: what.to_string() }
    }
}

#[derive(Clone, Copy)]
struct Folded<'de>(&'de Node);

impl<'de> Folded<'de> {
    fn unexpected(self, wanted: &dyn de::Expected) -> Mismatch {
        let found = match self.0 {
            Node::Null => Unexpected::Unit,
            Node::Bool(value) => Unexpected::Bool(*value),
            Node::Number(_) => Unexpected::Other("number"),
            Node::String(text) => Unexpected::Str(text),
            Node::Array(_) => Unexpected::Seq,
            Node::Object(_) => Unexpected::Map,
        };
        Mismatch::invalid_type(found, wanted)
    }

    fn number<V: Visitor<'de>>(number: &serde_json::Number, visitor: V) -> Result<V::Value, Mismatch> {
        if let Some(value) = number.as_u64() {
            visitor.visit_u64(value)
        } else if let Some(value) = number.as_i64() {
            visitor.visit_i64(value)
        } else {
            visitor.visit_f64(number.as_f64().unwrap_or_default())
        }
    }
}

/// In a list or a map null gives Go's zero value; a struct field never sees it.
macro_rules! zero_for_null {
    ($($method:ident: $visit:ident($zero:expr);)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
            if *self.0 == Node::Null { visitor.$visit($zero) } else { self.deserialize_any(visitor) }
        }
    )*};
}

impl<'de> Deserializer<'de> for Folded<'de> {
    type Error = Mismatch;

    zero_for_null! {
        deserialize_bool: visit_bool(false);
        deserialize_i8: visit_u64(0);
        deserialize_i16: visit_u64(0);
        deserialize_i32: visit_u64(0);
        deserialize_i64: visit_u64(0);
        deserialize_u8: visit_u64(0);
        deserialize_u16: visit_u64(0);
        deserialize_u32: visit_u64(0);
        deserialize_u64: visit_u64(0);
        deserialize_f32: visit_f64(0.0);
        deserialize_f64: visit_f64(0.0);
        deserialize_str: visit_borrowed_str("");
        deserialize_string: visit_borrowed_str("");
        deserialize_seq: visit_seq(Items([].iter().enumerate()));
        deserialize_map: visit_map(Entries { rest: [].iter(), value: None });
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.0 {
            Node::Null => visitor.visit_unit(),
            Node::Bool(value) => visitor.visit_bool(*value),
            Node::Number(number) => Self::number(number, visitor),
            Node::String(text) => visitor.visit_borrowed_str(text),
            Node::Array(items) => visitor.visit_seq(Items(items.iter().enumerate())),
            Node::Object(entries) => visitor.visit_map(Entries { rest: entries.iter(), value: None }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        if *self.0 == Node::Null { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        let entries: &[(String, Node)] = match self.0 {
            Node::Object(entries) => entries,
            Node::Null => &[],
            Node::Bool(_) | Node::Number(_) | Node::String(_) | Node::Array(_) => {
                return Err(self.unexpected(&"an object"));
            }
        };
        visitor.visit_map(Fields::new(entries, fields))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        match self.0 {
            Node::String(text) => visitor.visit_enum(text.as_str().into_deserializer()),
            Node::Null | Node::Bool(_) | Node::Number(_) | Node::Array(_) | Node::Object(_) => {
                Err(self.unexpected(&"a string"))
            }
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        i128 u128 char bytes byte_buf unit unit_struct tuple tuple_struct identifier
    }
}

/// The elements of a list; a mismatch inside one is reported with its position.
struct Items<'de>(std::iter::Enumerate<std::slice::Iter<'de, Node>>);

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Mismatch;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Mismatch> {
        let Some((position, item)) = self.0.next() else { return Ok(None) };
        seed.deserialize(Folded(item)).map(Some).map_err(|wrong| wrong.inside(&format!("[{position}]")))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.0.len())
    }
}

/// The entries of a map: keys as written, duplicates included, for the map itself to let the last one win.
struct Entries<'de> {
    rest: std::slice::Iter<'de, (String, Node)>,
    value: Option<&'de (String, Node)>,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Mismatch;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Mismatch> {
        self.value = self.rest.next();
        let Some((key, _)) = self.value else { return Ok(None) };
        seed.deserialize(BorrowedStrDeserializer::new(key)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Mismatch> {
        let Some((key, node)) = self.value.take() else {
            return Err(Mismatch::custom("a value before its key"));
        };
        seed.deserialize(Folded(node)).map_err(|wrong| wrong.inside(key))
    }
}

/// The entries that a struct is given: one a field, under the field's own spelling.
struct Fields<'de> {
    rest: std::vec::IntoIter<(&'static str, &'de Node)>,
    value: Option<(&'static str, &'de Node)>,
}

impl<'de> Fields<'de> {
    fn new(entries: &'de [(String, Node)], fields: &'static [&'static str]) -> Self {
        let mut found: Vec<(&'static str, &'de Node)> = Vec::with_capacity(entries.len().min(fields.len()));
        for (key, value) in entries.iter().filter(|(_, value)| *value != Node::Null) {
            let Some(field) = fields.iter().find(|field| field.eq_ignore_ascii_case(key)) else { continue };
            match found.iter_mut().find(|(name, _)| name == field) {
                Some(earlier) => earlier.1 = value,
                None => found.push((field, value)),
            }
        }
        Self { rest: found.into_iter(), value: None }
    }
}

impl<'de> MapAccess<'de> for Fields<'de> {
    type Error = Mismatch;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Mismatch> {
        self.value = self.rest.next();
        let Some((name, _)) = self.value else { return Ok(None) };
        seed.deserialize(name.into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Mismatch> {
        let Some((name, node)) = self.value.take() else {
            return Err(Mismatch::custom("a value before its key"));
        };
        seed.deserialize(Folded(node)).map_err(|wrong| wrong.inside(name))
    }
}

#[cfg(test)]
#[path = "folded_tests.rs"]
mod tests;
