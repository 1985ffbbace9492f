//! `host-local` as a process: its files, both ways with the reference, and the weaknesses that it mends.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use netns_fixtures::{Answer, Bins, Invocation, Node, Strace, eventually};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A host and a state directory; the network is `pool`.
struct Pool {
    host: Node,
    state: TempDir,
    ours: Bins,
    reference: Bins,
}

impl Pool {
    fn new() -> Self {
        let (ours, reference) = (Bins::multicall(), Bins::reference());
        Self { host: Node::new("host"), state: TempDir::new().unwrap(), ours, reference }
    }

    fn config(&self, ranges: &Value) -> Value {
        let ipam = json!({"type": "host-local", "dataDir": self.state.path(), "ranges": ranges});
        json!({"cniVersion": "1.0.0", "name": "pool", "type": "host-local", "ipam": ipam})
    }

    fn run(&self, bins: &Bins, what: (&str, &str), config: &Value) -> Answer {
        request(bins, what, config).run(&self.host)
    }

    /// Our ADD, and the first address that it gave.
    #[track_caller]
    fn add(&self, container: &str, config: &Value) -> String {
        tests::address(&self.run(&self.ours, ("ADD", container), config).result(), 0)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.state.path().join("pool").join(name)
    }

    fn files(&self) -> BTreeSet<String> {
        let entries = fs::read_dir(self.state.path().join("pool")).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    fn held(&self) -> usize {
        self.files().iter().filter(|name| name.parse::<std::net::IpAddr>().is_ok()).count()
    }
}

fn request(bins: &Bins, (verb, container): (&str, &str), config: &Value) -> Invocation {
    let request = Invocation::new(bins, "host-local").verb(verb).config(config);
    request.container(container).ifname("eth0").netns("/var/run/netns/unused")
}

fn one(subnet: &str) -> Value {
    json!([[{"subnet": subnet}]])
}

#[test]
fn files_are_the_references_to_the_byte() {
    let pool = Pool::new();
    let config = pool.config(&json!([[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd01::/64"}]]));
    pool.add("c1", &config);
    for (name, content) in [
        ("10.1.0.2", "c1\r\neth0"),
        ("fd01::2", "c1\r\neth0"),
        ("last_reserved_ip.0", "10.1.0.2"),
        ("last_reserved_ip.1", "fd01::2"),
    ] {
        assert_eq!(fs::read_to_string(pool.file(name)).unwrap(), content, "{name}");
        assert_eq!(fs::metadata(pool.file(name)).unwrap().mode() & 0o777, 0o600, "{name}");
    }
    assert_eq!(fs::metadata(pool.file("")).unwrap().permissions().mode() & 0o777, 0o755);
    assert!(pool.file("lock").exists());
}

#[test]
fn either_side_releases_what_the_other_reserved() {
    let pool = Pool::new();
    let config = pool.config(&one("10.1.0.0/24"));
    for (adder, deleter) in [(&pool.ours, &pool.reference), (&pool.reference, &pool.ours)] {
        let result = pool.run(adder, ("ADD", "c1"), &config).result();
        pool.run(deleter, ("CHECK", "c1"), &tests::merged(config.clone(), &json!({"prevResult": result})))
            .silent();
        pool.run(deleter, ("DEL", "c1"), &config).silent();
        assert_eq!(pool.held(), 0);
    }
}

#[test]
fn both_hand_out_the_same_sequence_in_turn() {
    let pool = Pool::new();
    let config = pool.config(&json!([[{"subnet": "10.1.0.0/29"}, {"subnet": "10.1.1.0/30"}]]));
    let mut given = Vec::new();
    for turn in 0..6 {
        let bins = if turn % 2 == 0 { &pool.ours } else { &pool.reference };
        let result = pool.run(bins, ("ADD", &format!("c{turn}")), &config).result();
        given.push(tests::address(&result, 0));
    }
    assert_eq!(given, ["10.1.0.2", "10.1.0.3", "10.1.0.4", "10.1.0.5", "10.1.0.6", "10.1.1.2"]);
    for bins in [&pool.ours, &pool.reference] {
        assert!(!pool.run(bins, ("ADD", "one-more"), &config).succeeded());
    }
    pool.run(&pool.ours, ("DEL", "c1"), &config).silent();
    assert_eq!(pool.add("again", &config), "10.1.0.3", "the only free one, after a full circle");
}

#[test]
fn an_exhausted_range_set_is_code_100_and_status_50_and_both_name_it_weakness_7() {
    let pool = Pool::new();
    let config = tests::merged(pool.config(&one("10.1.0.0/30")), &json!({"cniVersion": "1.1.0"}));
    Invocation::new(&pool.ours, "host-local").verb("STATUS").config(&config).run(&pool.host).silent();
    pool.add("c1", &config);
    let error = pool.run(&pool.ours, ("ADD", "c2"), &config).error();
    assert!(error.code == 100 && format!("{error:?}").contains("10.1.0."), "{error:?}");
    let status =
        Invocation::new(&pool.ours, "host-local").verb("STATUS").config(&config).run(&pool.host).error();
    assert!(status.code == 50 && format!("{status:?}").contains("10.1.0."), "{status:?}");
}

#[test]
fn a_set_that_fails_gives_back_what_the_earlier_sets_gave_weakness_4() {
    let pool = Pool::new();
    let small = pool.config(&json!([[{"subnet": "10.1.0.0/24"}], [{"subnet": "10.2.0.0/30"}]]));
    pool.add("c1", &small);
    assert_eq!(pool.run(&pool.ours, ("ADD", "c2"), &small).error().code, 100);
    assert_eq!(pool.held(), 2, "{:?}", pool.files());
}

#[test]
fn a_second_add_is_refused_and_keeps_the_first_weakness_5() {
    let pool = Pool::new();
    let config = pool.config(&one("10.1.0.0/24"));
    pool.add("c1", &config);
    let requested = tests::merged(config.clone(), &json!({"args": {"cni": {"ips": ["10.1.0.77"]}}}));
    for again in [&config, &requested] {
        let error = pool.run(&pool.ours, ("ADD", "c1"), again).error();
        assert_eq!(error.code, 101, "{error:?}");
        assert_eq!(pool.held(), 1);
    }
}

#[test]
fn a_range_end_beyond_the_subnet_is_refused_weakness_6() {
    let pool = Pool::new();
    for bounds in [
        json!({"rangeStart": "10.1.0.200", "rangeEnd": "10.1.1.9"}),
        json!({"rangeStart": "10.1.0.9", "rangeEnd": "10.1.0.5"}),
        json!({"rangeStart": "10.1.0.255"}),
    ] {
        let config = pool.config(&json!([[tests::merged(json!({"subnet": "10.1.0.0/24"}), &bounds)]]));
        let error = pool.run(&pool.ours, ("ADD", "c1"), &config).error();
        assert!(error.code == 7 && format!("{error:?}").contains("10.1.0."), "{bounds}: {error:?}");
    }
    assert_eq!(pool.held(), 0);
}

#[test]
fn del_works_though_the_configured_ranges_changed_or_broke_weakness_9() {
    let pool = Pool::new();
    let config = pool.config(&one("10.1.0.0/24"));
    for changed in [one("10.2.0.0/24"), json!([]), one("nonsense"), one("10.1.0.1/31"), Value::Null] {
        pool.add("c1", &config);
        pool.run(&pool.ours, ("DEL", "c1"), &pool.config(&changed)).silent();
        assert_eq!(pool.held(), 0, "{changed}");
    }
}

#[test]
fn an_empty_or_torn_file_is_reclaimed_and_said_weakness_3() {
    let pool = Pool::new();
    let config = pool.config(&one("10.1.0.0/29"));
    pool.add("first", &config);
    for ownerless in ["10.1.0.3", "10.1.0.4"] {
        fs::write(pool.file(ownerless), "").unwrap();
    }
    let addresses: BTreeSet<String> = (0..4).map(|n| pool.add(&format!("c{n}"), &config)).collect();
    assert_eq!(addresses.len(), 4, "the two ownerless addresses are handed out again: {addresses:?}");
}

#[test]
fn a_reservation_of_the_oldest_form_is_found_and_released() {
    let pool = Pool::new();
    let config = pool.config(&one("10.1.0.0/24"));
    pool.add("other", &config);
    fs::write(pool.file("10.1.0.9"), "old").unwrap();
    pool.run(&pool.ours, ("DEL", "old"), &config).silent();
    assert_eq!(pool.held(), 1);
}

#[test]
fn a_lock_held_past_the_deadline_is_code_11() {
    let pool = Pool::new();
    let config = pool.config(&one("10.1.0.0/24"));
    pool.add("c1", &config);
    let lock = fs::File::open(pool.file("lock")).unwrap();
    lock.lock().unwrap();
    let error = pool.run(&pool.ours, ("ADD", "c2"), &config).error();
    assert!(error.code == 11 && format!("{error:?}").contains("lock"), "{error:?}");
    lock.unlock().unwrap();
    pool.add("c2", &config);
}

#[test]
fn a_data_directory_that_is_a_file_is_code_5() {
    let pool = Pool::new();
    let file = pool.state.path().join("file");
    fs::write(&file, "").unwrap();
    let config = tests::merged(
        pool.config(&one("10.1.0.0/24")),
        &json!({"ipam":
        {"type": "host-local", "dataDir": file, "ranges": one("10.1.0.0/24")}}),
    );
    assert_eq!(pool.run(&pool.ours, ("ADD", "c1"), &config).error().code, 5);
}

#[test]
fn a_kill_at_any_system_call_leaves_no_ownerless_file_weakness_3() {
    let pool = Pool::new();
    let config = pool.config(&json!([[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd01::/64"}]]));
    let add = request(&pool.ours, ("ADD", "c1"), &config);
    let (answer, trace) = Strace::list(&add, &pool.host);
    assert!(answer.succeeded(), "{answer}");
    pool.run(&pool.ours, ("DEL", "c1"), &config).silent();
    for (name, nth) in trace.places() {
        let killed = Strace::kill_at(&add, &pool.host, (&name, nth));
        for file in pool.files().iter().filter(|file| file.parse::<std::net::IpAddr>().is_ok()) {
            let content = fs::read_to_string(pool.file(file)).unwrap();
            assert_eq!(content, "c1\r\neth0", "{file} after a kill at {name} {nth}");
        }
        pool.run(&pool.ours, ("DEL", "c1"), &config).silent();
        assert_eq!(pool.held(), 0, "after a kill at {name} {nth} ({killed}) and DEL");
    }
}

#[test]
fn gc_keeps_valid_attachments_only() {
    let pool = Pool::new();
    let config = tests::merged(pool.config(&one("10.1.0.0/24")), &json!({"cniVersion": "1.1.0"}));
    for container in ["kept", "stale", "lost"] {
        pool.add(container, &config);
    }
    let valid = json!({"cni.dev/valid-attachments": [{"containerID": "kept", "ifname": "eth0"}]});
    let gc = Invocation::new(&pool.ours, "host-local").verb("GC").config(&tests::merged(config, &valid));
    gc.run(&pool.host).silent();
    assert_eq!(pool.held(), 1);
    assert_eq!(fs::read_to_string(pool.file("10.1.0.2")).unwrap(), "kept\r\neth0");
}

#[test]
fn many_at_once_never_get_the_same_address() {
    let pool = Pool::new();
    let config = pool.config(&one("10.1.0.0/24"));
    let given: BTreeSet<String> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..32)
            .map(|n| {
                let (pool, config) = (&pool, &config);
                scope.spawn(move || pool.add(&format!("c{n}"), config))
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    assert_eq!(given.len(), 32);
    eventually("all reserved", std::time::Duration::from_secs(1), || (pool.held() == 32).then_some(()));
}
