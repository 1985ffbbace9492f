//! What a target says about an input: how far the parser came with it, or which promise was broken.

use std::fmt;

/// The place in the parser that an input led to. The search keeps an input that reaches a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reached(u64);

/// A promise that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken(String);

/// The answer of a target.
pub type Verdict = Result<Reached, Broken>;

/// Longest part of a description that tells places apart, in bytes: beyond it a place a value would be one.
const TELLING: usize = 600;

impl Reached {
    /// The place that a description stands for. Numbers and what is quoted belong to the input, not to the place.
    #[must_use]
    pub fn at(description: &str) -> Self {
        let mut hash = fnv1a(&[]);
        let (mut quoted, mut digit) = (false, false);
        for byte in description.bytes().take(TELLING) {
            if byte == b'"' {
                quoted = !quoted;
            } else if !quoted && !(byte.is_ascii_digit() && digit) {
                digit = byte.is_ascii_digit();
                hash = step(hash, if digit { b'0' } else { byte });
            }
        }
        Self(hash)
    }

    /// Two places passed in one run.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let Self(one) = self;
        let Self(two) = other;
        Self(one.rotate_left(5) ^ two)
    }
}

impl Broken {
    /// A promise in words, with the values that break it.
    #[must_use]
    pub fn new(what: String) -> Self {
        Self(what)
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(what) = self;
        to.write_str(what)
    }
}

impl std::error::Error for Broken {}

/// Says what is broken unless it holds.
pub(crate) fn hold(holds: bool, what: impl FnOnce() -> String) -> Result<(), Broken> {
    if holds { Ok(()) } else { Err(Broken(what())) }
}

/// Says which two values should be one unless they are.
pub(crate) fn same<T: PartialEq + fmt::Debug>(what: &str, one: &T, other: &T) -> Result<(), Broken> {
    hold(one == other, || format!("{what}: {one:?} is not {other:?}"))
}

/// The value of something that cannot fail here.
pub(crate) fn must<T, E: fmt::Display>(what: &str, result: Result<T, E>) -> Result<T, Broken> {
    result.map_err(|error| Broken(format!("{what}: {error}")))
}

/// FNV-1a, 64 bits: names of found inputs stay the same from run to run.
#[must_use]
pub(crate) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| step(hash, *byte))
}

fn step(hash: u64, byte: u8) -> u64 {
    (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_do_not_make_a_new_place_but_words_do() {
        let place = Reached::at("field \"a\" at line 1");
        assert_eq!(place, Reached::at("field \"other\" at line 23"));
        assert_ne!(place, Reached::at("field \"a\" at column 1"));
    }
}
