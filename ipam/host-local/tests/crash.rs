//! SIGKILL at every system call of ADD and DEL, and what other crashes and reboots leave.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]
mod plugin;
use host_local::Owner;
use host_local::seal::{Pair, State};
use host_local::table::{Entry, Key};
use plugin::{Net, OURS, REFERENCE, run, system_calls};
use serde_json::json;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;

/// For every system call that `verb` makes in a network as `prepare` leaves it: a network, and the verb killed at that call.
fn kill_everywhere(verb: &str, prepare: impl Fn(&Net), examine: impl Fn(&Net, &str)) {
    let calls = {
        let net = Net::dual();
        prepare(&net);
        system_calls(&net, verb, "victim")
    };
    assert!(calls.len() > 30, "{calls:?}");
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut killed = 0;
    for call in &calls {
        let nth = seen.entry(call).or_default();
        *nth += 1;
        // The first execve is how the program comes to be; after exit_group there is nothing left to kill.
        if ["execve", "exit_group"].contains(&call.as_str()) {
            continue;
        }
        let net = Net::dual();
        prepare(&net);
        let inject = format!("inject={call}:signal=KILL:when={nth}");
        let trace = net.scratch("trace");
        let words = ["strace", "-f", "-qq", "-o", trace.to_str().unwrap(), "-e", &inject];
        killed += usize::from(!net.under(&words, verb, "victim").success);
        examine(&net, &format!("{verb} killed at {call} number {nth}"));
    }
    assert_eq!(killed, calls.len() - 2, "every call was a death");
}

/// DEL cleans up, by `binary`; then there is nothing that was not before, and the next ADD and DEL work.
fn is_mended(net: &Net, binary: &str, when: &str) {
    for _ in 0..2 {
        let deleted = run(&[binary], "DEL", "victim", &net.with("x", json!(1)));
        assert!(deleted.success, "{when}: {deleted:?}");
    }
    let reserved = net.reserved();
    assert!(
        !reserved.iter().any(|address| fs::read_to_string(net.file(address)).unwrap() != "keep\r\neth0"),
        "{when}"
    );
    assert_eq!(net.ours("ADD", "victim").addresses().len(), 2, "{when}");
    assert_eq!(net.ours("ADD", "victim").code(), 101, "{when}");
    assert!(net.ours("DEL", "victim").success, "{when}");
}

#[test]
fn add_killed_anywhere_is_undone_by_del() {
    let keep = |net: &Net| assert!(net.ours("ADD", "keep").success);
    let expected = {
        let net = Net::dual();
        keep(&net);
        net.snapshot()
    };
    kill_everywhere("ADD", keep, |net, when| {
        is_mended(net, OURS, when);
        assert_eq!(net.snapshot(), expected, "{when}");
    });
}

#[test]
fn add_killed_anywhere_is_undone_by_the_references_del() {
    let keep = |net: &Net| assert!(net.ours("ADD", "keep").success);
    kill_everywhere("ADD", keep, |net, when| is_mended(net, REFERENCE, when));
}

#[test]
fn the_first_add_of_a_network_killed_anywhere_is_undone_by_del() {
    kill_everywhere(
        "ADD",
        |_| {},
        |net, when| {
            assert!(net.ours("ADD", "keep").success, "{when}");
            is_mended(net, OURS, when);
            let names: Vec<String> = net.snapshot().into_keys().collect();
            let addresses: Vec<String> = net.reserved();
            assert_eq!(addresses.len(), 2, "{when}");
            let mut expected = vec!["/.ironbridge/net/owners".to_owned(), "/net/lock".to_owned()];
            expected.extend(addresses.iter().map(|address| format!("/net/{address}")));
            expected.sort();
            assert_eq!(names, expected, "{when}");
        },
    );
}

