//! Reading back: our own objects as they were sent, and those of nft and iptables-nft.
#![allow(clippy::unwrap_used, reason = "tests")]

mod nft_world;

use kernel::nft::{
    Base, Chain, ChainKind, Data, Element, Expression, Family, Hook, Keys, NatFlags, Network, Policy,
    Relation, Rule, Set, SetContents, Table, Type, Value, Verdict, priority,
};
use nft_world::{World, base, plain};
use std::net::{Ipv4Addr, Ipv6Addr};

const TABLE: Table<'_> = Table::new(Family::Inet, "t");
const NAT: Table<'_> = Table::new(Family::Ip, "nat");

fn net(text: &str) -> ipnetwork::IpNetwork {
    text.parse().unwrap()
}

#[test]
fn existence_is_a_question_about_one_name() {
    let mut world = World::new();
    world.load("table inet t { chain c {\n}\nset s { type ipv4_addr;\n}\n}");
    let other = Table::new(Family::Ip, "t");
    assert!(world.nft.table_exists(TABLE).unwrap());
    assert!(!world.nft.table_exists(other).unwrap(), "the family is part of a table's name");
    assert!(world.nft.chain_exists(TABLE.chain("c")).unwrap());
    assert!(!world.nft.chain_exists(TABLE.chain("s")).unwrap());
    assert!(!world.nft.chain_exists(other.chain("c")).unwrap(), "nor is an absent table an error");
    assert!(world.nft.set_exists(TABLE.set("s")).unwrap());
    assert!(!world.nft.set_exists(TABLE.set("c")).unwrap());
}

#[test]
fn tables_chains_and_sets_are_listed_with_what_they_are() {
    let mut world = World::new();
    let kept = Base { kind: ChainKind::Filter, hook: Hook::Forward, priority: -7, policy: Policy::Drop };
    let key = [Type::InetProto, Type::InetService];
    world.commit(|t| {
        t.add_table_with_comment(TABLE, "ours")
            .add_table(Table::new(Family::Inet, "u"))
            .add_chain(&Chain::base(TABLE.chain("f"), kept).with_comment("a remark"))
            .add_chain(&Chain::regular(TABLE.chain("r")))
            .add_chain(&Chain::regular(Table::new(Family::Inet, "u").chain("elsewhere")))
            .add_set(&Set::map(TABLE.set("m"), &key, &[Type::Ipv4Addr]).with_comment("ports"))
            .add_set(&Set::verdict_map(TABLE.set("v"), &[Type::Ipv6Addr]))
            .add_set(&Set::plain(TABLE.set("n"), &[Type::Ipv4Addr]).with_intervals());
    });
    let tables = world.nft.tables(Family::Inet).unwrap();
    let tables: Vec<_> = tables.iter().map(|t| (t.name.as_str(), t.comment.as_deref())).collect();
    assert_eq!(tables, [("t", Some("ours")), ("u", None)]);
    let chains = world.nft.chains(TABLE).unwrap();
    let chains: Vec<_> = chains.iter().map(|c| (c.name.as_str(), c.base, c.comment.as_deref())).collect();
    assert_eq!(chains, [("f", Some(kept), Some("a remark")), ("r", None, None)]);
    let sets = world.nft.sets(TABLE).unwrap();
    assert_eq!(sets[0].key.as_deref(), Some(&key[..]));
    assert_eq!(sets[0].contents, SetContents::Values(Some(vec![Type::Ipv4Addr])));
    assert_eq!((sets[0].comment.as_deref(), sets[0].keys), (Some("ports"), Keys::Exact));
    assert_eq!((&sets[1].name, &sets[1].contents), (&"v".to_owned(), &SetContents::Verdicts));
    assert_eq!((sets[2].keys, &sets[2].contents), (Keys::Intervals, &SetContents::Keys));
}

