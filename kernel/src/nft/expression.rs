//! Expressions: the instructions of a rule, each as plain data that can be compared.

use super::{
    keys::{CtKey, FibResult, MetaKey, NatFlags},
    object::Family,
    register::Register,
    value::Value,
    verdict::Verdict,
};

/// One instruction. A rule runs its instructions in order until one does not match.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Expression {
    /// Loads bytes of the packet.
    Payload {
        /// From which header.
        header: Header,
        /// Bytes from its beginning.
        offset: u32,
        /// How many bytes.
        length: u32,
        /// Where to.
        into: Register,
    },
    /// Loads what the host knows about the packet.
    Meta {
        /// What.
        key: MetaKey,
        /// Where to.
        into: Register,
    },
    /// Sets what the host knows about the packet (its mark).
    SetMeta {
        /// What.
        key: MetaKey,
        /// The new value.
        from: Register,
    },
    /// Loads what is known about the packet's connection.
    Ct {
        /// What.
        key: CtKey,
        /// Of which direction, for keys that have one.
        direction: Option<Direction>,
        /// Where to.
        into: Register,
    },
    /// Sets what is known about the connection (its mark).
    SetCt {
        /// What.
        key: CtKey,
        /// The new value.
        from: Register,
    },
    /// Asks the routing table.
    Fib {
        /// Which field is looked up (`NFTA_FIB_F_*` of `nf_tables.h`, added up).
        by: u32,
        /// What is wanted.
        result: FibResult,
        /// Where to.
        into: Register,
    },
    /// Goes on only if the comparison holds.
    Compare {
        /// The left side.
        from: Register,
        /// The comparison, byte by byte.
        relation: Relation,
        /// The right side.
        value: Value,
    },
    /// `into = (from & mask) ^ xor`.
    Bitwise {
        /// The operand.
        from: Register,
        /// The result.
        into: Register,
        /// As long as the operand.
        mask: Value,
        /// As long as the operand.
        xor: Value,
    },
    /// Loads a constant.
    Immediate {
        /// Where to.
        into: Register,
        /// The constant.
        value: Value,
    },
    /// Decides.
    Verdict(Verdict),
    /// Goes on only if the set has (or has not) the value.
    Lookup {
        /// A set of the same table.
        set: String,
        /// The key.
        from: Register,
        /// Which of both.
        membership: Membership,
    },
    /// Loads what a map has behind the value; does not match when it has nothing.
    Map {
        /// A map of the same table.
        map: String,
        /// The key.
        from: Register,
        /// Where to.
        into: Register,
    },
    /// Decides by a verdict map; goes on when it has nothing.
    VerdictMap {
        /// A verdict map of the same table.
        map: String,
        /// The key.
        from: Register,
    },
    /// Counts.
    Counter {
        /// Packets so far.
        packets: u64,
        /// Bytes so far.
        bytes: u64,
    },
    /// Gives the packet the address of the interface that it leaves by.
    Masquerade(NatFlags),
    /// Translates an address, a port, or both.
    Nat(Nat),
    /// Translates the destination to this host.
    Redirect {
        /// The new port, if it changes.
        port: Option<Register>,
        /// How the port is chosen.
        flags: NatFlags,
    },
    /// Drops the packet and tells its sender.
    Reject {
        /// `NFT_REJECT_*`: 0 ICMP unreachable, 1 TCP reset, 2 ICMP of either family.
        kind: u32,
        /// The ICMP code of that kind.
        code: u8,
    },
    /// An instruction that is not known here, as another program made it.
    Other {
        /// Its name (`match`, `target`, `limit`, ...).
        name: String,
        /// Its attributes as they are.
        attributes: Vec<u8>,
    },
}

/// Address translation; addresses and ports stand in registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Nat {
    /// Which side.
    pub kind: NatKind,
    /// The family of the address; in an `inet` table the rule must also match on it.
    pub family: Family,
    /// The new address, if it changes.
    pub address: Option<Register>,
    /// The new port, if it changes.
    pub port: Option<Register>,
    /// How the port is chosen.
    pub flags: NatFlags,
}

/// Which side of a connection is translated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NatKind {
    /// The source (postrouting, input).
    Source,
    /// The destination (prerouting, output).
    Destination,
}

/// A header of a packet (`enum nft_payload_bases`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Header {
    /// Ethernet.
    Link,
    /// IP, or ARP.
    Network,
    /// TCP, UDP, SCTP.
    Transport,
}

/// `enum nft_cmp_ops`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Relation {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    Greater,
    /// `>=`
    AtLeast,
}

/// Whether a lookup wants the value in the set or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Membership {
    /// The set has it.
    In,
    /// The set has it not.
    NotIn,
}

/// A side of a connection (`enum ip_conntrack_dir`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// As the first packet came.
    Original,
    /// As answers come.
    Reply,
}
