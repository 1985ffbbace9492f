//! Batches: all or nothing, errors that name the change, deletions, size, and two writers at once.
#![allow(clippy::unwrap_used, reason = "tests")]

mod nft_world;

use kernel::nft::{
    Chain, ChainKind, Element, Family, Field, Hook, Membership, Network, Nft, Rule, Set, SetName, Table,
    Transaction, Type, Value, Verdict,
};
use nft_world::{World, base, plain};
use std::net::Ipv4Addr;

/// What a test puts into a batch.
type Change = fn(&mut Transaction);

const TABLE: Table<'_> = Table::new(Family::Ip, "t");
const PODS: SetName<'_> = TABLE.set("pods");

fn ip() -> Rule {
    Rule::new(Family::Ip)
}

fn pod(n: u32) -> Element {
    Element::new(Ipv4Addr::from(0x0a09_0000 + n))
}

fn pods(count: u32) -> Vec<Element> {
    (1..=count).map(|n| pod(n).with_comment(format!("network/container-{n}/eth0"))).collect()
}

fn with_pods() -> World {
    let mut world = World::new();
    world.commit(|t| {
        t.add_table(TABLE).add_set(&Set::plain(PODS, &[Type::Ipv4Addr]));
    });
    world
}

#[test]
fn a_bad_last_rule_leaves_nothing_and_is_named() {
    let mut world = World::new();
    let error = world.try_commit(|t| {
        plain(t, TABLE, "c");
        t.append_rule(TABLE.chain("c"), &ip().accept())
            .append_rule(TABLE.chain("c"), &ip().jump("nowhere").comment("the bad one"));
    });
    let error = error.unwrap_err();
    assert_eq!(error.errno(), Some(2));
    assert!(error.is_absent());
    assert_eq!(
        error.to_string().split(" (attribute").next().unwrap(),
        "adding rule \"the bad one\" to nftables chain ip t c (change 4 of 4): No such file or directory"
    );
    assert_eq!(world.listing(), "");
}

#[test]
fn the_first_of_several_bad_changes_is_named() {
    let mut world = World::new();
    let error = world.try_commit(|t| {
        t.add_table(TABLE).delete_chain(TABLE.chain("a")).delete_set(TABLE.set("b"));
    });
    let text = error.unwrap_err().to_string();
    assert!(text.starts_with("deleting nftables chain ip t a (change 2 of 3): No such file"), "{text}");
}

#[test]
fn the_one_bad_element_of_many_is_named() {
    let mut world = with_pods();
    world.commit(|t| {
        t.add_elements(PODS, &[pod(77)]);
    });
    let error = world.try_commit(|t| {
        t.create_elements(PODS, &pods(200));
    });
    let error = error.unwrap_err();
    assert!(error.is_present());
    let text = error.to_string();
    assert!(text.starts_with("adding element 0a09004d to nftables set ip t pods (change 1 of 1)"), "{text}");
}

#[test]
fn add_is_idempotent_and_create_is_not() {
    let mut world = World::new();
    let all = |t: &mut Transaction| {
        plain(t, TABLE, "c");
        t.add_chain(&base(TABLE.chain("b"), ChainKind::Nat, Hook::Postrouting))
            .add_set(&Set::plain(PODS, &[Type::Ipv4Addr]))
            .add_elements(PODS, &[pod(1)]);
    };
    world.commit(all);
    let before = world.listing();
    world.commit(all);
    assert_eq!(world.listing(), before);
    let creations: [Change; 4] = [
        |t| {
            t.create_table(TABLE);
        },
        |t| {
            t.create_chain(&Chain::regular(TABLE.chain("c")));
        },
        |t| {
            t.create_set(&Set::plain(PODS, &[Type::Ipv4Addr]));
        },
        |t| {
            t.create_elements(PODS, &[pod(1)]);
        },
    ];
    for create in creations {
        assert!(world.try_commit(create).unwrap_err().is_present());
    }
}

#[test]
fn delete_wants_the_object_and_destroy_does_not() {
    let mut world = with_pods();
    world.commit(|t| {
        t.add_chain(&Chain::regular(TABLE.chain("c"))).add_elements(PODS, &[pod(2)]);
    });
    let before = world.listing();
    let deletions: [Change; 5] = [
        |t| {
            t.delete_table(Table::new(Family::Ip6, "t"));
        },
        |t| {
            t.delete_chain(TABLE.chain("absent"));
        },
        |t| {
            t.delete_set(TABLE.set("absent"));
        },
        |t| {
            t.delete_elements(PODS, &[pod(1)]);
        },
        |t| {
            t.delete_rule(TABLE.chain("c"), 999);
        },
    ];
    for delete in deletions {
        assert!(world.try_commit(delete).unwrap_err().is_absent());
    }
    world.commit(|t| {
        t.destroy_table(Table::new(Family::Ip6, "t"))
            .destroy_chain(TABLE.chain("absent"))
            .destroy_rule(TABLE.chain("c"), 999)
            .destroy_set(TABLE.set("absent"))
            .destroy_elements(PODS, &[pod(1)]);
    });
    assert_eq!(world.listing(), before);
}

