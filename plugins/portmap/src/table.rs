//! The table of ours: maps from what a packet asks for to a policy and to a target, and the chains that ask them.
//!
//! ```text
//! table inet ironbridge_portmap {
//!     map policies4-at  { type inet_proto . ipv4_addr . inet_service : verdict }   # hostIP given
//!     map policies4-any { type inet_proto . inet_service : verdict }               # elements = { tcp . 8080 : jump any-10.22.0.0/16 }
//!     map targets4-at   { type inet_proto . ipv4_addr . inet_service : ipv4_addr . inet_service }
//!     map targets4-any  { type inet_proto . inet_service : ipv4_addr . inet_service }  # elements = { tcp . 8080 comment "<owner>" : 10.22.0.5 . 80 }
//!     ...                                                                          # and the same four for IPv6
//!     set localnet { type ifname }                                                 # where we switched route_localnet on
//!     chain dispatch {
//!         meta nfproto ipv4 meta l4proto . ip daddr . th dport vmap @policies4-at
//!         meta nfproto ipv4 meta l4proto . th dport vmap @policies4-any
//!         ...
//!     }
//!     chain prerouting { type nat hook prerouting priority dstnat + 5; jump dispatch }
//!     chain output { type nat hook output priority dstnat + 5; jump dispatch }
//!     chain guard { type filter hook prerouting priority raw; ip daddr 127.0.0.0/8 iifname @localnet drop }
//!     chain any-10.22.0.0/16 {
//!         fib daddr type != local return
//!         ip saddr 10.22.0.0/16 meta mark set meta mark | 0x2000
//!         ip saddr 127.0.0.0/8 meta mark set meta mark | 0x2000
//!         dnat ip to meta l4proto . th dport map @targets4-any
//!     }
//!     chain postrouting-13 { type nat hook postrouting priority srcnat - 5; meta mark & 0x2000 == 0x2000 masquerade }
//! }
//! ```
//! All of it is shared and stays; an attachment is two elements for each of its keys.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnetwork::IpNetwork;
use kernel::Family;
use kernel::nft::{
    AddressType, Base, Chain, ChainKind, Data, Destinations, Element, Field, Hook, Membership, NatFlags,
    Network, Policy as Undecided, Relation, Rule, Set, SetName, Table, Transaction, Type, Value, priority,
};

use crate::mapping::{Key, Protocol};
use crate::policy::Policy;

/// The table.
pub const TABLE: Table<'static> = Table::new(kernel::nft::Family::Inet, "ironbridge_portmap");
/// Interfaces behind which `route_localnet` was switched on for us.
pub const LOCALNET: SetName<'static> = TABLE.set("localnet");
const DISPATCH: &str = "dispatch";
/// After the chains of others at `dstnat`: a Service of kube-proxy goes first, as where the reference appends.
const DESTINATION: i32 = priority::DSTNAT + 5;
/// Before the chains of others at `srcnat`, as where the reference prepends.
const SOURCE: i32 = priority::SRCNAT - 5;

/// Which keys a pair of maps has: one family, with or without an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Realm {
    /// The family.
    pub family: Family,
    /// With or without.
    pub reach: Reach,
}

/// Whether a key names an address of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It does: `hostIP`.
    At,
    /// It does not: every address.
    Any,
}

impl Realm {
    /// All four, in the order in which they are asked within a family: an address goes before "every address".
    pub const ALL: [Self; 4] = [
        Self { family: Family::V4, reach: Reach::At },
        Self { family: Family::V4, reach: Reach::Any },
        Self { family: Family::V6, reach: Reach::At },
        Self { family: Family::V6, reach: Reach::Any },
    ];

    /// The realm that a key belongs to.
    #[must_use]
    pub fn of(key: &Key) -> Self {
        let reach = if key.address.is_some() { Reach::At } else { Reach::Any };
        Self { family: key.family, reach }
    }

    fn network(self) -> Network {
        match self.family {
            Family::V4 => Network::Ip,
            Family::V6 => Network::Ip6,
        }
    }

