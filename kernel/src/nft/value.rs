//! Register contents: the bytes that rules compare and load, and that sets hold as keys and data.

use crate::Mac;
use std::{
    fmt,
    hash::{Hash, Hasher},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// All registers together (`NFT_DATA_VALUE_MAXLEN`).
const ROOM: usize = 64;
/// A field of a concatenation begins at a multiple of this (`NFT_REG32_SIZE`).
const SLOT: usize = 4;
/// An interface name with its zeros (`IFNAMSIZ`).
const IFNAME: usize = 16;

/// At most 64 bytes as they lie in the registers: one field, or several ([`Value::and`]).
///
/// ```
/// use kernel::nft::Value;
/// use std::net::Ipv4Addr;
/// // tcp . 10.1.0.2 . 80, each field padded to four bytes
/// let key = Value::protocol(6).and(Ipv4Addr::new(10, 1, 0, 2)).and(Value::port(80));
/// assert_eq!(key.as_bytes(), [6, 0, 0, 0, 10, 1, 0, 2, 0, 80, 0, 0]);
/// ```
#[derive(Clone, Copy)]
pub struct Value {
    bytes: [u8; ROOM],
    length: u8,
    fields: u8,
}

impl Value {
    /// One field with these bytes; what is beyond 64 bytes makes the value unfit for any use: a
    /// transaction that has it is refused.
    #[must_use]
    pub fn new(content: &[u8]) -> Self {
        let mut bytes = [0; ROOM];
        for (place, byte) in bytes.iter_mut().zip(content) {
            *place = *byte;
        }
        Self { bytes, length: u8::try_from(content.len()).unwrap_or(u8::MAX), fields: 1 }
    }

    /// A port (`inet_service`).
    #[must_use]
    pub fn port(port: u16) -> Self {
        Self::new(&port.to_be_bytes())
    }

    /// An IP protocol (`inet_proto`): 6 is TCP, 17 UDP, 132 SCTP.
    #[must_use]
    pub fn protocol(protocol: u8) -> Self {
        Self::new(&[protocol])
    }

    /// A packet mark; in the machine's own byte order, as the kernel keeps it.
    #[must_use]
    pub fn mark(mark: u32) -> Self {
        Self::new(&mark.to_ne_bytes())
    }

    /// A whole interface name. One over 15 bytes is no name: the value is unfit for any use.
    #[must_use]
    pub fn ifname(name: &str) -> Self {
        let mut bytes = [0; IFNAME];
        for (place, byte) in bytes.iter_mut().zip(name.bytes()) {
            *place = byte;
        }
        let mut value = Self::new(&bytes);
        if name.len() >= IFNAME {
            value.length = u8::MAX;
        }
        value
    }

    /// This value with one more field behind it: both padded to four bytes, as concatenations are.
    #[must_use]
    pub fn and(mut self, next: impl Into<Value>) -> Self {
        let next = next.into();
        let start = usize::from(self.length).next_multiple_of(SLOT);
        for (place, byte) in self.bytes.iter_mut().skip(start).zip(next.as_bytes()) {
            *place = *byte;
        }
        let length = start + usize::from(next.length).next_multiple_of(SLOT);
        self.length = u8::try_from(length).unwrap_or(u8::MAX);
        self.fields = self.fields.saturating_add(next.fields);
        self
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or(&self.bytes)
    }

    /// The IPv4 address that begins `at` bytes into the value.
    #[must_use]
    pub fn ipv4_at(&self, at: usize) -> Option<Ipv4Addr> {
        self.part(at).map(Ipv4Addr::from_octets)
    }

    /// The IPv6 address that begins `at` bytes into the value.
    #[must_use]
    pub fn ipv6_at(&self, at: usize) -> Option<Ipv6Addr> {
        self.part(at).map(Ipv6Addr::from_octets)
    }

    /// The port that begins `at` bytes into the value.
    #[must_use]
    pub fn port_at(&self, at: usize) -> Option<u16> {
        self.part(at).map(u16::from_be_bytes)
    }

    /// The byte (a protocol) `at` bytes into the value.
    #[must_use]
    pub fn byte_at(&self, at: usize) -> Option<u8> {
        self.as_bytes().get(at).copied()
    }

    /// The interface name that begins `at` bytes into the value.
    #[must_use]
    pub fn ifname_at(&self, at: usize) -> Option<String> {
        let bytes: [u8; IFNAME] = self.part(at)?;
        Some(super::attribute::text(&bytes))
    }

    /// Whether the registers have room for it; a value that is unfit is never sent.
    pub(super) fn fits(&self) -> bool {
        usize::from(self.length) <= ROOM
    }

    /// Whether this is a concatenation.
    pub(super) fn is_concatenation(&self) -> bool {
        self.fields > 1
    }

    fn part<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.as_bytes().get(at..)?.first_chunk::<N>().copied()
    }
}

impl From<Ipv4Addr> for Value {
    fn from(address: Ipv4Addr) -> Self {
        Self::new(&address.octets())
    }
}

impl From<Ipv6Addr> for Value {
    fn from(address: Ipv6Addr) -> Self {
        Self::new(&address.octets())
    }
}

impl From<IpAddr> for Value {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => address.into(),
        }
    }
}

impl From<Mac> for Value {
    fn from(mac: Mac) -> Self {
        Self::new(&mac.0)
    }
}

/// Two values are equal when their bytes are: the kernel does not keep where a field ends.
impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes() && self.length == other.length
    }
}

impl Eq for Value {}

impl Hash for Value {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Value {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_bytes().cmp(other.as_bytes()).then(self.length.cmp(&other.length))
    }
}

/// Hexadecimal, four bytes a group: what is known without the set's key type.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, byte) in self.as_bytes().iter().enumerate() {
            if n > 0 && n % SLOT == 0 {
                f.write_str(".")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_fields_are_not_padded_and_concatenations_are() {
        assert_eq!(Value::port(80).as_bytes(), [0, 80]);
        assert_eq!(Value::protocol(17).as_bytes(), [17]);
        let pair = Value::protocol(17).and(Value::port(53));
        assert_eq!(pair.as_bytes(), [17, 0, 0, 0, 0, 53, 0, 0]);
        assert_eq!((pair.byte_at(0), pair.port_at(4)), (Some(17), Some(53)));
        assert!(pair.is_concatenation());
    }

    #[test]
    fn a_value_over_64_bytes_is_unfit_and_never_panics() {
        let long = Value::ifname("a").and(Value::ifname("b")).and(Value::ifname("c")).and(Value::ifname("d"));
        assert!(long.fits());
        assert!(!long.and(Value::port(1)).fits());
        assert!(!Value::new(&[0; 300]).fits());
        assert_eq!(long.and(Value::port(1)).as_bytes().len(), 64);
    }

    #[test]
    fn an_interface_name_of_sixteen_bytes_is_not_cut_to_fit() {
        assert_eq!(Value::ifname("veth0123456789a").ifname_at(0).as_deref(), Some("veth0123456789a"));
        assert!(!Value::ifname("veth0123456789ab").fits());
    }
}
