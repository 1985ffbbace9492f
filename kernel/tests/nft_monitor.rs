//! Notifications: a flush by anybody is noticed at once, and our own changes can be told from those of others.
#![allow(clippy::unwrap_used, reason = "tests")]

mod nft_world;

use kernel::nft::{Event, Family, Fate, Monitor, Object, Table};
use nft_world::{World, plain};
use std::time::{Duration, Instant};

const TABLE: Table<'_> = Table::new(Family::Inet, "t");

/// All events up to and including the end of one commit.
fn commit_of(monitor: &mut Monitor) -> Vec<Event> {
    let deadline = Instant::now() + Duration::from_secs(5);
    let mut events = Vec::new();
    loop {
        let event = monitor.next(deadline).unwrap().unwrap_or_else(|| unreachable!("no commit: {events:?}"));
        let end = matches!(event, Event::Committed { .. });
        events.push(event);
        if end {
            return events;
        }
    }
}

#[test]
fn a_flush_of_the_ruleset_by_another_program_is_told_at_once() {
    let mut world = World::new();
    world.commit(|t| plain(t, TABLE, "c"));
    let mut monitor = Monitor::open_in(&world.ns).unwrap();
    world.run("nft flush ruleset", "");
    let events = commit_of(&mut monitor);
    let port = world.nft.port().unwrap();
    let gone = events.iter().find(|event| {
        matches!(event, Event::Changed { fate: Fate::Gone, object: Object::Table, table, family: Some(Family::Inet), by }
            if table == "t" && *by != port)
    });
    assert!(gone.is_some(), "{events:?}");
}

#[test]
fn our_own_commit_is_recognised_by_its_port() {
    let mut world = World::new();
    let mut monitor = Monitor::open_in(&world.ns).unwrap();
    world.commit(|t| plain(t, TABLE, "c"));
    let port = world.nft.port().unwrap();
    let made = |object| Event::Changed {
        fate: Fate::Made,
        object,
        family: Some(Family::Inet),
        table: "t".to_owned(),
        by: port,
    };
    let generation = world.nft.generation().unwrap();
    let want = [made(Object::Table), made(Object::Chain), Event::Committed { generation, by: port }];
    assert_eq!(commit_of(&mut monitor), want);
}

#[test]
fn silence_ends_at_the_deadline() {
    let world = World::new();
    let mut monitor = Monitor::open_in(&world.ns).unwrap();
    let start = Instant::now();
    assert_eq!(monitor.next(start + Duration::from_millis(30)).unwrap(), None);
    assert!(start.elapsed() >= Duration::from_millis(30));
    assert_eq!(monitor.next(start).unwrap(), None, "a deadline in the past does not wait");
}

#[test]
fn a_flood_of_changes_ends_in_an_overrun_and_not_in_an_error() {
    let mut world = World::new();
    let mut monitor = Monitor::open_in(&world.ns).unwrap();
    for _ in 0..400 {
        world.commit(|t| {
            plain(t, TABLE, "c");
            t.delete_table(TABLE);
        });
    }
    let deadline = Instant::now() + Duration::from_secs(5);
    let events = std::iter::from_fn(|| monitor.next(deadline).unwrap());
    assert!(events.take(2000).any(|event| event == Event::Overrun));
    while monitor.next(Instant::now()).unwrap().is_some() {}
    world.commit(|t| plain(t, TABLE, "c"));
    assert!(!commit_of(&mut monitor).is_empty(), "and it goes on afterwards");
}
