//! The error object of the protocol: what a runtime reads on stdout when a plugin fails.

use std::fmt;

use crate::node::Node;
use crate::print;

/// An error as it goes over the wire (CNI specification, section "Error").
///
/// A plugin keeps its causes in an enum of its own and converts them into this in one `match`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// what kind of failure this is
    pub code: Code,
    /// one line that a person reads first
    pub msg: String,
    /// what else helps to find the cause; left out when empty
    pub details: String,
}

/// The kind of a failure as a number: below 100 the specification's, from 100 our own (`design.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Code(pub u32);

impl Code {
    /// The `cniVersion` of the configuration is not supported, or does not have the verb.
    pub const INCOMPATIBLE_VERSION: Self = Self(1);
    /// A field that we know but refuse; the message holds its name and value.
    pub const UNSUPPORTED_FIELD: Self = Self(2);
    /// Nothing of the attachment is there.
    pub const UNKNOWN_CONTAINER: Self = Self(3);
    /// A `CNI_*` variable is missing or malformed.
    pub const INVALID_ENVIRONMENT: Self = Self(4);
    /// Reading stdin, taking a lock or using the state directory failed.
    pub const IO: Self = Self(5);
    /// JSON does not decode.
    pub const DECODE: Self = Self(6);
    /// The configuration is refused.
    pub const INVALID_CONFIG: Self = Self(7);
    /// The sandbox is not a network namespace, or is the plugin's own.
    pub const INVALID_NETNS: Self = Self(8);
    /// A transient condition: the same request may succeed later.
    pub const TRY_AGAIN_LATER: Self = Self(11);
    /// STATUS: the plugin cannot serve ADD.
    pub const NOT_AVAILABLE: Self = Self(50);
    /// STATUS: the plugin cannot serve ADD, and existing sandboxes have limited connectivity.
    pub const LIMITED: Self = Self(51);
    /// No address is left in a range set.
    pub const EXHAUSTED: Self = Self(100);
    /// A requested address belongs to another attachment.
    pub const ADDRESS_TAKEN: Self = Self(101);
    /// ADD failed, and undoing it failed too.
    pub const ROLLBACK_FAILED: Self = Self(102);
    /// A host port belongs to another attachment.
    pub const PORT_TAKEN: Self = Self(103);
    /// The kernel refused; errno and its text are in the details.
    pub const KERNEL: Self = Self(110);
    /// CHECK found a state that differs from what ADD made.
    pub const CHECK_MISMATCH: Self = Self(111);
    /// A bug, and only a bug.
    pub const INTERNAL: Self = Self(999);
}

impl Error {
    /// An error without details.
    pub fn new(code: Code, msg: impl Into<String>) -> Self {
        Self { code, msg: msg.into(), details: String::new() }
    }

    /// The same error with these details.
    #[must_use]
    pub fn with_details(self, details: impl Into<String>) -> Self {
        Self { details: details.into(), ..self }
    }

    /// The error object as printed: `code`, `msg`, `details` in this order, four spaces, no newline at the end.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut entries = vec![
            ("code".to_owned(), Node::from(u64::from(self.code.0))),
            ("msg".to_owned(), Node::from(self.msg.as_str())),
        ];
        if !self.details.is_empty() {
            entries.push(("details".to_owned(), Node::from(self.details.as_str())));
        }
        print::pretty(&Node::Object(entries))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.msg)?;
        if self.details.is_empty() { Ok(()) } else { write!(f, "; {}", self.details) }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_object_has_code_msg_details_in_order_and_no_newline() {
        let error = Error::new(Code::DECODE, "bad <input>").with_details("a & b\nc");
        let expected = "{\n    \"code\": 6,\n    \"msg\": \"bad \\u003cinput\\u003e\",\n    \"details\": \"a \\u0026 b\\nc\"\n}";
        assert_eq!(error.to_json(), expected);
    }

    #[test]
    fn empty_details_are_left_out() {
        assert_eq!(Error::new(Code::INTERNAL, "x").to_json(), "{\n    \"code\": 999,\n    \"msg\": \"x\"\n}");
        assert_eq!(Error::new(Code::IO, "x").to_string(), "x");
        assert_eq!(Error::new(Code::IO, "x").with_details("y").to_string(), "x; y");
    }
}