    /// The map from key to policy.
    #[must_use]
    pub fn policies(self) -> SetName<'static> {
        TABLE.set(match (self.family, self.reach) {
            (Family::V4, Reach::At) => "policies4-at",
            (Family::V4, Reach::Any) => "policies4-any",
            (Family::V6, Reach::At) => "policies6-at",
            (Family::V6, Reach::Any) => "policies6-any",
        })
    }

    /// The map from key to target.
    #[must_use]
    pub fn targets(self) -> SetName<'static> {
        TABLE.set(match (self.family, self.reach) {
            (Family::V4, Reach::At) => "targets4-at",
            (Family::V4, Reach::Any) => "targets4-any",
            (Family::V6, Reach::At) => "targets6-at",
            (Family::V6, Reach::Any) => "targets6-any",
        })
    }

    fn fields(self) -> Vec<Field> {
        match self.reach {
            Reach::At => {
                vec![Field::Protocol, Field::Destination(self.network()), Field::DestinationPort]
            }
            Reach::Any => vec![Field::Protocol, Field::DestinationPort],
        }
    }

    /// The rule of `dispatch` that asks for the policy.
    fn question(self) -> Rule {
        rule().network(self.network()).verdict_map(&self.fields(), self.policies().name)
    }

    /// The rule that ends a policy: to the target.
    #[must_use]
    pub fn translation(self, beginning: Rule) -> Rule {
        let network = self.network();
        let holds = Destinations::AddressAndPort(network);
        beginning.network(network).destination_map(&self.fields(), self.targets().name, holds)
    }

    /// Reads a key of these maps back.
    #[must_use]
    pub fn key(self, value: &Value) -> Option<Key> {
        let protocol = Protocol::from_number(value.byte_at(0)?)?;
        let (address, behind) = match (self.reach, self.family) {
            (Reach::Any, _) => (None, 4),
            (Reach::At, Family::V4) => (Some(IpAddr::V4(value.ipv4_at(4)?)), 8),
            (Reach::At, Family::V6) => (Some(IpAddr::V6(value.ipv6_at(4)?)), 20),
        };
        Some(Key { family: self.family, protocol, address, port: value.port_at(behind)? })
    }

    /// Reads a target back.
    #[must_use]
    pub fn target(self, data: &Data) -> Option<SocketAddr> {
        let Data::Value(value) = data else { return None };
        let (address, behind) = match self.family {
            Family::V4 => (IpAddr::V4(value.ipv4_at(0)?), 4),
            Family::V6 => (IpAddr::V6(value.ipv6_at(0)?), 16),
        };
        Some(SocketAddr::new(address, value.port_at(behind)?))
    }

    fn add_maps(self, transaction: &mut Transaction) {
        let address = match self.family {
            Family::V4 => Type::Ipv4Addr,
            Family::V6 => Type::Ipv6Addr,
        };
        let target = [address, Type::InetService];
        let whole = [Type::InetProto, address, Type::InetService];
        let key = match self.reach {
            Reach::At => &whole[..],
            Reach::Any => &[Type::InetProto, Type::InetService],
        };
        transaction.add_set(&Set::verdict_map(self.policies(), key)).add_set(&Set::map(
            self.targets(),
            key,
            &target,
        ));
    }
}

/// The key as it stands in the maps.
#[must_use]
pub fn value(key: &Key) -> Value {
    let protocol = Value::protocol(key.protocol.number());
    match key.address {
        Some(address) => protocol.and(address).and(Value::port(key.port)),
        None => protocol.and(Value::port(key.port)),
    }
}

/// A chain and its rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filled {
    /// Its name in the table.
    pub name: String,
    /// Its hook, if it has one.
    pub base: Option<Base>,
    /// Its rules, in order.
    pub rules: Vec<Rule>,
}

/// An empty rule for the table.
#[must_use]
pub fn rule() -> Rule {
    Rule::new(TABLE.family)
}

