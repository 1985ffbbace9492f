//! What the reference plugin leaves in nftables, by either of its backends: found and removed over netlink, without a
//! program. The chains of our own iptables backend are the same.

use std::collections::BTreeSet;

use attach::identity::digest;
use cni::Attachment;
use ipnetwork::IpNetwork;
use kernel::Family;
use kernel::nft::{self, ChainName, Expression, Nft, RuleState, Table, Transaction};

use crate::error::Error;
use crate::plan::Plan;

/// The chain that leads to the containers' own.
pub const DNAT: &str = "CNI-HOSTPORT-DNAT";
/// Parents and prefixes of containers' chains; the second pair is of an older layout.
const CHAINS: [(&str, &str); 2] = [(DNAT, "CNI-DN-"), ("CNI-HOSTPORT-SNAT", "CNI-SN-")];
/// The tables of `iptables-nft` and `ip6tables-nft`, and those of the reference's nftables backend.
const FAMILIES: [nft::Family; 2] = [nft::Family::Ip, nft::Family::Ip6];
const NAT: &str = "nat";
/// Name of the tables of the reference's nftables backend.
pub const HOSTPORT: &str = "cni_hostport";
/// The chains in which the nftables backend has rules of containers.
const HOSTPORT_CHAINS: [&str; 3] = ["hostports", "hostip_hostports", "masquerading"];

/// The container's own iptables chain (`portmap_iptables.go`). It does not depend on the interface; that weakness is
/// part of the layout.
#[must_use]
pub fn container_chain(attachment: &Attachment) -> String {
    named("CNI-DN-", attachment)
}

fn named(prefix: &str, attachment: &Attachment) -> String {
    format!("{prefix}{}", digest(&format!("{}{}", attachment.network, attachment.container_id), 21))
}

/// The table of iptables for a family, by the name that nftables has for it.
#[must_use]
pub fn nat(family: Family) -> Table<'static> {
    match family {
        Family::V4 => Table::new(nft::Family::Ip, NAT),
        Family::V6 => Table::new(nft::Family::Ip6, NAT),
    }
}

/// Whether the rules of either backend of the reference are there, for every family that the plan has ports in.
pub fn holds(nft: &mut Nft, plan: &Plan) -> Result<bool, Error> {
    for address in &plan.addresses {
        let family = Family::from(address.ip());
        let wanted = plan.publications.iter().filter(|p| p.key.family == family).count();
        if wanted > 0 && !chain_holds(nft, plan, family, wanted)? && !rules_hold(nft, plan, family, wanted)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn chain_holds(nft: &mut Nft, plan: &Plan, family: Family, wanted: usize) -> Result<bool, Error> {
    let (table, name) = (nat(family), container_chain(&plan.attachment));
    let entered = nft.rules(table.chain(DNAT))?.iter().any(|rule| rule.leads_to(&name));
    Ok(entered && nft.rules(table.chain(&name))?.len() >= wanted)
}

fn rules_hold(nft: &mut Nft, plan: &Plan, family: Family, wanted: usize) -> Result<bool, Error> {
    let table = Table::new(nat(family).family, HOSTPORT);
    let rules = nft.rules(table.chain("hostports"))?;
    Ok(rules.iter().filter(|rule| is_of(rule, &plan.attachment.container_id)).count() >= wanted)
}

/// Removes the attachment's rules of either backend. `addresses` are those of the
/// attachment, where they are known: the nftables backend marks rules with the bare container, so that nothing else
/// tells the networks of one container apart.
pub fn remove(nft: &mut Nft, attachment: &Attachment, addresses: &[IpNetwork]) -> Result<(), Error> {
    let mut removal = Transaction::new();
    // Asked once, that spares the questions about what is in those that are not there.
    let tables = nft.all_tables()?;
    let there = |table: Table<'_>| tables.iter().any(|known| known.is(table));
    for family in FAMILIES {
        let (nat, hostport) = (Table::new(family, NAT), Table::new(family, HOSTPORT));
        for (parent, prefix) in CHAINS.into_iter().filter(|_| there(nat)) {
            remove_chain(nft, &mut removal, nat.chain(parent), &named(prefix, attachment))?;
        }
        for name in HOSTPORT_CHAINS.into_iter().filter(|_| there(hostport)) {
            let chain = hostport.chain(name);
            for rule in nft.rules(chain)? {
                let mentioned = addresses.is_empty() || addresses.iter().any(|a| mentions(&rule, *a));
                if is_of(&rule, &attachment.container_id) && mentioned {
                    removal.destroy_rule(chain, rule.handle);
                }
            }
        }
    }
    commit(nft, removal)
}

/// Removes the iptables chains of a network's containers that are not in `valid`. (The nftables backend's rules do not
/// say of which network they are.)
pub fn collect(nft: &mut Nft, network: &str, valid: &[Attachment]) -> Result<(), Error> {
    let kept: Vec<String> = valid.iter().map(container_chain).collect();
    let ours = format!("dnat name: \"{network}\" id: \"");
    let mut removal = Transaction::new();
    for family in FAMILIES {
        let parent = Table::new(family, NAT).chain(DNAT);
        let rules = nft.rules(parent)?;
        let marked =
            rules.iter().filter(|rule| rule.comment.as_deref().is_some_and(|c| c.starts_with(&ours)));
        let chains: BTreeSet<&str> = marked.flat_map(RuleState::targets).collect();
        for chain in chains.into_iter().filter(|name| name.starts_with("CNI-DN-")) {
            if !kept.iter().any(|known| known == chain) {
                remove_chain(nft, &mut removal, parent, chain)?;
            }
        }
    }
    commit(nft, removal)
}

/// Removes a chain beside its parent, and what leads there.
fn remove_chain(
    nft: &mut Nft,
    removal: &mut Transaction,
    parent: ChainName<'_>,
    name: &str,
) -> Result<(), Error> {
    let chain = parent.table.chain(name);
    if !nft.chain_exists(chain)? {
        return Ok(());
    }
    for rule in nft.rules(parent)?.iter().filter(|rule| rule.leads_to(name)) {
        removal.destroy_rule(parent, rule.handle);
    }
    // With its rules; another removal of the same may be ahead.
    removal.destroy_chain(chain);
    Ok(())
}

fn is_of(rule: &RuleState, container: &str) -> bool {
    rule.comment.as_deref() == Some(container)
}

/// Whether an address stands in a rule, to be compared or as a target.
#[expect(clippy::wildcard_enum_match_arm, reason = "only two instructions hold an address")]
fn mentions(rule: &RuleState, address: IpNetwork) -> bool {
    let wanted = nft::Value::from(address.ip());
    rule.expressions.iter().any(|expression| match expression {
        Expression::Compare { value, .. } | Expression::Immediate { value, .. } => *value == wanted,
        _ => false,
    })
}

fn commit(nft: &mut Nft, transaction: Transaction) -> Result<(), Error> {
    if transaction.is_empty() { Ok(()) } else { Ok(transaction.commit(nft)?) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_is_the_references_vector() {
        let attachment =
            Attachment { network: "bmnet".into(), container_id: "abc123".into(), ifname: "eth0".into() };
        assert_eq!(container_chain(&attachment), "CNI-DN-fbb60b45a5a6709de0c01");
    }
}
