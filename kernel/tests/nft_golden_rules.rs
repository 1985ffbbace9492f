//! A rule that we commit is, to the byte of `nft list ruleset`, what nft makes of the same rule as text.
#![allow(clippy::unwrap_used, clippy::too_many_lines, reason = "tests; a long table of rules is one thing")]

mod nft_world;

use kernel::Mac;
use kernel::nft::{
    AddressType, Chain, ChainKind, CtKey, CtState, CtStatus, Direction, Expression, Family, Field, Hook,
    MetaKey, NatFlags, Network, Register, Relation, Rule, Table, Value,
};
use nft_world::{World, base};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const EQUAL: Relation = Relation::Equal;
const NOT: Relation = Relation::NotEqual;

/// One chain of that kind with these rules: each as text and as ours. Then both are read back, and each rule of nft
/// must have the fingerprint of ours.
fn same_rules(family: Family, chain: (ChainKind, Hook), rules: &[(&str, Rule)]) {
    let table = Table::new(family, "t");
    let at = table.chain("c");
    let definition = base(at, chain.0, chain.1);
    let head = format!(
        "type {} hook {} priority {}; policy accept;",
        chain.0.as_str(),
        format!("{:?}", chain.1).to_lowercase(),
        definition.base.unwrap().priority
    );
    let lines = rules.iter().map(|(text, _)| *text).collect::<Vec<_>>().join("\n");
    let mut theirs = World::new();
    theirs.load(&format!("table {family} t {{\nchain other {{\n}}\nchain c {{\n{head}\n{lines}\n}}\n}}"));
    let mut ours = World::new();
    ours.commit(|t| {
        t.add_table(table).add_chain(&Chain::regular(table.chain("other"))).add_chain(&definition);
        for (_, rule) in rules {
            t.append_rule(at, rule);
        }
    });
    assert_eq!(ours.listing(), theirs.listing());
    let (read_ours, read_theirs) = (ours.nft.rules(at).unwrap(), theirs.nft.rules(at).unwrap());
    assert_eq!(read_ours.len(), rules.len());
    for (((text, rule), ours), theirs) in rules.iter().zip(&read_ours).zip(&read_theirs) {
        assert_eq!(ours.expressions, rule.expressions(), "{text}: read back");
        assert_eq!(theirs.expressions, rule.expressions(), "{text}: made by nft");
        assert!(theirs.is(rule), "{text}: {theirs:?}");
    }
}

fn ip() -> Rule {
    Rule::new(Family::Ip)
}

fn net(text: &str) -> ipnetwork::IpNetwork {
    text.parse().unwrap()
}

#[test]
fn matches_on_addresses_ports_and_interfaces_in_family_ip() {
    same_rules(
        Family::Ip,
        (ChainKind::Filter, Hook::Forward),
        &[
            ("ip saddr 10.1.0.2 accept", ip().source(EQUAL, net("10.1.0.2/32")).accept()),
            ("ip saddr 10.1.0.0/24 drop", ip().source(EQUAL, net("10.1.0.0/24")).drop_packet()),
            ("ip daddr 10.0.0.0/8 return", ip().destination(EQUAL, net("10.0.0.0/8")).give_back()),
            ("ip daddr != 224.0.0.0/4 accept", ip().destination(NOT, net("224.0.0.0/4")).accept()),
            ("ip saddr 10.16.0.0/12 jump other", ip().source(EQUAL, net("10.16.0.0/12")).jump("other")),
            ("tcp dport 80 goto other", ip().destination_port(6, 80).goto("other")),
            ("udp sport 53 counter", ip().source_port(17, 53).counter()),
            ("sctp dport 7 accept", ip().protocol(132).destination_port(132, 7).accept()),
            ("meta l4proto tcp accept", ip().protocol(6).accept()),
            ("iifname \"veth0\" drop", ip().input_interface(EQUAL, "veth0").drop_packet()),
            ("oifname != \"cni0\" accept", ip().output_interface(NOT, "cni0").accept()),
            ("iifname \"veth*\" accept", ip().input_interface(EQUAL, "veth*").accept()),
            ("tcp dport 80 reject with tcp reset", ip().destination_port(6, 80).reset()),
            ("reject", ip().reject()),
            ("accept comment \"eth0:f00d\"", ip().accept().comment("eth0:f00d")),
        ],
    );
}

