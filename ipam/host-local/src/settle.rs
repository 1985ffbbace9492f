//! What is done before anything else under the lock: believe the index, or read the folder and put both in order.
use crate::error::Error;
use crate::scan::{self, Holder, Reservation};
use crate::seal::{Pair, State, absent_is_fine};
use crate::store::{Discarded, Held};
use crate::{draft, report};
use std::fs::{self, File};
use std::io;
use std::net::IpAddr;
use std::time::SystemTime;

/// Which reservations are of an earlier boot, and so belong to nobody any more.
#[derive(Debug, Clone, Copy)]
enum Void {
    /// None that we can tell.
    None,
    /// All: we left them in an earlier boot and nobody has touched the folder since.
    All,
    /// Those made before this moment of the wall clock.
    Before(SystemTime),
}

impl Void {
    fn includes(self, reservation: &Reservation) -> bool {
        let is_old = match self {
            Self::None => false,
            Self::All => true,
            Self::Before(moment) => reservation.since < moment,
        };
        is_old && reservation.holder != Holder::Unreadable
    }
}

impl Held<'_> {
    /// Relies on the index if its seal is whole and of this boot; settles the network otherwise.
    pub(crate) fn open_or_settle(&mut self) -> Result<(), Error> {
        let index = &self.store.index;
        let state = State::read(&index.state());
        let boot = self.store.host.boot_id();
        let pair = state.as_ref().and_then(|state| {
            let pair = Pair::open(self.folder(), &index.owners()).ok()?;
            state.is_sealed(&pair).then_some(pair)
        });
        let void = match (state, pair, boot) {
            (Some(state), Some(pair), Some(boot)) if state.boot == boot && pair.table.is_whole() => {
                self.seal = Some((state, pair));
                return Ok(());
            }
            (_, _, None) => Void::None,
            (Some(state), _, Some(boot)) if state.boot == boot => Void::None,
            (Some(_), Some(_), Some(_)) => Void::All,
            (_, _, Some(_)) => self.store.host.nothing_of_this_boot_before().map_or(Void::None, Void::Before),
        };
        self.scan()?;
        self.reclaim(void);
        self.settle_index();
        Ok(())
    }

    /// Reads all reservations. Blank files, which only a kill of the reference between two steps leaves, are removed: its
    /// steps are under this lock, so that nobody is about to fill one in.
    pub(crate) fn scan(&mut self) -> Result<(), Error> {
        let folder = self.folder().to_owned();
        fs::remove_file(folder.join(draft::NAME))
            .or_else(absent_is_fine)
            .map_err(Error::io("remove unfinished reservation in", &folder))?;
        self.scanned = scan::scan(&folder).map_err(Error::io("read directory", &folder))?;
        let blank = self.discard(|one| one.holder == Holder::Nobody);
        self.say_what_went("removed", "blank reservations of a process that was killed", &blank);
        Ok(())
    }

    fn reclaim(&mut self, void: Void) {
        let dead = self.discard(|one| void.includes(one));
        self.say_what_went("released", "reservations of an earlier boot", &dead);
    }

    /// Builds the index from what was scanned. It is sealed when the lock is dropped; if it cannot be built, not at all.
    pub(crate) fn settle_index(&mut self) {
        self.changed = true;
        self.seal = match self.build_index() {
            Ok(seal) => Some(seal),
            Err(error) => {
                self.say(&format!(
                    "the index cannot be kept, so that every call reads all reservations: {error}"
                ));
                None
            }
        };
        let unreadable = self.scanned.iter().filter(|one| one.holder == Holder::Unreadable);
        let unreadable: Vec<IpAddr> = unreadable.map(|one| one.address).collect();
        if !unreadable.is_empty() {
            // Whose they are may show later, and that does not break a seal.
            self.say(&format!("these reservations cannot be read, and stay: {}", list(&unreadable)));
            self.seal = None;
        }
    }

    fn build_index(&self) -> io::Result<(State, Pair)> {
        let no_boot = || io::Error::other("the kernel does not tell which boot this is");
        let boot = self.store.host.boot_id().ok_or_else(no_boot)?;
        let index = &self.store.index;
        let folder = File::open(self.folder())?;
        let table = index.rebuild(&self.scanned)?;
        fs::remove_file(index.home().join(draft::NAME)).or_else(absent_is_fine)?;
        let state = State::new(&boot);
        state.write(&index.state())?;
        Ok((state, Pair { folder, table }))
    }

    fn say_what_went(&self, verb: &str, what: &str, discarded: &Discarded) {
        if !discarded.gone.is_empty() {
            self.say(&format!("{verb} {what} ({}): {}", discarded.gone.len(), list(&discarded.gone)));
        }
        for failure in &discarded.failures {
            self.say(&format!("one of the {what} stays: {failure}"));
        }
    }

    fn say(&self, text: &str) {
        report::say(&self.store.network, text);
    }
}

/// Some addresses as a person reads them: the first few of many.
fn list(addresses: &[IpAddr]) -> String {
    const SHOWN: usize = 8;
    let mut text = addresses.iter().take(SHOWN).map(IpAddr::to_string).collect::<Vec<_>>().join(", ");
    if addresses.len() > SHOWN {
        text.push_str(", ...");
    }
    text
}
