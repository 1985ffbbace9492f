//! The members of a JSON object as Go's decoder sees them: names match in any letter case, the last one wins, null leaves the default.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, DeserializeOwned, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

/// The members in the order of the text; a `serde_json::Map` would lose which of `Network` and `network` came last.
pub struct Members<N = String, V = Value>(Vec<(N, V)>);

/// Members whose values stay text until they are asked for: thousands of leases are read without building a tree of each.
pub type RawMembers<'a> = Members<Name<'a>, &'a RawValue>;

/// A name, borrowed from the text where nothing in it is escaped.
#[derive(serde::Deserialize)]
pub struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl Members {
    /// Decodes one JSON object.
    pub fn parse(text: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(text)
    }

    /// The last member of that name which is not null.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.named(name).filter(|value| !value.is_null()).last()
    }

    /// Whether the name occurs at all, be its value null.
    pub fn names(&self, name: &str) -> bool {
        self.named(name).next().is_some()
    }

    /// The last member of that name decoded as `T`; `None` when there is none.
    pub fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, serde_json::Error> {
        self.get(name).map(|value| serde_json::from_value(value.clone())).transpose()
    }
}

impl<'a> RawMembers<'a> {
    /// Decodes one JSON object.
    pub fn parse_raw(text: &'a [u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(text)
    }

    /// The last member of that name which is not null, decoded as `T`.
    pub fn decode<T: Deserialize<'a>>(&self, name: &str) -> Result<Option<T>, serde_json::Error> {
        let last = self.named(name).map(|raw| raw.get()).filter(|text| *text != "null").last();
        last.map(serde_json::from_str).transpose()
    }
}

impl<N: AsRef<str>, V> Members<N, V> {
    fn named(&self, name: &str) -> impl Iterator<Item = &V> {
        self.0.iter().filter(move |(key, _)| key.as_ref().eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

impl AsRef<str> for Name<'_> {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl<'de, N: Deserialize<'de>, V: Deserialize<'de>> Deserialize<'de> for Members<N, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(InOrder(PhantomData))
    }
}

struct InOrder<N, V>(PhantomData<(N, V)>);

impl<'de, N: Deserialize<'de>, V: Deserialize<'de>> Visitor<'de> for InOrder<N, V> {
    type Value = Members<N, V>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Members(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_member_wins_whatever_its_letter_case_and_null_changes_nothing() {
        let members = Members::parse(br#"{"SubnetLen":20,"SUBNETLEN":25,"subnetlen":null}"#).unwrap();
        assert_eq!(members.read::<u8>("SubnetLen").unwrap(), Some(25));
        assert_eq!(members.read::<u8>("Network").unwrap(), None);
    }

    #[test]
    fn only_an_object_has_members() {
        assert!(Members::parse(b"[1]").is_err());
        assert!(Members::parse(b"{} trailing").is_err());
    }
}
