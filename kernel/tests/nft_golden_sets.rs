//! Chains, sets and maps that we commit are, to the byte of `nft list ruleset`, what nft makes of the same as text.
#![allow(clippy::unwrap_used, clippy::too_many_lines, reason = "tests; a long table of rules is one thing")]

mod nft_world;

use kernel::Mac;
use kernel::nft::{
    AddressType, Base, Chain, ChainKind, Destinations, Element, Family, Field, Hook, Membership, Network,
    Policy, Relation, Rule, Set, Table, Transaction, Type, Value, Verdict, priority,
};
use nft_world::{World, base};
use std::net::{Ipv4Addr, Ipv6Addr};

const EQUAL: Relation = Relation::Equal;

fn ip() -> Rule {
    Rule::new(Family::Ip)
}

fn net(text: &str) -> ipnetwork::IpNetwork {
    text.parse().unwrap()
}

/// Loads the text in one namespace, commits the changes in another, and compares.
fn same(text: &str, fill: impl FnOnce(&mut Transaction)) {
    let theirs = World::new();
    theirs.load(text);
    let mut ours = World::new();
    ours.commit(fill);
    let listing = ours.listing();
    assert!(!listing.is_empty());
    assert_eq!(listing, theirs.listing());
}

#[test]
fn chains_of_every_kind_with_policies_and_comments() {
    let table = Table::new(Family::Ip, "t");
    let text = r#"table ip t {
        comment "a table"
        chain r { comment "a regular chain"
        }
        chain f { comment "a base chain"
            type filter hook input priority filter - 5; policy drop;
        }
        chain n { type nat hook output priority -100; policy accept;
        }
        chain m { type route hook output priority mangle; policy accept;
        }
    }"#;
    same(text, |t| {
        let filter = Base { kind: ChainKind::Filter, hook: Hook::Input, priority: -5, policy: Policy::Drop };
        t.add_table_with_comment(table, "a table")
            .add_chain(&Chain::regular(table.chain("r")).with_comment("a regular chain"))
            .add_chain(&Chain::base(table.chain("f"), filter).with_comment("a base chain"))
            .add_chain(&base(table.chain("n"), ChainKind::Nat, Hook::Output))
            .add_chain(&base(table.chain("m"), ChainKind::Route, Hook::Output));
    });
    let bridge = Table::new(Family::Bridge, "b");
    same(
        "table bridge b { chain p { type filter hook prerouting priority dstnat; policy accept;\n}\n}",
        |t| {
            let (kind, hook) = (ChainKind::Filter, Hook::Prerouting);
            let at = Base { kind, hook, priority: priority::BRIDGE_DSTNAT, policy: Policy::Accept };
            t.add_table(bridge).add_chain(&Chain::base(bridge.chain("p"), at));
        },
    );
}

#[test]
fn sets_of_every_type_with_elements() {
    let table = Table::new(Family::Inet, "t");
    let text = r#"table inet t {
        set a4 { type ipv4_addr; comment "pods"; elements = { 10.9.0.2 comment "eth0:1", 10.9.0.3 }
        }
        set a6 { type ipv6_addr; elements = { fd00::2 }
        }
        set s_mac { type ether_addr; elements = { 02:00:5e:10:00:01 }
        }
        set s_proto { type inet_proto; elements = { tcp }
        }
        set s_port { type inet_service; elements = { 80 }
        }
        set s_mark { type mark; elements = { 0x4000 }
        }
        set iface { type ifname; elements = { "veth0" }
        }
        set pair { type ifname . ether_addr; elements = { "veth0" . 02:00:5e:10:00:01 }
        }
        set six { type inet_proto . ipv6_addr . inet_service; elements = { udp . fd00::2 . 53 }
        }
    }"#;
    let mac: Mac = "02:00:5e:10:00:01".parse().unwrap();
    let a6 = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);
    let element = |value: Value| [Element::new(value)];
    same(text, |t| {
        let pods = [
            Element::new(Ipv4Addr::new(10, 9, 0, 2)).with_comment("eth0:1"),
            Element::new(Ipv4Addr::new(10, 9, 0, 3)),
        ];
        t.add_table(table)
            .add_set(&Set::plain(table.set("a4"), &[Type::Ipv4Addr]).with_comment("pods"))
            .add_elements(table.set("a4"), &pods);
        let singles: [(&str, &[Type], Value); 8] = [
            ("a6", &[Type::Ipv6Addr], a6.into()),
            ("s_mac", &[Type::EtherAddr], mac.into()),
            ("s_proto", &[Type::InetProto], Value::protocol(6)),
            ("s_port", &[Type::InetService], Value::port(80)),
            ("s_mark", &[Type::Mark], Value::mark(0x4000)),
            ("iface", &[Type::IfName], Value::ifname("veth0")),
            ("pair", &[Type::IfName, Type::EtherAddr], Value::ifname("veth0").and(mac)),
            (
                "six",
                &[Type::InetProto, Type::Ipv6Addr, Type::InetService],
                Value::protocol(17).and(a6).and(Value::port(53)),
            ),
        ];
        for (name, key, value) in singles {
            t.add_set(&Set::plain(table.set(name), key)).add_elements(table.set(name), &element(value));
        }
    });
}

