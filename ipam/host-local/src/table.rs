//! The index's file: a table of fixed slots, in which finding, adding and removing an owner's address make no file.
//!
//! A slot is 32 bytes: who (see [`Key`]) and one address. A container's slots lie within [`WINDOW`] slots from its home, a place that its
//! key gives, and nowhere else: one pread(2) of 4 KiB finds all of them, and since the whole window is looked at always, a
//! removed slot is a free one. When a window is full the table is written anew with more homes.
use crate::owner::{Owner, fnv1a};
use std::fs::{File, OpenOptions};
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// First bytes of the file; another layout would be another word.
const MAGIC: [u8; 8] = *b"ironidx1";
/// Length of magic and number of homes, in bytes.
const HEADER: usize = 16;
/// Length of a slot, in bytes.
const SLOT: usize = 32;
/// How many slots from its home on a container's entries are looked for in.
pub const WINDOW: usize = 128;
/// The smallest table, with which a node of 110 pods never needs another.
const FEWEST_HOMES: u64 = 256;
/// The largest table that is believed: half a gigabyte.
const MOST_HOMES: u64 = 1 << 24;

/// An owner by its hash: 80 bits for the container, 46 for the interface, and two that are zero.
///
/// The interface's bits of a container alone, which very old files name, are zero as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(u128);

impl Key {
    /// The key of `owner`.
    #[must_use]
    pub fn of(owner: &Owner) -> Self {
        let container = mixed(owner.container_id.as_bytes()) >> 48 << 48;
        let interface = owner.ifname.as_deref().map_or(0, |ifname| mixed(ifname.as_bytes()) >> 82 << 2);
        Self(container | interface)
    }

    fn is_of_same_container(self, other: Self) -> bool {
        self.0 >> 48 == other.0 >> 48
    }

    /// The first slot of the container's window; `homes` is a power of two.
    fn home(self, homes: u64) -> u64 {
        u64::try_from(self.0 >> 64).unwrap_or_default() & homes.saturating_sub(1)
    }
}

/// FNV-1a leaves the high bits of short texts alike: they are multiplied in once more.
fn mixed(bytes: &[u8]) -> u128 {
    const ODD: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
    let hash = fnv1a(bytes);
    let hash = (hash ^ (hash >> 64)).wrapping_mul(ODD);
    hash ^ (hash >> 64)
}

/// One address of one owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Whose it is.
    pub key: Key,
    /// The address.
    pub address: IpAddr,
}

/// What the two free bits of a key say in a slot; a slot with neither is free.
const IPV4: u128 = 2;
const IPV6: u128 = 3;

