//! Making a new input of an old one: bits, pieces, and words that mean something to the parsers.

use crate::random::Random;

/// Longest input that is made, in bytes.
pub const LONGEST: usize = 1 << 16;

/// Words that every format here knows: JSON, numbers at the edges of their types, addresses at the edges of networks.
const WORDS: &[&str] = &[
    "null",
    "true",
    "false",
    "{}",
    "[]",
    "[[]]",
    "\"\"",
    "\"\\u0000\"",
    "\"\\ud800\"",
    "\"\\u2028<&>\"",
    "0",
    "-0",
    "-1",
    "1",
    "255",
    "256",
    "65535",
    "65536",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "1.5",
    "1e3",
    "1e999",
    "1e-400",
    "0.1",
    "123456789.123456789e-7",
    "0.0.0.0",
    "255.255.255.255",
    "10.1.0.1",
    "10.1.0.0/16",
    "10.1.0.0/30",
    "10.1.0.0/31",
    "10.1.0.0/32",
    "0.0.0.0/0",
    "255.255.255.252/30",
    "010.0.0.1",
    "10.0.0.0/08",
    "::",
    "::/0",
    "::1",
    "fd00::/64",
    "fd00:12:13::/126",
    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffc/126",
    "::ffff:10.0.0.1",
    "::ffff:10.0.0.0/120",
    "fe80::1%eth0",
    "0.1.0",
    "0.2.0",
    "0.3.1",
    "0.4.0",
    "1.0.0",
    "1.1.0",
    "..",
    "a/b",
    "/",
    "\n",
    "\r\n",
    "\u{0}",
    "\u{feff}",
    "\u{2028}",
    "\u{a0}",
    "\u{10ffff}",
    "=",
    ";",
    ",",
    ":",
    "\"",
    "\\",
    "'",
    "#",
    "&",
    "-",
];

/// Makes a new input of `parent`; `others` lend pieces, `words` are the target's own.
#[must_use]
pub fn mutate(parent: &[u8], others: &[Vec<u8>], words: &[&str], random: &mut Random) -> Vec<u8> {
    let mut input = parent.to_vec();
    for _ in 0..=random.below(4) {
        once(&mut input, others, words, random);
    }
    input.truncate(LONGEST);
    input
}

fn once(input: &mut Vec<u8>, others: &[Vec<u8>], words: &[&str], random: &mut Random) {
    match random.below(12) {
        0 => flip(input, random),
        1 => set(input, random),
        2 => cut(input, random),
        3 => input.truncate(random.below(input.len() + 1)),
        4 => repeat(input, random),
        5 => splice(input, others, random),
        6 | 7 => insert(input, word(words, random).as_bytes(), random),
        8..=10 => replace_token(input, words, random),
        _ => swap_lines(input, random),
    }
}

fn word<'a>(words: &[&'a str], random: &mut Random) -> &'a str {
    let own = random.below(2) == 0;
    let one = if own { random.one_of(words) } else { None };
    one.or_else(|| random.one_of(WORDS)).copied().unwrap_or_default()
}

fn flip(input: &mut [u8], random: &mut Random) {
    let at = random.below(input.len());
    let bit = random.below(8);
    if let Some(byte) = input.get_mut(at) {
        *byte ^= 1 << bit;
    }
}

fn set(input: &mut [u8], random: &mut Random) {
    let at = random.below(input.len());
    let value = random.number().to_le_bytes();
    if let (Some(byte), Some(value)) = (input.get_mut(at), value.get(3)) {
        *byte = *value;
    }
}

/// A piece of the input: mostly short.
fn piece(length: usize, random: &mut Random) -> (usize, usize) {
    let from = random.below(length + 1);
    let longest = if random.once_in(4) { length - from } else { (length - from).min(24) };
    (from, from + random.below(longest + 1))
}

fn cut(input: &mut Vec<u8>, random: &mut Random) {
    let (from, to) = piece(input.len(), random);
    input.drain(from..to);
}

/// One piece again, a few times or very often: what grows faster than its input shows here.
fn repeat(input: &mut Vec<u8>, random: &mut Random) {
    let (from, to) = piece(input.len(), random);
    let Some(piece) = input.get(from..to).filter(|piece| !piece.is_empty()) else { return };
    let room =
        (LONGEST.saturating_sub(input.len()) / piece.len()).min(if random.once_in(8) { 4000 } else { 4 });
    let copies = piece.repeat(random.below(room + 1));
    input.splice(to..to, copies);
}

fn splice(input: &mut Vec<u8>, others: &[Vec<u8>], random: &mut Random) {
    let Some(other) = random.one_of(others) else { return };
    let (from, to) = piece(other.len(), random);
    let (start, end) = piece(input.len(), random);
    let lent = other.get(from..to).unwrap_or_default().to_vec();
    input.splice(start..end, lent);
}

fn insert(input: &mut Vec<u8>, what: &[u8], random: &mut Random) {
    let at = random.below(input.len() + 1);
    input.splice(at..at, what.iter().copied());
}

/// A whole word, number or string of the input gives way to another, so that what stands around it stays well-formed.
fn replace_token(input: &mut Vec<u8>, words: &[&str], random: &mut Random) {
    let at = random.below(input.len());
    let in_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-/:%".contains(byte) || *byte >= 0x80;
    let Some((before, after)) = input.split_at_checked(at) else { return };
    let from = before.len() - before.iter().rev().take_while(|byte| in_token(byte)).count();
    // The colon between key and value is none of an address.
    let is_separator = input.get(from) == Some(&b':') && input.get(from + 1) != Some(&b':') && from < at;
    let from = from + usize::from(is_separator);
    let to = at + after.iter().take_while(|byte| in_token(byte)).count();
    let new = word(words, random).as_bytes().to_vec();
    let is_string = input.get(from.wrapping_sub(1)) == Some(&b'"') && input.get(to) == Some(&b'"');
    let (from, to) = if is_string && random.once_in(3) { (from - 1, to + 1) } else { (from, to) };
    input.splice(from..to, new);
}

fn swap_lines(input: &mut Vec<u8>, random: &mut Random) {
    let mut lines: Vec<&[u8]> = input.split(|byte| *byte == b'\n').collect();
    let (one, other) = (random.below(lines.len()), random.below(lines.len()));
    if random.once_in(2) {
        lines.swap(one, other);
    } else if let Some(line) = lines.get(one).copied() {
        lines.insert(other, line);
    }
    *input = lines.join(&b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mutations_differ_are_repeatable_and_stay_short() {
        let parent = br#"{"name":"net","mtu":1500}"#.to_vec();
        let make = |seed: u64| {
            let mut random = Random::new(seed);
            let mut input = parent.clone();
            for _ in 0..200 {
                input = mutate(&input, std::slice::from_ref(&parent), &["bridge"], &mut random);
                assert!(input.len() <= LONGEST);
            }
            input
        };
        assert_eq!(make(1), make(1));
        assert_ne!(make(1), make(2));
    }

    #[test]
    fn a_whole_token_gives_way() {
        let mut random = Random::new(1);
        let seen = (0..400).any(|_| {
            let mut input = br#"{"mtu":1500}"#.to_vec();
            replace_token(&mut input, &["77"], &mut random);
            input == br#"{"mtu":77}"#
        });
        assert!(seen);
    }
}