/// Fills the places of `id` in the table with others, and seals it as if they had come by ADD.
fn fill_the_table_around(net: &Net, id: &str) {
    let beside = |name: &str| net.file("").with_file_name(".ironbridge").join("net").join(name);
    let entry = |id: &str| Entry { key: Key::of(&Owner::new(id, "eth0")), address: [10, 9, 9, 9].into() };
    let pair = Pair::open(&net.file(""), &beside("owners")).unwrap();
    let mut others = 0..;
    while pair.table.insert(entry(id)).unwrap() {
        pair.table.remove(entry(id).key, |_| true).unwrap();
        pair.table.insert(entry(&format!("other{}", others.next().unwrap()))).unwrap();
    }
    State::read(&beside("state")).unwrap().seal(&pair).unwrap();
}

#[test]
fn an_add_for_which_the_table_grows_killed_anywhere_is_undone_by_del() {
    let grown = Cell::new(0);
    kill_everywhere(
        "ADD",
        |net| {
            assert!(net.ours("ADD", "keep").success);
            fill_the_table_around(net, "victim");
        },
        |net, when| {
            let table = net.file("").with_file_name(".ironbridge/net/owners");
            grown.set(grown.get() + u32::from(fs::metadata(&table).unwrap().len() > 16_000));
            is_mended(net, OURS, when);
            assert!(!table.with_extension("new").exists(), "{when}");
            assert_eq!(net.reserved().len(), 2, "{when}");
        },
    );
    assert!(grown.get() > 0, "it grows");
}

#[test]
fn del_killed_anywhere_is_finished_by_the_next_del() {
    let prepare = |net: &Net| {
        assert!(net.ours("ADD", "keep").success);
        assert!(net.ours("ADD", "victim").success);
    };
    let expected = {
        let net = Net::dual();
        prepare(&net);
        net.ours("DEL", "victim");
        net.snapshot()
    };
    kill_everywhere("DEL", prepare, |net, when| {
        is_mended(net, OURS, when);
        assert_eq!(net.snapshot(), expected, "{when}");
    });
}

#[test]
fn weakness_3_what_a_killed_reference_leaves_is_reclaimed_and_reported() {
    let net = Net::dual();
    net.ours("ADD", "keep");
    let trace = net.scratch("trace");
    let torn = net.file("10.1.0.3");
    let words = ["strace", "-f", "-qq", "-o", trace.to_str().unwrap(), "-P", torn.to_str().unwrap()];
    // The reference opens the address' file and dies before it writes to it.
    let killed = run(
        &[&words[..], &["-e", "inject=write:signal=KILL", REFERENCE]].concat(),
        "ADD",
        "victim",
        &net.with("x", json!(1)),
    );
    assert!(!killed.success);
    assert_eq!(fs::read_to_string(net.file("10.1.0.3")).unwrap(), "", "that is its weakness");
    let added = net.ours("ADD", "next");
    assert!(added.stderr.contains("blank reservations") && added.stderr.contains("10.1.0.3"), "{added:?}");
    assert_eq!(added.addresses(), ["10.1.0.3/24", "fd00::3/64"]);
}

#[test]
fn a1_the_first_call_after_a_reboot_releases_what_the_boot_before_left() {
    let net = Net::dual();
    for id in ["a", "b", "c"] {
        net.ours("ADD", id);
    }
    let boot_id = net.scratch("boot_id");
    fs::write(&boot_id, "01234567-89ab-cdef-0123-456789abcdef\n").unwrap();
    let mount = format!("mount --bind {} /proc/sys/kernel/random/boot_id && exec \"$0\"", boot_id.display());
    let rebooted = ["unshare", "--mount", "--propagation", "private", "sh", "-c", &mount];
    let added = net.under(&rebooted, "ADD", "d");
    assert_eq!(added.addresses(), ["10.1.0.5/24", "fd00::5/64"]);
    assert!(added.stderr.contains("released reservations of an earlier boot (6)"), "{added:?}");
    assert_eq!(net.reserved(), ["10.1.0.5", "fd00::5"]);
    let again = net.under(&rebooted, "ADD", "e");
    assert_eq!((again.addresses().len(), again.stderr.as_str()), (2, ""), "once is enough");
}
