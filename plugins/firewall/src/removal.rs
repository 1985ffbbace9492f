//! DEL and GC: what leaves is found by its marks, and goes in one transaction that fails if anybody changed the rules since.
//!
//! Without that condition a late DEL could take the rules of an address that a new attachment has claimed in between.

use std::net::IpAddr;

use attach::Error;
use attach::step::Family;
use kernel::nft::{Nft, Transaction};

use crate::owners::{self, Leaving, Listing};
use crate::program;
use crate::ruleset::{self, CNI_FORWARD, Found, Place, Ruleset, STAGE_1, STAGE_2};
use crate::script;

/// How often the rules are read anew when somebody changed them meanwhile.
const ATTEMPTS: u32 = 100;

/// What is to be removed.
pub struct Scope<'a> {
    /// Whether a comment marks something of it.
    pub ours: &'a dyn Fn(&str) -> bool,
    /// Addresses that it may have without a mark, because the reference made their rules.
    pub hints: &'a [IpAddr],
    /// Interfaces of the host that it may have been behind, its bridge among them.
    pub behind: &'a [String],
}

/// Removes what is in the scope, whichever backend made it, and returns the addresses.
pub fn remove(nft: &mut Nft, scope: &Scope<'_>) -> Result<Vec<IpAddr>, Error> {
    for _ in 0..ATTEMPTS {
        let generation = nft.generation()?;
        let listing = Listing::read(nft)?;
        let leaving = leaving(&listing, scope);
        if leaving.is_empty() {
            return Ok(Vec::new());
        }
        remove_legacy(&leaving, &listing)?;
        let mut removal = Transaction::only_at(generation);
        owners::remove(&mut removal, &leaving);
        for family in [Family::V4, Family::V6] {
            let present = ruleset::read(nft, family, chains(&leaving))?;
            let doomed = doomed(&present, &leaving, &listing);
            remove_rules(&mut removal, family, &doomed);
        }
        match removal.commit(nft) {
            Ok(()) => return Ok(leaving.addresses),
            // The ruleset is not the one that was read: each time, another process got ahead.
            Err(refusal) if refusal.is_transient() => {}
            Err(refusal) => return Err(refusal.into()),
        }
    }
    Err(Error::Restless { doing: "removing accepted addresses", tries: ATTEMPTS })
}

/// What is marked, and of the hints what has no owner.
fn leaving(listing: &Listing, scope: &Scope<'_>) -> Leaving {
    let mut leaving = listing.leaving(scope.ours);
    let unowned: Vec<IpAddr> = scope.hints.iter().copied().filter(|hint| !listing.has(*hint)).collect();
    if !unowned.is_empty() {
        let deserted = |name: &&String| !listing.serves(name) && !leaving.bridges.contains(name);
        let deserted: Vec<String> = scope.behind.iter().filter(deserted).cloned().collect();
        leaving.bridges.extend(deserted);
    }
    leaving.addresses.extend(unowned);
    leaving
}

fn chains(leaving: &Leaving) -> &'static [&'static str] {
    if leaving.bridges.is_empty() { &[CNI_FORWARD] } else { &[CNI_FORWARD, STAGE_1, STAGE_2] }
}

fn remove_rules(removal: &mut Transaction, family: Family, doomed: &[&Found]) {
    for found in doomed {
        if let Place::Handle(handle) = found.place {
            removal.destroy_rule(ruleset::table(family).chain(&found.chain), handle);
        }
    }
}

/// The rules of addresses that leave; and of bridges that leave, unless the chains still serve an attachment that we know
/// nothing of: the reference made it, and it may be on that bridge.
fn doomed<'a>(present: &'a Ruleset, leaving: &'a Leaving, listing: &Listing) -> Vec<&'a Found> {
    let mut doomed: Vec<&Found> = present.of_addresses(&leaving.addresses).collect();
    let unknown = present.accepted().any(|a| !leaving.addresses.contains(&a) && !listing.has(a));
    if !unknown {
        doomed.extend(leaving.bridges.iter().flat_map(|bridge| present.of_bridge(bridge)));
    }
    doomed
}

/// The same in the legacy tables, where there are any; starts no program otherwise.
fn remove_legacy(leaving: &Leaving, listing: &Listing) -> Result<(), Error> {
    for family in [Family::V4, Family::V6] {
        if !program::has_legacy_table(family) {
            continue;
        }
        let (restore, save) = program::of(family).legacy;
        let present = ruleset::read_legacy(save)?;
        let doomed = doomed(&present, leaving, listing);
        if let Some(text) = script::removals(doomed.into_iter()) {
            program::run(restore, &["--noflush", "--wait"], &text)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAVED: &str = "-A CNI-FORWARD -d 10.0.0.2/32 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n\
        -A CNI-FORWARD -s 10.0.0.2/32 -j ACCEPT\n\
        -A CNI-ISOLATION-STAGE-1 -i cni0 ! -o cni0 -j CNI-ISOLATION-STAGE-2\n\
        -A CNI-ISOLATION-STAGE-2 -o cni0 -j DROP\n";

    #[test]
    fn isolation_stays_while_the_reference_may_have_a_pod_there() {
        let leaving = Leaving {
            addresses: vec!["10.0.0.2".parse().unwrap()],
            bridges: vec!["cni0".into()],
            ports: vec![],
        };
        let listing = Listing::default();
        assert_eq!(doomed(&ruleset::parse(SAVED), &leaving, &listing).len(), 4);
        let shared = format!("{SAVED}-A CNI-FORWARD -s 10.0.0.9/32 -j ACCEPT\n");
        assert_eq!(doomed(&ruleset::parse(&shared), &leaving, &listing).len(), 2);
    }
}
