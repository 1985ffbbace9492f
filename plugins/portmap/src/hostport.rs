//! The tables of the reference's nftables backend (`portmap_nftables.go`), for configurations that name it: made over netlink,
//! in the batch that removes ours.

use std::net::{IpAddr, Ipv4Addr};

use ipnetwork::IpNetwork;
use kernel::Family;
use kernel::nft::{
    self, AddressType, Base, Chain, ChainKind, ChainName, Hook, NatFlags, Nft, Policy, Relation, Rule, Table,
    Transaction, priority,
};

use crate::conf::{Conf, Masquerade};
use crate::error::Error;
use crate::foreign::HOSTPORT;
use crate::plan::Plan;

/// The chain with a rule for each port.
const PORTS: &str = "hostports";
/// An older one, which stays empty.
const PORTS_AT: &str = "hostip_hostports";
/// The chain that leads to both.
const ALL: &str = "hostports_all";
/// The chain with the rules of what is masqueraded.
const MASQUERADING: &str = "masquerading";

/// Puts the rules of some plans into a batch, and what they share as far as it is not there.
pub fn add(nft: &mut Nft, batch: &mut Transaction, plans: &[(&Conf, &Plan)]) -> Result<(), Error> {
    for family in [Family::V4, Family::V6] {
        let table = table(family);
        let mut made = false;
        for (conf, plan) in plans {
            if !plan.publications.iter().any(|publication| publication.key.family == family) {
                continue;
            }
            if !made {
                share(nft, batch, table)?;
                made = true;
            }
            ports(batch, table, plan, family);
            masquerade(batch, table, (conf, plan), family);
        }
    }
    Ok(())
}

fn table(family: Family) -> Table<'static> {
    match family {
        Family::V4 => Table::new(nft::Family::Ip, HOSTPORT),
        Family::V6 => Table::new(nft::Family::Ip6, HOSTPORT),
    }
}

/// Table, chains, and the way of a packet through them. A way that is there stays: it may have conditions.
fn share(nft: &mut Nft, batch: &mut Transaction, table: Table<'_>) -> Result<(), Error> {
    batch.add_table_with_comment(table, "CNI portmap plugin");
    for name in [PORTS, PORTS_AT, ALL] {
        batch.add_chain(&Chain::regular(table.chain(name)));
    }
    if !leads(nft, table.chain(ALL), PORTS)? {
        for name in [PORTS_AT, PORTS] {
            batch.append_rule(table.chain(ALL), &Rule::new(table.family).jump(name));
        }
    }
    for (name, hook) in [("prerouting", Hook::Prerouting), ("output", Hook::Output)] {
        let chain = table.chain(name);
        batch.add_chain(&Chain::base(chain, nat(hook, priority::DSTNAT)));
        if !leads(nft, chain, ALL)? {
            let local = Rule::new(table.family).destination_type(Relation::Equal, AddressType::LOCAL);
            batch.append_rule(chain, &local.jump(ALL));
        }
    }
    Ok(())
}

fn leads(nft: &mut Nft, chain: ChainName<'_>, to: &str) -> Result<bool, Error> {
    Ok(nft.rules(chain)?.iter().any(|rule| rule.leads_to(to)))
}

fn nat(hook: Hook, priority: i32) -> Base {
    Base { kind: ChainKind::Nat, hook, priority, policy: Policy::Accept }
}

/// The rules are marked with the bare container; that weakness is part of the layout.
fn ports(batch: &mut Transaction, table: Table<'_>, plan: &Plan, family: Family) {
    for publication in plan.publications.iter().filter(|publication| publication.key.family == family) {
        let (key, target) = (publication.key, publication.target);
        let mut rule = Rule::new(table.family);
        if let Some(address) = key.address {
            rule = rule.destination(Relation::Equal, IpNetwork::from(address));
        }
        let rule = rule.destination_port(key.protocol.number(), key.port);
        let rule =
            rule.destination_to(target.ip(), Some(target.port())).comment(&plan.attachment.container_id);
        batch.append_rule(table.chain(PORTS), &rule);
    }
}

fn masquerade(batch: &mut Transaction, table: Table<'_>, (conf, plan): (&Conf, &Plan), family: Family) {
    let Some(address) = plan.address(family) else { return };
    let own = IpNetwork::from(address.ip());
    let loopback = IpNetwork::from(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let sources = match (conf.masquerade, family) {
        (Masquerade::Off, _) => return,
        (Masquerade::All, _) => vec![None],
        (Masquerade::Local, Family::V4) => vec![Some(own), Some(loopback)],
        (Masquerade::Local, Family::V6) => vec![Some(own)],
    };
    let chain = table.chain(MASQUERADING);
    batch.add_chain(&Chain::base(chain, nat(Hook::Postrouting, priority::SRCNAT)));
    for source in sources {
        let rule = Rule::new(table.family);
        let rule = match source {
            Some(source) => rule.source(Relation::Equal, source),
            None => rule,
        };
        let rule = rule.destination(Relation::Equal, own).masquerade(NatFlags::NONE);
        batch.append_rule(chain, &rule.comment(&plan.attachment.container_id));
    }
}
