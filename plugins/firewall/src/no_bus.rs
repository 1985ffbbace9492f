//! The system bus of a build without D-Bus: there is none, and the configuration refuses the backend that needs it.

use attach::Error;

use crate::firewalld::refused;

/// A connection that cannot be had.
pub enum Bus {}

/// What a daemon would have answered.
#[derive(Debug, PartialEq, Eq)]
#[expect(dead_code, reason = "nobody answers in a build without D-Bus")]
pub enum Answer {
    /// A method without a yes or no.
    Done,
    /// Yes or no.
    Bool(bool),
    /// An error.
    Refused {
        /// Its D-Bus name.
        name: String,
        /// Its text.
        text: String,
    },
}

impl Bus {
    /// Says that this build has no D-Bus.
    pub fn open() -> Result<Self, Error> {
        Err(refused("D-Bus", "this build has none; build it with the feature \"firewalld\""))
    }

    /// Never called: there is no value to call it on.
    pub fn has_owner(&mut self) -> Result<bool, Error> {
        match *self {}
    }

    /// Never called: there is no value to call it on.
    pub fn zone_call(&mut self, _: &str, _: &str, _: &str) -> Result<Answer, Error> {
        match *self {}
    }
}