/// The chains that packets come by, whatever the policies.
fn shared() -> Vec<Filled> {
    let filled = |name: &str, base, rules| Filled { name: name.to_owned(), base: Some(base), rules };
    let jump = || vec![rule().jump(DISPATCH)];
    let questions = Realm::ALL.into_iter().map(Realm::question).collect();
    vec![
        Filled { name: DISPATCH.to_owned(), base: None, rules: questions },
        filled("prerouting", nat(Hook::Prerouting, DESTINATION), jump()),
        filled("output", nat(Hook::Output, DESTINATION), jump()),
        filled(
            "guard",
            Base { kind: ChainKind::Filter, ..nat(Hook::Prerouting, priority::RAW) },
            vec![
                rule()
                    .destination(Relation::Equal, loopback())
                    .lookup(&[Field::InputInterface], Membership::In, LOCALNET.name)
                    .drop_packet(),
            ],
        ),
    ]
}

/// The chain that masquerades what has this bit of the packet mark.
#[must_use]
pub fn postrouting(mark: u32) -> Filled {
    Filled {
        name: format!("postrouting-{}", mark.trailing_zeros()),
        base: Some(nat(Hook::Postrouting, SOURCE)),
        rules: vec![rule().mark_bits(mark, mark).masquerade(NatFlags::NONE)],
    }
}

fn nat(hook: Hook, priority: i32) -> Base {
    Base { kind: ChainKind::Nat, hook, priority, policy: Undecided::Accept }
}

/// The rule that leaves alone what is not for this host: it only passes through.
#[must_use]
pub fn not_for_us() -> Rule {
    rule().destination_type(Relation::NotEqual, AddressType::LOCAL).give_back()
}

/// 127.0.0.0/8.
#[must_use]
pub fn loopback() -> IpNetwork {
    ipnetwork::Ipv4Network::new(Ipv4Addr::new(127, 0, 0, 0), 8)
        .map_or_else(|_| IpNetwork::from(IpAddr::V4(Ipv4Addr::LOCALHOST)), IpNetwork::V4)
}

/// All chains that the policies need, in an order in which they can be made, none twice.
#[must_use]
pub fn chains(policies: &[Policy]) -> Vec<Filled> {
    let mut chains: Vec<Filled> = Vec::new();
    for filled in shared().into_iter().chain(policies.iter().flat_map(Policy::chains)) {
        if chains.iter().all(|known| known.name != filled.name) {
            chains.push(filled);
        }
    }
    chains
}

/// Table, maps and chains, whether or not they are there. A chain's rules change in one step, so that no packet meets
/// half of them.
pub fn make(transaction: &mut Transaction, policies: &[Policy]) {
    transaction.add_table(TABLE).add_set(&Set::plain(LOCALNET, &[Type::IfName]));
    for realm in Realm::ALL {
        realm.add_maps(transaction);
    }
    for filled in chains(policies) {
        let at = TABLE.chain(&filled.name);
        let chain = Chain { base: filled.base, ..Chain::regular(at) };
        transaction.add_chain(&chain).flush_chain(at);
        for rule in &filled.rules {
            transaction.append_rule(at, rule);
        }
    }
}

/// An interface as an element of [`LOCALNET`].
#[must_use]
pub fn localnet(name: &str) -> Element {
    Element::new(Value::ifname(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_targets_read_back() {
        let keys = [
            (Family::V4, None),
            (Family::V4, "10.0.0.1".parse().ok()),
            (Family::V6, None),
            (Family::V6, "fd00::1".parse().ok()),
        ];
        for (family, address) in keys {
            let key = Key { family, protocol: Protocol::Sctp, address, port: 65535 };
            assert_eq!(Realm::of(&key).key(&value(&key)), Some(key));
        }
        for target in ["10.1.0.2:80", "[fd00::2]:8080"] {
            let target: SocketAddr = target.parse().unwrap();
            let realm = Realm { family: Family::from(target.ip()), reach: Reach::Any };
            let data = Data::Value(Value::from(target.ip()).and(Value::port(target.port())));
            assert_eq!(realm.target(&data), Some(target));
        }
    }
}
