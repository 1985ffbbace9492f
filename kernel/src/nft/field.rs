//! Fields of packets that rules match on and look up, each with what must be tested before it may be read.

use super::{
    expression::{Direction, Expression, Header, Relation},
    keys::{CtKey, MetaKey},
    object::Family,
    register::Register,
    set::Type,
    value::Value,
};

/// The protocol of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Network {
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
}

/// A field of a packet. A concatenated key is a list of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Field {
    /// The source address.
    Source(Network),
    /// The destination address.
    Destination(Network),
    /// The protocol over IP (`meta l4proto`).
    Protocol,
    /// The source port of any protocol that has one (`th sport`).
    SourcePort,
    /// The destination port of any protocol that has one (`th dport`).
    DestinationPort,
    /// The destination before translation (`ct original ip daddr`).
    OriginalDestination(Network),
    /// The destination port before translation (`ct original proto-dst`).
    OriginalDestinationPort,
    /// The name of the interface where the packet came in.
    InputInterface,
    /// The name of the interface where it goes out.
    OutputInterface,
    /// The packet mark.
    Mark,
    /// The frame's source.
    EtherSource,
    /// The frame's destination.
    EtherDestination,
    /// The hardware address that the sender of an ARP packet claims (bridge family).
    ArpSenderMac,
    /// The IPv4 address that the sender of an ARP packet claims (bridge family).
    ArpSenderIp,
}

/// What must be known about a packet before a field of it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Premise {
    /// Any packet has the field.
    None,
    /// IPv4 or IPv6.
    Network(Network),
    /// ARP.
    Arp,
    /// Ethernet.
    Ethernet,
}

impl Field {
    /// The type of the field in the key of a set.
    #[must_use]
    pub const fn key_type(self) -> Type {
        match self {
            Self::Source(Network::Ip)
            | Self::Destination(Network::Ip)
            | Self::OriginalDestination(Network::Ip)
            | Self::ArpSenderIp => Type::Ipv4Addr,
            Self::Source(Network::Ip6)
            | Self::Destination(Network::Ip6)
            | Self::OriginalDestination(Network::Ip6) => Type::Ipv6Addr,
            Self::Protocol => Type::InetProto,
            Self::SourcePort | Self::DestinationPort | Self::OriginalDestinationPort => Type::InetService,
            Self::InputInterface | Self::OutputInterface => Type::IfName,
            Self::Mark => Type::Mark,
            Self::EtherSource | Self::EtherDestination | Self::ArpSenderMac => Type::EtherAddr,
        }
    }

    pub(super) const fn premise(self) -> Premise {
        match self {
            Self::Source(network) | Self::Destination(network) | Self::OriginalDestination(network) => {
                Premise::Network(network)
            }
            Self::EtherSource | Self::EtherDestination => Premise::Ethernet,
            Self::ArpSenderMac | Self::ArpSenderIp => Premise::Arp,
            Self::Protocol
            | Self::SourcePort
            | Self::DestinationPort
            | Self::OriginalDestinationPort
            | Self::InputInterface
            | Self::OutputInterface
            | Self::Mark => Premise::None,
        }
    }

    /// The instruction that loads the first `length` bytes of the field.
    pub(super) fn load(self, length: u32, into: Register) -> Expression {
        let packet = |header, offset| Expression::Payload { header, offset, length, into };
        let meta = |key| Expression::Meta { key, into };
        let ct = |key| Expression::Ct { key, direction: Some(Direction::Original), into };
        match self {
            Self::Source(Network::Ip) => packet(Header::Network, 12),
            Self::Destination(Network::Ip) => packet(Header::Network, 16),
            Self::Source(Network::Ip6) | Self::ArpSenderMac => packet(Header::Network, 8),
            Self::Destination(Network::Ip6) => packet(Header::Network, 24),
            Self::SourcePort => packet(Header::Transport, 0),
            Self::DestinationPort => packet(Header::Transport, 2),
            Self::EtherDestination => packet(Header::Link, 0),
            Self::EtherSource => packet(Header::Link, 6),
            Self::ArpSenderIp => packet(Header::Network, 14),
            Self::Protocol => meta(MetaKey::L4PROTO),
            Self::InputInterface => meta(MetaKey::IIFNAME),
            Self::OutputInterface => meta(MetaKey::OIFNAME),
            Self::Mark => meta(MetaKey::MARK),
            Self::OriginalDestination(Network::Ip) => ct(CtKey::DESTINATION_IP),
            Self::OriginalDestination(Network::Ip6) => ct(CtKey::DESTINATION_IP6),
            Self::OriginalDestinationPort => ct(CtKey::PORT_DESTINATION),
        }
    }

    /// The field's length in bytes.
    pub(super) fn length(self) -> u32 {
        u32::try_from(self.key_type().length()).unwrap_or(u32::MAX)
    }
}

/// `ETH_P_*`, in network order.
const ETHERTYPE_IP: [u8; 2] = [0x08, 0x00];
const ETHERTYPE_IP6: [u8; 2] = [0x86, 0xdd];
const ETHERTYPE_ARP: [u8; 2] = [0x08, 0x06];
/// `ARPHRD_ETHER`, in host order.
const ARPHRD_ETHER: u16 = 1;
/// `NFT_META_IIFTYPE`.
const IIFTYPE: MetaKey = MetaKey(8);

impl Premise {
    /// The test that a table of this family needs; none where every packet it sees passes it.
    pub(super) fn test(self, family: Family) -> Option<(Expression, Value)> {
        let into = Register::FIRST;
        let meta = |key, value| Some((Expression::Meta { key, into }, value));
        match (self, family) {
            (Self::None, _)
            | (Self::Network(Network::Ip), Family::Ip)
            | (Self::Network(Network::Ip6), Family::Ip6)
            | (Self::Ethernet, Family::Bridge) => None,
            (Self::Network(Network::Ip), Family::Bridge) => {
                meta(MetaKey::PROTOCOL, Value::new(&ETHERTYPE_IP))
            }
            (Self::Network(Network::Ip6), Family::Bridge) => {
                meta(MetaKey::PROTOCOL, Value::new(&ETHERTYPE_IP6))
            }
            // In a table of the other family this never matches, as it should.
            (Self::Network(network), Family::Inet | Family::Ip | Family::Ip6) => {
                meta(MetaKey::NFPROTO, Value::new(&[network.family().number()]))
            }
            (Self::Arp, _) => {
                let load = Expression::Payload { header: Header::Link, offset: 12, length: 2, into };
                Some((load, Value::new(&ETHERTYPE_ARP)))
            }
            (Self::Ethernet, _) => meta(IIFTYPE, Value::new(&ARPHRD_ETHER.to_ne_bytes())),
        }
    }
}

impl Network {
    /// The family of tables that see only this protocol.
    #[must_use]
    pub const fn family(self) -> Family {
        match self {
            Self::Ip => Family::Ip,
            Self::Ip6 => Family::Ip6,
        }
    }
}

/// `load == value`.
pub(super) fn equal((load, value): (Expression, Value)) -> [Expression; 2] {
    [load, Expression::Compare { from: Register::FIRST, relation: Relation::Equal, value }]
}
