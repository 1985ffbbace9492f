//! The members of a JSON object as Go's decoder sees them: names match in any letter case, the last one wins, null leaves the default.

use std::fmt;

use serde::de::{Deserialize, DeserializeOwned, Deserializer, MapAccess, Visitor};
use serde_json::Value;

/// The members in the order of the text; a `serde_json::Map` would lose which of `Network` and `network` came last.
pub struct Members(Vec<(String, Value)>);

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

    fn named(&self, name: &str) -> impl Iterator<Item = &Value> {
        self.0.iter().filter(move |(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(InOrder)
    }
}

struct InOrder;

impl<'de> Visitor<'de> for InOrder {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
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
