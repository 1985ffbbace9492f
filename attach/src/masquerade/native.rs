//! Masquerade in a table of our own: two maps from source address to a verdict, and one small chain for each network.
//!
//! ```text
//! table inet ironbridge_masquerade {
//!     map sources4 { type ipv4_addr : verdict; elements = { 10.22.0.5 comment "<mark>" : goto to-10.22.0.0/16 } }
//!     map sources6 { type ipv6_addr : verdict }
//!     chain postrouting {
//!         type nat hook postrouting priority srcnat; policy accept;
//!         ip daddr 224.0.0.0/4 return
//!         ip6 daddr ff00::/8 return
//!         ip saddr vmap @sources4
//!         ip6 saddr vmap @sources6
//!     }
//!     chain to-10.22.0.0/16 { ip daddr 10.22.0.0/16 return; masquerade }
//! }
//! ```
//! Table, maps and chains are shared and stay; an attachment is one element for each of its addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cni::{Attachment, Cidr};
use kernel::nft::{
    Base, Chain, ChainKind, Element, Family, Field, Hook, NatFlags, Network, Nft, Policy, Relation, Rule,
    Set, SetName, Table, Transaction, Type, Verdict, priority,
};

use crate::error::Error;
use crate::identity::Mark;

const TABLE: Table<'static> = Table::new(Family::Inet, "ironbridge_masquerade");
const SOURCES4: SetName<'static> = TABLE.set("sources4");
const SOURCES6: SetName<'static> = TABLE.set("sources6");
const MAPS: [SetName<'static>; 2] = [SOURCES4, SOURCES6];
const POSTROUTING: &str = "postrouting";

/// Adds an element for each address. One message on a table that is there; everything in one transaction otherwise.
pub(super) fn add(nft: &mut Nft, attachment: &Attachment, addresses: &[Cidr]) -> Result<(), Error> {
    let mut elements = Transaction::new();
    add_elements(&mut elements, attachment, addresses);
    match elements.commit(nft) {
        Ok(()) => Ok(()),
        // Nobody made the table yet, or somebody flushed the ruleset; or an element of a dead owner is left.
        Err(refusal) if refusal.is_absent() || refusal.is_present() => anew(nft, attachment, addresses),
        Err(refusal) => Err(refusal.into()),
    }
}

fn anew(nft: &mut Nft, attachment: &Attachment, addresses: &[Cidr]) -> Result<(), Error> {
    let mut all = Transaction::new();
    make_shared(&mut all);
    for address in addresses {
        make_network(&mut all, *address);
    }
    for address in addresses {
        all.destroy_elements(map_of(address.ip()), &[Element::new(address.ip())]);
    }
    add_elements(&mut all, attachment, addresses);
    Ok(all.commit(nft)?)
}

fn add_elements(transaction: &mut Transaction, attachment: &Attachment, addresses: &[Cidr]) {
    let mark = Mark::of(attachment);
    for address in addresses {
        let element = Element::new(address.ip())
            .with_verdict(Verdict::goto(chain_of(*address)))
            .with_comment(mark.as_str());
        transaction.create_elements(map_of(address.ip()), &[element]);
    }
}

/// Table, maps and base chain, whether or not they are there. Chain and rules change in one step, so that no packet
/// meets half of them.
fn make_shared(transaction: &mut Transaction) {
    let base = Base {
        kind: ChainKind::Nat,
        hook: Hook::Postrouting,
        priority: priority::SRCNAT,
        policy: Policy::Accept,
    };
    let chain = TABLE.chain(POSTROUTING);
    transaction
        .add_table(TABLE)
        .add_set(&Set::verdict_map(SOURCES4, &[Type::Ipv4Addr]))
        .add_set(&Set::verdict_map(SOURCES6, &[Type::Ipv6Addr]))
        .add_chain(&Chain::base(chain, base))
        .flush_chain(chain);
    for group in multicast() {
        let rule = Rule::new(Family::Inet).destination(Relation::Equal, group.into()).give_back();
        transaction.append_rule(chain, &rule);
    }
    for (network, map) in [(Network::Ip, SOURCES4), (Network::Ip6, SOURCES6)] {
        let rule = Rule::new(Family::Inet).verdict_map(&[Field::Source(network)], map.name);
        transaction.append_rule(chain, &rule);
    }
}

fn make_network(transaction: &mut Transaction, address: Cidr) {
    let name = chain_of(address);
    let chain = TABLE.chain(&name);
    let inside = Rule::new(Family::Inet).destination(Relation::Equal, address.network().into()).give_back();
    transaction
        .add_chain(&Chain::regular(chain))
        .flush_chain(chain)
        .append_rule(chain, &inside)
        .append_rule(chain, &Rule::new(Family::Inet).masquerade(NatFlags::NONE));
}

/// Whether every address has its element.
pub(super) fn holds(nft: &mut Nft, attachment: &Attachment, address: Cidr) -> Result<bool, Error> {
    match nft.element(map_of(address.ip()), address.ip()) {
        Err(refusal) if refusal.is_absent() => Ok(false),
        found => Ok(found?.is_some_and(|element| is_ours(&element, attachment))),
    }
}

/// Removes the attachment's elements; says whether there were any. `hints` are addresses that it may have; without
/// them both maps are read.
pub(super) fn remove(nft: &mut Nft, attachment: &Attachment, hints: &[Cidr]) -> Result<bool, Error> {
    let mut removal = Transaction::new();
    for hint in hints {
        if holds(nft, attachment, *hint)? {
            removal.destroy_elements(map_of(hint.ip()), &[Element::new(hint.ip())]);
        }
    }
    if hints.is_empty() {
        mark_for_removal(nft, &mut removal, |element| is_ours(element, attachment))?;
    }
    commit(nft, removal)
}

/// Removes the elements of a network's attachments that are not in `valid`.
pub(super) fn collect(nft: &mut Nft, network: &str, valid: &[Attachment]) -> Result<(), Error> {
    let mut removal = Transaction::new();
    mark_for_removal(nft, &mut removal, |element| {
        element.comment.as_deref().is_some_and(|comment| Mark::is_stale(comment, network, valid))
    })?;
    commit(nft, removal).map(|_| ())
}

fn mark_for_removal(
    nft: &mut Nft,
    removal: &mut Transaction,
    which: impl Fn(&Element) -> bool,
) -> Result<(), Error> {
    for map in MAPS {
        for element in elements(nft, map)?.into_iter().filter(&which) {
            removal.destroy_elements(map, &[Element::new(element.key)]);
        }
    }
    Ok(())
}

/// The elements of a map; none if it was never made.
fn elements(nft: &mut Nft, map: SetName<'_>) -> Result<Vec<Element>, Error> {
    match nft.elements(map) {
        Err(refusal) if refusal.is_absent() => Ok(Vec::new()),
        other => Ok(other?),
    }
}

/// Commits what there is to commit, and says whether there was anything.
pub(super) fn commit(nft: &mut Nft, transaction: Transaction) -> Result<bool, Error> {
    if transaction.is_empty() {
        return Ok(false);
    }
    transaction.commit(nft)?;
    Ok(true)
}

fn is_ours(element: &Element, attachment: &Attachment) -> bool {
    element.comment.as_deref().is_some_and(|comment| Mark::is_on(comment, attachment))
}

fn map_of(address: IpAddr) -> SetName<'static> {
    if address.is_ipv4() { SOURCES4 } else { SOURCES6 }
}

/// A name that `nft` can read back: a colon would not do.
fn chain_of(address: Cidr) -> String {
    format!("to-{}", address.network()).replace(':', "_")
}

/// What is never masqueraded: multicast of both families.
fn multicast() -> impl Iterator<Item = Cidr> {
    let v4 = Cidr::new(Ipv4Addr::new(224, 0, 0, 0).into(), 4);
    let v6 = Cidr::new(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0).into(), 8);
    v4.into_iter().chain(v6)
}
