//! Namespaces: opened, told apart, entered and left.

mod world;

use kernel::{Error, Netns, Rtnl, sysctl};
use std::{fs, path::Path, time::Duration};
use world::Node;

#[test]
fn missing_and_wrong_files_are_told_apart() {
    let missing = Netns::open(Path::new("/run/netns/there/is/none")).unwrap_err();
    assert!(matches!(missing, Error::NamespaceMissing { .. }) && missing.is_absent());
    assert_eq!(missing.to_string(), "network namespace /run/netns/there/is/none does not exist");
    let wrong = Netns::open(Path::new("/etc/passwd")).unwrap_err();
    assert!(matches!(wrong, Error::NotANamespace { .. }) && !wrong.is_absent());
}

#[test]
fn another_kind_of_namespace_cannot_be_entered() {
    let mount = Netns::open(Path::new("/proc/self/ns/mnt")).unwrap();
    let error = mount.run(|| ()).unwrap_err();
    assert!(
        matches!(&error, Error::NotANamespace { path } if path == Path::new("/proc/self/ns/mnt")),
        "{error}"
    );
}

#[test]
fn the_caller_never_leaves_its_own() {
    let (home, other) = (Netns::current().unwrap(), Netns::new_nameless().unwrap());
    assert!(!home.is_same(&other).unwrap());
    let inside = other.run(|| Netns::current().unwrap()).unwrap();
    assert!(inside.is_same(&other).unwrap());
    assert!(Netns::current().unwrap().is_same(&home).unwrap());
    assert!(Netns::open(&other.path()).unwrap().is_same(&other).unwrap());
}

#[test]
fn a_panic_inside_comes_out() {
    let other = Netns::new_nameless().unwrap();
    let caught = std::panic::catch_unwind(|| other.run(|| panic!("from inside")));
    assert_eq!(caught.unwrap_err().downcast_ref::<&str>(), Some(&"from inside"));
}

#[test]
fn sysctls_are_of_the_namespace_entered() {
    let (a, b) = (Node::new(), Node::new());
    let key = "net/ipv4/ip_forward";
    a.ns.run(|| sysctl::write(key, "1")).unwrap().unwrap();
    assert_eq!(a.ns.run(|| sysctl::read(key)).unwrap().unwrap(), "1");
    assert_eq!(b.ns.run(|| sysctl::read(key)).unwrap().unwrap(), "0");
    b.ns.run(|| sysctl::ensure(key, "1").and_then(|()| sysctl::ensure(key, "1"))).unwrap().unwrap();
    assert_eq!(b.run("cat /proc/sys/net/ipv4/ip_forward"), "1");
    let error = sysctl::read("net/ipv4/conf/nope0/forwarding").unwrap_err();
    assert!(error.is_absent());
    assert!(error.to_string().contains("net/ipv4/conf/nope0/forwarding"));
    assert_eq!(sysctl::write("net/../kernel/panic", "0").unwrap_err().errno(), Some(22));
}

#[test]
fn nothing_stays_open() {
    let count = || fs::read_dir("/proc/thread-self/fd").unwrap().count();
    let other = Netns::new_nameless().unwrap();
    // Other tests of this program run beside this one: many rounds tell a leak from their noise.
    let before = count();
    for _ in 0..300 {
        Rtnl::open_in(&other).unwrap();
        Netns::new_nameless().unwrap();
    }
    assert!(count() < before + 100);
}

#[test]
fn a_visit_ends_at_home_even_if_it_panics() {
    std::thread::spawn(|| {
        let home = Netns::current().unwrap();
        let away = Netns::new_nameless().unwrap();
        assert!(away.visit(|| Netns::current().unwrap().is_same(&away).unwrap()).unwrap());
        assert!(Netns::current().unwrap().is_same(&home).unwrap());
        let visit = std::panic::AssertUnwindSafe(|| away.visit(|| panic!("inside")));
        assert!(std::panic::catch_unwind(visit).is_err());
        assert!(Netns::current().unwrap().is_same(&home).unwrap());
    })
    .join()
    .unwrap();
}

#[test]
fn one_at_a_time_holds_a_namespace_whatever_path_led_to_it() {
    let first = Netns::new_nameless().unwrap();
    let second = Netns::open(&first.path()).unwrap();
    let held = first.hold(Duration::from_secs(5)).unwrap();
    let refused = second.hold(Duration::from_millis(20)).unwrap_err();
    assert!(refused.is_transient(), "{refused}");
    assert!(refused.to_string().contains(&first.path().display().to_string()), "{refused}");
    let next = std::thread::spawn(move || second.hold(Duration::from_secs(20)).map(drop));
    drop(held);
    next.join().unwrap().unwrap();
    first.hold(Duration::from_secs(20)).unwrap();
}
