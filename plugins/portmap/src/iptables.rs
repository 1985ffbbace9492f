//! The iptables backend: the reference's own chains, made in one `iptables-restore --noflush` for each family, for nodes
//! where other tools read or depend on those chains.

use kernel::Family;
use kernel::nft::{Expression, Nft, Table};

use crate::chains::{Present, SETMARK, ruleset};
use crate::conf::{Backend, Conf, Marking};
use crate::error::Error;
use crate::foreign::{DNAT, container_chain, nat};
use crate::plan::Plan;
use crate::program::{Variant, has_legacy, restore, save};

/// The chain that masquerades by the mark.
pub const MASQUERADE: &str = "CNI-HOSTPORT-MASQ";

/// Makes the chains, for each family that the sandbox has an address in.
pub fn add(nft: &mut Nft, conf: &Conf, plan: &Plan) -> Result<(), Error> {
    for family in families(plan) {
        let text = ruleset(conf, plan, family, &present(nft, plan, (family, mark(conf)))?);
        restore(family, Variant::Default, &text)?;
    }
    Ok(())
}

/// Whether the container's chain is there and entered.
pub fn holds(nft: &mut Nft, plan: &Plan) -> Result<bool, Error> {
    for family in families(plan) {
        let present = present(nft, plan, (family, None))?;
        if present.entries.is_empty() || !present.prerouting || !present.output {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Families that the sandbox has an address in.
fn families(plan: &Plan) -> impl Iterator<Item = Family> + '_ {
    plan.addresses.iter().map(|address| Family::from(address.ip()))
}

/// What of the shared chains is there: asked over netlink; where the legacy kernel module has tables, of the program.
fn present(nft: &mut Nft, plan: &Plan, (family, mark): (Family, Option<u32>)) -> Result<Present, Error> {
    let own = container_chain(&plan.attachment);
    if has_legacy(family) {
        return Ok(Present::read(&save(family, Variant::Default)?, &own, mark));
    }
    let table = nat(family);
    let marks = match mark {
        Some(mark) => marks(nft, table, mark)?,
        None => false,
    };
    let mut leads = |chain: &str, to: &str| -> Result<bool, Error> {
        Ok(nft.rules(table.chain(chain))?.iter().any(|rule| rule.leads_to(to)))
    };
    Ok(Present {
        prerouting: leads("PREROUTING", DNAT)?,
        output: leads("OUTPUT", DNAT)?,
        postrouting: leads("POSTROUTING", MASQUERADE)?,
        marks,
        // What stands there is not needed: over netlink, an earlier ADD of the attachment was removed before.
        entries: if leads(DNAT, &own)? { vec![String::new()] } else { Vec::new() },
        dnat: nft.chain_exists(table.chain(DNAT))?,
        own: nft.chain_exists(table.chain(&own))?,
    })
}

/// The bit that packets to be masqueraded have, unless another program sees to that.
fn mark(conf: &Conf) -> Option<u32> {
    match conf.backend {
        Backend::Iptables { marking: Marking::Mark(mark), .. } => Some(mark),
        Backend::Iptables { .. } | Backend::Nftables { .. } => None,
    }
}

/// Whether the chain that marks and the one that masquerades have one rule each, and that is about this bit.
fn marks(nft: &mut Nft, table: Table<'_>, mark: u32) -> Result<bool, Error> {
    for chain in [SETMARK, MASQUERADE] {
        let rules = nft.rules(table.chain(chain))?;
        if !matches!(rules.as_slice(), [only] if only.expressions.iter().any(|e| mentions(e, mark))) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether an instruction has the mark: in a comparison, or twice (value and mask) in the data of an extension of iptables.
#[expect(clippy::wildcard_enum_match_arm, reason = "only two instructions have it")]
fn mentions(expression: &Expression, mark: u32) -> bool {
    let bytes = mark.to_ne_bytes();
    match expression {
        Expression::Compare { value, .. } => value.as_bytes() == bytes,
        Expression::Other { attributes, .. } => {
            attributes.windows(8).any(|part| part == [bytes, bytes].as_flattened())
        }
        _ => false,
    }
}

/// Removes the container's chain from the legacy kernel module's tables, where there are any; starts no program
/// otherwise.
pub fn remove_legacy(own: &str) -> Result<(), Error> {
    for family in [Family::V4, Family::V6] {
        if !has_legacy(family) {
            continue;
        }
        let present = Present::read(&save(family, Variant::Legacy)?, own, None);
        if present.own {
            restore(family, Variant::Legacy, &present.removal(own))?;
        }
    }
    Ok(())
}