#[test]
fn matches_on_connections_marks_and_routes() {
    same_rules(
        Family::Ip,
        (ChainKind::Filter, Hook::Prerouting),
        &[
            (
                "ct state established,related accept",
                ip().state(CtState::ESTABLISHED | CtState::RELATED).accept(),
            ),
            ("ct state invalid drop", ip().state(CtState::INVALID).drop_packet()),
            ("ct status dnat accept", ip().status(CtStatus::DNAT).accept()),
            ("meta mark 0x4000 return", ip().mark(EQUAL, 0x4000).give_back()),
            ("meta mark & 0x4000 == 0x4000 accept", ip().mark_bits(0x4000, 0x4000).accept()),
            ("meta mark set 0x1", ip().set_mark(1)),
            ("meta mark set meta mark | 0x2000", ip().add_mark(0x2000)),
            ("ct mark set meta mark", ip().save_mark()),
            ("meta mark set ct mark", ip().restore_mark()),
            ("fib daddr type local accept", ip().destination_type(EQUAL, AddressType::LOCAL).accept()),
            ("fib saddr type != local drop", ip().source_type(NOT, AddressType::LOCAL).drop_packet()),
            (
                "ct original ip daddr 10.1.0.2 accept",
                ip().field(Field::OriginalDestination(Network::Ip), EQUAL, Ipv4Addr::new(10, 1, 0, 2))
                    .accept(),
            ),
            (
                "tcp dport 8080 ct original proto-dst 80 accept",
                ip().destination_port(6, 8080)
                    .field(Field::OriginalDestinationPort, EQUAL, Value::port(80))
                    .accept(),
            ),
        ],
    );
}

#[test]
fn translations_of_sources() {
    same_rules(
        Family::Ip,
        (ChainKind::Nat, Hook::Postrouting),
        &[
            ("masquerade", ip().masquerade(NatFlags::NONE)),
            ("masquerade fully-random", ip().masquerade(NatFlags::FULLY_RANDOM)),
            ("masquerade random,persistent", ip().masquerade(NatFlags::RANDOM | NatFlags::PERSISTENT)),
            (
                "ip saddr 10.9.0.0/24 ip daddr != 10.9.0.0/24 counter masquerade comment \"pods\"",
                ip().source(EQUAL, net("10.9.0.0/24"))
                    .destination(NOT, net("10.9.0.0/24"))
                    .counter()
                    .masquerade(NatFlags::NONE)
                    .comment("pods"),
            ),
            ("snat to 192.0.2.1", ip().source_to(IpAddr::from([192, 0, 2, 1]), None)),
            (
                "meta l4proto tcp snat to 192.0.2.1:99",
                ip().protocol(6).source_to(IpAddr::from([192, 0, 2, 1]), Some(99)),
            ),
        ],
    );
}

#[test]
fn translations_of_destinations_in_both_families() {
    let dnat4 = ip().destination_port(6, 80).destination_to(IpAddr::from([10, 9, 0, 2]), Some(8080));
    same_rules(
        Family::Ip,
        (ChainKind::Nat, Hook::Prerouting),
        &[
            ("tcp dport 80 dnat to 10.9.0.2:8080", dnat4),
            ("dnat to 10.9.0.2", ip().destination_to(IpAddr::from([10, 9, 0, 2]), None)),
            ("tcp dport 81 redirect to :8081", ip().destination_port(6, 81).redirect(Some(8081))),
            ("redirect", ip().redirect(None)),
        ],
    );
    let target = IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2));
    let ip6 = || Rule::new(Family::Ip6);
    same_rules(
        Family::Ip6,
        (ChainKind::Nat, Hook::Prerouting),
        &[
            (
                "udp dport 53 dnat to [fd00::2]:5353",
                ip6().destination_port(17, 53).destination_to(target, Some(5353)),
            ),
            ("ip6 daddr ff00::/8 return", ip6().destination(EQUAL, net("ff00::/8")).give_back()),
            ("ip6 saddr fe80::/10 return", ip6().source(EQUAL, net("fe80::/10")).give_back()),
            ("ip6 saddr fd00::2 return", ip6().source(EQUAL, net("fd00::2/128")).give_back()),
        ],
    );
}

