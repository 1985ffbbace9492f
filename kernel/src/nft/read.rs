//! Reading tables, chains and sets: one by name without a listing, or all of a kind.

use super::{
    assemble::{
        CHAIN_HOOK, CHAIN_NAME, CHAIN_POLICY, CHAIN_TYPE, CHAIN_USER_DATA, HOOK_NUMBER, HOOK_PRIORITY, TABLE,
        TABLE_USER_DATA,
    },
    attribute::Attributes,
    comment,
    message::{self, Kind},
    object::{Base, ChainKind, ChainName, Family, Hook, Policy, SetName, Table},
    set::{self, Type, flag},
    socket::Nft,
};
use crate::{
    Error,
    error::{Absent, During},
    wire::{Message, Received},
};

/// `NFPROTO_UNSPEC`
const EVERY: u8 = 0;

/// A table that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableState {
    /// Its family; none for one of a family that is not known here.
    pub family: Option<Family>,
    /// Its name.
    pub name: String,
    /// Its remark.
    pub comment: Option<String>,
}

impl TableState {
    /// Whether this is that table.
    #[must_use]
    pub fn is(&self, table: Table<'_>) -> bool {
        self.family == Some(table.family) && self.name == table.name
    }
}

/// A chain that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainState {
    /// Its table.
    pub table: String,
    /// Its name.
    pub name: String,
    /// Its hook, for a base chain.
    pub base: Option<Base>,
    /// Its remark.
    pub comment: Option<String>,
}

/// A set or map that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetState {
    /// Its table.
    pub table: String,
    /// Its name; those of anonymous sets begin with `__`.
    pub name: String,
    /// The fields of its key, where all of them are known here.
    pub key: Option<Vec<Type>>,
    /// Whether its elements are ranges.
    pub keys: set::Keys,
    /// What stands behind the keys.
    pub contents: SetContents,
    /// Its remark.
    pub comment: Option<String>,
}

/// What an existing set holds behind its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetContents {
    /// Nothing: a set.
    Keys,
    /// Values of these fields, where all of them are known here.
    Values(Option<Vec<Type>>),
    /// Verdicts.
    Verdicts,
}

impl Nft {
    /// Whether the table exists.
    pub fn table_exists(&mut self, table: Table<'_>) -> Result<bool, Error> {
        Ok(self.table(table)?.is_some())
    }

    /// Whether the chain exists.
    pub fn chain_exists(&mut self, chain: ChainName<'_>) -> Result<bool, Error> {
        Ok(self.chain(chain)?.is_some())
    }

    /// Whether the set or map exists.
    pub fn set_exists(&mut self, set: SetName<'_>) -> Result<bool, Error> {
        Ok(self.set(set)?.is_some())
    }

    /// The table, if it exists.
    pub fn table(&mut self, table: Table<'_>) -> Result<Option<TableState>, Error> {
        let request = named(Kind::GetTable, table, None);
        let found = self.channel.get(request, |received| Some(read_table(received)));
        found.during(|| format!("reading nftables table {table}")).absent_is_none()
    }

    /// The chain, if it exists.
    pub fn chain(&mut self, chain: ChainName<'_>) -> Result<Option<ChainState>, Error> {
        let request = named(Kind::GetChain, chain.table, Some((CHAIN_NAME, chain.name)));
        let found = self.channel.get(request, |received| Some(read_chain(received)));
        found.during(|| format!("reading nftables chain {chain}")).absent_is_none()
    }

    /// The set or map, if it exists; its elements are read by [`Nft::elements`].
    pub fn set(&mut self, set: SetName<'_>) -> Result<Option<SetState>, Error> {
        let request = named(Kind::GetSet, set.table, Some((set::NAME, set.name)));
        let found = self.channel.get(request, |received| Some(read_set(received)));
        found.during(|| format!("reading nftables set {set}")).absent_is_none()
    }

