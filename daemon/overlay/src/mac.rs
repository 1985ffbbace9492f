//! Hardware addresses of tunnel ends, as leases carry them.

use std::fmt;
use std::str::FromStr;

/// A 48-bit hardware address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// A locally administered unicast address that the same words always give: it outlives restarts and reboots with
    /// nothing remembered.
    #[must_use]
    pub fn derived(words: &[&str]) -> Mac {
        // FNV-1a: a spread, not a secret.
        let bytes = words.iter().flat_map(|word| word.bytes().chain([0]));
        let hash = bytes
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, b| (hash ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
        let local = (hash ^ (hash >> 47)) & !(0x03 << 40) | (0x02 << 40);
        let [_, _, bytes @ ..] = local.to_be_bytes();
        Mac(bytes)
    }

    /// Whether a single host can have it: neither a group's nor all zero.
    #[must_use]
    pub fn is_unicast(&self) -> bool {
        self.0.first().is_some_and(|first| first & 1 == 0) && self.0 != [0; 6]
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            write!(f, "{}{byte:02x}", if at == 0 { "" } else { ":" })?;
        }
        Ok(())
    }
}

impl FromStr for Mac {
    type Err = ();

    /// Go's three notations, in which flannel's decoder reads one: colons, dashes, dots.
    fn from_str(text: &str) -> Result<Mac, ()> {
        let (separator, digits) = match text.len() {
            14 => (b'.', 4),
            17 => (*text.as_bytes().get(2).ok_or(())?, 2),
            _ => return Err(()),
        };
        if !matches!(separator, b':' | b'-' | b'.') || (separator == b'.') != (digits == 4) {
            return Err(());
        }
        let mut value = 0_u64;
        for (at, byte) in text.bytes().enumerate() {
            if at % (digits + 1) == digits {
                (byte == separator).then_some(()).ok_or(())?;
            } else {
                value = value << 4 | u64::from(char::from(byte).to_digit(16).ok_or(())?);
            }
        }
        let [_, _, bytes @ ..] = value.to_be_bytes();
        Ok(Mac(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_s_notations_are_read_and_nothing_else() {
        let want = Mac([0xc6, 0xd2, 0x32, 0x6f, 0x8f, 0x44]);
        for text in ["c6:d2:32:6f:8f:44", "C6-D2-32-6F-8F-44", "c6d2.326f.8f44"] {
            assert_eq!(text.parse(), Ok(want), "{text}");
        }
        assert_eq!(want.to_string(), "c6:d2:32:6f:8f:44");
        for text in
            ["", "c6", "c6:d2:32:6f:8f", "c6:d2:32:6f:8f:44:00", "c6d2326f8f44", "c6:d2-32:6f:8f:44", "é:d2"]
        {
            assert_eq!(text.parse::<Mac>(), Err(()), "{text}");
        }
    }

    #[test]
    fn a_derived_address_is_unicast_local_stable_and_different_for_others() {
        let one = Mac::derived(&["192.0.2.1", "1", "v4"]);
        assert_eq!(one, Mac::derived(&["192.0.2.1", "1", "v4"]));
        assert!(one.is_unicast() && one.0[0] & 2 == 2);
        let many: std::collections::BTreeSet<Mac> = (0..20_000)
            .map(|n| Mac::derived(&[&format!("10.{}.{}.1", n / 256, n % 256), "1", "v4"]))
            .collect();
        assert_eq!(many.len(), 20_000);
        assert!(!many.contains(&Mac::derived(&["192.0.2.1", "1", "v6"])));
    }
}
