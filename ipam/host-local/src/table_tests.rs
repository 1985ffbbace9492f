//! The table of the index: what is put in is found until it is taken out, and what is no table is told apart.
use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::fs;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn key(id: &str) -> Key {
    Key::of(&Owner::new(id, "eth0"))
}

fn fresh(dir: &tempfile::TempDir) -> Table {
    Table::create(&dir.path().join("table"), &[]).unwrap()
}

fn addresses(table: &Table, key: Key) -> Vec<IpAddr> {
    let found = table.of_container(key).unwrap();
    found.into_iter().filter(|entry| entry.key == key).map(|entry| entry.address).collect()
}

#[test]
fn an_entry_is_found_until_it_is_removed_and_no_other_goes_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let table = fresh(&dir);
    let (owner, other) = (key("abc"), Key::of(&Owner::new("abc", "eth1")));
    for address in ["10.0.0.2", "fd00::2", "10.0.0.2"] {
        assert!(table.insert(Entry { key: owner, address: ip(address) }).unwrap());
    }
    assert!(table.insert(Entry { key: other, address: ip("10.0.0.3") }).unwrap());
    assert!(table.insert(Entry { key: owner, address: ip("10.0.0.4") }).unwrap());
    assert_eq!(addresses(&table, owner), [ip("10.0.0.2"), ip("fd00::2"), ip("10.0.0.4")]);
    assert_eq!(table.of_container(owner).unwrap().len(), 4, "all interfaces by one read");
    assert!(table.remove(owner, |address| *address == ip("fd00::2")).unwrap());
    assert!(!table.remove(owner, |address| *address == ip("fd00::2")).unwrap());
    assert_eq!(addresses(&table, owner), [ip("10.0.0.2"), ip("10.0.0.4")]);
    assert!(table.remove(owner, |_| true).unwrap());
    assert_eq!(addresses(&table, owner), Vec::<IpAddr>::new());
    assert_eq!(addresses(&table, other), [ip("10.0.0.3")], "it stood between two that went");
    assert_eq!(table.entries().unwrap().len(), 1);
}

#[test]
fn an_address_keeps_its_family() {
    let dir = tempfile::tempdir().unwrap();
    let table = fresh(&dir);
    let all = ["0.0.0.0", "10.0.0.2", "255.255.255.255", "::", "::ffff:10.0.0.2", "fd00::ffff"].map(ip);
    for address in all {
        assert!(table.insert(Entry { key: key("abc"), address }).unwrap());
    }
    assert_eq!(addresses(&table, key("abc")), all);
}

#[test]
fn a_container_has_keys_for_its_interfaces_and_itself_and_shares_none() {
    let mut keys = BTreeSet::new();
    for id in ["abc", "abd", "", "abc:eth0", &"x".repeat(300)] {
        let owner = Owner::new(id, "eth0");
        let all = [owner.without_ifname(), owner.clone(), Owner::new(id, "eth1")].map(|one| Key::of(&one));
        assert!(all.iter().all(|one| one.is_of_same_container(all[0])), "{id}");
        assert!(!all[0].is_of_same_container(key("other")));
        keys.extend(all);
    }
    assert_eq!(keys.len(), 15);
}

#[test]
fn a_key_stays_what_it_is_from_build_to_build() {
    assert_eq!(format!("{:032x}", key("abc").0), "19833c253d908e64eedce58cc30fa08c");
}

#[test]
fn containers_spread_over_the_homes() {
    let homes: BTreeSet<u64> = (0..4096).map(|at| key(&format!("c{at}")).home(4096)).collect();
    // A random choice hits 4096 * (1 - 1/e) of them, 2589.
    assert!((2500..2680).contains(&homes.len()), "{}", homes.len());
}

#[test]
fn a_full_window_takes_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let table = fresh(&dir);
    let entry = |at: usize| Entry { key: key("abc"), address: ip(&format!("fd00::{at:x}")) };
    for at in 0..WINDOW {
        assert!(table.insert(entry(at)).unwrap());
    }
    assert!(!table.insert(entry(WINDOW)).unwrap());
    assert!(table.insert(entry(0)).unwrap(), "that one is in it");
    let all: Vec<Entry> = (0..=WINDOW).map(entry).collect();
    assert!(Table::create(&dir.path().join("other"), &all).is_err(), "more homes would not help");
}

#[test]
fn what_is_no_table_is_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("table");
    drop(fresh(&dir));
    assert!(Table::open(&path).unwrap().is_whole());
    let homes = |count: u64| [&MAGIC[..], &count.to_le_bytes()].concat();
    for header in [vec![], MAGIC.to_vec(), homes(0), homes(128), homes(300), homes(1 << 40), vec![b'x'; 16]] {
        fs::write(&path, &header).unwrap();
        let table = Table::open(&path).unwrap();
        assert!(!table.is_whole(), "{header:?}");
        assert!(table.of_container(key("abc")).is_err());
    }
    fs::write(&path, homes(256)).unwrap();
    assert!(Table::open(&path).unwrap().of_container(key("abc")).is_err(), "it was cut");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn it_says_what_a_set_of_pairs_would_say(steps in prop::collection::vec((0..40_u8, 0..6_u8, any::<bool>()), 0..200)) {
        let dir = tempfile::tempdir().unwrap();
        let table = fresh(&dir);
        let mut model = BTreeSet::new();
        for (id, last, is_insert) in steps {
            let (key, address) = (key(&format!("c{id}")), IpAddr::from([10, 0, 0, last]));
            if is_insert {
                assert!(table.insert(Entry { key, address }).unwrap());
                model.insert((key, address));
            } else {
                let was_there = table.remove(key, |one| *one == address).unwrap();
                prop_assert_eq!(was_there, model.remove(&(key, address)));
            }
        }
        let found: BTreeSet<(Key, IpAddr)> =
            table.entries().unwrap().into_iter().map(|entry| (entry.key, entry.address)).collect();
        prop_assert_eq!(&found, &model);
        for id in 0..40 {
            let key = key(&format!("c{id}"));
            let expected: BTreeSet<IpAddr> =
                model.iter().filter(|(owner, _)| *owner == key).map(|(_, address)| *address).collect();
            prop_assert_eq!(addresses(&table, key).into_iter().collect::<BTreeSet<_>>(), expected);
        }
    }
}