#[test]
fn sets_of_ranges_plain_and_concatenated() {
    let table = Table::new(Family::Ip, "t");
    let text = r"table ip t {
        set nets { type ipv4_addr; flags interval; elements = { 10.9.0.0/24, 192.0.2.1, 240.0.0.0/4 }
        }
        set ports { type inet_service; flags interval; elements = { 80, 1000-1999 }
        }
        set both { type ipv4_addr . inet_service; flags interval; elements = { 10.9.0.0/24 . 80-90 }
        }
    }";
    same(text, |t| {
        let nets = ["10.9.0.0/24", "192.0.2.1/32", "240.0.0.0/4"].map(|n| Element::network(net(n)));
        let ports = [
            Element::range(Value::port(80), Value::port(80)),
            Element::range(Value::port(1000), Value::port(1999)),
        ];
        let from = Value::from(Ipv4Addr::new(10, 9, 0, 0)).and(Value::port(80));
        let to = Value::from(Ipv4Addr::new(10, 9, 0, 255)).and(Value::port(90));
        t.add_table(table)
            .add_set(&Set::plain(table.set("nets"), &[Type::Ipv4Addr]).with_intervals())
            .add_set(&Set::plain(table.set("ports"), &[Type::InetService]).with_intervals())
            .add_set(&Set::plain(table.set("both"), &[Type::Ipv4Addr, Type::InetService]).with_intervals())
            .add_elements(table.set("nets"), &nets)
            .add_elements(table.set("ports"), &ports)
            .add_elements(table.set("both"), &[Element::range(from, to)]);
    });
}

#[test]
fn maps_verdict_maps_and_the_rules_that_use_them() {
    let table = Table::new(Family::Ip, "t");
    let text = r#"table ip t {
        map published { type inet_proto . inet_service : ipv4_addr . inet_service
            elements = { tcp . 8080 comment "pod 1" : 10.9.0.2 . 80 }
        }
        map hosts { type inet_service : ipv4_addr; elements = { 81 : 10.9.0.3 }
        }
        map pods { type ipv4_addr : verdict; elements = { 10.9.0.2 : jump pod, 10.9.0.3 : drop }
        }
        set local { type ipv4_addr; flags interval; elements = { 10.9.0.0/24 }
        }
        chain pod {
        }
        chain pre { type nat hook prerouting priority dstnat; policy accept;
            fib daddr type local dnat ip addr . port to meta l4proto . th dport map @published
            dnat to tcp dport map @hosts
            ip saddr @local ip daddr != @local accept
            ip daddr vmap @pods
        }
    }"#;
    same(text, |t| {
        let published = Element::new(Value::protocol(6).and(Value::port(8080)))
            .with_value(Value::from(Ipv4Addr::new(10, 9, 0, 2)).and(Value::port(80)))
            .with_comment("pod 1");
        let pods = [
            Element::new(Ipv4Addr::new(10, 9, 0, 2)).with_verdict(Verdict::jump("pod")),
            Element::new(Ipv4Addr::new(10, 9, 0, 3)).with_verdict(Verdict::Drop),
        ];
        let host = Element::new(Value::port(81)).with_value(Ipv4Addr::new(10, 9, 0, 3));
        let key = [Type::InetProto, Type::InetService];
        t.add_table(table)
            .add_set(&Set::map(table.set("published"), &key, &[Type::Ipv4Addr, Type::InetService]))
            .add_set(&Set::map(table.set("hosts"), &[Type::InetService], &[Type::Ipv4Addr]))
            .add_set(&Set::verdict_map(table.set("pods"), &[Type::Ipv4Addr]))
            .add_set(&Set::plain(table.set("local"), &[Type::Ipv4Addr]).with_intervals())
            .add_chain(&Chain::regular(table.chain("pod")))
            .add_elements(table.set("published"), &[published])
            .add_elements(table.set("hosts"), &[host])
            .add_elements(table.set("pods"), &pods)
            .add_elements(table.set("local"), &[Element::network(net("10.9.0.0/24"))]);
        let pre = table.chain("pre");
        let (src, dst) = (Field::Source(Network::Ip), Field::Destination(Network::Ip));
        t.add_chain(&base(pre, ChainKind::Nat, Hook::Prerouting))
            .append_rule(
                pre,
                &ip().destination_type(EQUAL, AddressType::LOCAL).destination_map(
                    &[Field::Protocol, Field::DestinationPort],
                    "published",
                    Destinations::AddressAndPort(Network::Ip),
                ),
            )
            .append_rule(
                pre,
                &ip().protocol(6).destination_map(
                    &[Field::DestinationPort],
                    "hosts",
                    Destinations::Address(Network::Ip),
                ),
            )
            .append_rule(
                pre,
                &ip()
                    .lookup(&[src], Membership::In, "local")
                    .lookup(&[dst], Membership::NotIn, "local")
                    .accept(),
            )
            .append_rule(pre, &ip().verdict_map(&[dst], "pods"));
    });
}

