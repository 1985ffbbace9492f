//! What masquerade and spoof check share of nftables: the socket where there is one, marked elements, and commits.

use cni::Attachment;
use kernel::nft::{Element, Nft, SetName, Table, TableState, Transaction};

use crate::error::Error;
use crate::identity::Mark;

/// `EPROTONOSUPPORT`, `EAFNOSUPPORT`: the kernel was built without nftables, so there are no rules.
const NO_NFTABLES: [i32; 2] = [93, 97];

/// What a removal works on: the socket, and which tables there are. Asked once, that spares the questions about what is
/// in those that are not.
pub(crate) struct Rules {
    pub(crate) nft: Nft,
    tables: Vec<TableState>,
}

impl Rules {
    /// Opens them, unless the kernel has no nftables at all.
    pub(crate) fn open_if_there() -> Result<Option<Self>, Error> {
        let mut nft = match Nft::open() {
            Err(refusal) if refusal.errno().is_some_and(|errno| NO_NFTABLES.contains(&errno)) => {
                return Ok(None);
            }
            opened => opened?,
        };
        let tables = nft.all_tables()?;
        Ok(Some(Self { nft, tables }))
    }

    /// Whether the table was there.
    pub(crate) fn has(&self, table: Table<'_>) -> bool {
        self.tables.iter().any(|known| known.is(table))
    }
}

/// Commits what there is to commit.
pub(crate) fn commit(nft: &mut Nft, transaction: Transaction) -> Result<(), Error> {
    if transaction.is_empty() { Ok(()) } else { Ok(transaction.commit(nft)?) }
}

/// Removes elements that were seen just now, and so need no look whether they are there; unless somebody took one
/// away meanwhile.
pub(crate) fn remove_seen(nft: &mut Nft, seen: &[(SetName<'_>, Element)]) -> Result<(), Error> {
    let mut removal = Transaction::new();
    for (set, element) in seen {
        removal.delete_elements(*set, std::slice::from_ref(element));
    }
    match removal.commit(nft) {
        Err(refusal) if refusal.is_absent() => {}
        done => return Ok(done?),
    }
    let mut removal = Transaction::new();
    for (set, element) in seen {
        removal.destroy_elements(*set, std::slice::from_ref(element));
    }
    Ok(removal.commit(nft)?)
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
pub(crate) fn elements(nft: &mut Nft, set: SetName<'_>) -> Result<Vec<Element>, Error> {
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
