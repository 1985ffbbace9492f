//! Either program takes over from the other in place: same files, same order, same owners.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]
mod plugin;
use plugin::{Net, OURS, REFERENCE};
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// Names and contents in a network's folder.
fn folder(net: &Net) -> Vec<(String, String)> {
    let entry = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().unwrap();
        (name, fs::read_to_string(entry.path()).unwrap())
    };
    let mut found: Vec<_> = fs::read_dir(net.file("")).unwrap().map(|one| entry(one.unwrap())).collect();
    found.sort();
    found
}

#[test]
fn the_files_are_the_references_byte_for_byte() {
    let (ours, theirs) = (Net::dual(), Net::dual());
    for id in ["a", "b", "c"] {
        assert_eq!(ours.ours("ADD", id).addresses(), theirs.reference("ADD", id).addresses());
    }
    ours.ours("DEL", "b");
    theirs.reference("DEL", "b");
    assert_eq!(folder(&ours), folder(&theirs));
    let mode = |net: &Net, name: &str| fs::metadata(net.file(name)).unwrap().permissions().mode() & 0o7777;
    for name in ["", "lock"] {
        assert_eq!(mode(&ours, name), mode(&theirs, name), "{name:?}");
    }
    // Debian's reference is an older one; a newer one lets nobody else read its files either.
    for name in ["10.1.0.2", "last_reserved_ip.0"] {
        assert_eq!(mode(&ours, name), 0o600, "{name}");
    }
}

#[test]
fn what_one_adds_the_other_checks_and_deletes() {
    let net = Net::dual();
    for (adder, other) in [(OURS, REFERENCE), (REFERENCE, OURS)] {
        let config = net.with("x", json!(1));
        let added = plugin::run(&[adder], "ADD", "a", &config);
        assert_eq!(added.addresses().len(), 2);
        let checked = net.check(other, "a", &added);
        assert!(checked.success, "{other}: {checked:?}");
        let again = plugin::run(&[other], "ADD", "a", &config);
        assert!(again.msg().contains("duplicate allocation is not allowed"), "{other}: {again:?}");
        assert!(plugin::run(&[other], "DEL", "a", &config).success);
        assert_eq!(net.reserved(), Vec::<String>::new());
        assert!(!net.check(adder, "a", &added).success);
    }
}

/// A long course of ADDs and DELs in pseudo-random order, each step done by the program that `who` names.
fn course(net: &Net, who: impl Fn(u32) -> &'static str) -> Vec<String> {
    let mut state = 12345u32;
    let mut log = Vec::new();
    for step in 0..120 {
        state = state.wrapping_mul(1_103_515_245).wrapping_add(12345);
        let (verb, id) =
            (["ADD", "ADD", "DEL"][(state >> 16) as usize % 3], format!("c{}", (state >> 20) % 9));
        let answer = plugin::run(&[who(step)], verb, &id, &net.with("x", json!(1)));
        let outcome = match (verb, answer.success) {
            ("ADD", true) => answer.addresses().join(" "),
            ("DEL", true) => "ok".to_owned(),
            _ if answer.msg().contains("duplicate") => "duplicate".to_owned(),
            _ if answer.msg().contains("no IP addresses available in range set: 10.1.0.1-10.1.0.2") => {
                "full".to_owned()
            }
            _ => panic!("{answer:?}"),
        };
        log.push(format!("{verb} {id}: {outcome}"));
    }
    log
}

#[test]
fn a_long_course_goes_the_same_way_whoever_does_each_step() {
    let net = || {
        Net::new(
            json!({"ranges": [[{"subnet": "10.1.0.0/30"}, {"subnet": "10.2.0.0/29"}], [{"subnet": "fd00::/64"}]]}),
        )
    };
    let expected = course(&net(), |_| REFERENCE);
    assert_eq!(course(&net(), |_| OURS), expected);
    assert_eq!(course(&net(), |step| if step % 2 == 0 { OURS } else { REFERENCE }), expected);
    assert_eq!(course(&net(), |step| if step % 7 < 3 { OURS } else { REFERENCE }), expected);
}

#[test]
fn an_upgrade_from_very_old_files_keeps_them() {
    let net = Net::dual();
    fs::create_dir_all(net.file("")).unwrap();
    fs::write(net.file("10.1.0.2"), "a").unwrap();
    fs::write(net.file("last_reserved_ip.0"), "10.1.0.2").unwrap();
    assert_eq!(net.ours("ADD", "b").addresses(), ["10.1.0.3/24", "fd00::2/64"]);
    assert!(net.ours("ADD", "a").msg().contains("10.1.0.2 has been allocated"));
    assert!(net.ours("DEL", "a").success);
    assert_eq!(net.reserved(), ["10.1.0.3", "fd00::2"]);
}
