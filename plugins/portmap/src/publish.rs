//! ADD and CHECK with nftables: elements for the keys of an attachment, each of which has one owner.

use kernel::Rtnl;
use kernel::nft::{Data, Element, Nft, Transaction, Value};

use crate::error::{Cause, Error};
use crate::localnet::{Localnet, State};
use crate::mapping::Key;
use crate::owner::Owner;
use crate::plan::{Plan, Publication};
use crate::policy::Policy;
use crate::table::{LOCALNET, Realm, TABLE, chains, localnet, make, value};

/// How often a change is decided anew because others changed the ruleset meanwhile.
pub const TRIES: u32 = 64;

/// What is to be made, all of it in one batch.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// The attachment, its keys and targets.
    pub plan: &'a Plan,
    /// The policies of its realms.
    pub policies: &'a [Policy],
    /// The interface that packets of loopback leave by, which is guarded against such from outside.
    pub localnet: Option<&'a Localnet>,
}

/// Makes the elements. One message for each map where the table is whole and nobody has the keys.
///
/// # Errors
/// [`Cause::PortTaken`] when an attachment that is alive has one of the keys; then nothing is changed.
pub fn publish(nft: &mut Nft, claim: &Claim<'_>) -> Result<(), Error> {
    let opened = claim.localnet.is_none_or(|localnet| localnet.state == State::Open);
    // Asked first, for a transaction that the kernel refuses costs it a grace period (some 16 ms).
    if opened && is_whole(nft, claim)? {
        let mut elements = Transaction::new();
        claim.create(&mut elements);
        match elements.commit(nft) {
            Ok(()) => return Ok(()),
            // A key has an owner; or somebody flushed the ruleset in this moment.
            Err(refusal) if refusal.is_absent() || refusal.is_present() => {}
            Err(refusal) => return Err(refusal.into()),
        }
    }
    for _ in 0..TRIES {
        let mut all = Transaction::only_at(nft.generation()?);
        make(&mut all, claim.policies);
        claim.evict(nft, &mut all)?;
        claim.create(&mut all);
        if let Some(opened) = claim.localnet {
            all.add_elements(LOCALNET, &[localnet(&opened.interface)]);
        }
        match all.commit(nft) {
            Ok(()) => return Ok(()),
            Err(refusal) if refusal.is_transient() => {}
            Err(refusal) => return Err(refusal.into()),
        }
    }
    Err(Error::Restless { doing: "publishing ports", tries: TRIES })
}

/// Whether the chains have their rules: nobody may have made them yet, or somebody has flushed them.
fn is_whole(nft: &mut Nft, claim: &Claim<'_>) -> Result<bool, Error> {
    let chains = chains(claim.policies);
    let wanted: Vec<_> = chains.iter().map(|chain| (chain.name.as_str(), chain.rules.as_slice())).collect();
    Ok(nft.has_rules(TABLE, &wanted)?)
}

impl Claim<'_> {
    fn create(&self, transaction: &mut Transaction) {
        for policy in self.policies {
            let own = || self.publications(policy.realm);
            let policies: Vec<Element> =
                own().map(|p| Element::new(value(&p.key)).with_verdict(policy.verdict())).collect();
            let targets: Vec<Element> = own().map(|p| target(p, &self.plan.owner)).collect();
            transaction.create_elements(policy.realm.policies(), &policies);
            transaction.create_elements(policy.realm.targets(), &targets);
        }
    }

    fn publications(&self, realm: Realm) -> impl Iterator<Item = &Publication> {
        self.plan.publications.iter().filter(move |publication| Realm::of(&publication.key) == realm)
    }

    /// Removes what has our keys, if that may go: our own of an earlier ADD, and that of the dead.
    fn evict(&self, nft: &mut Nft, transaction: &mut Transaction) -> Result<(), Error> {
        for publication in &self.plan.publications {
            let realm = Realm::of(&publication.key);
            if let Some(element) = find(nft, &publication.key)? {
                self.refuse_living(&publication.key, realm, &element)?;
            }
            // The policy may stand alone where somebody removed the target by hand.
            let element = [Element::new(value(&publication.key))];
            transaction.destroy_elements(realm.targets(), &element);
            transaction.destroy_elements(realm.policies(), &element);
        }
        Ok(())
    }

    fn refuse_living(&self, key: &Key, realm: Realm, element: &Element) -> Result<(), Error> {
        let owner = Owner::read(element.comment.as_deref());
        let target = realm.target(&element.data);
        // An address that was given to us is not the owner's any more.
        let ours = self.plan.addresses.iter().any(|address| target.is_some_and(|t| t.ip() == address.ip()));
        if owner.is(&self.plan.attachment) || ours || is_dead(&owner)? {
            return Ok(());
        }
        let target = target.map_or_else(|| "an unknown target".to_owned(), |target| target.to_string());
        let owner = format!("{} (leads to {target})", owner.describe());
        Err(Cause::PortTaken { port: key.to_string(), owner }.into())
    }
}

