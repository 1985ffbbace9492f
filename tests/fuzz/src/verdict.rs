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

/// How much of a description tells places apart, in words: more would make a place of every value.
const TELLING: usize = 150;

impl Reached {
    /// The place that a description stands for. Numbers and what is quoted belong to the input, not to the place.
    #[must_use]
    pub fn at(description: &str) -> Self {
        let unquoted = description.split('"').step_by(2);
        let words =
            unquoted.flat_map(|part| part.split_inclusive(|c: char| !c.is_alphanumeric() && c != '_'));
        let mut hash = fnv1a(&[]);
        for word in words.take(TELLING) {
            let is_number = word.contains(|c: char| c.is_ascii_digit()) && !word.starts_with(['v', 'V']);
            let telling = if is_number { "0" } else { word };
            hash = telling.bytes().fold(hash, step);
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
#[expect(clippy::fn_params_excessive_bools, reason = "an assertion is about one")]
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
    bytes.iter().copied().fold(0xcbf2_9ce4_8422_2325, step)
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
        assert_eq!(Reached::at("Some(10.1.0.2)"), Reached::at("Some(192.168.77.2)"));
        assert_ne!(Reached::at("v4"), Reached::at("v6"));
        assert_ne!(place, Reached::at("field \"a\" at column 1"));
    }
}
