//! What is in the kernel: our elements by the attachment that they belong to, and which attachments have an interface.

use std::collections::{BTreeMap, BTreeSet};

use attach::handback::{Held, held};
use attach::identity::Mark;
use attach::{guard, masquerade};
use kernel::Rtnl;
use kernel::nft::{Nft, Table};

use super::error::Error;

/// What one attachment has of ours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Belongings {
    /// Masqueraded addresses.
    pub masquerade: Vec<Held>,
    /// Published ports.
    pub ports: Vec<Held>,
    /// Accepted addresses and isolated ports of a bridge.
    pub firewall: Vec<Held>,
    /// Guarded ports of a bridge.
    pub guard: Vec<Held>,
}

impl Belongings {
    /// All of it.
    pub fn all(&self) -> impl Iterator<Item = &Held> {
        [&self.masquerade, &self.ports, &self.firewall, &self.guard].into_iter().flatten()
    }
}

/// Everything of ours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelState {
    /// By the digests that begin every mark.
    pub belongings: BTreeMap<String, Belongings>,
    /// Elements in our tables that have no mark.
    pub unmarked: Vec<Held>,
    /// Digests of the marks that interfaces bear.
    marks: BTreeSet<String>,
    /// Names of interfaces.
    links: BTreeSet<String>,
}

impl KernelState {
    /// Reads it.
    pub fn read(nft: &mut Nft) -> Result<Self, Error> {
        let mut state = Self::default();
        for link in Rtnl::open()?.links()? {
            state.marks.extend(link.alias.as_deref().and_then(Mark::key_in).map(str::to_owned));
            state.links.insert(link.name);
        }
        state.sort(held(nft, &masquerade::handback::SETS)?, |belongings| &mut belongings.masquerade);
        state.sort(held(nft, &portmap::handback::sets())?, |belongings| &mut belongings.ports);
        state.sort(held(nft, &firewall::handback::SETS)?, |belongings| &mut belongings.firewall);
        state.sort(held(nft, &guard::handback::SETS)?, |belongings| &mut belongings.guard);
        Ok(state)
    }

    fn sort(&mut self, mut all: Vec<Held>, part: impl Fn(&mut Belongings) -> &mut Vec<Held>) {
        all.sort_by_key(|held| (held.set.to_string(), held.element.key.as_bytes().to_vec()));
        for held in all {
            match held.key().map(str::to_owned) {
                Some(key) => part(self.belongings.entry(key).or_default()).push(held),
                None => self.unmarked.push(held),
            }
        }
    }

    /// Whether the attachment is known to be gone: what it has was made for an interface of the host, and that is gone.
    pub fn is_dead(&self, key: &str, belongings: &Belongings) -> bool {
        let vias: Vec<String> = belongings.ports.iter().filter_map(portmap::handback::via).collect();
        let of_bridge = !belongings.masquerade.is_empty() || !belongings.guard.is_empty();
        let had_link = of_bridge || !vias.is_empty();
        had_link && !self.marks.contains(key) && !vias.iter().any(|via| self.links.contains(via))
    }

    /// Our tables that are there.
    pub fn tables(nft: &mut Nft) -> Result<Vec<Table<'static>>, Error> {
        let sets = masquerade::handback::SETS.into_iter().chain(portmap::handback::sets());
        let sets = sets.chain(firewall::handback::SETS).chain(guard::handback::SETS);
        let mut tables: Vec<Table<'static>> = Vec::new();
        for set in sets {
            if !tables.contains(&set.table) && nft.table_exists(set.table)? {
                tables.push(set.table);
            }
        }
        Ok(tables)
    }
}
