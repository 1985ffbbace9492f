//! What the reference's `macspoofchk` leaves in nftables (`pkg/link/spoofcheck.go`): found and removed over netlink.

use cni::Attachment;
use kernel::Mac;
use kernel::nft::{
    Base, Chain, ChainKind, ChainName, Family, Hook, Nft, Policy, Relation, Rule, Table, Transaction,
    priority,
};

use crate::error::Error;
use crate::ruleset::{Rules, commit};

/// The reference's table, which stays.
const NAT: Table<'static> = Table::new(Family::Bridge, "nat");
/// Its base chain, which stays.
const PREROUTING: ChainName<'static> = NAT.chain("PREROUTING");

/// The two chains of an attachment: the first leads to the second.
fn chains(attachment: &Attachment) -> [String; 2] {
    let first = format!("cni-br-iface-{}-{}", attachment.container_id, attachment.ifname);
    [first.clone(), format!("{first}-mac")]
}

/// Whether the reference checks the attachment.
pub(super) fn holds(nft: &mut Nft, attachment: &Attachment) -> Result<bool, Error> {
    let [first, second] = chains(attachment);
    let jumps = |rules: Vec<kernel::nft::RuleState>, to: &str| rules.iter().any(|rule| rule.leads_to(to));
    Ok(nft.chain_exists(NAT.chain(&first))?
        && nft.chain_exists(NAT.chain(&second))?
        && jumps(nft.rules(PREROUTING)?, &first)
        && jumps(nft.rules(NAT.chain(&first))?, &second))
}

/// Makes what the reference would: its base chain, the attachment's two chains, and a rule for the port.
pub(super) fn add(batch: &mut Transaction, attachment: &Attachment, port: &str, mac: Mac) {
    let base = Base {
        kind: ChainKind::Filter,
        hook: Hook::Prerouting,
        priority: priority::BRIDGE_DSTNAT,
        policy: Policy::Accept,
    };
    let [first, second] = chains(attachment);
    let rule = || {
        let Attachment { container_id, ifname, .. } = attachment;
        Rule::new(Family::Bridge).comment(format!("macspoofchk-{container_id}-{ifname}"))
    };
    let (iface, address) = (NAT.chain(&first), NAT.chain(&second));
    batch
        .add_table(NAT)
        .add_chain(&Chain::base(PREROUTING, base))
        .add_chain(&Chain::regular(address))
        .add_chain(&Chain::regular(iface))
        .flush_chain(address)
        .flush_chain(iface)
        .append_rule(PREROUTING, &rule().input_interface(Relation::Equal, port).jump(&first))
        .append_rule(iface, &rule().jump(&second))
        .append_rule(address, &rule().ether_source(Relation::Equal, mac).give_back())
        .append_rule(address, &rule().drop_packet());
}

/// Removes the reference's rules and chains of the attachment.
pub(super) fn remove(rules: &mut Rules, attachment: &Attachment) -> Result<(), Error> {
    if !rules.has(NAT) {
        return Ok(());
    }
    let nft = &mut rules.nft;
    let names = chains(attachment);
    let mut there = Vec::new();
    for name in &names {
        if nft.chain_exists(NAT.chain(name))? {
            there.push(NAT.chain(name));
        }
    }
    if there.is_empty() {
        return Ok(());
    }
    let mut removal = Transaction::new();
    // Appended without a test for one that is there: each ADD that was repeated left one more.
    for rule in nft.rules(PREROUTING)?.iter().filter(|rule| names.iter().any(|name| rule.leads_to(name))) {
        removal.destroy_rule(PREROUTING, rule.handle);
    }
    // The first leads to the second. Each goes with its rules; another removal of the same may be ahead.
    for chain in &there {
        removal.destroy_chain(*chain);
    }
    commit(nft, removal)
}
