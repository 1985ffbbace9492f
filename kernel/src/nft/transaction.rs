//! Changes to a ruleset that happen all at once or not at all.

use super::{
    assemble::{CHAIN_NAME, Entry, RULE_HANDLE, SET_NAME, TABLE},
    attribute::Writer,
    element::Element,
    message::Kind,
    object::{Chain, ChainName, SetName, Table},
    rule::Rule,
    set::Set,
    socket::Generation,
};
use crate::abi::nlm;

/// A batch of changes, in order. Nothing happens before [`Transaction::commit`]; then the kernel applies all of it or
/// nothing, and no packet ever sees a part.
///
/// For each object: `add_` is fine with one that exists (and for sets and base chains that are alike), `create_` is an
/// error then ([`Error::is_present`](crate::Error::is_present)); `delete_` is an error for one that is absent
/// ([`Error::is_absent`](crate::Error::is_absent)), `destroy_` is not (it is about what was there before the batch). A table goes with all that it holds; a chain and
/// a set must not be in use by rules that stay.
///
/// A batch that the kernel refuses costs an RCU grace period, about 16 ms: read first where a refusal is likely.
#[derive(Debug)]
pub struct Transaction {
    pub(super) writer: Writer,
    pub(super) messages: Vec<Entry>,
    /// Sets of one batch are numbered (`NFTA_SET_ID`).
    pub(super) sets: u32,
}

impl Default for Transaction {
    fn default() -> Self {
        Self::new()
    }
}