#[test]
fn one_element_is_read_by_its_key_with_data_and_comment() {
    let mut world = World::new();
    let (map, key) = (TABLE.set("m"), Value::protocol(17).and(Value::port(53)));
    let address = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);
    let element = Element::new(key)
        .with_value(Value::from(address).and(Value::port(5353)))
        .with_comment("network/container/eth0");
    let types = [Type::Ipv6Addr, Type::InetService];
    world.commit(|t| {
        t.add_table(TABLE)
            .add_set(&Set::map(map, &[Type::InetProto, Type::InetService], &types))
            .add_elements(map, std::slice::from_ref(&element));
    });
    let read = world.nft.element(map, key).unwrap().unwrap();
    assert_eq!(read, element);
    let Data::Value(value) = read.data else { unreachable!() };
    assert_eq!((value.ipv6_at(0), value.port_at(16)), (Some(address), Some(5353)));
    assert_eq!(world.nft.element(map, Value::protocol(6).and(Value::port(53))).unwrap(), None);
    assert!(world.nft.element(TABLE.set("absent"), key).unwrap_err().is_absent());
    assert!(world.nft.elements(TABLE.set("absent")).unwrap_err().is_absent());
}

#[test]
fn ranges_read_back_as_ranges_up_to_the_last_address() {
    let mut world = World::new();
    world.load(
        "table inet t { set n { type ipv4_addr; flags interval; elements = { 10.0.0.0/24, 10.0.1.0/24, 10.2.0.1,
         0.0.0.0/8, 240.0.0.0/4 }\n}\n set whole { type ipv4_addr; flags interval; elements = { 0.0.0.0/0 }\n}\n
         set p { type ipv4_addr . inet_service; flags interval; elements = { 10.0.0.0/8 . 1-9, 1.1.1.1 . 5 }\n}\n}",
    );
    let want = ["0.0.0.0/8", "10.0.0.0/24", "10.0.1.0/24", "10.2.0.1/32", "240.0.0.0/4"];
    let read = world.nft.elements(TABLE.set("n")).unwrap();
    assert_eq!(read, want.map(|text| Element::network(net(text))));
    assert_eq!(world.nft.elements(TABLE.set("whole")).unwrap(), [Element::network(net("0.0.0.0/0"))]);
    let pairs = world.nft.elements(TABLE.set("p")).unwrap();
    let pair = |a: [u8; 4], port| Value::from(Ipv4Addr::from(a)).and(Value::port(port));
    assert!(
        pairs.contains(&Element::range(pair([10, 0, 0, 0], 1), pair([10, 255, 255, 255], 9))),
        "{pairs:?}"
    );
    assert_eq!(pairs.len(), 2);
    world.commit(|t| {
        t.delete_elements(TABLE.set("n"), &[Element::network(net("10.0.1.0/24"))]);
    });
    assert!(!world.listing().contains("10.0.1.0/24"));
}

#[test]
fn verdicts_read_back() {
    let mut world = World::new();
    let map = TABLE.set("v");
    let verdicts = [Verdict::Accept, Verdict::Drop, Verdict::Return, Verdict::jump("c"), Verdict::goto("c")];
    let elements: Vec<_> = (1..)
        .zip(verdicts)
        .map(|(port, verdict)| Element::new(Value::port(port)).with_verdict(verdict))
        .collect();
    world.commit(|t| {
        plain(t, TABLE, "c");
        t.add_set(&Set::verdict_map(map, &[Type::InetService])).add_elements(map, &elements);
    });
    let mut read = world.nft.elements(map).unwrap();
    read.sort_by_key(|element| element.key);
    assert_eq!(read, elements);
}

