//! A 48-bit hardware address.

use std::{fmt, str::FromStr};

/// A 48-bit hardware (MAC) address. Written in lower case with colons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            write!(f, "{}{byte:02x}", if at == 0 { "" } else { ":" })?;
        }
        Ok(())
    }
}

/// The text is not a 48-bit hardware address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a MAC address: want six hexadecimal bytes, as in 02:00:5e:10:00:01")]
pub struct InvalidMac {
    /// What was given.
    pub text: String,
}

impl FromStr for Mac {
    type Err = InvalidMac;

    /// Takes the three notations of Go's `net.ParseMAC` that give six bytes: `aa:bb:cc:dd:ee:ff`,
    /// `aa-bb-cc-dd-ee-ff` and `aabb.ccdd.eeff`, upper or lower case.
    fn from_str(text: &str) -> Result<Self, InvalidMac> {
        let bytes = match text.as_bytes().get(2) {
            Some(b':') => groups(text, ':', 2),
            Some(b'-') => groups(text, '-', 2),
            _ => groups(text, '.', 4),
        };
        bytes.map(Mac).ok_or_else(|| InvalidMac { text: text.to_owned() })
    }
}

/// Six bytes out of groups of `digits` hexadecimal digits each.
fn groups(text: &str, separator: char, digits: usize) -> Option<[u8; 6]> {
    let mut bytes = Vec::with_capacity(6);
    for group in text.split(separator) {
        if group.len() != digits || !group.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let value = u16::from_str_radix(group, 16).ok()?.to_be_bytes();
        bytes.extend_from_slice(value.get(2 - digits / 2..)?);
    }
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_notations_of_go() {
        let want = Mac([0x02, 0, 0x5e, 0x10, 0xab, 1]);
        for text in ["02:00:5e:10:ab:01", "02:00:5E:10:AB:01", "02-00-5e-10-ab-01", "0200.5e10.ab01"] {
            assert_eq!(text.parse(), Ok(want), "{text}");
        }
        assert_eq!(want.to_string(), "02:00:5e:10:ab:01");
    }

    #[test]
    fn refuses_what_is_not_six_bytes() {
        for text in [
            "",
            "02",
            "02:00:5e:10:ab",
            "02:00:5e:10:ab:01:02:03",
            "2:0:5e:10:ab:1",
            "02:00-5e:10:ab:01",
            "0200.5e10",
            "+2:00:5e:10:ab:01",
            "02:00:5e:10:ab:0g",
            "02005e10ab01",
            "é:00:5e:10:ab:01",
        ] {
            assert_eq!(text.parse::<Mac>(), Err(InvalidMac { text: text.into() }));
        }
    }
}
