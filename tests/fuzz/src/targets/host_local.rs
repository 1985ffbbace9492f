//! host-local: its configuration, the arithmetic of ranges, and every file that it reads.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use ::host_local::boot::Host;
use ::host_local::conf::{Conf, Scope};
use ::host_local::index::Index;
use ::host_local::range::{Range, RangeSet};
use ::host_local::seal::State;
use ::host_local::slot::Slot;
use ::host_local::store::Store;
use ::host_local::table::{Key, Table};
use ::host_local::{Owner, cursor::Cursor, pick, reservations, resolv, scan};
use cni::{Call, Code, Error, Version};

use crate::scratch::Scratch;
use crate::targets::request::{Request, error_document};
use crate::verdict::{Broken, Reached, Verdict, hold, must, same};

/// How many candidates of a set are looked at.
const LOOK: u128 = 600;

/// A configuration: its ranges are sound, and the round robin goes through all of them once.
pub fn conf(data: &[u8]) -> Verdict {
    let request = Request::of("ADD", ("c1", "eth0"), "/nonexistent", data);
    let call = match Call::read(&request.env(), request.stdin, &Version::ALL, &[]) {
        Ok(call) => call,
        Err(error) => return error_document(&error).map(|()| Reached::at(&error.msg)),
    };
    match Conf::read(&call) {
        Err(error) => refused(&error),
        Ok(conf) => {
            let scope = must("DEL reads what ADD read", Scope::read(&call))?;
            same("where the files are", &scope, &conf.scope)?;
            conf.slots.iter().try_for_each(slot)?;
            let everywhere: Vec<&Range> = conf.slots.iter().flat_map(|slot| slot.set.ranges()).collect();
            for (at, range) in everywhere.iter().enumerate().take(100) {
                let meets = |other: &&&Range| range.contains(other.start()) || other.contains(range.start());
                same("overlap", &everywhere.iter().skip(at + 1).find(meets), &None)?;
            }
            Ok(Reached::at(&format!("{conf:?}").replace('"', "")))
        }
    }
}

fn refused(error: &Error) -> Verdict {
    error_document(error)?;
    let codes = [Code::INVALID_CONFIG, Code::INVALID_ENVIRONMENT];
    hold(codes.contains(&error.code), || format!("code of a refused configuration: {error:?}"))?;
    Ok(Reached::at(&error.msg))
}

fn slot(slot: &Slot) -> Result<(), Broken> {
    let set = &slot.set;
    for range in set.ranges() {
        let sound = range.start() <= range.end() && range.start().is_ipv4() == set.is_ipv4();
        hold(sound && range.end().is_ipv4() == set.is_ipv4(), || format!("range {range}"))?;
        hold(range.contains(range.start()) && range.contains(range.end()), || format!("range {range}"))?;
    }
    if let Some(request) = slot.request {
        let range = set.range_of(request.address);
        hold(range.is_some_and(|range| range.gateway() != request.address), || format!("{request:?}"))?;
    }
    let first = set.ranges().first().map(Range::start);
    let last = set.ranges().last().map(Range::end);
    let middle = pick::candidates(set, None).nth(3).map(|candidate| candidate.address);
    [None, first, last, middle].into_iter().try_for_each(|from| round_robin(set, from))
}

/// Every address of a small set once, gateways never; of a large one the beginning.
fn round_robin(set: &RangeSet, from: Option<IpAddr>) -> Result<(), Broken> {
    let usable = set.ranges().iter().map(usable).fold(0, u128::saturating_add);
    let mut seen = HashSet::new();
    for candidate in pick::candidates(set, from).take(usize::try_from(LOOK).unwrap_or(usize::MAX)) {
        let range = set.range_of(candidate.address);
        let fits = |range: &Range| {
            range.gateway() == candidate.gateway
                && range.prefix() == candidate.prefix
                && range.gateway() != candidate.address
        };
        hold(range.is_some_and(fits), || format!("{candidate:?} after {from:?} in {set}"))?;
        hold(seen.insert(candidate.address), || format!("{candidate:?} twice after {from:?} in {set}"))?;
    }
    same("how many addresses there are", &(seen.len() as u128), &usable.min(LOOK))
}

/// How many addresses of a range are given out.
fn usable(range: &Range) -> u128 {
    let number = |address: IpAddr| match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    };
    let all = (number(range.end()) - number(range.start())).saturating_add(1);
    if range.contains(range.gateway()) { all - 1 } else { all }
}

