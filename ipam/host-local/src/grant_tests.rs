//! ADD as a whole: all sets or none, the reference's order, and a search that does not walk over what is taken.
use super::*;
use crate::check::check;
use crate::range::{RangeConf, RangeSet};
use crate::slot::assign;
use crate::world::{World, ip, owner};
use cni::Code;
use std::fs;
use std::time::Duration;

fn slots(subnets: &[&str], requests: &[&str]) -> Vec<Slot> {
    let sets: Vec<Vec<RangeConf>> = subnets
        .iter()
        .map(|subnet| vec![RangeConf { subnet: Some(subnet.parse().unwrap()), ..RangeConf::default() }])
        .collect();
    assign(RangeSet::check_all(&sets).unwrap(), requests.iter().map(|text| ip(text)).collect()).unwrap()
}

fn add(world: &World, slots: &[Slot], id: &str) -> Result<Vec<String>, Error> {
    let granted = grant(slots, &mut world.store().lock().unwrap(), &owner(id))?;
    Ok(granted.iter().map(|one| format!("{}/{} via {}", one.address, one.prefix, one.gateway)).collect())
}

#[test]
fn one_address_of_each_set_and_the_next_ones_after_that() {
    let world = World::new();
    let dual = slots(&["10.0.0.0/24", "fd00::/64"], &[]);
    assert_eq!(add(&world, &dual, "a").unwrap(), ["10.0.0.2/24 via 10.0.0.1", "fd00::2/64 via fd00::1"]);
    assert_eq!(add(&world, &dual, "b").unwrap(), ["10.0.0.3/24 via 10.0.0.1", "fd00::3/64 via fd00::1"]);
    world.store().lock().unwrap().release(&owner("b")).unwrap();
    assert_eq!(add(&world, &dual, "c").unwrap()[0], "10.0.0.4/24 via 10.0.0.1", "not reused at once");
    assert_eq!(fs::read_to_string(world.file("last_reserved_ip.1")).unwrap(), "fd00::4");
}

#[test]
fn a_torn_cursor_begins_the_round_anew() {
    let world = World::new();
    let one = slots(&["10.0.0.0/24"], &[]);
    add(&world, &one, "a").unwrap();
    fs::write(world.file("last_reserved_ip.0"), "10.0.0.").unwrap();
    assert_eq!(add(&world, &one, "b").unwrap(), ["10.0.0.3/24 via 10.0.0.1"]);
}

#[test]
fn weakness_4_a_later_set_that_is_exhausted_undoes_this_call_alone() {
    let world = World::new();
    let wide = slots(&["10.0.0.0/24"], &[]);
    add(&world, &wide, "a").unwrap();
    add(&world, &slots(&["10.1.0.0/30"], &[]), "other").unwrap();
    let error = add(&world, &slots(&["10.2.0.0/24", "10.1.0.0/30"], &[]), "a").unwrap_err();
    assert_eq!(error.code(), Code::EXHAUSTED);
    assert!(
        error.to_string().starts_with("no IP addresses available in range set: 10.1.0.1-10.1.0.2"),
        "{error}"
    );
    assert_eq!(world.addresses(), ["10.0.0.2", "10.1.0.2"], "what a had before is still there");
}

#[test]
fn weakness_5_a_second_add_changes_nothing_requested_or_not() {
    let world = World::new();
    add(&world, &slots(&["10.0.0.0/24"], &[]), "a").unwrap();
    for requests in [&[][..], &["10.0.0.9"]] {
        let error = add(&world, &slots(&["10.0.0.0/24"], requests), "a").unwrap_err();
        assert_eq!(error.code(), Code::ADDRESS_TAKEN);
        assert!(
            error.to_string().starts_with("10.0.0.2 has been allocated to container a interface eth0"),
            "{error}"
        );
        assert_eq!(world.addresses(), ["10.0.0.2"]);
    }
}

#[test]
fn a_requested_address_is_given_or_its_owner_named() {
    let world = World::new();
    let requested = slots(&["10.0.0.0/24", "fd00::/64"], &["10.0.0.77"]);
    assert_eq!(
        add(&world, &requested, "a").unwrap(),
        ["10.0.0.77/24 via 10.0.0.1", "fd00::2/64 via fd00::1"]
    );
    let error = add(&world, &requested, "b").unwrap_err();
    assert_eq!(error.code(), Code::ADDRESS_TAKEN);
    assert!(error.to_string().ends_with("it is reserved for container a interface eth0"), "{error}");
    assert_eq!(world.addresses(), ["10.0.0.77", "fd00::2"]);
    let next = add(&world, &slots(&["10.0.0.0/24"], &[]), "b").unwrap();
    assert_eq!(
        next,
        ["10.0.0.78/24 via 10.0.0.1"],
        "the round goes on from a requested one, as the reference's"
    );
}

#[test]
fn weakness_1_the_one_free_address_of_a_full_range_is_found_and_then_none() {
    let world = World::new();
    let one = slots(&["10.0.0.0/21"], &[]);
    world.store().lock().unwrap();
    for taken in 2..=2046u32 {
        let address = std::net::Ipv4Addr::from_bits(0x0a00_0000 + taken);
        if taken != 1500 {
            world.foreign(&address.to_string(), &format!("c{taken}\r\neth0"), Duration::ZERO);
        }
    }
    world.foreign("last_reserved_ip.0", "10.0.5.221", Duration::ZERO);
    assert_eq!(exhausted(&one, &mut world.store().lock().unwrap()).unwrap(), None);
    assert_eq!(add(&world, &one, "a").unwrap(), ["10.0.5.220/21 via 10.0.0.1"]);
    assert_eq!(add(&world, &one, "b").unwrap_err().code(), Code::EXHAUSTED);
    let store = world.store();
    let full = exhausted(&one, &mut store.lock().unwrap())
        .unwrap()
        .map(|slot| slot.not_available("net").to_string());
    assert!(full.unwrap().contains("10.0.0.1-10.0.7.254"));
}

#[test]
fn weakness_7_check_compares_addresses() {
    let world = World::new();
    let dual = slots(&["10.0.0.0/24", "fd00::/64"], &[]);
    let outcome = |id: &str, expected: &[&str]| {
        let expected: Vec<IpAddr> = expected.iter().map(|text| ip(text)).collect();
        let store = world.store();
        let held = store.lock().unwrap();
        check(&dual, &held, &owner(id), &expected).map_err(|error| (error.code(), error.to_string()))
    };
    assert_eq!(outcome("a", &["10.0.0.2"]).unwrap_err().0, Code::UNKNOWN_CONTAINER);
    add(&world, &dual, "a").unwrap();
    add(&world, &dual, "b").unwrap();
    assert_eq!(outcome("a", &["10.0.0.2", "fd00::2"]), Ok(()));
    assert_eq!(outcome("a", &["10.0.0.2", "192.168.0.9"]), Ok(()), "another plugin's address");
    assert_eq!(outcome("a", &[]), Ok(()), "a caller without prevResult");
    let (code, text) = outcome("a", &["10.0.0.3", "fd00::2"]).unwrap_err();
    assert_eq!(code, Code::CHECK_MISMATCH);
    assert!(text.contains("10.0.0.3, which is reserved for container b interface eth0"), "{text}");
    assert_eq!(outcome("a", &["192.168.0.9"]).unwrap_err().0, Code::CHECK_MISMATCH);
}