    /// The tables of every family: one question that spares many about what is in them.
    pub fn all_tables(&mut self) -> Result<Vec<TableState>, Error> {
        let all = self.channel.dump(message::request(Kind::GetTable, EVERY), |received, list| {
            list.push(read_table(received));
        });
        all.during(|| "listing nftables tables".to_owned())
    }

    /// All tables of a family.
    pub fn tables(&mut self, family: Family) -> Result<Vec<TableState>, Error> {
        let request = message::request(Kind::GetTable, family.number());
        let all = self.channel.dump(request, |received, list| list.push(read_table(received)));
        all.during(|| format!("listing nftables tables of family {family}"))
    }

    /// All chains of a table; none if the table does not exist. The kernel goes through the chains of all tables of
    /// the family: ask for one by name where that is enough.
    pub fn chains(&mut self, table: Table<'_>) -> Result<Vec<ChainState>, Error> {
        let request = named(Kind::GetChain, table, None);
        let all = self.channel.dump(request, |received, list| {
            let chain = read_chain(received);
            if chain.table == table.name {
                list.push(chain);
            }
        });
        all.during(|| format!("listing chains of nftables table {table}"))
    }

    /// All sets and maps of a table, with the anonymous ones of its rules; an error if the table does not exist.
    pub fn sets(&mut self, table: Table<'_>) -> Result<Vec<SetState>, Error> {
        let request = named(Kind::GetSet, table, None);
        let all = self.channel.dump(request, |received, list| list.push(read_set(received)));
        all.during(|| format!("listing sets of nftables table {table}"))
    }
}

/// A request that names a table (attribute 1 of every kind), and an object in it.
pub(super) fn named(kind: Kind, table: Table<'_>, object: Option<(u16, &str)>) -> Message {
    let mut request = message::request(kind, table.family.number());
    request.put_text(TABLE, table.name);
    if let Some((kind, name)) = object {
        request.put_text(kind, name);
    }
    request
}

fn remark(attributes: Attributes<'_>, kind: u16) -> Option<String> {
    comment::read(attributes.find(kind)?.value)
}

pub(super) fn read_table(received: &Received<'_>) -> TableState {
    let attributes = Attributes::of(received);
    TableState {
        family: received.payload.first().copied().and_then(Family::from_number),
        name: attributes.text(TABLE).unwrap_or_default(),
        comment: remark(attributes, TABLE_USER_DATA),
    }
}

pub(super) fn read_chain(received: &Received<'_>) -> ChainState {
    let attributes = Attributes::of(received);
    ChainState {
        table: attributes.text(TABLE).unwrap_or_default(),
        name: attributes.text(CHAIN_NAME).unwrap_or_default(),
        base: read_base(attributes),
        comment: remark(attributes, CHAIN_USER_DATA),
    }
}

fn read_base(chain: Attributes<'_>) -> Option<Base> {
    let hook = chain.nested(CHAIN_HOOK);
    Some(Base {
        kind: ChainKind::from_text(&chain.text(CHAIN_TYPE)?)?,
        hook: Hook::from_number(hook.u32(HOOK_NUMBER)?)?,
        priority: hook.u32(HOOK_PRIORITY)?.cast_signed(),
        policy: Policy::from_number(chain.u32(CHAIN_POLICY)?)?,
    })
}

pub(super) fn read_set(received: &Received<'_>) -> SetState {
    let attributes = Attributes::of(received);
    let flags = attributes.u32(set::FLAGS).unwrap_or_default();
    SetState {
        table: attributes.text(TABLE).unwrap_or_default(),
        name: attributes.text(set::NAME).unwrap_or_default(),
        key: attributes.u32(set::KEY_TYPE).and_then(set::types),
        keys: if flags & flag::INTERVAL == 0 { set::Keys::Exact } else { set::Keys::Intervals },
        contents: match attributes.u32(set::DATA_TYPE) {
            _ if flags & flag::MAP == 0 => SetContents::Keys,
            Some(set::VERDICT_TYPE) => SetContents::Verdicts,
            number => SetContents::Values(number.and_then(set::types)),
        },
        comment: attributes.find(set::USER_DATA).and_then(|data| comment::read_set(data.value)),
    }
}