#[test]
fn what_is_there_is_destroyed_although_its_neighbours_in_the_batch_are_absent() {
    let mut world = with_pods();
    world.commit(|t| {
        t.add_elements(PODS, &[pod(2), pod(4)]).add_chain(&Chain::regular(TABLE.chain("c")));
    });
    world.commit(|t| {
        t.destroy_elements(PODS, &[pod(1), pod(2), pod(3)])
            .destroy_chain(TABLE.chain("absent"))
            .destroy_chain(TABLE.chain("c"))
            .add_elements(PODS, &[pod(5)]);
    });
    let mut left = world.nft.elements(PODS).unwrap();
    left.sort_by_key(|element| element.key);
    assert_eq!(left, [pod(4), pod(5)]);
    assert!(!world.nft.chain_exists(TABLE.chain("c")).unwrap());
}

#[test]
fn an_absent_object_does_not_hide_a_real_error() {
    let mut world = with_pods();
    let error = world.try_commit(|t| {
        t.destroy_elements(PODS, &[pod(1)]).create_table(TABLE);
    });
    assert!(error.unwrap_err().is_present());
}

#[test]
fn hundreds_of_absent_elements_are_destroyed() {
    let mut world = with_pods();
    world.commit(|t| {
        t.add_elements(PODS, &[pod(1500)]);
    });
    world.commit(|t| {
        t.destroy_elements(PODS, &pods(2000));
    });
    assert_eq!(world.nft.elements(PODS).unwrap(), []);
}

#[test]
fn five_thousand_elements_go_in_and_out_in_one_batch() {
    let mut world = with_pods();
    let all = pods(5000);
    world.commit(|t| {
        t.create_elements(PODS, &all);
    });
    let mut read = world.nft.elements(PODS).unwrap();
    read.sort_by_key(|element| element.key);
    assert_eq!(read, all);
    world.commit(|t| {
        t.delete_elements(PODS, &all);
    });
    assert_eq!(world.nft.elements(PODS).unwrap(), []);
}

#[test]
fn an_elements_owner_is_replaced_in_one_batch() {
    let mut world = World::new();
    let map = TABLE.set("published");
    let key = Value::protocol(6).and(Value::port(8080));
    let to =
        |last| Element::new(key).with_value(Value::from(Ipv4Addr::new(10, 9, 0, last)).and(Value::port(80)));
    let types = ([Type::InetProto, Type::InetService], [Type::Ipv4Addr, Type::InetService]);
    world.commit(|t| {
        t.add_table(TABLE)
            .add_set(&Set::map(map, &types.0, &types.1))
            .add_elements(map, &[to(2).with_comment("a")]);
    });
    let taken = world.try_commit(|t| {
        t.add_elements(map, &[to(3).with_comment("b")]);
    });
    assert!(taken.unwrap_err().is_present(), "other data behind a key is never silently replaced");
    world.commit(|t| {
        t.destroy_elements(map, &[Element::new(key)]).create_elements(map, &[to(3).with_comment("b")]);
    });
    assert_eq!(world.nft.element(map, key).unwrap(), Some(to(3).with_comment("b")));
}

#[test]
fn rules_are_inserted_replaced_and_deleted_by_handle() {
    let mut world = World::new();
    let chain = TABLE.chain("c");
    let rule = |text: &str| ip().accept().comment(text);
    world.commit(|t| {
        plain(t, TABLE, "c");
        t.append_rule(chain, &rule("2")).append_rule(chain, &rule("3")).insert_rule(chain, &rule("1"));
    });
    let order = |nft: &mut Nft| -> Vec<String> {
        nft.rules(chain).unwrap().into_iter().filter_map(|rule| rule.comment).collect()
    };
    assert_eq!(order(&mut world.nft), ["1", "2", "3"]);
    let handles: Vec<_> = world.nft.rules(chain).unwrap().iter().map(|rule| rule.handle).collect();
    world.commit(|t| {
        t.replace_rule(chain, handles[1], &rule("two")).delete_rule(chain, handles[0]);
    });
    assert_eq!(order(&mut world.nft), ["two", "3"]);
    world.commit(|t| {
        t.flush_chain(chain);
    });
    assert_eq!(order(&mut world.nft), Vec::<String>::new());
}

