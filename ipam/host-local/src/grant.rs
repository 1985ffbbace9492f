//! ADD: one address from every range set, or none at all.
use crate::error::Error;
use crate::owner::Owner;
use crate::pick::{self, Candidate};
use crate::scan::Holder;
use crate::slot::Slot;
use crate::store::Held;
use std::net::IpAddr;

/// How many candidates are tried one by one before the folder is listed. The address after the last one is nearly always
/// free; when it is not, a listing of 65,000 names costs as much as some thousand tries.
const PROBES: usize = 32;

/// Reserves an address of each set for `owner`. After an error nothing is reserved that was not before.
pub fn grant(slots: &[Slot], held: &mut Held<'_>, owner: &Owner) -> Result<Vec<Candidate>, Error> {
    refuse_second(slots, held, owner)?;
    let mut granted: Vec<Candidate> = Vec::new();
    for slot in slots {
        match reserve(slot, held, owner) {
            Ok(candidate) => granted.push(candidate),
            Err(error) => {
                let addresses: Vec<IpAddr> = granted.iter().map(|candidate| candidate.address).collect();
                // The reason of the failure matters more than a file that stays, which the runtime's DEL removes.
                held.give_back(&addresses, owner).ok();
                return Err(error);
            }
        }
    }
    Ok(granted)
}

/// The first set, in order, that has no free address left; `None` when an ADD could be served.
pub fn exhausted<'c>(slots: &'c [Slot], held: &mut Held<'_>) -> Result<Option<&'c Slot>, Error> {
    for slot in slots {
        let last = held.cursor(slot.number).last();
        if search(slot, held, last, |held, address| Ok(held.is_free(address)))?.is_none() {
            return Ok(Some(slot));
        }
    }
    Ok(None)
}

/// An attachment holds one address of a set. What it holds outside of all sets (of another configuration) is no obstacle.
fn refuse_second(slots: &[Slot], held: &Held<'_>, owner: &Owner) -> Result<(), Error> {
    let (_, addresses) = held.holdings(owner)?;
    let inside = |address: &IpAddr| slots.iter().any(|slot| slot.set.range_of(*address).is_some());
    match addresses.into_iter().find(inside) {
        Some(address) => Err(Error::AlreadyHeld { address, owner: owner.clone() }),
        None => Ok(()),
    }
}

fn reserve(slot: &Slot, held: &mut Held<'_>, owner: &Owner) -> Result<Candidate, Error> {
    let cursor = held.cursor(slot.number);
    let candidate = match slot.request {
        Some(request) => reserve_requested(request, slot, held, owner)?,
        None => search(slot, held, cursor.last(), |held, address| held.reserve(address, owner))?
            .ok_or_else(|| slot.exhausted(held.network()))?,
    };
    // A requested address moves the round robin too, as the reference's does. Losing its place loses fairness only.
    cursor.advance(candidate.address).ok();
    Ok(candidate)
}

fn reserve_requested(
    request: Candidate,
    slot: &Slot,
    held: &mut Held<'_>,
    owner: &Owner,
) -> Result<Candidate, Error> {
    if held.reserve(request.address, owner)? {
        return Ok(request);
    }
    let holder = held.holder(request.address)?.unwrap_or(Holder::Nobody).to_string();
    Err(Error::Taken { address: request.address, set: slot.set.to_string(), holder })
}

/// The first candidate that `accept` accepts. After some refusals all taken addresses are learnt at once, so that a
/// range that is nearly full is not tried address by address.
fn search<'h>(
    slot: &Slot,
    held: &mut Held<'h>,
    last: Option<IpAddr>,
    mut accept: impl FnMut(&mut Held<'h>, IpAddr) -> Result<bool, Error>,
) -> Result<Option<Candidate>, Error> {
    let mut candidates = pick::candidates(&slot.set, last);
    for candidate in candidates.by_ref().take(PROBES) {
        if accept(held, candidate.address)? {
            return Ok(Some(candidate));
        }
    }
    let taken = held.taken()?;
    for candidate in candidates.filter(|candidate| !taken.contains(&candidate.address)) {
        if accept(held, candidate.address)? {
            return Ok(Some(candidate));
        }
    }
    Ok(None)
}

#[cfg(test)]
#[path = "grant_tests.rs"]
mod tests;