/// The texts: a reservation's content and a `resolv.conf`.
pub fn text(data: &[u8]) -> Verdict {
    let text = String::from_utf8_lossy(data);
    let owner = Owner::parse(&text);
    if let Some(owner) = &owner {
        same("a reservation written and read", &Owner::parse(&owner.content()).as_ref(), &Some(owner))?;
        key(owner)?;
    }
    hold(owner.is_some() != text.trim().is_empty(), || format!("{text:?} is blank or has an owner"))?;
    let dns = resolv::parse(&text);
    let mut again = String::new();
    for (keyword, words) in
        [("nameserver", &dns.nameservers), ("search", &dns.search), ("options", &dns.options)]
    {
        again.extend(words.iter().map(|word| format!("{keyword} {word}\n")));
    }
    if !dns.domain.is_empty() {
        again.extend(["domain ", dns.domain.as_str(), "\n"].map(str::to_owned));
    }
    same("resolv.conf written and read", &resolv::parse(&again), &dns)?;
    Ok(Reached::at(&format!("{owner:?} {dns:?}")))
}

fn key(owner: &Owner) -> Result<(), Broken> {
    let old = owner.without_ifname();
    hold(old == *owner || Key::of(&old) != Key::of(owner), || format!("{owner:?} and {old:?} share a key"))
}

/// The input as every file and link that the plugin reads; then the network is used all the same.
pub fn files(data: &[u8]) -> Verdict {
    let scratch = must("a scratch directory", Scratch::new())?;
    let world = must("its files", World::new(scratch.path(), data))?;
    let cursor = Cursor::read(&world.folder, 0).last();
    let state = State::read(&world.index.state());
    let table = must("an index", Table::open(&world.index.owners()))?;
    let held = table.of_container(Key::of(&Owner::new("c1", "eth0"))).ok();
    let holder = must("a reservation", scan::holder(&world.folder.join("10.1.0.2")))?;
    let (boot, began) = (world.host.boot_id(), world.host.nothing_of_this_boot_before());
    let lossy = String::from_utf8_lossy(data);
    same("a reservation's owner", &holder.and_then(|holder| holder.owner().cloned()), &Owner::parse(&lossy))?;
    let store = Store::new(&world.scope, &world.host);
    let owner = Owner::new("new", "eth0");
    let address = IpAddr::from([10, 1, 0, 200]);
    let reserved = must("the lock", store.lock())?.reserve(address, &owner);
    hold(must("a free address", reserved)?, || format!("{address} is taken"))?;
    // Each verb takes the lock anew.
    let mut locked = must("the lock", store.lock())?;
    same("holdings", &must("holdings", locked.holdings(&owner))?, &(owner.clone(), vec![address]))?;
    must("a release", locked.release(&owner))?;
    drop(locked);
    let left = must("reservations", reservations(&world.scope.data_dir, &world.scope.network))?;
    hold(left.iter().all(|one| one.address != address), || format!("{address} stays: {left:?}"))?;
    let holders: Vec<Option<&Owner>> = left.iter().map(|one| one.holder.owner()).collect();
    Ok(Reached::at(&format!("{cursor:?} {state:?} {held:?} {boot:?} {began:?} {holders:?}")))
}

struct World {
    folder: PathBuf,
    index: Index,
    scope: Scope,
    host: Host,
}

impl World {
    fn new(home: &Path, data: &[u8]) -> io::Result<Self> {
        let scope = Scope { data_dir: home.join("networks"), network: "net".to_owned() };
        let folder = scope.data_dir.join("net");
        let index = Index::new(&scope.data_dir, "net");
        fs::create_dir_all(&folder)?;
        fs::create_dir_all(index.home())?;
        fs::write(index.owners(), data)?;
        for file in ["last_reserved_ip.0", "10.1.0.2", "fd00::2"] {
            fs::write(folder.join(file), data)?;
        }
        let mut target = String::from_utf8_lossy(data).replace('\0', "");
        // PATH_MAX, with its closing byte
        let end = (0..=4000.min(target.len())).rev().find(|end| target.is_char_boundary(*end));
        target.truncate(end.unwrap_or(0));
        if !target.is_empty() {
            symlink(&target, index.state())?;
        }
        let host = Host { boot_id: home.join("boot_id"), stat: home.join("stat"), ..Host::default() };
        fs::write(&host.boot_id, data)?;
        fs::write(&host.stat, data)?;
        Ok(Self { folder, index, scope, host })
    }
}