impl Transaction {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::begin(None)
    }

    /// An empty batch that fails with `ERESTART` when anybody changed the ruleset since that generation: for changes
    /// that were decided on what was read.
    #[must_use]
    pub fn only_at(generation: Generation) -> Self {
        Self::begin(Some(generation))
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Makes a table, unless it is there.
    pub fn add_table(&mut self, table: Table<'_>) -> &mut Self {
        self.table((Kind::NewTable, nlm::CREATE), table, None)
    }

    /// Makes a table that must not be there.
    pub fn create_table(&mut self, table: Table<'_>) -> &mut Self {
        self.table((Kind::NewTable, nlm::CREATE | nlm::EXCL), table, None)
    }

    /// Makes a table with a remark, unless it is there; kernel 5.10 and later keep the remark.
    pub fn add_table_with_comment(&mut self, table: Table<'_>, text: &str) -> &mut Self {
        self.table((Kind::NewTable, nlm::CREATE), table, Some(text))
    }

    /// Removes a table and all that it holds.
    pub fn delete_table(&mut self, table: Table<'_>) -> &mut Self {
        self.table((Kind::DeleteTable, 0), table, None)
    }

    /// Removes a table and all that it holds, if it is there.
    pub fn destroy_table(&mut self, table: Table<'_>) -> &mut Self {
        self.delete_table(table).absent_is_fine()
    }

    /// Makes a chain, unless it is there.
    pub fn add_chain(&mut self, chain: &Chain<'_>) -> &mut Self {
        self.chain(nlm::CREATE, chain)
    }

    /// Makes a chain that must not be there.
    pub fn create_chain(&mut self, chain: &Chain<'_>) -> &mut Self {
        self.chain(nlm::CREATE | nlm::EXCL, chain)
    }

    /// Removes a chain with its rules. Nothing may jump to it any more.
    pub fn delete_chain(&mut self, chain: ChainName<'_>) -> &mut Self {
        self.message((Kind::DeleteChain, 0), chain.table.family, |w| {
            w.text(TABLE, chain.table.name);
            w.text(CHAIN_NAME, chain.name);
        })
    }

    /// Removes a chain with its rules, if it is there.
    pub fn destroy_chain(&mut self, chain: ChainName<'_>) -> &mut Self {
        self.delete_chain(chain).absent_is_fine()
    }

    /// Removes all rules of a chain.
    pub fn flush_chain(&mut self, chain: ChainName<'_>) -> &mut Self {
        self.rule((Kind::DeleteRule, 0), chain, |_| {})
    }

    /// Puts a rule at the end of a chain.
    pub fn append_rule(&mut self, chain: ChainName<'_>, rule: &Rule) -> &mut Self {
        self.rule((Kind::NewRule, nlm::CREATE | nlm::APPEND), chain, |w| w.rule(chain, rule))
    }

    /// Puts a rule at the beginning of a chain.
    pub fn insert_rule(&mut self, chain: ChainName<'_>, rule: &Rule) -> &mut Self {
        self.rule((Kind::NewRule, nlm::CREATE), chain, |w| w.rule(chain, rule))
    }

    /// Puts another rule in the place of one.
    pub fn replace_rule(&mut self, chain: ChainName<'_>, handle: u64, rule: &Rule) -> &mut Self {
        self.rule((Kind::NewRule, nlm::REPLACE), chain, |w| {
            w.u64(RULE_HANDLE, handle);
            w.rule(chain, rule);
        })
    }

    /// Removes a rule by the handle that [`Nft::rules`](super::Nft::rules) gave.
    pub fn delete_rule(&mut self, chain: ChainName<'_>, handle: u64) -> &mut Self {
        self.rule((Kind::DeleteRule, 0), chain, |w| w.u64(RULE_HANDLE, handle))
    }

    /// Removes a rule by its handle, if it is there.
    pub fn destroy_rule(&mut self, chain: ChainName<'_>, handle: u64) -> &mut Self {
        self.delete_rule(chain, handle).absent_is_fine()
    }

    /// Makes a set or map, unless it is there. One of another type at that name is an error (`EEXIST`).
    pub fn add_set(&mut self, set: &Set<'_>) -> &mut Self {
        self.set(nlm::CREATE, set)
    }

    /// Makes a set or map that must not be there.
    pub fn create_set(&mut self, set: &Set<'_>) -> &mut Self {
        self.set(nlm::CREATE | nlm::EXCL, set)
    }

    /// Removes a set or map with its elements. No rule may use it any more.
    pub fn delete_set(&mut self, set: SetName<'_>) -> &mut Self {
        self.message((Kind::DeleteSet, 0), set.table.family, |w| {
            w.text(TABLE, set.table.name);
            w.text(SET_NAME, set.name);
        })
    }

    /// Removes a set or map with its elements, if it is there.
    pub fn destroy_set(&mut self, set: SetName<'_>) -> &mut Self {
        self.delete_set(set).absent_is_fine()
    }

    /// Removes all elements of a set or map.
    pub fn flush_set(&mut self, set: SetName<'_>) -> &mut Self {
        self.message((Kind::DeleteElement, 0), set.table.family, |w| {
            w.text(TABLE, set.table.name);
            w.text(SET_NAME, set.name);
        })
    }

    /// Puts elements into a set or map; one that is there with the same data stays (and keeps its comment), one with
    /// other data is an error.
    pub fn add_elements(&mut self, set: SetName<'_>, elements: &[Element]) -> &mut Self {
        self.elements((Kind::NewElement, nlm::CREATE), set, elements)
    }

    /// Puts elements into a set or map; none of their keys may be there.
    pub fn create_elements(&mut self, set: SetName<'_>, elements: &[Element]) -> &mut Self {
        self.elements((Kind::NewElement, nlm::CREATE | nlm::EXCL), set, elements)
    }

    /// Removes elements by their keys.
    pub fn delete_elements(&mut self, set: SetName<'_>, elements: &[Element]) -> &mut Self {
        self.elements((Kind::DeleteElement, 0), set, elements)
    }

    /// Removes elements by their keys, those that are there.
    pub fn destroy_elements(&mut self, set: SetName<'_>, elements: &[Element]) -> &mut Self {
        // A message each: the kernel names a failed message, and the others of the batch must still be tried.
        for element in elements {
            self.delete_elements(set, std::slice::from_ref(element)).absent_is_fine();
        }
        self
    }
}
