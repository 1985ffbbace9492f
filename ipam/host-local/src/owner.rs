//! Who holds an address: what stands in a reservation's file.
use std::fmt;

/// The attachment that a reservation belongs to; very old files name the container alone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner {
    /// `CNI_CONTAINERID`.
    pub container_id: String,
    /// `CNI_IFNAME`; `None` in a file that predates interface names and stands for any.
    pub ifname: Option<String>,
}

impl Owner {
    /// The owner that an ADD or DEL speaks for.
    #[must_use]
    pub fn new(container_id: &str, ifname: &str) -> Self {
        Self { container_id: container_id.trim().to_owned(), ifname: Some(ifname.to_owned()) }
    }

    /// Reads a reservation's content; `None` when it is blank, which only a crash can leave behind.
    ///
    /// The reference compares the whole content without the white space around it.
    #[must_use]
    pub fn parse(content: &str) -> Option<Self> {
        let content = content.trim();
        if content.is_empty() {
            return None;
        }
        let (container_id, ifname) = match content.split_once('\n') {
            Some((id, ifname)) => (id.trim_end_matches('\r'), Some(ifname.to_owned())),
            None => (content, None),
        };
        Some(Self { container_id: container_id.to_owned(), ifname })
    }

    /// The content of a reservation: container id, CR LF, interface name, no newline at the end.
    #[must_use]
    pub fn content(&self) -> String {
        match &self.ifname {
            Some(ifname) => format!("{}\r\n{ifname}", self.container_id),
            None => self.container_id.clone(),
        }
    }

    /// The same container as very old files name it.
    #[must_use]
    pub fn without_ifname(&self) -> Self {
        Self { container_id: self.container_id.clone(), ifname: None }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.ifname {
            Some(ifname) => write!(to, "container {} interface {ifname}", self.container_id),
            None => write!(to, "container {}", self.container_id),
        }
    }
}

/// FNV-1a, 128 bits: the standard library promises no hash that stays the same from release to release.
#[must_use]
pub fn fnv1a(bytes: &[u8]) -> u128 {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    bytes.iter().fold(OFFSET, |hash, byte| (hash ^ u128::from(*byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_the_reference_writes_and_reads_back() {
        let owner = Owner::new("abc", "eth0");
        assert_eq!(owner.content(), "abc\r\neth0");
        assert_eq!(Owner::parse("abc\r\neth0"), Some(owner));
    }

    #[test]
    fn older_forms_are_understood() {
        assert_eq!(Owner::parse(" abc \n"), Some(Owner { container_id: "abc".into(), ifname: None }));
        assert_eq!(Owner::parse("abc\neth0\n"), Some(Owner::new("abc", "eth0")));
        assert_eq!(Owner::parse(" \r\n"), None);
    }
}
