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
use crate::ruleset::{Rules, commit, is_ours, is_stale, mark_for_removal, remove_seen};

const TABLE: Table<'static> = Table::new(Family::Inet, "ironbridge_masquerade");
const SOURCES4: SetName<'static> = TABLE.set("sources4");
const SOURCES6: SetName<'static> = TABLE.set("sources6");
pub(super) const MAPS: [SetName<'static>; 2] = [SOURCES4, SOURCES6];
const POSTROUTING: &str = "postrouting";

/// Adds an element for each address: one message where the table is whole, everything in one transaction otherwise.
pub(super) fn add(nft: &mut Nft, attachment: &Attachment, addresses: &[Cidr]) -> Result<(), Error> {
    // Asked first, for a transaction that the kernel refuses costs it a grace period (some 16 ms).
    if !is_whole(nft, addresses)? {
        return anew(nft, attachment, addresses);
    }
    let mut elements = Transaction::new();
    add_elements(&mut elements, attachment, addresses);
    match elements.commit(nft) {
        Ok(()) => Ok(()),
        // An element of a dead owner is left, or somebody flushed the ruleset in this moment.
        Err(refusal) if refusal.is_absent() || refusal.is_present() => anew(nft, attachment, addresses),
        Err(refusal) => Err(refusal.into()),
    }
}

/// Whether the chains have their rules: somebody may have flushed one of them.
fn is_whole(nft: &mut Nft, addresses: &[Cidr]) -> Result<bool, Error> {
    let own = addresses.iter().map(|address| (chain_of(*address), network_rules(*address)));
    let chains: Vec<(String, Vec<Rule>)> =
        std::iter::once((POSTROUTING.to_owned(), postrouting_rules())).chain(own).collect();
    let wanted: Vec<(&str, &[Rule])> =
        chains.iter().map(|(chain, rules)| (chain.as_str(), rules.as_slice())).collect();
    Ok(nft.has_rules(TABLE, &wanted)?)
}

fn anew(nft: &mut Nft, attachment: &Attachment, addresses: &[Cidr]) -> Result<(), Error> {
    let mut all = Transaction::new();
    make_shared(&mut all);
    for address in addresses {
        let name = chain_of(*address);
        all.add_chain(&Chain::regular(TABLE.chain(&name)));
        fill(&mut all, &name, &network_rules(*address));
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

/// Table, maps and base chain, whether or not they are there.
fn make_shared(transaction: &mut Transaction) {
    let base = Base {
        kind: ChainKind::Nat,
        hook: Hook::Postrouting,
        priority: priority::SRCNAT,
        policy: Policy::Accept,
    };
    transaction
        .add_table(TABLE)
        .add_set(&Set::verdict_map(SOURCES4, &[Type::Ipv4Addr]))
        .add_set(&Set::verdict_map(SOURCES6, &[Type::Ipv6Addr]))
        .add_chain(&Chain::base(TABLE.chain(POSTROUTING), base));
    fill(transaction, POSTROUTING, &postrouting_rules());
}

/// Replaces a chain's rules; in one transaction, so that no packet meets half of them.
fn fill(transaction: &mut Transaction, chain: &str, rules: &[Rule]) {
    let chain = TABLE.chain(chain);
    transaction.flush_chain(chain);
    for rule in rules {
        transaction.append_rule(chain, rule);
    }
}

fn postrouting_rules() -> Vec<Rule> {
    let rule = || Rule::new(Family::Inet);
    let spared = multicast().map(|group| rule().destination(Relation::Equal, group.into()).give_back());
    let maps = [(Network::Ip, SOURCES4), (Network::Ip6, SOURCES6)];
    let looked_up = maps.map(|(network, map)| rule().verdict_map(&[Field::Source(network)], map.name));
    spared.chain(looked_up).collect()
}

/// What stays inside the network keeps its address.
fn network_rules(address: Cidr) -> Vec<Rule> {
    let inside = (!is_alone(address))
        .then(|| Rule::new(Family::Inet).destination(Relation::Equal, address.network().into()).give_back());
    inside.into_iter().chain([Rule::new(Family::Inet).masquerade(NatFlags::NONE)]).collect()
}

/// Whether every address has its element, and the chains that it leads through their rules.
pub(super) fn holds(nft: &mut Nft, attachment: &Attachment, addresses: &[Cidr]) -> Result<(), Error> {
    let missing = |expected: String| Error::Mismatch {
        what: "masquerade (nftables, table inet ironbridge_masquerade)".into(),
        expected,
        found: "none of this attachment".into(),
    };
    for address in addresses {
        if !owns(nft, attachment, *address)? {
            return Err(missing(format!("an element for {}", address.ip())));
        }
    }
    if is_whole(nft, addresses)? { Ok(()) } else { Err(missing("the rules of its chains".into())) }
}

fn owns(nft: &mut Nft, attachment: &Attachment, address: Cidr) -> Result<bool, Error> {
    let found = nft.find(map_of(address.ip()), address.ip())?;
    Ok(found.is_some_and(|element| is_ours(&element, attachment)))
}

/// Removes the attachment's elements. `hints` are addresses that it may have; where
/// none has an element, both maps are read.
pub(super) fn remove(rules: &mut Rules, attachment: &Attachment, hints: &[Cidr]) -> Result<(), Error> {
    if !rules.has(TABLE) {
        return Ok(());
    }
    let nft = &mut rules.nft;
    let mut owned = Vec::new();
    for hint in hints {
        if owns(nft, attachment, *hint)? {
            owned.push((map_of(hint.ip()), Element::new(hint.ip())));
        }
    }
    let mut removal = Transaction::new();
    if owned.is_empty() {
        mark_for_removal(nft, &mut removal, &MAPS, |element| is_ours(element, attachment))?;
        return commit(nft, removal);
    }
    remove_seen(nft, &owned)
}

/// Removes the elements of a network's attachments that are not in `valid`.
pub(super) fn collect(nft: &mut Nft, network: &str, valid: &[Attachment]) -> Result<(), Error> {
    let mut removal = Transaction::new();
    mark_for_removal(nft, &mut removal, &MAPS, |element| is_stale(element, network, valid))?;
    commit(nft, removal)
}

fn map_of(address: IpAddr) -> SetName<'static> {
    if address.is_ipv4() { SOURCES4 } else { SOURCES6 }
}

/// Whether the address is a network of its own.
fn is_alone(address: Cidr) -> bool {
    address.prefix() == if address.is_ipv4() { 32 } else { 128 }
}

/// A name that `nft` can read back: a colon would not do. Addresses that are alone share one chain.
fn chain_of(address: Cidr) -> String {
    if is_alone(address) {
        return "to-anywhere".to_owned();
    }
    format!("to-{}", address.network()).replace(':', "_")
}

/// The prefix length in the name of a network's chain.
pub(super) fn prefix_in(chain: &str) -> Option<u8> {
    chain.strip_prefix("to-")?.split_once('/')?.1.parse().ok()
}

/// What is never masqueraded: multicast of both families.
fn multicast() -> impl Iterator<Item = Cidr> {
    let v4 = Cidr::new(Ipv4Addr::new(224, 0, 0, 0).into(), 4);
    let v6 = Cidr::new(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0).into(), 8);
    v4.into_iter().chain(v6)
}
