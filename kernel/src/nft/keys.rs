//! What expressions ask for and set: the kernel's numbers, with names for those that are used.

/// What the host knows about a packet (`enum nft_meta_keys`); any number is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MetaKey(pub u32);

impl MetaKey {
    /// The Ethernet type, two bytes in network order.
    pub const PROTOCOL: Self = Self(1);
    /// The packet mark, four bytes in host order.
    pub const MARK: Self = Self(3);
    /// The interface's name where the packet came in, 16 bytes.
    pub const IIFNAME: Self = Self(6);
    /// The interface's name where it goes out, 16 bytes.
    pub const OIFNAME: Self = Self(7);
    /// The family, one byte.
    pub const NFPROTO: Self = Self(15);
    /// The protocol over IP, one byte.
    pub const L4PROTO: Self = Self(16);
}

/// What is known about a connection (`enum nft_ct_keys`); any number is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CtKey(pub u32);

impl CtKey {
    /// New, established and so on: see [`CtState`]. Four bytes in host order.
    pub const STATE: Self = Self(0);
    /// Translated and so on: see [`CtStatus`]. Four bytes in host order.
    pub const STATUS: Self = Self(2);
    /// The connection's mark, four bytes in host order.
    pub const MARK: Self = Self(3);
    /// The destination port of a direction, two bytes.
    pub const PORT_DESTINATION: Self = Self(12);
    /// The IPv4 destination of a direction.
    pub const DESTINATION_IP: Self = Self(20);
    /// The IPv6 destination of a direction.
    pub const DESTINATION_IP6: Self = Self(22);
}

/// States of a connection, added up by `|` (`NF_CT_STATE_BIT`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CtState(pub u32);

impl CtState {
    /// Cannot be told to a connection.
    pub const INVALID: Self = Self(1);
    /// Seen in both directions.
    pub const ESTABLISHED: Self = Self(2);
    /// Belongs to an established one.
    pub const RELATED: Self = Self(4);
    /// The first packet.
    pub const NEW: Self = Self(8);
    /// Not tracked on purpose.
    pub const UNTRACKED: Self = Self(64);
}

impl std::ops::BitOr for CtState {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Facts about a connection, added up by `|` (`enum ip_conntrack_status`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CtStatus(pub u32);

impl CtStatus {
    /// Its source is translated.
    pub const SNAT: Self = Self(0x10);
    /// Its destination is translated.
    pub const DNAT: Self = Self(0x20);
}

/// What a routing table lookup gives (`enum nft_fib_result`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FibResult(pub u32);

impl FibResult {
    /// The type of the address, four bytes in host order: see [`AddressType`].
    pub const ADDRESS_TYPE: Self = Self(3);
}

/// The type of an address by the routing table (`RTN_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AddressType(pub u32);

impl AddressType {
    /// Behind a route.
    pub const UNICAST: Self = Self(1);
    /// This host's own.
    pub const LOCAL: Self = Self(2);
}

/// How a translation chooses ports, added up by `|` (`NF_NAT_RANGE_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NatFlags(pub u32);

impl NatFlags {
    /// As the kernel likes.
    pub const NONE: Self = Self(0);
    /// At random.
    pub const RANDOM: Self = Self(4);
    /// The same address for each connection of a client.
    pub const PERSISTENT: Self = Self(8);
    /// At random without a hash of the connection: no collisions of two clients (`--random-fully`).
    pub const FULLY_RANDOM: Self = Self(16);
    /// What the kernel itself adds: an address is given, a port is given.
    pub(super) const IMPLIED: u32 = 1 | 2;
}

impl std::ops::BitOr for NatFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}
