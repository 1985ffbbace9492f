//! What a rule does once it matched.

use super::{
    expression::{Expression, Nat, NatKind},
    field::{Field, Network},
    keys::{CtKey, MetaKey, NatFlags},
    object::Family,
    register::Register,
    rule::Rule,
    set::Type,
    value::Value,
    verdict::Verdict,
};
use std::net::IpAddr;

/// What a map holds that gives new destinations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destinations {
    /// Addresses.
    Address(Network),
    /// Addresses and ports: `ipv4_addr . inet_service`.
    AddressAndPort(Network),
}

/// `NFT_REG_SIZE`.
const REGISTER: u32 = 16;
/// `NFT_REJECT_*` and the code "port unreachable" of each.
const ICMP: u32 = 0;
const TCP_RESET: u32 = 1;
const ICMPX: u32 = 2;
const ICMP_PORT_UNREACHABLE: u8 = 3;
const ICMP6_PORT_UNREACHABLE: u8 = 4;
const ICMPX_PORT_UNREACHABLE: u8 = 1;

impl Rule {
    /// Counts packets and bytes.
    #[must_use]
    pub fn counter(self) -> Self {
        self.push(Expression::Counter { packets: 0, bytes: 0 })
    }

    /// Lets the packet go on to later hooks.
    #[must_use]
    pub fn accept(self) -> Self {
        self.decide(Verdict::Accept)
    }

    /// Drops the packet.
    #[must_use]
    pub fn drop_packet(self) -> Self {
        self.decide(Verdict::Drop)
    }

    /// Returns to the calling chain, or to the policy.
    #[must_use]
    pub fn give_back(self) -> Self {
        self.decide(Verdict::Return)
    }

    /// Runs a chain and comes back.
    #[must_use]
    pub fn jump(self, chain: &str) -> Self {
        self.decide(Verdict::jump(chain))
    }

    /// Runs a chain and does not come back.
    #[must_use]
    pub fn goto(self, chain: &str) -> Self {
        self.decide(Verdict::goto(chain))
    }

    /// Drops the packet and answers "port unreachable".
    #[must_use]
    pub fn reject(self) -> Self {
        let (kind, code) = match self.family() {
            Family::Ip => (ICMP, ICMP_PORT_UNREACHABLE),
            Family::Ip6 => (ICMP, ICMP6_PORT_UNREACHABLE),
            Family::Inet | Family::Bridge => (ICMPX, ICMPX_PORT_UNREACHABLE),
        };
        self.push(Expression::Reject { kind, code })
    }

    /// Drops the packet and answers with a TCP reset; the rule must match TCP.
    #[must_use]
    pub fn reset(self) -> Self {
        self.push(Expression::Reject { kind: TCP_RESET, code: 0 })
    }

    /// Decides by a verdict map of this table; goes on when it has no such key.
    #[must_use]
    pub fn verdict_map(self, fields: &[Field], map: &str) -> Self {
        self.load(fields).push(Expression::VerdictMap { map: map.to_owned(), from: Register::FIRST })
    }

    /// Gives the packet the address of the interface that it leaves by.
    #[must_use]
    pub fn masquerade(self, flags: NatFlags) -> Self {
        self.push(Expression::Masquerade(flags))
    }

    /// Translates the destination to what a map of this table has; goes on when it has no such key.
    #[must_use]
    pub fn destination_map(self, fields: &[Field], map: &str, holds: Destinations) -> Self {
        let place = Register::FIRST;
        let (network, port) = match holds {
            Destinations::Address(network) => (network, None),
            Destinations::AddressAndPort(network) => (network, Some(place.after(length(network)))),
        };
        let nat = Nat {
            kind: NatKind::Destination,
            family: network.family(),
            address: Some(place),
            port,
            flags: NatFlags::NONE,
        };
        self.load(fields)
            .push(Expression::Map { map: map.to_owned(), from: place, into: place })
            .push(Expression::Nat(nat))
    }

    /// Translates the destination to one address, and to one port if given.
    #[must_use]
    pub fn destination_to(self, address: IpAddr, port: Option<u16>) -> Self {
        self.translate(NatKind::Destination, address, port)
    }

    /// Translates the source to one address, and to one port if given.
    #[must_use]
    pub fn source_to(self, address: IpAddr, port: Option<u16>) -> Self {
        self.translate(NatKind::Source, address, port)
    }

    /// Translates the destination to this host, and to one port if given.
    #[must_use]
    pub fn redirect(self, port: Option<u16>) -> Self {
        let place = Register::FIRST;
        let rule = match port {
            Some(port) => self.immediate(place, Value::port(port)),
            None => self,
        };
        rule.push(Expression::Redirect { port: port.map(|_| place), flags: NatFlags::NONE })
    }

    /// Sets the packet mark.
    #[must_use]
    pub fn set_mark(self, mark: u32) -> Self {
        let place = Register::FIRST;
        self.immediate(place, Value::mark(mark)).push(Expression::SetMeta { key: MetaKey::MARK, from: place })
    }

    /// Sets these bits of the packet mark and leaves the others.
    #[must_use]
    pub fn add_mark(self, bits: u32) -> Self {
        let place = Register::FIRST;
        self.push(Expression::Meta { key: MetaKey::MARK, into: place })
            .push(Expression::Bitwise {
                from: place,
                into: place,
                mask: Value::mark(!bits),
                xor: Value::mark(bits),
            })
            .push(Expression::SetMeta { key: MetaKey::MARK, from: place })
    }

    /// Writes the packet mark to its connection.
    #[must_use]
    pub fn save_mark(self) -> Self {
        let place = Register::FIRST;
        self.push(Expression::Meta { key: MetaKey::MARK, into: place })
            .push(Expression::SetCt { key: CtKey::MARK, from: place })
    }

    /// Writes the connection's mark to the packet.
    #[must_use]
    pub fn restore_mark(self) -> Self {
        let place = Register::FIRST;
        self.push(Expression::Ct { key: CtKey::MARK, direction: None, into: place })
            .push(Expression::SetMeta { key: MetaKey::MARK, from: place })
    }

    fn translate(self, kind: NatKind, address: IpAddr, port: Option<u16>) -> Self {
        let network = match address {
            IpAddr::V4(_) => Network::Ip,
            IpAddr::V6(_) => Network::Ip6,
        };
        let place = Register::FIRST;
        // As nft does: a register of 16 bytes for the address, whatever its length.
        let behind = place.after(REGISTER);
        let rule = self.immediate(place, Value::from(address));
        let rule = match port {
            Some(port) => rule.immediate(behind, Value::port(port)),
            None => rule,
        };
        rule.push(Expression::Nat(Nat {
            kind,
            family: network.family(),
            address: Some(place),
            port: port.map(|_| behind),
            flags: NatFlags::NONE,
        }))
    }

    fn immediate(self, into: Register, value: Value) -> Self {
        self.push(Expression::Immediate { into, value })
    }
}

fn length(network: Network) -> u32 {
    let field = match network {
        Network::Ip => Type::Ipv4Addr,
        Network::Ip6 => Type::Ipv6Addr,
    };
    u32::try_from(field.length()).unwrap_or(u32::MAX)
}
