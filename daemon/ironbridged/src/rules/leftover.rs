//! Rules that flanneld, or this daemon in the other mode, left behind: removed once ours are in place.

use kernel::nft::{Family, Nft, Table, Transaction};

use super::RulesError;
use super::iptables::{PLACES, Place, table};
use super::program::Program;

/// flanneld's tables of its nftables mode.
const TABLES: [Table<'static>; 2] =
    [Table::new(Family::Ip, "flannel-ipv4"), Table::new(Family::Ip6, "flannel-ipv6")];

/// Removes flanneld's nftables tables.
pub fn remove_tables(nft: &mut Nft) -> Result<(), RulesError> {
    for table in TABLES {
        if nft.table_exists(table)? {
            tracing::info!(table = table.name, "nftables rules of flanneld removed: ours do the same");
            let mut changes = Transaction::new();
            changes.delete_table(table);
            changes.commit(nft)?;
        }
    }
    Ok(())
}

/// Removes flannel's chains of `iptables-nft`, in both families. Those of the legacy kernel module are only told of by
/// a program, and stay.
pub fn remove_chains(nft: &mut Nft) -> Result<(), RulesError> {
    for program in [Program::V4, Program::V6] {
        for place in PLACES {
            remove(nft, program, place)?;
        }
    }
    Ok(())
}

/// Removes one chain and what leads to it, in one transaction.
pub fn remove(nft: &mut Nft, program: Program, place: Place) -> Result<(), RulesError> {
    let table = table(program, place);
    let chain = table.chain(place.chain);
    if !nft.chain_exists(chain)? {
        return Ok(());
    }
    tracing::info!(chain = place.chain, table = place.table, "iptables rules of the other mode removed");
    let base = table.chain(place.base);
    let mut changes = Transaction::new();
    for rule in nft.rules(base)?.iter().filter(|rule| rule.leads_to(place.chain)) {
        changes.delete_rule(base, rule.handle);
    }
    changes.flush_chain(chain).delete_chain(chain);
    changes.commit(nft)?;
    Ok(())
}
