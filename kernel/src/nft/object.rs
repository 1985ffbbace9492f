//! What a ruleset is made of and how each object is named: families, tables, chains, base chains.

use std::fmt;

/// The packets that a table sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4 and IPv6 (`NFPROTO_INET`).
    Inet,
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
    /// Frames that pass through a bridge.
    Bridge,
}

impl Family {
    /// `NFPROTO_*` of `linux/netfilter.h`.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Inet => 1,
            Self::Ip => 2,
            Self::Bridge => 7,
            Self::Ip6 => 10,
        }
    }

    /// The family with that number, if it is one of these.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::Inet, Self::Ip, Self::Ip6, Self::Bridge].into_iter().find(|family| family.number() == number)
    }
}

/// The name as nft writes it: `inet`, `ip`, `ip6`, `bridge`.
impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inet => "inet",
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
            Self::Bridge => "bridge",
        })
    }
}

/// The name of a table, which may or may not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Table<'a> {
    /// Its family; tables of two families may have one name.
    pub family: Family,
    /// Its name.
    pub name: &'a str,
}

impl<'a> Table<'a> {
    /// The table of that name.
    #[must_use]
    pub const fn new(family: Family, name: &'a str) -> Self {
        Self { family, name }
    }

    /// The chain of that name in this table.
    #[must_use]
    pub const fn chain(self, name: &'a str) -> ChainName<'a> {
        ChainName { table: self, name }
    }

    /// The set or map of that name in this table.
    #[must_use]
    pub const fn set(self, name: &'a str) -> SetName<'a> {
        SetName { table: self, name }
    }
}

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.family, self.name)
    }
}

/// The name of a chain, which may or may not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChainName<'a> {
    /// Its table.
    pub table: Table<'a>,
    /// Its name in that table.
    pub name: &'a str,
}

impl fmt::Display for ChainName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.table, self.name)
    }
}

/// The name of a set or map (they share one name space), which may or may not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SetName<'a> {
    /// Its table.
    pub table: Table<'a>,
    /// Its name in that table.
    pub name: &'a str,
}

impl fmt::Display for SetName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.table, self.name)
    }
}

/// What a base chain may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChainKind {
    /// Accept and drop.
    Filter,
    /// Translate addresses; sees only the first packet of a connection.
    Nat,
    /// Have a packet routed again when its mark or header changed (output hook only).
    Route,
}

impl ChainKind {
    /// The kernel's name of it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Filter => "filter",
            Self::Nat => "nat",
            Self::Route => "route",
        }
    }

    pub(super) fn from_text(text: &str) -> Option<Self> {
        [Self::Filter, Self::Nat, Self::Route].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// Where in a packet's way a base chain stands (`enum nf_inet_hooks`; the bridge family has the same five).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hook {
    /// Every packet that came in, before routing.
    Prerouting,
    /// Packets for this host.
    Input,
    /// Packets that pass through.
    Forward,
    /// Packets of this host.
    Output,
    /// Every packet that goes out, after routing.
    Postrouting,
}

impl Hook {
    const ALL: [Self; 5] = [Self::Prerouting, Self::Input, Self::Forward, Self::Output, Self::Postrouting];

    pub(super) const fn number(self) -> u32 {
        self as u32
    }

    pub(super) fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|hook| hook.number() == number)
    }
}

/// What becomes of a packet that no rule of a base chain decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Policy {
    /// It goes on.
    Accept,
    /// It is dropped.
    Drop,
}

impl Policy {
    pub(super) const fn number(self) -> u32 {
        match self {
            Self::Drop => 0,
            Self::Accept => 1,
        }
    }

    pub(super) const fn from_number(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::Drop),
            1 => Some(Self::Accept),
            _ => None,
        }
    }
}

/// The order of base chains on one hook, lowest first (`linux/netfilter_ipv4.h`, `netfilter_bridge.h`).
pub mod priority {
    /// Before connection tracking.
    pub const RAW: i32 = -300;
    /// Mangling; after connection tracking.
    pub const MANGLE: i32 = -150;
    /// Destination translation (prerouting, output).
    pub const DSTNAT: i32 = -100;
    /// Filtering.
    pub const FILTER: i32 = 0;
    /// Source translation (postrouting).
    pub const SRCNAT: i32 = 100;
    /// Destination translation in the bridge family.
    pub const BRIDGE_DSTNAT: i32 = -300;
    /// Filtering in the bridge family.
    pub const BRIDGE_FILTER: i32 = -200;
}

/// What makes a chain a base chain: the kernel itself calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Base {
    /// What it may do.
    pub kind: ChainKind,
    /// Where.
    pub hook: Hook,
    /// In which order; see [`priority`].
    pub priority: i32,
    /// What becomes of undecided packets.
    pub policy: Policy,
}

/// A chain to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain<'a> {
    /// Its name.
    pub at: ChainName<'a>,
    /// Its hook; none for a chain that is only jumped to.
    pub base: Option<Base>,
    /// A remark that `nft list` shows; at most 253 bytes.
    pub comment: Option<&'a str>,
}

impl<'a> Chain<'a> {
    /// A chain that rules jump to.
    #[must_use]
    pub const fn regular(at: ChainName<'a>) -> Self {
        Self { at, base: None, comment: None }
    }

    /// A chain that the kernel calls.
    #[must_use]
    pub const fn base(at: ChainName<'a>, base: Base) -> Self {
        Self { at, base: Some(base), comment: None }
    }

    /// The same with a remark.
    #[must_use]
    pub const fn with_comment(mut self, comment: &'a str) -> Self {
        self.comment = Some(comment);
        self
    }
}
