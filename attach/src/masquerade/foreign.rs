//! What the reference plugins' masquerade leaves in nftables: found and removed over netlink, without a program.

use std::collections::BTreeSet;

use cni::Attachment;
use kernel::nft::{ChainName, Family, Nft, Table, Transaction};

use crate::error::Error;
use crate::identity::{Mark, reference_chain, reference_comment_start};
use crate::ruleset::{Rules, commit};

/// Chain of the reference's own nftables backend (`pkg/ip/ipmasq_nftables_linux.go`).
const CHECKS: ChainName<'static> = Table::new(Family::Inet, "cni_plugins_masquerade").chain("masq_checks");

/// The tables of `iptables-nft` and `ip6tables-nft`.
const NAT: [Table<'static>; 2] = [Table::new(Family::Ip, "nat"), Table::new(Family::Ip6, "nat")];

/// Whether either backend of the reference has rules of the attachment.
pub(super) fn holds(nft: &mut Nft, attachment: &Attachment) -> Result<bool, Error> {
    let name = reference_chain(attachment);
    for table in NAT {
        if nft.rules(table.chain("POSTROUTING"))?.iter().any(|rule| rule.leads_to(&name)) {
            return Ok(true);
        }
    }
    Ok(!marked(nft, |comment| Mark::is_on(comment, attachment))?.is_empty())
}

/// Removes the attachment's rules of either backend.
pub(super) fn remove(rules: &mut Rules, attachment: &Attachment) -> Result<(), Error> {
    let mut removal = Transaction::new();
    if rules.has(CHECKS.table) {
        for handle in marked(&mut rules.nft, |comment| Mark::is_on(comment, attachment))? {
            removal.destroy_rule(CHECKS, handle);
        }
    }
    let name = reference_chain(attachment);
    for table in NAT {
        if rules.has(table) {
            remove_chain(&mut rules.nft, &mut removal, table.chain(&name))?;
        }
    }
    commit(&mut rules.nft, removal)
}

/// Removes the rules of a network's attachments that are not in `valid`, of either backend.
pub(super) fn collect(nft: &mut Nft, network: &str, valid: &[Attachment]) -> Result<(), Error> {
    let mut removal = Transaction::new();
    for handle in marked(nft, |comment| Mark::is_stale(comment, network, valid))? {
        removal.destroy_rule(CHECKS, handle);
    }
    for table in NAT {
        for chain in stale_chains(nft, table, network, valid)? {
            remove_chain(nft, &mut removal, table.chain(&chain))?;
        }
    }
    commit(nft, removal)
}

/// The `iptables` chains that a jump with a comment of this network leads to, but of no valid attachment.
fn stale_chains(
    nft: &mut Nft,
    table: Table<'_>,
    network: &str,
    valid: &[Attachment],
) -> Result<BTreeSet<String>, Error> {
    let kept: Vec<String> = valid.iter().map(reference_chain).collect();
    let ours = reference_comment_start(network);
    let jumps = nft.rules(table.chain("POSTROUTING"))?;
    let marked =
        jumps.iter().filter(|rule| rule.comment.as_deref().is_some_and(|text| text.starts_with(&ours)));
    let targets = marked.flat_map(kernel::nft::RuleState::targets).map(str::to_owned);
    Ok(targets.filter(|chain| chain.starts_with("CNI-") && !kept.contains(chain)).collect())
}

/// Handles of the reference's rules whose comment is wanted.
fn marked(nft: &mut Nft, wanted: impl Fn(&str) -> bool) -> Result<Vec<u64>, Error> {
    let ours = nft.rules(CHECKS)?.into_iter().filter(|rule| rule.comment.as_deref().is_some_and(&wanted));
    Ok(ours.map(|rule| rule.handle).collect())
}

fn remove_chain(nft: &mut Nft, removal: &mut Transaction, chain: ChainName<'_>) -> Result<(), Error> {
    if !nft.chain_exists(chain)? {
        return Ok(());
    }
    let postrouting = chain.table.chain("POSTROUTING");
    for rule in nft.rules(postrouting)?.iter().filter(|rule| rule.leads_to(chain.name)) {
        removal.destroy_rule(postrouting, rule.handle);
    }
    // With its rules; another removal of the same may be ahead.
    removal.destroy_chain(chain);
    Ok(())
}
