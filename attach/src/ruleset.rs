//! What masquerade and spoof check share of nftables: the socket where there is one, marked elements, and commits.

use cni::Attachment;
use kernel::nft::{Element, Nft, SetName, Transaction};

use crate::error::Error;
use crate::identity::Mark;

/// `EPROTONOSUPPORT`, `EAFNOSUPPORT`: the kernel was built without nftables, so there are no rules.
const NO_NFTABLES: [i32; 2] = [93, 97];

/// The socket, unless the kernel has no nftables at all: what a removal needs.
pub(crate) fn open_if_there() -> Result<Option<Nft>, Error> {
    match Nft::open() {
        Ok(nft) => Ok(Some(nft)),
        Err(refusal) if refusal.errno().is_some_and(|errno| NO_NFTABLES.contains(&errno)) => Ok(None),
        Err(refusal) => Err(refusal.into()),
    }
}

/// Commits what there is to commit, and says whether there was anything.
pub(crate) fn commit(nft: &mut Nft, transaction: Transaction) -> Result<bool, Error> {
    if transaction.is_empty() {
        return Ok(false);
    }
    transaction.commit(nft)?;
    Ok(true)
}

/// Puts the removal of the wanted elements of some sets or maps into a transaction.
pub(crate) fn mark_for_removal(
    nft: &mut Nft,
    removal: &mut Transaction,
    sets: &[SetName<'_>],
    which: impl Fn(&Element) -> bool,
) -> Result<(), Error> {
    for set in sets {
        for element in elements(nft, *set)?.into_iter().filter(&which) {
            removal.destroy_elements(*set, &[Element::new(element.key)]);
        }
    }
    Ok(())
}

/// The elements of a set or map; none if it was never made.
fn elements(nft: &mut Nft, set: SetName<'_>) -> Result<Vec<Element>, Error> {
    match nft.elements(set) {
        Err(refusal) if refusal.is_absent() => Ok(Vec::new()),
        found => Ok(found?),
    }
}

/// Whether the element has the attachment's mark.
pub(crate) fn is_ours(element: &Element, attachment: &Attachment) -> bool {
    element.comment.as_deref().is_some_and(|comment| Mark::is_on(comment, attachment))
}

/// Whether the element is of `network`, but of none of `valid`.
pub(crate) fn is_stale(element: &Element, network: &str, valid: &[Attachment]) -> bool {
    element.comment.as_deref().is_some_and(|comment| Mark::is_stale(comment, network, valid))
}
