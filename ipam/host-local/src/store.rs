//! The reservations of one network on disk. Nothing is read or changed but through [`Held`], which is the lock.
use crate::boot::Host;
use crate::conf::Scope;
use crate::cursor::Cursor;
use crate::draft::Draft;
use crate::error::Error;
use crate::index::Index;
use crate::lock::Lock;
use crate::owner::Owner;
use crate::scan::{self, Holder, Reservation};
use crate::seal::{Pair, State, absent_is_fine};
use crate::table::{Entry, Key, Table};
use std::collections::HashSet;
use std::fs::{self, DirBuilder};
use std::io;
use std::mem;
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Where one network's reservations are.
#[derive(Debug)]
pub struct Store {
    pub(crate) network: String,
    pub(crate) folder: PathBuf,
    pub(crate) index: Index,
    pub(crate) host: Host,
}

impl Store {
    /// The store of the network that `scope` names; nothing is opened yet.
    #[must_use]
    pub fn new(scope: &Scope, host: &Host) -> Self {
        Self {
            network: scope.network.clone(),
            folder: scope.data_dir.join(&scope.network),
            index: Index::new(&scope.data_dir, &scope.network),
            host: host.clone(),
        }
    }

    /// Takes the lock, making the network's folder if need be.
    pub fn lock(&self) -> Result<Held<'_>, Error> {
        loop {
            if let Some(held) = self.lock_existing()? {
                return Ok(held);
            }
            let mut builder = DirBuilder::new();
            builder.recursive(true).mode(0o755);
            builder.create(&self.folder).map_err(Error::io("create directory", &self.folder))?;
        }
    }

    /// Takes the lock; `None` when the network has no folder, and so no reservations.
    pub fn lock_existing(&self) -> Result<Option<Held<'_>>, Error> {
        let Some(lock) = Lock::take(&self.folder.join("lock"), self.host.patience)? else { return Ok(None) };
        let mut held =
            Held { store: self, seal: None, changed: false, draft: None, scanned: Vec::new(), _lock: lock };
        held.open_or_settle()?;
        Ok(Some(held))
    }
}

/// The network's lock, and everything that may be done under it. The fields are dropped in this order, the lock last.
#[derive(Debug)]
pub struct Held<'a> {
    pub(crate) store: &'a Store,
    /// The index, when it can be relied on; otherwise `scanned` has all reservations.
    pub(crate) seal: Option<(State, Pair)>,
    /// Whether the seal is broken by now and has to be set anew.
    pub(crate) changed: bool,
    draft: Option<Draft>,
    pub(crate) scanned: Vec<Reservation>,
    _lock: Lock,
}