/// Whether the owner's sandbox is gone: its interface's end on this host is, and a pair goes as one. An owner whose
/// interface has no such end is never called dead.
fn is_dead(owner: &Owner) -> Result<bool, Error> {
    match owner.via() {
        Some(via) => Ok(Rtnl::open()?.link(via)?.is_none()),
        None => Ok(false),
    }
}

fn target(publication: &Publication, owner: &Owner) -> Element {
    let target = Value::from(publication.target.ip()).and(Value::port(publication.target.port()));
    Element::new(value(&publication.key)).with_value(target).with_comment(owner.as_str())
}

/// The element that has a key, if anyone published it.
pub fn find(nft: &mut Nft, key: &Key) -> Result<Option<Element>, Error> {
    Ok(nft.find(Realm::of(key).targets(), value(key))?)
}

/// Whether everything that [`publish`] makes is there.
///
/// # Errors
/// [`Error::Mismatch`] naming the first thing that is not.
pub fn holds(nft: &mut Nft, claim: &Claim<'_>) -> Result<(), Error> {
    for publication in &claim.plan.publications {
        element_holds(nft, claim, publication)?;
    }
    for chain in chains(claim.policies) {
        let at = TABLE.chain(&chain.name);
        let base = nft.chain(at)?.map(|state| state.base);
        let rules = nft.rules(at)?;
        let same = rules.len() == chain.rules.len()
            && rules.iter().zip(&chain.rules).all(|(there, wanted)| there.is(wanted));
        if base != Some(chain.base) || !same {
            return Err(Error::Mismatch {
                what: format!("nftables chain {at}"),
                expected: format!("its {} rules", chain.rules.len()),
                found: base.map_or("no such chain".to_owned(), |_| "other rules, or another hook".to_owned()),
            });
        }
    }
    Ok(())
}

fn element_holds(nft: &mut Nft, claim: &Claim<'_>, publication: &Publication) -> Result<(), Error> {
    let realm = Realm::of(&publication.key);
    let found = find(nft, &publication.key)?;
    let owner = Owner::read(found.as_ref().and_then(|element| element.comment.as_deref()));
    let target = found.as_ref().and_then(|element| realm.target(&element.data));
    let mismatch = |found: String| Error::Mismatch {
        what: format!("host port {}", publication.key),
        expected: format!("to lead to {}", publication.target),
        found,
    };
    match (found, target) {
        (None, _) => return Err(mismatch("nothing".to_owned())),
        (Some(_), Some(target)) if owner.is(&claim.plan.attachment) && target == publication.target => {}
        (Some(_), target) => {
            let target = target.map_or_else(String::new, |target| format!("{target} of "));
            return Err(mismatch(format!("{target}{}", owner.describe())));
        }
    }
    let verdict = claim.policies.iter().find(|policy| policy.realm == realm).map(Policy::verdict);
    let there = nft.element(realm.policies(), value(&publication.key))?;
    match (there.map(|element| element.data), verdict) {
        (Some(Data::Verdict(there)), Some(wanted)) if there == wanted => Ok(()),
        _ => Err(mismatch("another policy, or none".to_owned())),
    }
}