#[test]
fn family_inet_tests_the_protocol_once_before_it_reads_addresses() {
    let inet = || Rule::new(Family::Inet);
    same_rules(
        Family::Inet,
        (ChainKind::Filter, Hook::Forward),
        &[
            (
                "ip saddr 10.9.0.2 ip daddr != 10.9.0.0/20 accept",
                inet().source(EQUAL, net("10.9.0.2/32")).destination(NOT, net("10.9.0.0/20")).accept(),
            ),
            ("ip6 daddr ff00::/8 return", inet().destination(EQUAL, net("ff00::/8")).give_back()),
            ("meta nfproto ipv6 drop", inet().network(Network::Ip6).drop_packet()),
            (
                "ip saddr 10.9.0.2 tcp dport 80 reject",
                inet()
                    .source(EQUAL, net("10.9.0.2/32"))
                    .destination_port(6, 80)
                    .push(Expression::Reject { kind: 0, code: 3 }),
            ),
            ("reject", inet().reject()),
        ],
    );
    let nat = inet().network(Network::Ip).protocol(6).destination_to(IpAddr::from([10, 9, 0, 2]), Some(80));
    same_rules(
        Family::Inet,
        (ChainKind::Nat, Hook::Prerouting),
        &[("meta nfproto ipv4 meta l4proto tcp dnat ip to 10.9.0.2:80", nat)],
    );
}

#[test]
fn the_bridge_family_matches_frames_arp_and_ip() {
    let bridge = || Rule::new(Family::Bridge);
    let mac: Mac = "02:00:5e:10:00:01".parse().unwrap();
    same_rules(
        Family::Bridge,
        (ChainKind::Filter, Hook::Prerouting),
        &[
            (
                "iifname \"veth0\" ether saddr 02:00:5e:10:00:01 return",
                bridge().input_interface(EQUAL, "veth0").ether_source(EQUAL, mac).give_back(),
            ),
            (
                "ether daddr 02:00:5e:10:00:01 accept",
                bridge().field(Field::EtherDestination, EQUAL, mac).accept(),
            ),
            ("ip saddr 10.9.0.2 accept", bridge().source(EQUAL, net("10.9.0.2/32")).accept()),
            ("ip6 saddr fe80::/10 accept", bridge().source(EQUAL, net("fe80::/10")).accept()),
            (
                "arp saddr ip 10.9.0.2 accept",
                bridge().field(Field::ArpSenderIp, EQUAL, Ipv4Addr::new(10, 9, 0, 2)).accept(),
            ),
            (
                "arp saddr ether 02:00:5e:10:00:01 accept",
                bridge().field(Field::ArpSenderMac, EQUAL, mac).accept(),
            ),
            ("drop", bridge().drop_packet()),
        ],
    );
}

#[test]
fn a_rule_for_the_other_protocol_matches_nothing_instead_of_wrong_bytes() {
    let rule = ip().source(EQUAL, net("fd00::/16")).accept();
    let test = [
        Expression::Meta { key: MetaKey::NFPROTO, into: Register::FIRST },
        Expression::Compare { from: Register::FIRST, relation: EQUAL, value: Value::new(&[10]) },
    ];
    assert_eq!(rule.expressions()[..2], test);
}

#[test]
fn instructions_written_by_hand() {
    let mark = Expression::Ct { key: CtKey::MARK, direction: None, into: Register::FIRST };
    let port = Expression::Ct {
        key: CtKey::PORT_DESTINATION,
        direction: Some(Direction::Reply),
        into: Register::FIRST,
    };
    let rule = |first: Expression, value: Value| {
        ip().protocol(6)
            .push(first)
            .push(Expression::Compare { from: Register::FIRST, relation: Relation::AtLeast, value })
            .accept()
    };
    same_rules(
        Family::Ip,
        (ChainKind::Filter, Hook::Input),
        &[
            (
                "meta l4proto tcp ct mark >= 0x0 accept",
                ip().protocol(6)
                    .push(mark.clone())
                    .push(Expression::Compare {
                        from: Register::FIRST,
                        relation: Relation::AtLeast,
                        value: Value::mark(0),
                    })
                    .accept(),
            ),
            ("meta l4proto tcp ct reply proto-dst >= 1024 accept", rule(port, Value::port(1024))),
        ][1..],
    );
    assert_eq!(mark.name(), "ct");
}
