//! `WireGuard` keys as leases and key files carry them: 32 bytes in base64.

use std::fmt;
use std::str::FromStr;

/// A key of 256 bits. Its debug text is its base64 too, so private and shared ones are kept in [`Secret`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub [u8; 32]);

/// A key that no log shows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secret(pub Key);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl Secret {
    /// A private key of these random bytes (curve25519: some bits are fixed).
    #[must_use]
    pub fn from_random(mut bytes: [u8; 32]) -> Secret {
        let [first, .., last] = &mut bytes;
        *first &= 0xf8;
        *last = *last & 0x7f | 0x40;
        Secret(Key(bytes))
    }
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        for chunk in self.0.chunks(3) {
            let bits =
                (0..3).fold(0_usize, |bits, i| bits << 8 | usize::from(chunk.get(i).copied().unwrap_or(0)));
            for place in 0..4 {
                let digit = DIGITS.get(bits >> (18 - 6 * place) & 63).filter(|_| place <= chunk.len());
                write!(f, "{}", digit.map_or('=', |d| char::from(*d)))?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for Key {
    type Err = ();

    fn from_str(text: &str) -> Result<Key, ()> {
        let digits = text.trim().strip_suffix('=').filter(|digits| digits.len() == 43).ok_or(())?;
        let mut bytes = Vec::with_capacity(33);
        let (mut bits, mut count) = (0_u32, 0);
        for digit in digits.bytes() {
            let value =
                DIGITS.iter().position(|d| *d == digit).and_then(|v| u32::try_from(v).ok()).ok_or(())?;
            (bits, count) = (bits << 6 | value, count + 6);
            if count >= 8 {
                count -= 8;
                bytes.push(u8::try_from(bits >> count & 0xff).map_err(|_| ())?);
            }
        }
        bytes.try_into().map(Key).map_err(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_is_written_and_nothing_else_is_one() {
        let key = Key(std::array::from_fn(|n| u8::try_from(n * 37 % 256).unwrap()));
        assert_eq!(key.to_string().parse(), Ok(key));
        let text = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=";
        assert_eq!(text.parse::<Key>().unwrap().to_string(), text);
        for bad in ["", "x", &text[..43], &text[1..], "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8D?="] {
            assert_eq!(bad.parse::<Key>(), Err(()), "{bad}");
        }
        assert_eq!(format!("{:?}", Secret(key)), "(secret)");
    }
}