fn encode(slot: Option<Entry>) -> [u8; SLOT] {
    let (kind, address) = match slot.map(|entry| entry.address) {
        None => (0, 0),
        Some(IpAddr::V4(address)) => (IPV4, u128::from(address.to_bits())),
        Some(IpAddr::V6(address)) => (IPV6, address.to_bits()),
    };
    let key = slot.map_or(0, |entry| entry.key.0);
    let mut bytes = [0; SLOT];
    let (who, what) = bytes.split_at_mut(SLOT / 2);
    who.copy_from_slice(&(key | kind).to_le_bytes());
    what.copy_from_slice(&address.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<Entry> {
    let (who, what) = bytes.split_first_chunk()?;
    let (who, what) = (u128::from_le_bytes(*who), u128::from_le_bytes(*what.first_chunk()?));
    let address = match who & 3 {
        IPV4 => IpAddr::from(u32::try_from(what).ok()?.to_be_bytes()),
        IPV6 => IpAddr::from(what.to_be_bytes()),
        _ => return None,
    };
    Some(Entry { key: Key(who & !3), address })
}

/// The file, open.
#[derive(Debug)]
pub struct Table {
    file: File,
    /// How many homes there are, a power of two; none in a file that is no table.
    homes: Option<u64>,
}

impl Table {
    /// Opens the file at `path`, which need not be a whole table: see [`Table::is_whole`].
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let homes = homes(&file);
        Ok(Self { file, homes })
    }

    /// Makes a table of `entries` at `path`, where nothing may be.
    pub fn create(path: &Path, entries: &[Entry]) -> io::Result<Self> {
        let (homes, slots) = arrange(entries)?;
        let mut bytes = [MAGIC, homes.to_le_bytes()].concat();
        bytes.extend(slots.into_iter().flat_map(encode));
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all_at(&bytes, 0)?;
        Ok(Self { file, homes: Some(homes) })
    }

    /// Whether the file begins as a table does. Anything else is an index that was never built.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.homes.is_some()
    }

    /// The file itself, for its modification time.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// All entries of the container of `key`.
    pub fn of_container(&self, key: Key) -> io::Result<Vec<Entry>> {
        let (_, slots) = self.window(key)?;
        Ok(slots.into_iter().flatten().filter(|entry| entry.key.is_of_same_container(key)).collect())
    }

    /// Adds an entry, if it is not there; `Ok(false)` when there is no room for it.
    pub fn insert(&self, entry: Entry) -> io::Result<bool> {
        let (start, slots) = self.window(entry.key)?;
        if slots.contains(&Some(entry)) {
            return Ok(true);
        }
        let Some(free) = slots.iter().position(Option::is_none) else { return Ok(false) };
        self.file.write_all_at(&encode(Some(entry)), start + bytes_of(free))?;
        Ok(true)
    }

    /// Removes those entries of `key` whose address `choose` chooses, by one write, and says whether there were any.
    pub fn remove(&self, key: Key, choose: impl Fn(&IpAddr) -> bool) -> io::Result<bool> {
        let (start, slots) = self.window(key)?;
        let is_chosen = |slot: &Option<Entry>| slot.is_some_and(|it| it.key == key && choose(&it.address));
        let (Some(first), Some(last)) = (slots.iter().position(is_chosen), slots.iter().rposition(is_chosen))
        else {
            return Ok(false);
        };
        let touched = slots.iter().take(last + 1).skip(first);
        let bytes: Vec<u8> = touched.flat_map(|slot| encode(slot.filter(|_| !is_chosen(slot)))).collect();
        self.file.write_all_at(&bytes, start + bytes_of(first))?;
        Ok(true)
    }

    /// Every entry.
    pub fn entries(&self) -> io::Result<Vec<Entry>> {
        let length = self.file.metadata()?.len().saturating_sub(HEADER as u64);
        let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        self.file.read_exact_at(&mut bytes, HEADER as u64)?;
        Ok(bytes.chunks_exact(SLOT).filter_map(decode).collect())
    }

    /// The slots that a key's entry can be in, and where in the file they begin.
    fn window(&self, key: Key) -> io::Result<(u64, Vec<Option<Entry>>)> {
        let homes = self.homes.ok_or(io::ErrorKind::InvalidData)?;
        let start = HEADER as u64 + key.home(homes) * SLOT as u64;
        let mut bytes = [0; WINDOW * SLOT];
        self.file.read_exact_at(&mut bytes, start)?;
        Ok((start, bytes.chunks_exact(SLOT).map(decode).collect()))
    }
}

/// The number of homes that the header tells, if it is a table's. Whoever cuts the file later breaks the seal.
fn homes(file: &File) -> Option<u64> {
    let mut header = [0; HEADER];
    file.read_exact_at(&mut header, 0).ok()?;
    let (magic, homes) = header.split_at(MAGIC.len());
    let homes = u64::from_le_bytes(*homes.first_chunk()?);
    let is_one = magic == MAGIC && homes.is_power_of_two() && (FEWEST_HOMES..=MOST_HOMES).contains(&homes);
    is_one.then_some(homes)
}

/// Finds a place for everything: the number of homes, and all slots.
fn arrange(entries: &[Entry]) -> io::Result<(u64, Vec<Option<Entry>>)> {
    let wanted = (entries.len() as u64).saturating_mul(2).max(FEWEST_HOMES).next_power_of_two();
    // More homes part what is crowded, but never one container's own addresses.
    let tries = std::iter::successors(Some(wanted), |homes| homes.checked_mul(2)).take(4);
    for homes in tries.filter(|homes| *homes <= MOST_HOMES) {
        let length = usize::try_from(homes).map_err(io::Error::other)? + WINDOW - 1;
        let mut slots = vec![None; length];
        if entries.iter().all(|entry| place(&mut slots, *entry, homes)) {
            return Ok((homes, slots));
        }
    }
    Err(io::Error::other(format!("more than {WINDOW} addresses of one container, or too many altogether")))
}

fn place(slots: &mut [Option<Entry>], entry: Entry, homes: u64) -> bool {
    let home = usize::try_from(entry.key.home(homes)).unwrap_or(usize::MAX);
    let free = slots.iter_mut().skip(home).take(WINDOW).find(|slot| slot.is_none());
    free.map(|slot| *slot = Some(entry)).is_some()
}

fn bytes_of(slots: usize) -> u64 {
    (slots * SLOT) as u64
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