#[test]
fn published_ports_in_ipv6() {
    let table = Table::new(Family::Ip6, "t");
    let text = r"table ip6 t {
        map published { type inet_proto . ipv6_addr . inet_service : ipv6_addr . inet_service
            elements = { udp . fd00::1 . 53 : fd00::2 . 5353 }
        }
        chain pre { type nat hook prerouting priority dstnat; policy accept;
            dnat ip6 addr . port to meta l4proto . ip6 daddr . th dport map @published
        }
    }";
    same(text, |t| {
        let (from, to) =
            (Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1), Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2));
        let key = [Type::InetProto, Type::Ipv6Addr, Type::InetService];
        let element = Element::new(Value::protocol(17).and(from).and(Value::port(53)))
            .with_value(Value::from(to).and(Value::port(5353)));
        let pre = table.chain("pre");
        let fields = [Field::Protocol, Field::Destination(Network::Ip6), Field::DestinationPort];
        let rule = Rule::new(Family::Ip6).destination_map(
            &fields,
            "published",
            Destinations::AddressAndPort(Network::Ip6),
        );
        t.add_table(table)
            .add_set(&Set::map(table.set("published"), &key, &[Type::Ipv6Addr, Type::InetService]))
            .add_elements(table.set("published"), &[element])
            .add_chain(&base(pre, ChainKind::Nat, Hook::Prerouting))
            .append_rule(pre, &rule);
    });
}

#[test]
fn the_port_and_mac_set_of_a_spoof_check() {
    let table = Table::new(Family::Bridge, "t");
    let text = r#"table bridge t {
        set owners { type ifname . ether_addr; elements = { "veth0" . 02:00:5e:10:00:01 }
        }
        chain pre { type filter hook prerouting priority dstnat; policy accept;
            iifname . ether saddr @owners return
            drop
        }
    }"#;
    same(text, |t| {
        let mac: Mac = "02:00:5e:10:00:01".parse().unwrap();
        let pre = table.chain("pre");
        let (kind, hook) = (ChainKind::Filter, Hook::Prerouting);
        let at = Base { kind, hook, priority: priority::BRIDGE_DSTNAT, policy: Policy::Accept };
        let bridge = || Rule::new(Family::Bridge);
        let fields = [Field::InputInterface, Field::EtherSource];
        t.add_table(table)
            .add_set(&Set::plain(table.set("owners"), &fields.map(Field::key_type)))
            .add_elements(table.set("owners"), &[Element::new(Value::ifname("veth0").and(mac))])
            .add_chain(&Chain::base(pre, at))
            .append_rule(pre, &bridge().lookup(&fields, Membership::In, "owners").give_back())
            .append_rule(pre, &bridge().drop_packet());
    });
}
