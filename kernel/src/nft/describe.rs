//! What a message of a batch does, in words for its error; read from the message itself, so that a batch that works
//! pays nothing for it.

use super::{
    assemble::{CHAIN_NAME, ELEMENTS, RULE_CHAIN, RULE_HANDLE, RULE_USER_DATA, SET_NAME, TABLE},
    attribute::Attributes,
    comment,
    element::{Edge, Entry},
    message::Kind,
    object::Family,
};
use crate::wire::{HEADER, Messages, Received};

/// So many elements of one message are named.
const NAMED: usize = 3;

/// Describes the message that stands at the beginning of `bytes`. `offset` is where in it the kernel found fault.
pub(super) fn describe(bytes: &[u8], offset: Option<u32>) -> Option<String> {
    let message = Messages(bytes).next()?.ok()?;
    let family = Family::from_number(*message.payload.first()?)?;
    let table = format!("{family} {}", Attributes::of(&message).text(TABLE)?);
    Some(match Kind::of_change(message.kind)? {
        Kind::NewTable => format!("adding nftables table {table}"),
        Kind::DeleteTable => format!("deleting nftables table {table}"),
        Kind::NewChain => format!("adding nftables chain {table} {}", name(&message, CHAIN_NAME)),
        Kind::DeleteChain => format!("deleting nftables chain {table} {}", name(&message, CHAIN_NAME)),
        Kind::NewRule => {
            format!("adding {} to nftables chain {table} {}", rule(&message), name(&message, RULE_CHAIN))
        }
        Kind::DeleteRule => {
            format!("{} of nftables chain {table} {}", deletion(&message), name(&message, RULE_CHAIN))
        }
        Kind::NewSet => format!("adding nftables set {table} {}", name(&message, SET_NAME)),
        Kind::DeleteSet => format!("deleting nftables set {table} {}", name(&message, SET_NAME)),
        Kind::NewElement => {
            format!(
                "adding {} to nftables set {table} {}",
                elements(&message, offset),
                name(&message, SET_NAME)
            )
        }
        Kind::DeleteElement => {
            format!(
                "deleting {} of nftables set {table} {}",
                elements(&message, offset),
                name(&message, SET_NAME)
            )
        }
        Kind::GetTable
        | Kind::GetChain
        | Kind::GetRule
        | Kind::GetSet
        | Kind::GetElement
        | Kind::NewGeneration
        | Kind::GetGeneration => return None,
    })
}

fn name(message: &Received<'_>, kind: u16) -> String {
    Attributes::of(message).text(kind).unwrap_or_default()
}

fn rule(message: &Received<'_>) -> String {
    let remark = Attributes::of(message).find(RULE_USER_DATA).and_then(|data| comment::read(data.value));
    remark.map_or_else(|| "a rule".to_owned(), |remark| format!("rule {remark:?}"))
}

fn deletion(message: &Received<'_>) -> String {
    match Attributes::of(message).u64(RULE_HANDLE) {
        Some(handle) => format!("deleting rule {handle}"),
        None => "deleting all rules".to_owned(),
    }
}

/// The element at fault, or the keys of the first ones; without the set's type they are bytes.
fn elements(message: &Received<'_>, offset: Option<u32>) -> String {
    let list = Attributes::of(message).nested(ELEMENTS);
    let fault = offset.and_then(|offset| usize::try_from(offset).ok()?.checked_sub(HEADER));
    let at_fault = list.iter().find(|entry| fault.is_some_and(|at| covers(message.payload, entry.value, at)));
    if let Some(entry) = at_fault.and_then(|entry| Entry::read(Attributes(entry.value))) {
        return format!("element {}", entry.element.key);
    }
    let all = list.iter().filter_map(|entry| Entry::read(Attributes(entry.value)));
    let starts: Vec<_> = all.filter(|entry| entry.edge == Edge::Start).collect();
    let keys: Vec<_> = starts.iter().take(NAMED).map(|entry| entry.element.key.to_string()).collect();
    match starts.len() {
        0 => "all elements".to_owned(),
        n if n > NAMED => format!("{n} elements ({}, ...)", keys.join(", ")),
        _ => format!("element {}", keys.join(", ")),
    }
}

/// Whether the byte at `at` of the payload belongs to `part` of it, or to the attribute header before that.
fn covers(payload: &[u8], part: &[u8], at: usize) -> bool {
    let start = part.as_ptr().addr().saturating_sub(payload.as_ptr().addr());
    (start.saturating_sub(4)..start + part.len()).contains(&at)
}
