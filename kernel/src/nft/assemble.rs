//! The messages of a transaction, put together in one buffer.

use super::{
    attribute::Writer,
    comment,
    element::Element,
    encode,
    message::{self, Head, Kind},
    object::{Base, Chain, ChainName, Family, SetName, Table},
    rule::Rule,
    set::Set,
    socket::Generation,
    transaction::Transaction,
};

/// A message in the buffer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) start: usize,
    pub(super) absence: Absence,
}

/// What it means that the object of a message is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Absence {
    /// The batch fails.
    Fails,
    /// The message was not needed.
    IsFine,
}

/// Enough for what one attachment changes.
const FIRST_CAPACITY: usize = 1024;
/// An element list is closed at this length, well below the 64 KiB of an attribute: the next element, with the longest
/// keys, data and comment, still fits.
const LIST_LIMIT: usize = 60_000;

/// `enum nft_table_attributes`, `nft_chain_attributes`, `nft_hook_attributes`.
pub(super) const TABLE: u16 = 1;
pub(super) const TABLE_USER_DATA: u16 = 6;
pub(super) const CHAIN_NAME: u16 = 3;
pub(super) const CHAIN_HOOK: u16 = 4;
pub(super) const CHAIN_POLICY: u16 = 5;
pub(super) const CHAIN_TYPE: u16 = 7;
pub(super) const CHAIN_USER_DATA: u16 = 12;
pub(super) const HOOK_NUMBER: u16 = 1;
pub(super) const HOOK_PRIORITY: u16 = 2;
/// `enum nft_rule_attributes`.
pub(super) const RULE_CHAIN: u16 = 2;
pub(super) const RULE_HANDLE: u16 = 3;
pub(super) const RULE_EXPRESSIONS: u16 = 4;
pub(super) const RULE_USER_DATA: u16 = 7;
/// `enum nft_set_attributes`, `nft_set_elem_list_attributes`.
pub(super) const SET_NAME: u16 = 2;
pub(super) const ELEMENTS: u16 = 3;

/// `NFNL_BATCH_GENID`.
const BATCH_GENERATION: u16 = 1;

impl Transaction {
    pub(super) fn begin(generation: Option<Generation>) -> Self {
        let mut writer = Writer::with_capacity(FIRST_CAPACITY);
        let head = Head { kind: message::BATCH_BEGIN, flags: 0, family: 0, resource: message::NFTABLES };
        message::write(&mut writer, head, |w| {
            if let Some(Generation(number)) = generation {
                w.u32(BATCH_GENERATION, number);
            }
        });
        Self { writer, messages: Vec::new(), sets: 0 }
    }

    pub(super) fn table(&mut self, what: (Kind, u16), table: Table<'_>, text: Option<&str>) -> &mut Self {
        self.message(what, table.family, |w| {
            w.text(TABLE, table.name);
            comment::write(w, TABLE_USER_DATA, text);
        })
    }

    pub(super) fn chain(&mut self, flags: u16, chain: &Chain<'_>) -> &mut Self {
        self.message((Kind::NewChain, flags), chain.at.table.family, |w| {
            w.text(TABLE, chain.at.table.name);
            w.text(CHAIN_NAME, chain.at.name);
            if let Some(base) = chain.base {
                write_base(w, base);
            }
            comment::write(w, CHAIN_USER_DATA, chain.comment);
        })
    }

    pub(super) fn rule(
        &mut self,
        what: (Kind, u16),
        chain: ChainName<'_>,
        body: impl FnOnce(&mut Writer),
    ) -> &mut Self {
        self.message(what, chain.table.family, |w| {
            w.text(TABLE, chain.table.name);
            w.text(RULE_CHAIN, chain.name);
            body(w);
        })
    }

    pub(super) fn set(&mut self, flags: u16, set: &Set<'_>) -> &mut Self {
        self.sets += 1;
        let id = self.sets;
        self.message((Kind::NewSet, flags), set.at.table.family, |w| {
            w.text(TABLE, set.at.table.name);
            set.write(w, id);
        })
    }

    /// Splits the elements over as many messages as their list needs.
    pub(super) fn elements(
        &mut self,
        what: (Kind, u16),
        set: SetName<'_>,
        mut rest: &[Element],
    ) -> &mut Self {
        while !rest.is_empty() {
            let mut written = 0;
            self.message(what, set.table.family, |w| {
                w.text(TABLE, set.table.name);
                w.text(SET_NAME, set.name);
                w.nest(ELEMENTS, |list| {
                    let start = list.len();
                    for element in rest {
                        if list.len() - start > LIST_LIMIT {
                            break;
                        }
                        element.write(list);
                        written += 1;
                    }
                });
            });
            rest = rest.get(written..).unwrap_or_default();
        }
        self
    }

    pub(super) fn message(
        &mut self,
        (kind, flags): (Kind, u16),
        family: Family,
        body: impl FnOnce(&mut Writer),
    ) -> &mut Self {
        self.messages.push(Entry { start: self.writer.len(), absence: Absence::Fails });
        let head = Head { kind: kind.number(), flags, family: family.number(), resource: 0 };
        message::write(&mut self.writer, head, body);
        self
    }

    /// Makes the last message one that need not find its object.
    pub(super) fn absent_is_fine(&mut self) -> &mut Self {
        if let Some(last) = self.messages.last_mut() {
            last.absence = Absence::IsFine;
        }
        self
    }
}

fn write_base(writer: &mut Writer, base: Base) {
    writer.nest(CHAIN_HOOK, |hook| {
        hook.u32(HOOK_NUMBER, base.hook.number());
        hook.u32(HOOK_PRIORITY, base.priority.cast_unsigned());
    });
    writer.u32(CHAIN_POLICY, base.policy.number());
    writer.text(CHAIN_TYPE, base.kind.as_str());
}

impl Writer {
    /// The attributes of a rule besides its place. Its tests depend on the family that it was made for.
    pub(super) fn rule(&mut self, chain: ChainName<'_>, rule: &Rule) {
        if rule.family() != chain.table.family {
            self.refuse("a rule made for tables of another family");
        }
        self.nest(RULE_EXPRESSIONS, |list| encode::write(list, rule.expressions()));
        comment::write(self, RULE_USER_DATA, rule.comment_text());
    }
}