#[test]
fn a_flushed_set_is_empty_and_a_deleted_table_takes_all() {
    let mut world = with_pods();
    world.commit(|t| {
        t.add_elements(PODS, &pods(10));
        plain(t, TABLE, "c");
        t.append_rule(
            TABLE.chain("c"),
            &ip().lookup(&[Field::Source(Network::Ip)], Membership::In, "pods").accept(),
        );
    });
    world.commit(|t| {
        t.flush_set(PODS);
    });
    assert_eq!(world.nft.elements(PODS).unwrap(), []);
    world.commit(|t| {
        t.delete_table(TABLE);
    });
    assert_eq!(world.listing(), "");
}

#[test]
fn a_change_decided_on_an_old_reading_is_refused_as_transient() {
    let mut world = with_pods();
    let read = world.nft.generation().unwrap();
    world.load("add element ip t pods { 10.9.0.9 }");
    let mut late = Transaction::only_at(read);
    late.add_elements(PODS, &[pod(1)]);
    let error = late.commit(&mut world.nft).unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert!(error.to_string().contains("changed since it was read"), "{error}");
    let mut fresh = Transaction::only_at(world.nft.generation().unwrap());
    fresh.add_elements(PODS, &[pod(1)]);
    fresh.commit(&mut world.nft).unwrap();
    assert_eq!(world.nft.elements(PODS).unwrap().len(), 2);
}

#[test]
fn a_socket_works_on_after_every_kind_of_failure() {
    let mut world = with_pods();
    // A jump from a filter chain to one that translates is found only when the batch is committed as a whole.
    let misuse = world.try_commit(|t| {
        plain(t, TABLE, "n");
        let input = TABLE.chain("i");
        t.add_chain(&base(input, ChainKind::Filter, Hook::Input))
            .append_rule(TABLE.chain("n"), &ip().masquerade(kernel::nft::NatFlags::NONE))
            .append_rule(input, &ip().jump("n"));
    });
    assert!(misuse.is_err());
    for n in 1..4 {
        assert!(
            world
                .try_commit(|t| {
                    t.delete_chain(TABLE.chain("absent"));
                })
                .is_err()
        );
        world.commit(|t| {
            t.add_elements(PODS, &[pod(n)]);
        });
        assert!(world.nft.element(PODS, pod(n).key).unwrap().is_some());
    }
}

#[test]
fn what_cannot_be_written_is_refused_before_it_is_sent() {
    let mut world = with_pods();
    let attempts: [(&str, Change); 3] = [
        ("zero byte", |t| {
            t.add_table(Table::new(Family::Ip, "a\0b"));
        }),
        ("over 64 bytes", |t| {
            t.add_elements(PODS, &[Element::new(Value::new(&[0; 65]))]);
        }),
        ("another family", |t| {
            plain(t, TABLE, "c");
            t.append_rule(TABLE.chain("c"), &Rule::new(Family::Ip6).accept());
        }),
    ];
    for (reason, attempt) in attempts {
        let error = world.try_commit(attempt).unwrap_err();
        assert_eq!(error.errno(), Some(22));
        assert!(error.to_string().contains(reason), "{error}");
    }
    world.commit(|_| {});
}

#[test]
fn two_writers_at_once_lose_nothing() {
    let world = with_pods();
    let write = |from: u32| {
        let mut nft = Nft::open_in(&world.ns).unwrap();
        for n in 0..300 {
            let mut t = Transaction::new();
            t.create_elements(PODS, &[pod(from + n)]);
            t.commit(&mut nft).unwrap();
            if n % 3 == 0 {
                let mut t = Transaction::new();
                t.delete_elements(PODS, &[pod(from + n)]);
                t.commit(&mut nft).unwrap();
            }
        }
    };
    std::thread::scope(|scope| {
        for writer in 0..2 {
            let write = &write;
            scope.spawn(move || write(writer * 1000));
        }
    });
    assert_eq!(Nft::open_in(&world.ns).unwrap().elements(PODS).unwrap().len(), 400);
}

#[test]
fn verdict_map_elements_are_deleted_with_their_chain() {
    let mut world = World::new();
    let map = TABLE.set("m");
    let element = pod(2).with_verdict(Verdict::jump("pod"));
    world.commit(|t| {
        plain(t, TABLE, "pod");
        t.add_set(&Set::verdict_map(map, &[Type::Ipv4Addr]))
            .add_elements(map, std::slice::from_ref(&element));
    });
    let busy = world.try_commit(|t| {
        t.delete_chain(TABLE.chain("pod"));
    });
    assert!(busy.unwrap_err().is_transient(), "the map still leads there");
    world.commit(|t| {
        t.delete_elements(map, &[Element::new(element.key)]).delete_chain(TABLE.chain("pod"));
    });
    assert!(!world.nft.chain_exists(TABLE.chain("pod")).unwrap());
}
