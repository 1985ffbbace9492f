//! DEL and GC with nftables: elements go by whose they are, not by what a request says.

use cni::Attachment;
use kernel::Family;
use kernel::nft::{Element, Generation, Nft, SetName, Transaction};

use crate::error::Error;
use crate::mapping::Key;
use crate::owner::Owner;
use crate::plan::Publication;
use crate::publish::{TRIES, find};
use crate::table::{Realm, value};

/// Removes the attachment's elements and says which. With hints that turn out to be all of them, no map is read whole.
pub fn withdraw(nft: &mut Nft, attachment: &Attachment, hints: &[Key]) -> Result<Vec<Publication>, Error> {
    remove(nft, |nft| {
        let hinted = hinted(nft, attachment, hints)?;
        let total = hinted.iter().map(|(_, owner)| owner.keys()).max().flatten();
        if total == Some(hinted.len()) {
            return Ok(hinted.into_iter().map(|(publication, _)| publication).collect());
        }
        listed(nft, |owner| owner.is(attachment))
    })
}

/// Removes the elements of a network's attachments that are not in `valid`, and says which.
pub fn collect(nft: &mut Nft, network: &str, valid: &[Attachment]) -> Result<Vec<Publication>, Error> {
    remove(nft, |nft| listed(nft, |owner| owner.is_stale(network, valid)))
}

/// Removes what `choose` finds, unless somebody changed the ruleset between: a key that it found may have another
/// owner by then, and is looked at again.
fn remove(
    nft: &mut Nft,
    choose: impl Fn(&mut Nft) -> Result<Vec<Publication>, Error>,
) -> Result<Vec<Publication>, Error> {
    for _ in 0..TRIES {
        let generation = nft.generation()?;
        let chosen = choose(nft)?;
        if chosen.is_empty() {
            return Ok(chosen);
        }
        let removed = match removal(generation, &chosen, Transaction::delete_elements).commit(nft) {
            // A policy was taken away by hand.
            Err(refusal) if refusal.is_absent() => {
                removal(generation, &chosen, Transaction::destroy_elements).commit(nft)
            }
            removed => removed,
        };
        match removed {
            Ok(()) => return Ok(chosen),
            Err(refusal) if refusal.is_transient() => {}
            Err(refusal) => return Err(refusal.into()),
        }
    }
    Err(Error::Restless { doing: "withdrawing ports", tries: TRIES })
}

/// The removal of keys that were seen at a generation.
fn removal(
    generation: Generation,
    chosen: &[Publication],
    remove: impl for<'t> Fn(&'t mut Transaction, SetName<'_>, &[Element]) -> &'t mut Transaction,
) -> Transaction {
    let mut removal = Transaction::only_at(generation);
    for realm in Realm::ALL {
        let own = chosen.iter().filter(|publication| Realm::of(&publication.key) == realm);
        let elements: Vec<Element> = own.map(|p| Element::new(value(&p.key))).collect();
        if !elements.is_empty() {
            remove(&mut removal, realm.policies(), &elements);
            remove(&mut removal, realm.targets(), &elements);
        }
    }
    removal
}

/// The hinted keys that are the attachment's; those of IPv4 first, for mostly they are all of them.
fn hinted(nft: &mut Nft, attachment: &Attachment, hints: &[Key]) -> Result<Vec<(Publication, Owner)>, Error> {
    let mut found: Vec<(Publication, Owner)> = Vec::new();
    let of = |family| hints.iter().filter(move |key| key.family == family);
    for key in of(Family::V4).chain(of(Family::V6)) {
        if found.first().and_then(|(_, owner)| owner.keys()) == Some(found.len()) {
            break;
        }
        let Some(element) = find(nft, key)? else { continue };
        let owner = Owner::read(element.comment.as_deref());
        let target = Realm::of(key).target(&element.data);
        if let (true, Some(target)) = (owner.is(attachment), target) {
            found.push((Publication { key: *key, target }, owner));
        }
    }
    Ok(found)
}

fn listed(nft: &mut Nft, wanted: impl Fn(&Owner) -> bool) -> Result<Vec<Publication>, Error> {
    let mut found = Vec::new();
    for realm in Realm::ALL {
        let elements = match nft.elements(realm.targets()) {
            Err(refusal) if refusal.is_absent() => continue,
            elements => elements?,
        };
        let own = elements.iter().filter(|element| wanted(&Owner::read(element.comment.as_deref())));
        found.extend(own.filter_map(|element| {
            let (key, target) = (realm.key(&element.key)?, realm.target(&element.data)?);
            Some(Publication { key, target })
        }));
    }
    Ok(found)
}
