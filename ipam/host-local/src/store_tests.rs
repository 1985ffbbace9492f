//! The store: what the index may be believed, what a crash leaves, and what a reboot ends.
use super::*;
use crate::world::{World, ip, owner};
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

const HOUR: Duration = Duration::from_hours(1);
const NOW: Duration = Duration::ZERO;

fn reserve(world: &World, address: &str, id: &str) -> bool {
    world.store().lock().unwrap().reserve(ip(address), &owner(id)).unwrap()
}

fn holdings(world: &World, id: &str) -> Vec<IpAddr> {
    world.store().lock().unwrap().holdings(&owner(id)).unwrap().1
}

fn table(world: &World) -> Table {
    Table::open(&world.beside("owners")).unwrap()
}

/// The addresses that the index has.
fn indexed(world: &World) -> Vec<String> {
    table(world).entries().unwrap().iter().map(|entry| entry.address.to_string()).collect()
}

/// Whether the next call would believe the index.
fn is_sealed(world: &World) -> bool {
    world.store().lock().unwrap().scanned.is_empty()
}

#[test]
fn a_reservation_has_the_references_form() {
    let world = World::new();
    assert!(reserve(&world, "10.0.0.2", "abc"));
    assert!(!reserve(&world, "10.0.0.2", "def"), "taken");
    assert_eq!(fs::read_to_string(world.file("10.0.0.2")).unwrap(), "abc\r\neth0");
    assert_eq!(fs::metadata(world.file("10.0.0.2")).unwrap().mode() & 0o7777, 0o600);
    let mut names: Vec<_> =
        fs::read_dir(world.file("")).unwrap().map(|one| one.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["10.0.0.2", "lock"], "nothing else is in the network's folder");
}

#[test]
fn the_index_is_believed_until_somebody_else_changes_the_folder() {
    let world = World::new();
    assert!(reserve(&world, "10.0.0.2", "abc"));
    assert!(is_sealed(&world));
    world.foreign("10.0.0.3", "def\r\neth0", NOW);
    assert_eq!(holdings(&world, "def"), [ip("10.0.0.3")], "what the reference adds is found");
    assert!(is_sealed(&world), "and indexed");
    assert_eq!(holdings(&world, "abc"), [ip("10.0.0.2")]);
    fs::remove_file(world.file("10.0.0.2")).unwrap();
    assert_eq!(holdings(&world, "abc"), Vec::<IpAddr>::new(), "what somebody removes is gone");
}

#[test]
fn an_index_that_is_lost_or_tampered_with_is_built_anew() {
    let world = World::new();
    assert!(reserve(&world, "10.0.0.2", "abc"));
    assert!(table(&world).remove(Key::of(&owner("abc")), |_| true).unwrap());
    assert_eq!(holdings(&world, "abc"), [ip("10.0.0.2")], "an entry was removed");
    fs::File::options().write(true).open(world.beside("owners")).unwrap().set_len(100).unwrap();
    assert_eq!(holdings(&world, "abc"), [ip("10.0.0.2")], "the table was cut");
    fs::remove_file(world.beside("owners")).unwrap();
    assert_eq!(holdings(&world, "abc"), [ip("10.0.0.2")], "the table was removed");
    fs::write(world.beside("owners"), "garbage").unwrap();
    State::read(&world.beside("state"))
        .unwrap()
        .seal(&Pair::open(&world.file(""), &world.beside("owners")).unwrap())
        .unwrap();
    assert_eq!(holdings(&world, "abc"), [ip("10.0.0.2")], "the table is none, under a whole seal");
    fs::remove_file(world.beside("state")).unwrap();
    assert_eq!(holdings(&world, "abc"), [ip("10.0.0.2")], "the state was removed");
    fs::remove_dir_all(world.beside("")).unwrap();
    assert_eq!(holdings(&world, "abc"), [ip("10.0.0.2")], "everything was removed");
    assert!(is_sealed(&world));
}

#[test]
fn the_index_grows_under_the_calls_that_use_it() {
    let world = World::new();
    let address = |at: u32| std::net::Ipv4Addr::from_bits(0x0a00_0000 + at).to_string();
    for at in 2..600 {
        assert!(reserve(&world, &address(at), &format!("c{at}")));
        assert!(is_sealed(&world), "after {at}");
    }
    for at in 2..600 {
        assert_eq!(holdings(&world, &format!("c{at}")), [ip(&address(at))]);
    }
}

#[test]
fn more_addresses_of_one_container_than_the_index_can_keep_are_all_released() {
    let world = World::new();
    for at in 0..=crate::table::WINDOW {
        assert!(reserve(&world, &format!("fd00::{at:x}"), "abc"));
    }
    assert_eq!(holdings(&world, "abc").len(), crate::table::WINDOW + 1);
    world.store().lock().unwrap().release(&owner("abc")).unwrap();
    assert_eq!(world.addresses(), Vec::<String>::new());
    assert!(reserve(&world, "fd00::1", "abc"));
    assert!(is_sealed(&world), "the index is kept again");
}

