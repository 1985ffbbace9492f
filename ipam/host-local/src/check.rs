//! CHECK: does the attachment still hold what ADD gave it?
use crate::error::Error;
use crate::owner::Owner;
use crate::slot::Slot;
use crate::store::Held;
use std::net::IpAddr;

/// Compares the addresses of prevResult with the reservations (weakness 7 of the reference: it looks for any file at all).
///
/// An address that no range set could have given is another plugin's, unless it is the only kind there is: then the
/// ranges have changed since ADD.
pub fn check(slots: &[Slot], held: &Held<'_>, owner: &Owner, expected: &[IpAddr]) -> Result<(), Error> {
    let (_, holdings) = held.holdings(owner)?;
    if holdings.is_empty() {
        return Err(Error::NothingHeld { network: held.network().to_owned(), owner: owner.clone() });
    }
    let is_ours = |address: &&IpAddr| slots.iter().any(|slot| slot.set.range_of(**address).is_some());
    let missing = match expected.iter().filter(is_ours).find(|address| !holdings.contains(address)) {
        Some(address) => Some(address),
        None if expected.iter().any(|address| holdings.contains(address)) => None,
        None => expected.first(),
    };
    let Some(address) = missing else { return Ok(()) };
    let holder = held.holder(*address)?.map_or("nobody".to_owned(), |holder| holder.to_string());
    let held = holdings.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ");
    Err(Error::Mismatch { owner: owner.clone(), address: *address, holder, held })
}