#[test]
fn a_rule_is_recognised_whatever_it_has_counted_and_not_when_it_differs() {
    let mut world = World::new();
    let chain = TABLE.chain("c");
    let rule = |network: &str, comment: &str| {
        Rule::new(Family::Inet)
            .source(Relation::Equal, net(network))
            .counter()
            .masquerade(NatFlags::FULLY_RANDOM)
            .comment(comment)
    };
    let sent = rule("10.0.0.0/20", "a");
    world.commit(|t| {
        t.add_table(TABLE)
            .add_chain(&base(chain, ChainKind::Nat, Hook::Postrouting))
            .append_rule(chain, &sent);
    });
    let mut read = world.nft.rules(chain).unwrap().remove(0);
    assert!(read.is(&sent));
    for expression in &mut read.expressions {
        if let Expression::Counter { packets, bytes } = expression {
            (*packets, *bytes) = (7, 700);
        }
    }
    assert!(read.is(&sent), "counting changes nothing");
    assert!(!read.is(&rule("10.0.0.0/21", "a")));
    assert!(!read.is(&rule("10.0.0.0/20", "b")));
    assert!(!read.is(&rule("10.0.0.0/20", "a").accept()));
}

#[test]
fn rules_of_one_chain_and_of_no_chain() {
    let mut world = World::new();
    world.load("table inet t { chain a { accept\n}\nchain b { drop\ndrop\n}\n}");
    assert_eq!(world.nft.rules(TABLE.chain("b")).unwrap().len(), 2);
    assert_eq!(world.nft.rules(TABLE.chain("absent")).unwrap(), []);
    assert_eq!(world.nft.rules(Table::new(Family::Ip, "absent").chain("a")).unwrap(), []);
}

#[test]
fn nothing_that_nft_makes_is_lost_in_reading() {
    // Instructions that are not known here keep all of their bytes: what is read can be sent again and is the same.
    let mut world = World::new();
    world.load(
        "table inet t { set dyn { type ipv4_addr; flags dynamic,timeout; timeout 1m;\n}\n
         chain c { limit rate 5/minute burst 7 packets accept\nlog prefix \"x\" level warn\n
         add @dyn { ip saddr }\ntcp option maxseg size 500 accept\n
         ip length 20-40 accept\nquota over 5 mbytes drop\n
         ip dscp set cs1\nmeta mark set jhash ip saddr mod 2\n}\n}",
    );
    let read = world.nft.rules(TABLE.chain("c")).unwrap();
    assert_eq!(read.len(), 8);
    let names: Vec<_> = read.iter().flat_map(|r| &r.expressions).map(Expression::name).collect();
    for name in ["limit", "log", "dynset", "exthdr", "quota", "hash", "payload"] {
        assert!(names.contains(&name), "{name} in {names:?}");
    }
    let before = world.listing();
    let again = Table::new(Family::Inet, "t").chain("c");
    world.commit(|t| {
        for rule in &read {
            let copy = rule.expressions.iter().cloned().fold(Rule::new(Family::Inet), Rule::push);
            t.replace_rule(again, rule.handle, &copy);
        }
    });
    assert_eq!(world.listing(), before);
}

#[test]
fn the_reference_plugins_masquerade_rules_in_nft_are_found_by_comment() {
    let mut world = World::new();
    let note = "134870fee6061018-ebce0e3dd4dafae3, net: bmnet, if: eth0, id: abc123";
    world.load(&format!(
        "table inet cni_plugins_masquerade {{ chain masq_checks {{
         ip saddr 10.99.0.2 ip daddr != 10.99.0.0/24 masquerade comment \"{note}\"\n}}\n}}"
    ));
    let chain = Table::new(Family::Inet, "cni_plugins_masquerade").chain("masq_checks");
    let rules = world.nft.rules(chain).unwrap();
    let ours = Rule::new(Family::Inet)
        .source(Relation::Equal, net("10.99.0.2/32"))
        .destination(Relation::NotEqual, net("10.99.0.0/24"))
        .masquerade(NatFlags::NONE)
        .comment(note);
    assert!(rules[0].is(&ours), "{rules:?}");
}

