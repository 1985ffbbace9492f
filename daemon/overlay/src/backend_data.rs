//! What a backend publishes in a lease, kept as the text that it is.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

/// A JSON value as text: a tree of it would take 700 bytes of each of thousands of leases.
///
/// Two are equal when their texts are: that the same was written differently is no more than one comparison too many.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BackendData(Box<RawValue>);

impl BackendData {
    /// The text.
    #[must_use]
    pub fn as_json(&self) -> &str {
        self.0.get()
    }

    /// The words, where it is a JSON text.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        serde_json::from_str(self.as_json()).ok()
    }
}

impl PartialEq for BackendData {
    fn eq(&self, other: &Self) -> bool {
        self.as_json() == other.as_json()
    }
}

impl From<Value> for BackendData {
    fn from(value: Value) -> Self {
        // Only a map with keys that are not strings can fail: a value has none.
        let text = serde_json::value::to_raw_value(&value);
        BackendData(text.unwrap_or_else(|_| RawValue::NULL.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_told_without_its_quotes_and_nothing_else_is_a_text() {
        let text = |value: Value| BackendData::from(value).text();
        assert_eq!(text("a \"key\"".into()).as_deref(), Some("a \"key\""));
        assert_eq!(text(serde_json::json!({"VNI": 1})), None);
    }
}
