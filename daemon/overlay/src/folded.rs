//! The members of a JSON object as Go's decoder sees them: names match in any letter case, the last one wins, null leaves the default.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, DeserializeOwned, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

/// The members in the order of the text; a `serde_json::Map` would lose which of `Network` and `network` came last.
pub struct Members(Vec<(String, Value)>);

/// Some members of one object, by name, whose values stay text until they are decoded: thousands of leases are read
/// without building a tree of each.
pub struct Picked<'a, const N: usize> {
    names: [&'static str; N],
    values: [Option<&'a RawValue>; N],
}

/// A name, borrowed from the text where nothing in it is escaped.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

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

impl<'a, const N: usize> Picked<'a, N> {
    /// Reads one JSON object; of each name the last member counts that is not null.
    pub fn parse(text: &'a [u8], names: [&'static str; N]) -> Result<Self, serde_json::Error> {
        let mut json = serde_json::Deserializer::from_slice(text);
        let picked = json.deserialize_map(Picked { names, values: [None; N] })?;
        json.end()?;
        Ok(picked)
    }

    /// The member of that name decoded as `T`; `None` when there is none.
    pub fn decode<T: Deserialize<'a>>(&self, name: &str) -> Result<Option<T>, serde_json::Error> {
        let named = self.names.iter().zip(&self.values).find(|(known, _)| **known == name);
        named.and_then(|(_, value)| *value).map(|raw| serde_json::from_str(raw.get())).transpose()
    }
}

impl<'de, const N: usize> Visitor<'de> for Picked<'de, N> {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self, A::Error> {
        while let Some(Name(name)) = map.next_key()? {
            let at = self.names.iter().position(|known| known.eq_ignore_ascii_case(&name));
            let value: &RawValue = map.next_value()?;
            let place = at.and_then(|at| self.values.get_mut(at));
            if let Some(place) = place.filter(|_| value.get() != "null") {
                *place = Some(value);
            }
        }
        Ok(self)
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
    fn picked_members_are_those_that_all_members_would_give() {
        let text = br#"{"VNI":1,"x":{"VNI":9},"v\u006ei":2,"Vni":null,"VtepMAC":"a\"b"}"#;
        let picked = Picked::parse(text, ["VNI", "VtepMAC", "None"]).unwrap();
        let all = Members::parse(text).unwrap();
        assert_eq!(picked.decode::<u8>("VNI").unwrap(), all.read("VNI").unwrap());
        assert_eq!(picked.decode::<u8>("VNI").unwrap(), Some(2));
        assert_eq!(picked.decode::<String>("VtepMAC").unwrap().as_deref(), Some("a\"b"));
        assert_eq!(picked.decode::<u8>("None").unwrap(), None);
        assert!(picked.decode::<u8>("VtepMAC").is_err());
    }

    #[test]
    fn only_an_object_has_members() {
        assert!(Members::parse(b"[1]").is_err());
        assert!(Members::parse(b"{} trailing").is_err());
        assert!(Picked::parse(b"[1]", ["a"]).is_err());
        assert!(Picked::parse(b"{} trailing", ["a"]).is_err());
    }
}