impl Held<'_> {
    /// The addresses reserved for `owner`, and the form of the owner that their files have: very old ones know no ifname.
    pub fn holdings(&self, owner: &Owner) -> Result<(Owner, Vec<IpAddr>), Error> {
        let hints = self.hints(owner)?;
        let exact = self.held_by(owner, hints.as_deref())?;
        if !exact.is_empty() {
            return Ok((owner.clone(), exact));
        }
        let old_form = owner.without_ifname();
        let old = self.held_by(&old_form, hints.as_deref())?;
        Ok((old_form, old))
    }

    /// What the index says of an owner's container; `None` when it cannot be relied on.
    fn hints(&self, owner: &Owner) -> Result<Option<Vec<Entry>>, Error> {
        let Some((_, pair)) = &self.seal else { return Ok(None) };
        let found = pair.table.of_container(Key::of(owner));
        found.map(Some).map_err(Error::io("read index", self.store.index.owners()))
    }

    fn held_by(&self, owner: &Owner, hints: Option<&[Entry]>) -> Result<Vec<IpAddr>, Error> {
        let Some(hints) = hints else {
            let theirs = self.scanned.iter().filter(|reservation| reservation.holder.owner() == Some(owner));
            return Ok(theirs.map(|reservation| reservation.address).collect());
        };
        let key = Key::of(owner);
        let mut held: Vec<IpAddr> =
            hints.iter().filter(|entry| entry.key == key).map(|entry| entry.address).collect();
        let mut failure = None;
        held.retain(|address| match self.holder(*address) {
            Ok(holder) => holder.as_ref().and_then(Holder::owner) == Some(owner),
            Err(error) => {
                failure.get_or_insert(error);
                false
            }
        });
        failure.map_or(Ok(held), Err)
    }

    /// Who has an address; `None` when it is free.
    pub fn holder(&self, address: IpAddr) -> Result<Option<Holder>, Error> {
        let path = self.file(address);
        scan::holder(&path).map_err(Error::io("read reservation", path))
    }

    /// Whether nobody has the address, as far as its file's presence says.
    #[must_use]
    pub fn is_free(&self, address: IpAddr) -> bool {
        fs::symlink_metadata(self.file(address)).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    }

    /// All addresses that are taken, by one listing of the folder.
    pub fn taken(&self) -> Result<HashSet<IpAddr>, Error> {
        let found = scan::addresses(&self.store.folder);
        Ok(found.map_err(Error::io("read directory", &self.store.folder))?.into_iter().collect())
    }

    /// The place of a range set's round robin.
    #[must_use]
    pub fn cursor(&self, set: usize) -> Cursor {
        Cursor::read(&self.store.folder, set)
    }

    /// Reserves an address; `Ok(false)` when it is taken.
    pub fn reserve(&mut self, address: IpAddr, owner: &Owner) -> Result<bool, Error> {
        let target = self.file(address);
        let mut draft = match self.draft.take() {
            Some(draft) => draft,
            None => Draft::write(self.store.index.home(), owner)
                .or_else(|_| Draft::write(&self.store.folder, owner))?,
        };
        let linked = draft.link(&target, &self.store.folder);
        self.draft = Some(draft);
        // Even a refusal may have put the draft into the folder.
        self.changed = true;
        let linked = linked?;
        if linked {
            self.keep_index(|index, table| index.add(table, owner, address));
        }
        Ok(linked)
    }

    /// Gives back what this call reserved, and nothing that the owner had before.
    pub fn give_back(&mut self, addresses: &[IpAddr], owner: &Owner) -> Result<(), Error> {
        let failures = self.remove_all(addresses.iter().copied());
        self.keep_index(|_, table| {
            table.remove(Key::of(owner), |address| addresses.contains(address)).map(drop)
        });
        several(failures)
    }

    /// Releases everything that `owner` holds, whatever the ranges are now. Every address is tried.
    pub fn release(&mut self, owner: &Owner) -> Result<(), Error> {
        let (form, addresses) = self.holdings(owner)?;
        several(self.remove_all(addresses))?;
        let mut had_entry = false;
        self.keep_index(|_, table| {
            had_entry = table.remove(Key::of(&form), |_| true)?;
            Ok(())
        });
        self.changed |= had_entry;
        Ok(())
    }

    /// Releases everything whose owner does not pass `keep`, and reads the folder anew for it.
    pub fn retain(&mut self, keep: impl Fn(&Owner) -> bool) -> Result<Vec<IpAddr>, Error> {
        self.scan()?;
        let discarded = self.discard(|one| one.holder.owner().is_some_and(|owner| !keep(owner)));
        self.settle_index();
        several(discarded.failures)?;
        Ok(discarded.gone)
    }

    /// Removes those of the scanned reservations that `choose` chooses; what resists stays among them.
    pub(crate) fn discard(&mut self, choose: impl Fn(&Reservation) -> bool) -> Discarded {
        let (chosen, kept) = mem::take(&mut self.scanned).into_iter().partition(choose);
        self.scanned = kept;
        let mut discarded = Discarded::default();
        let chosen: Vec<Reservation> = chosen;
        for one in chosen {
            match self.remove(one.address) {
                Ok(()) => discarded.gone.push(one.address),
                Err(error) => {
                    discarded.failures.push(error.to_string());
                    self.scanned.push(one);
                }
            }
        }
        discarded
    }

    fn remove_all(&mut self, addresses: impl IntoIterator<Item = IpAddr>) -> Vec<String> {
        let failed = |address| self.remove(address).err().map(|error| error.to_string());
        addresses.into_iter().filter_map(failed).collect()
    }

    fn remove(&mut self, address: IpAddr) -> Result<(), Error> {
        self.changed = true;
        let path = self.file(address);
        fs::remove_file(&path).or_else(absent_is_fine).map_err(Error::io("remove reservation", path))
    }

    /// Does something to the index. A reservation never fails for it: an index that cannot be kept is not sealed, and the
    /// next call reads the folder itself.
    fn keep_index(&mut self, change: impl FnOnce(&Index, &mut Table) -> io::Result<()>) {
        let Some((_, pair)) = &mut self.seal else { return };
        if change(&self.store.index, &mut pair.table).is_err() {
            self.seal = None;
        }
    }

    fn file(&self, address: IpAddr) -> PathBuf {
        self.folder().join(address.to_string())
    }

    /// The network whose lock this is.
    #[must_use]
    pub fn network(&self) -> &str {
        &self.store.network
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.store.folder
    }
}

/// What came of removing several reservations.
#[derive(Debug, Default)]
pub struct Discarded {
    /// Removed.
    pub gone: Vec<IpAddr>,
    /// Why others were not.
    pub failures: Vec<String>,
}

fn several(failures: Vec<String>) -> Result<(), Error> {
    if failures.is_empty() { Ok(()) } else { Err(Error::Several { failures }) }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.draft = None;
        if let Some((state, pair)) = self.seal.take().filter(|_| self.changed) {
            // Without a seal the next call reads the folder: slow, not wrong.
            state.seal(&pair).ok();
        }
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
