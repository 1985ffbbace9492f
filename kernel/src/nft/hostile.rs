//! Datagrams that no kernel sends, and tables that no program of ours makes: reading them may find nothing, but never panics.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;
use crate::link_wire::read_link;
use crate::route_wire::read_routes;
use crate::wire::{Messages, Received};

/// Everything that reads a message of somebody else.
fn read_all(bytes: &[u8]) -> usize {
    let mut found = 0;
    for message in Messages(bytes).flatten() {
        let Received { payload, .. } = message;
        let texts =
            [read::read_table(&message).name, read::read_chain(&message).name, read::read_set(&message).name];
        let rule = read_rules::read_rule(&message);
        found += usize::from(rule.as_ref().is_some_and(|rule| rule.fingerprint() != 0 && rule.leads_to("c")));
        found += usize::from(monitor::event(&message).is_some());
        let entries: Vec<_> = read_elements::entries(&message).collect();
        found += entries.len() + texts.iter().filter(|text| !text.is_empty()).count();
        for pairing in [interval::Pairing::StartAndEnd, interval::Pairing::None] {
            found += interval::pair(entries.clone(), pairing).len();
        }
        found += usize::from(comment::read(payload).is_some());
        let mut routes = Vec::new();
        read_routes(&message, &mut routes);
        found += usize::from(read_link(&message).is_some()) + routes.len();
    }
    for offset in [None, Some(0), Some(20), Some(u32::MAX)] {
        found += usize::from(describe::describe(bytes, offset).is_some());
    }
    found
}

/// A batch with one of everything that we write, which is also what the kernel shows of it.
fn seed() -> Vec<u8> {
    let table = Table::new(Family::Inet, "t");
    let (ranges, map, chain) = (table.set("ranges"), table.set("map"), table.chain("c"));
    let base = Base {
        kind: ChainKind::Nat,
        hook: Hook::Prerouting,
        priority: priority::DSTNAT,
        policy: Policy::Accept,
    };
    let fields = [Field::Protocol, Field::DestinationPort];
    let rule = Rule::new(Family::Inet)
        .destination_type(Relation::Equal, AddressType::LOCAL)
        .source(Relation::NotEqual, "10.0.0.0/12".parse().unwrap())
        .lookup(&fields, Membership::NotIn, "s")
        .counter()
        .destination_map(&fields, "m", Destinations::AddressAndPort(Network::Ip))
        .jump("c");
    let mut batch = Transaction::new();
    batch
        .add_table_with_comment(table, "a comment")
        .add_set(&Set::plain(ranges, &[Type::Ipv4Addr]))
        .add_set(&Set::plain(map, &[Type::Ipv6Addr]))
        .add_chain(&Chain::base(chain, base))
        .append_rule(chain, &rule)
        .add_elements(ranges, &[Element::range(Ipv4Addr::LOCALHOST, Ipv4Addr::BROADCAST).with_comment("x")])
        .add_elements(map, &[Element::new(Ipv6Addr::LOCALHOST).with_verdict(Verdict::Jump("c".into()))])
        .delete_rule(chain, 7);
    batch.writer.as_bytes().to_vec()
}

/// Numbers that look random and are the same in every run (xorshift64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(end.max(1)).unwrap()).unwrap()
    }
}

fn mutated(seed: &[u8], chance: &mut Chance) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=chance.below(6) {
        let at = chance.below(bytes.len());
        match chance.below(6) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, 0),
            2 => bytes.extend_from_slice(&seed[at.min(seed.len())..]),
            3 if at + 2 <= bytes.len() => bytes[at..at + 2].copy_from_slice(&[0xff, 0xff]),
            4 if at + 4 <= bytes.len() => bytes[at..at + 4].fill(0),
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << chance.below(8);
                }
            }
        }
    }
    bytes
}

#[test]
fn no_message_makes_reading_panic() {
    let seed = seed();
    assert!(read_all(&seed) > 10, "the seed itself is read");
    let mut chance = Chance(0x1b0b_1d6e);
    for _ in 0..6_000 {
        read_all(&mutated(&seed, &mut chance));
    }
    for end in 0..seed.len() {
        read_all(&seed[..end]);
        read_all(&seed[end..]);
    }
}
