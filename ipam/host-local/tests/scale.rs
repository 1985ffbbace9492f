//! Cost does not depend on how much is reserved, and many at once do not get in each other's way.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]
mod plugin;
use plugin::{Net, system_calls};
use serde_json::json;
use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;
use std::thread;

fn large() -> Net {
    Net::in_memory(json!({"subnet": "10.77.0.0/16"}))
}

/// Reservations as the reference would have made them: 10.77.0.2 and on.
fn fill(net: &Net, count: u32, last: u32) {
    let address = |at: u32| Ipv4Addr::from_bits(0x0a4d_0000 + at);
    fs::create_dir_all(net.file("")).unwrap();
    for at in 2..2 + count {
        fs::write(net.file(&address(at).to_string()), format!("e{at:063}\r\neth0")).unwrap();
    }
    fs::write(net.file("last_reserved_ip.0"), address(last).to_string()).unwrap();
}

#[test]
fn add_and_del_make_the_same_system_calls_at_0_and_at_50000_reservations() {
    let (empty, full) = (large(), large());
    fill(&empty, 0, 0x8000);
    fill(&full, 50_000, 50_001);
    for net in [&empty, &full] {
        // The folder is somebody else's work so far: it is read once.
        assert!(net.ours("ADD", "first").success);
    }
    for verb in ["ADD", "DEL", "DEL"] {
        let calls = system_calls(&empty, verb, "measured");
        assert_eq!(system_calls(&full, verb, "measured"), calls, "{verb}");
        assert!(calls.len() < 90, "{verb} makes {} system calls: {calls:?}", calls.len());
    }
    assert_eq!(full.reserved().len(), 50_001);
}

#[test]
fn the_last_free_address_of_a_large_range_is_found_without_trying_all() {
    let net = large();
    // All but the last, and the round robin is to begin at the first.
    fill(&net, 65_532, 1);
    assert!(net.ours("DEL", "nobody").success, "reads the folder once");
    let calls = system_calls(&net, "ADD", "a");
    assert!(calls.len() < 2000, "{} system calls", calls.len());
    assert_eq!(net.reserved().len(), 65_533);
    assert_eq!(net.ours("ADD", "b").code(), 100);
}

#[test]
fn thirty_two_at_once_get_thirty_two_addresses_and_give_them_back() {
    let net = Net::dual();
    for round in 0..2 {
        let together = |verb: &'static str| -> Vec<plugin::Answer> {
            thread::scope(|scope| {
                let net = &net;
                let calls: Vec<_> =
                    (0..32).map(|at| scope.spawn(move || net.ours(verb, &format!("c{at}")))).collect();
                calls.into_iter().map(|call| call.join().unwrap()).collect()
            })
        };
        let added: BTreeSet<String> = together("ADD").iter().flat_map(plugin::Answer::addresses).collect();
        assert_eq!(added.len(), 64, "round {round}");
        assert_eq!(net.reserved().len(), 64, "round {round}");
        assert!(together("DEL").iter().all(|answer| answer.success), "round {round}");
        assert_eq!(net.reserved(), Vec::<String>::new(), "round {round}");
    }
}