#[test]
fn the_index_of_a_development_build_is_replaced() {
    let world = World::new();
    world.foreign("10.0.0.2", "abc\r\neth0", NOW);
    fs::create_dir_all(world.beside("owners")).unwrap();
    std::os::unix::fs::symlink("10.0.0.2", world.beside("owners/abc:eth0")).unwrap();
    std::os::unix::fs::symlink("1 first 00", world.beside("state")).unwrap();
    assert_eq!(holdings(&world, "abc"), [ip("10.0.0.2")]);
    assert!(world.beside("owners").is_file() && is_sealed(&world));
}

#[test]
fn without_a_usable_index_everything_works_from_the_folder() {
    let world = World::new();
    assert!(reserve(&world, "10.0.0.2", "abc"));
    fs::remove_dir_all(world.beside("")).unwrap();
    fs::write(world.beside("").with_file_name("net"), "a file where the index should be").unwrap();
    assert!(reserve(&world, "10.0.0.3", "def"));
    assert_eq!(holdings(&world, "abc"), [ip("10.0.0.2")]);
    assert_eq!(holdings(&world, "def"), [ip("10.0.0.3")]);
    world.store().lock().unwrap().release(&owner("abc")).unwrap();
    assert_eq!(world.addresses(), ["10.0.0.3"]);
    assert!(!world.file(crate::draft::NAME).exists());
}

#[test]
fn release_takes_all_of_one_owner_and_nothing_of_another() {
    let world = World::new();
    for (address, id) in [("10.0.0.2", "abc"), ("fd00::2", "abc"), ("10.0.0.3", "def")] {
        assert!(reserve(&world, address, id));
    }
    for _ in 0..2 {
        world.store().lock_existing().unwrap().unwrap().release(&owner("abc")).unwrap();
        assert_eq!(world.addresses(), ["10.0.0.3"]);
        assert_eq!(indexed(&world), ["10.0.0.3"]);
        assert!(is_sealed(&world));
    }
    assert!(reserve(&world, "10.0.0.2", "ghi"), "free again");
}

#[test]
fn very_old_files_belong_to_every_interface_of_their_container() {
    let world = World::new();
    world.foreign("10.0.0.2", "abc", NOW);
    world.foreign("10.0.0.3", "abc\r\neth0", NOW);
    let mut held = world.store().lock().unwrap().holdings(&owner("abc")).unwrap();
    assert_eq!(held.1, [ip("10.0.0.3")], "the exact form goes first, as in the reference");
    held = world.store().lock().unwrap().holdings(&Owner::new("abc", "eth9")).unwrap();
    assert_eq!(held.1, [ip("10.0.0.2")]);
    world.store().lock().unwrap().release(&Owner::new("abc", "eth9")).unwrap();
    assert_eq!(world.addresses(), ["10.0.0.3"]);
}

#[test]
fn weakness_3_a_blank_file_is_reclaimed() {
    let world = World::new();
    assert!(reserve(&world, "10.0.0.2", "abc"));
    world.foreign("10.0.0.3", "", NOW);
    world.foreign("10.0.0.4", "\r\n", NOW);
    assert!(reserve(&world, "10.0.0.3", "def"));
    assert_eq!(world.addresses(), ["10.0.0.2", "10.0.0.3"]);
}

#[test]
fn what_cannot_be_read_stays_and_keeps_the_index_from_being_believed() {
    let world = World::new();
    fs::create_dir_all(world.file("10.0.0.2")).unwrap();
    assert!(!reserve(&world, "10.0.0.2", "abc"));
    assert!(reserve(&world, "10.0.0.3", "abc"));
    assert!(!is_sealed(&world));
    assert_eq!(holdings(&world, "abc"), [ip("10.0.0.3")]);
}

#[test]
fn a1_reservations_of_an_earlier_boot_are_void_if_nobody_has_touched_the_folder_since() {
    let world = World::new();
    assert!(reserve(&world, "10.0.0.2", "abc"));
    // A clock that was at its beginning when the machine started: it can prove nothing.
    world.boot("second", SystemTime::UNIX_EPOCH);
    fs::write(&world.host.stat, "btime 1700000000\n").unwrap();
    assert!(reserve(&world, "10.0.0.3", "def"));
    assert_eq!(world.addresses(), ["10.0.0.3"]);
    assert_eq!(holdings(&world, "def"), [ip("10.0.0.3")], "of this boot");
    assert_eq!(holdings(&world, "abc"), Vec::<IpAddr>::new());
}

