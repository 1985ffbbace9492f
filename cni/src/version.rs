//! The versions of the CNI specification and what changes between them.

use std::fmt;

/// A version of the CNI specification that Ironbridge speaks, oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// 0.1.0, also meant by an absent or empty `cniVersion`
    V0_1_0,
    /// 0.2.0
    V0_2_0,
    /// 0.3.0, the first with a list of interfaces
    V0_3_0,
    /// 0.3.1
    V0_3_1,
    /// 0.4.0, the first with CHECK
    V0_4_0,
    /// 1.0.0
    V1_0_0,
    /// 1.1.0, the first with GC and STATUS
    V1_1_0,
}

/// How a result is written: the versions of one layout read each other's results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// 0.1.0, 0.2.0: one `ip4` and one `ip6` object
    PerFamily,
    /// 0.3.0 to 0.4.0: lists, with the IP version beside each address
    Versioned,
    /// 1.0.0 and later: lists, keys in alphabetical order
    Plain,
}

impl Version {
    /// Every version, oldest first.
    pub const ALL: [Self; 7] =
        [Self::V0_1_0, Self::V0_2_0, Self::V0_3_0, Self::V0_3_1, Self::V0_4_0, Self::V1_0_0, Self::V1_1_0];

    /// The newest version, which VERSION answers with.
    pub const NEWEST: Self = Self::V1_1_0;

    /// The version as `cniVersion` spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V0_1_0 => "0.1.0",
            Self::V0_2_0 => "0.2.0",
            Self::V0_3_0 => "0.3.0",
            Self::V0_3_1 => "0.3.1",
            Self::V0_4_0 => "0.4.0",
            Self::V1_0_0 => "1.0.0",
            Self::V1_1_0 => "1.1.0",
        }
    }

    /// The version that is spelt exactly so; an empty text is 0.1.0, as the specification says.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::V0_1_0);
        }
        Self::ALL.into_iter().find(|version| version.as_str() == text)
    }

    pub(crate) const fn layout(self) -> Layout {
        match self {
            Self::V0_1_0 | Self::V0_2_0 => Layout::PerFamily,
            Self::V0_3_0 | Self::V0_3_1 | Self::V0_4_0 => Layout::Versioned,
            Self::V1_0_0 | Self::V1_1_0 => Layout::Plain,
        }
    }

    pub(crate) fn numbers(self) -> Numbers {
        match self {
            Self::V0_1_0 => Numbers(0, 1, 0),
            Self::V0_2_0 => Numbers(0, 2, 0),
            Self::V0_3_0 => Numbers(0, 3, 0),
            Self::V0_3_1 => Numbers(0, 3, 1),
            Self::V0_4_0 => Numbers(0, 4, 0),
            Self::V1_0_0 => Numbers(1, 0, 0),
            Self::V1_1_0 => Numbers(1, 1, 0),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Major, minor and micro of any version text, known or not: CHECK, GC and STATUS are gated by number
/// before the version must be one that the plugin lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Numbers(i64, i64, i64);

impl Numbers {
    /// One to three parts, a missing one is 0, an empty text is 0.1.0 (`ParseVersion` of the Go library).
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Version::V0_1_0.numbers());
        }
        let mut parts = text.split('.');
        let mut next = |name: &str| match parts.next() {
            None => Ok(0),
            Some(part) => {
                part.parse::<i64>().map_err(|_| format!("failed to convert {name} version part {part:?}"))
            }
        };
        let numbers = Self(next("major")?, next("minor")?, next("micro")?);
        match parts.next() {
            None => Ok(numbers),
            Some(_) => Err(format!("invalid version {text:?}: too many parts")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_recognised_only_when_spelt_exactly() {
        for version in Version::ALL {
            assert_eq!(Version::parse(version.as_str()), Some(version));
            assert_eq!(Numbers::parse(version.as_str()), Ok(version.numbers()));
        }
        assert_eq!(Version::parse(""), Some(Version::V0_1_0));
        for other in ["1.1", "1", " 1.1.0", "1.1.0 ", "v1.1.0", "1.01.0", "1.2.0", "0.3.2"] {
            assert_eq!(Version::parse(other), None, "{other:?}");
        }
    }

    #[test]
    fn versions_are_ordered_by_age_and_by_number() {
        assert!(Version::ALL.is_sorted());
        assert!(Version::ALL.map(Version::numbers).is_sorted());
        assert!(Version::ALL.into_iter().all(|version| version <= Version::NEWEST));
    }

    #[test]
    fn missing_parts_are_zero_and_four_are_too_many() {
        assert_eq!(Numbers::parse("1"), Ok(Numbers(1, 0, 0)));
        assert_eq!(Numbers::parse("1.1"), Ok(Numbers(1, 1, 0)));
        assert_eq!(Numbers::parse(""), Ok(Numbers(0, 1, 0)));
        assert!(Numbers::parse("1.1.0.0").is_err_and(|text| text.contains("too many parts")));
        assert!(Numbers::parse("1.x").is_err_and(|text| text.contains("minor version part \"x\"")));
        assert!(Numbers::parse("1..0").is_err());
        assert!(Numbers::parse("99999999999999999999").is_err());
    }

    #[test]
    fn numbers_compare_part_by_part_and_not_as_text() {
        assert!(Numbers::parse("0.10.0") > Numbers::parse("0.4.0"));
        assert!(Numbers::parse("1.0.0") > Numbers::parse("0.99.99"));
    }
}