#[test]
fn an_iptables_nft_chain_of_the_reference_is_found_and_removed_in_one_transaction() {
    let mut world = World::new();
    let chain = "CNI-fbb60b45a5a6709de0c01fd5";
    let note = "name: \"bmnet\" id: \"abc123\"";
    let iptables = |world: &World, words: &[&str]| {
        world.exec(&[&["iptables", "-t", "nat"], words].concat(), "");
    };
    let commented = ["-m", "comment", "--comment", note, "-j"];
    iptables(&world, &["-A", "POSTROUTING", "-s", "192.0.2.0/24", "-j", "MASQUERADE"]);
    let before = world.listing();
    iptables(&world, &["-N", chain]);
    iptables(&world, &[&["-A", chain, "-d", "10.99.0.0/24"], &commented[..], &["ACCEPT"]].concat());
    iptables(&world, &[&["-A", chain, "!", "-d", "224.0.0.0/4"], &commented[..], &["MASQUERADE"]].concat());
    iptables(&world, &[&["-A", "POSTROUTING", "-s", "10.99.0.2"], &commented[..], &[chain]].concat());

    let entry = NAT.chain("POSTROUTING");
    let rules = world.nft.rules(entry).unwrap();
    assert_eq!(rules.len(), 2);
    let jumps: Vec<_> = rules.iter().filter(|rule| rule.leads_to(chain)).collect();
    assert_eq!(jumps.len(), 1);
    assert_eq!(jumps[0].comment.as_deref(), Some(note));
    assert!(jumps[0].targets().eq([chain]));
    world.commit(|t| {
        for jump in &jumps {
            t.delete_rule(entry, jump.handle);
        }
        t.flush_chain(NAT.chain(chain)).delete_chain(NAT.chain(chain));
    });
    assert_eq!(world.listing(), before);
}

#[test]
fn the_default_hooks_of_iptables_are_recognised() {
    let mut world = World::new();
    world.exec(&["iptables", "-t", "nat", "-N", "X"], "");
    world.exec(&["iptables", "-t", "nat", "-A", "POSTROUTING", "-j", "X"], "");
    let chain = world.nft.chain(NAT.chain("POSTROUTING")).unwrap().unwrap();
    let (kind, hook) = (ChainKind::Nat, Hook::Postrouting);
    assert_eq!(chain.base, Some(Base { kind, hook, priority: priority::SRCNAT, policy: Policy::Accept }));
    assert_eq!(Network::Ip.family(), Family::Ip);
}

#[test]
fn chains_are_compared_whole_and_in_order() {
    let mut world = World::new();
    let rule = |port: u16| Rule::new(Family::Inet).destination_port(6, port).accept();
    let (f, g) = (TABLE.chain("f"), TABLE.chain("g"));
    world.commit(|t| {
        t.add_table(TABLE).add_chain(&Chain::regular(f)).add_chain(&Chain::regular(g));
        t.append_rule(f, &rule(1)).append_rule(f, &rule(2)).append_rule(g, &rule(3));
    });
    let mut has = |wanted: &[(&str, &[Rule])]| world.nft.has_rules(TABLE, wanted).unwrap();
    assert!(has(&[("f", &[rule(1), rule(2)]), ("g", &[rule(3)])]));
    assert!(has(&[("g", &[rule(3)])]), "other chains do not matter");
    assert!(has(&[("g", &[rule(3)]), ("g", &[rule(3)])]), "a chain may be named twice");
    assert!(!has(&[("f", &[rule(2), rule(1)])]), "another order");
    assert!(!has(&[("f", &[rule(1)])]), "one too many");
    assert!(!has(&[("f", &[rule(1), rule(2), rule(3)])]), "one too few");
    assert!(!has(&[("f", &[rule(1), rule(2)]), ("h", &[rule(3)])]), "no such chain");
    assert!(!world.nft.has_rules(Table::new(Family::Inet, "none"), &[("f", &[rule(1)])]).unwrap());
}