#[test]
fn a1_a_table_that_a_power_cut_left_empty_does_not_keep_them() {
    let world = World::new();
    assert!(reserve(&world, "10.0.0.2", "abc"));
    let state = State::read(&world.beside("state")).unwrap();
    fs::write(world.beside("owners"), "").unwrap();
    // The data was lost, and what the inodes say was not.
    state.seal(&Pair::open(&world.file(""), &world.beside("owners")).unwrap()).unwrap();
    world.boot("second", SystemTime::UNIX_EPOCH);
    fs::write(&world.host.stat, "btime 1700000000\n").unwrap();
    assert!(reserve(&world, "10.0.0.3", "def"));
    assert_eq!(world.addresses(), ["10.0.0.3"]);
    assert!(is_sealed(&world));
}

#[test]
fn a1_reservations_that_the_reference_made_before_this_boot_are_void_by_a_sound_clock() {
    let world = World::new();
    world.foreign("10.0.0.2", "old\r\neth0", 2 * HOUR);
    world.foreign("10.0.0.3", "young\r\neth0", HOUR / 2);
    world.foreign("10.0.0.4", "just before\r\neth0", HOUR + Duration::from_secs(20));
    assert!(reserve(&world, "10.0.0.9", "abc"));
    assert_eq!(world.addresses(), ["10.0.0.3", "10.0.0.4", "10.0.0.9"], "in doubt one stays");
}

#[test]
fn a_clock_that_was_set_during_this_boot_ends_no_reservation() {
    let world = World::new();
    world.foreign("10.0.0.2", "alive since 1970, as the clock was then\r\neth0", NOW);
    let set_by = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    world.foreign("10.0.0.2", "alive since 1970, as the clock was then\r\neth0", set_by);
    fs::File::open(&world.host.witness).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
    assert!(reserve(&world, "10.0.0.9", "abc"));
    assert_eq!(world.addresses(), ["10.0.0.2", "10.0.0.9"]);
}

#[test]
fn an_unsealed_folder_of_this_boot_loses_nothing_whatever_the_files_times_are() {
    let world = World::new();
    assert!(reserve(&world, "10.0.0.2", "abc"));
    world.foreign("10.0.0.3", "def\r\neth0", 100 * HOUR);
    assert!(reserve(&world, "10.0.0.4", "ghi"));
    assert_eq!(world.addresses(), ["10.0.0.2", "10.0.0.3", "10.0.0.4"]);
}

#[test]
fn a_kernel_without_a_boot_id_ends_no_reservation() {
    let world = World::new();
    assert!(reserve(&world, "10.0.0.2", "abc"));
    fs::remove_file(&world.host.boot_id).unwrap();
    world.foreign("10.0.0.3", "def\r\neth0", 100 * HOUR);
    assert!(reserve(&world, "10.0.0.4", "ghi"));
    assert_eq!(holdings(&world, "ghi"), [ip("10.0.0.4")]);
    assert_eq!(world.addresses(), ["10.0.0.2", "10.0.0.3", "10.0.0.4"]);
}

#[test]
fn retain_releases_what_is_not_kept_and_sweeps_what_crashes_left() {
    let world = World::new();
    for (address, id) in [("10.0.0.2", "abc"), ("10.0.0.3", "def"), ("fd00::3", "def")] {
        assert!(reserve(&world, address, id));
    }
    world.foreign("10.0.0.4", "", NOW);
    world.foreign("10.0.0.5", "old form", NOW);
    fs::write(world.file(crate::draft::NAME), "def\r\neth0").unwrap();
    fs::write(world.beside(crate::draft::NAME), "def\r\neth0").unwrap();
    let gone = world.store().lock().unwrap().retain(|one| *one == owner("abc")).unwrap();
    assert_eq!(gone, [ip("10.0.0.3"), ip("10.0.0.5"), ip("fd00::3")]);
    assert_eq!(world.addresses(), ["10.0.0.2"]);
    assert!(!world.file(crate::draft::NAME).exists() && !world.beside(crate::draft::NAME).exists());
    assert_eq!(indexed(&world), ["10.0.0.2"]);
    assert!(is_sealed(&world));
}

#[test]
fn give_back_leaves_what_the_owner_had_before() {
    let world = World::new();
    assert!(reserve(&world, "10.9.0.2", "abc"));
    {
        let store = world.store();
        let mut held = store.lock().unwrap();
        assert!(held.reserve(ip("10.0.0.2"), &owner("abc")).unwrap());
        held.give_back(&[ip("10.0.0.2")], &owner("abc")).unwrap();
    }
    assert_eq!(holdings(&world, "abc"), [ip("10.9.0.2")]);
    assert_eq!(indexed(&world), ["10.9.0.2"]);
    assert_eq!(world.addresses(), ["10.9.0.2"]);
}

#[test]
fn a_network_without_a_folder_is_not_made_by_looking() {
    let world = World::new();
    assert!(world.store().lock_existing().unwrap().is_none());
    assert!(!world.file("").exists());
}
