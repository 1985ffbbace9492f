//! What a plugin answered: exit status, the document on stdout, and the protocol's rules about both.

use std::process::Output;
use std::time::Duration;

use serde_json::Value;

/// One finished run of a plugin.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Program and verb, for messages.
    pub what: String,
    /// Exit status; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Everything on stdout.
    pub stdout: String,
    /// Everything on stderr.
    pub stderr: String,
    /// How long it ran.
    pub took: Duration,
}

/// The error object of the protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CniError {
    /// The code of the error table.
    pub code: u64,
    /// The text.
    pub msg: String,
    /// More text; empty when absent.
    pub details: String,
}

impl Answer {
    pub(crate) fn new(what: String, output: &Output, took: Duration) -> Self {
        Self {
            what,
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            took,
        }
    }

    /// Whether it exited with 0.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.code == Some(0)
    }

    /// The result object: exit 0 and exactly one JSON document on stdout.
    #[track_caller]
    #[must_use]
    pub fn result(&self) -> Value {
        assert!(self.succeeded(), "{} failed: {self}", self.what);
        self.document()
    }

    /// Success of a verb that prints nothing: exit 0 and an empty stdout.
    #[track_caller]
    pub fn silent(&self) {
        assert!(self.succeeded(), "{} failed: {self}", self.what);
        assert_eq!(self.stdout, "", "{} must print nothing on stdout", self.what);
    }

    /// The error object: exit 1 and exactly one JSON document on stdout, with a code and a text.
    #[track_caller]
    #[must_use]
    pub fn error(&self) -> CniError {
        assert_eq!(self.code, Some(1), "{} must fail with exit status 1: {self}", self.what);
        self.loose_error()
    }

    /// The error object whatever the exit status, as libcni reads it (the reference exits 2 when it panics).
    #[track_caller]
    #[must_use]
    pub fn loose_error(&self) -> CniError {
        assert!(!self.succeeded(), "{} should have failed: {self}", self.what);
        let document = self.document();
        let text = |key: &str| document[key].as_str().unwrap_or_default().to_owned();
        let Some(code) = document["code"].as_u64() else { panic!("{}: no numeric code: {self}", self.what) };
        assert!(!text("msg").is_empty(), "{}: an error without a text: {self}", self.what);
        CniError { code, msg: text("msg"), details: text("details") }
    }

    #[track_caller]
    fn document(&self) -> Value {
        match serde_json::from_str(&self.stdout) {
            Ok(document) => document,
            Err(error) => {
                panic!("{}: stdout must hold exactly one JSON document ({error}): {self}", self.what)
            }
        }
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "exit {:?}\n  stdout: {}\n  stderr: {}", self.code, self.stdout, self.stderr)
    }
}
