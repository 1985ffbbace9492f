//! Addresses, rules, links and ports that have no owner any more, or two.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use attach::identity::{Mark, host_veth};
use cni::Attachment;
use host_local::Owner as Holder;
use portmap::owner::Owner;

use super::super::finding::Finding;
use super::super::node::{Node, Published, Reserved};

/// An ADD that is under way has its address before its sandbox shows it.
const UNDER_WAY: Duration = Duration::from_mins(2);
/// More of one kind than this are counted.
const NAMED: usize = 5;

/// Networks that soon have no address for the next pod.
pub fn full_ranges(node: &Node) -> Vec<Finding> {
    let used = |network: &str| {
        let of_network = node.reservations.iter().filter(|r| r.network == network);
        u64::try_from(of_network.count()).unwrap_or(u64::MAX)
    };
    let full =
        node.capacities.iter().filter(|(name, all)| used(name).saturating_mul(10) >= all.saturating_mul(9));
    full.map(|(name, all)| {
        Finding::new(
            "range-nearly-full",
            format!("{} of {all} addresses of network {name} are reserved: soon no pod can start here", used(name)),
            "`ironbridge ipam show` names the holders; remove leaked ones (see leaked-reservation), or give the node a larger range",
        )
    })
    .collect()
}

/// Reservations whose sandbox is nowhere on this node.
pub fn leaked_reservations(node: &Node) -> Vec<Finding> {
    let mut by_network: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for reserved in suspects(node).filter(|reserved| !node.lived.contains(&reserved.address)) {
        let holder = reserved.owner.as_ref().map_or_else(|| "nobody".to_owned(), Holder::to_string);
        by_network.entry(&reserved.network).or_default().push(format!("{} ({holder})", reserved.address));
    }
    let finding = |(network, leaked): (&str, Vec<String>)| {
        Finding::new(
            "leaked-reservation",
            format!(
                "network {network} has {} reserved and no sandbox with it: the pod is gone, its DEL never came",
                listed(&leaked)
            ),
            "let the runtime collect garbage (CNI GC), or delete these files under the network's folder in /var/lib/cni/networks",
        )
    };
    by_network.into_iter().map(finding).collect()
}

/// Reservations that no link of ours proves alive; whether they are needs a look into every namespace.
pub fn suspects(node: &Node) -> impl Iterator<Item = &Reserved> {
    let names: BTreeSet<&str> = node.links.iter().map(|link| link.name.as_str()).collect();
    node.reservations.iter().filter(move |reserved| {
        let has_link = attachment(reserved).is_some_and(|a| names.contains(host_veth(&a).as_str()));
        reserved.age > UNDER_WAY && !has_link
    })
}

/// Elements of our tables whose attachment has neither a link nor a living reservation.
pub fn leaked_rules(node: &Node) -> Vec<Finding> {
    let living = living(node);
    let mut by_place: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for element in &node.elements {
        let Some(key) = mark_key(&element.comment) else { continue };
        if !living.contains(key) && !has_link(node, &element.comment) {
            let whose =
                element.comment.split_once("net: ").map_or(element.comment.as_str(), |(_, rest)| rest);
            by_place.entry(&element.place).or_default().push(whose.to_owned());
        }
    }
    let finding = |(place, leaked): (&str, Vec<String>)| {
        Finding::new(
            "leaked-rule",
            format!("{place} has elements of attachments that are gone: {}", listed(&leaked)),
            "let the runtime send DEL or GC for them again; they are harmless until their address or port is given out anew, which replaces them",
        )
    };
    by_place.into_iter().map(finding).collect()
}

/// Whether a portmap's element names a host's end that is there: one that the reference made has no mark of ours.
fn has_link(node: &Node, comment: &str) -> bool {
    let via = Owner::read(Some(comment)).via().map(str::to_owned);
    via.is_some_and(|via| node.links.iter().any(|link| link.name == via))
}

/// Links with our mark whose network knows nothing of their attachment.
pub fn leaked_links(node: &Node) -> Vec<Finding> {
    let reserved: BTreeSet<String> =
        node.reservations.iter().filter_map(attachment).map(|a| key_of(&a)).collect();
    let networks: BTreeSet<&str> = node.reservations.iter().map(|r| r.network.as_str()).collect();
    let leaked = node.own_links().filter(|link| {
        let Some(alias) = link.alias.as_deref() else { return false };
        let network = alias.split(", ").find_map(|part| part.strip_prefix("net: "));
        let is_of_host_local = network.is_some_and(|network| networks.contains(network));
        let at_home = link.peer_netns.is_none() && link.peer_index.is_some();
        at_home || (is_of_host_local && mark_key(alias).is_some_and(|key| !reserved.contains(key)))
    });
    leaked
        .map(|link| {
            Finding::new(
                "leaked-link",
                format!(
                    "{} is the host's end of an attachment that is gone ({})",
                    link.name,
                    link.alias.as_deref().unwrap_or_default()
                ),
                format!("let the runtime send DEL or GC for it, or ip link delete {}", link.name),
            )
        })
        .collect()
}

/// Ports that our portmap publishes and that somebody else has too.
pub fn contested_ports(node: &Node) -> Vec<Finding> {
    let mut findings = BTreeSet::new();
    for published in &node.published {
        let (protocol, port) = (published.key.protocol.as_str(), published.key.port);
        let rules = node.diverted.iter().filter(|d| d.protocol == protocol && d.port == port);
        let rules = rules.map(|diverted| format!("the iptables rule `{}`", diverted.rule));
        let sockets = node.listeners.iter().filter(|l| l.protocol == protocol && l.port == port);
        let sockets = sockets.filter(|l| meet(published, l.address));
        let sockets = sockets.map(|l| format!("a process of this node that listens on {}", l.address));
        for other in rules.chain(sockets) {
            findings.insert(Finding::new(
                "contested-port",
                format!("{protocol} port {port} has two owners: the pod {} and {other}; one of them gets no connections", published.owner),
                "give one of the two another port, or remove the one that is left over",
            ));
        }
    }
    findings.into_iter().collect()
}

/// Whether a key takes packets away from a socket with that address.
fn meet(published: &Published, address: IpAddr) -> bool {
    let is_v4 = published.key.family == kernel::Family::V4;
    match published.key.address {
        // A socket of all IPv6 addresses takes IPv4 as well.
        _ if address.is_unspecified() => address.is_ipv6() || is_v4,
        Some(own) => own == address,
        None => address.is_ipv4() == is_v4,
    }
}

fn attachment(reserved: &Reserved) -> Option<Attachment> {
    let owner = reserved.owner.as_ref()?;
    let ifname = owner.ifname.clone()?;
    let (network, container_id) = (reserved.network.clone(), owner.container_id.clone());
    Some(Attachment { network, container_id, ifname })
}

/// The part of a mark that decides.
fn key_of(attachment: &Attachment) -> String {
    let mark = Mark::of(attachment);
    mark_key(mark.as_str()).unwrap_or_default().to_owned()
}

fn mark_key(comment: &str) -> Option<&str> {
    let key = comment.split(',').next()?;
    let is_hex = |part: &str| part.len() == 16 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    key.split_once('-').is_some_and(|(a, b)| is_hex(a) && is_hex(b)).then_some(key)
}

/// The marks of attachments that a link or an address in some sandbox proves alive.
fn living(node: &Node) -> BTreeSet<String> {
    let by_link = node.own_links().filter_map(|link| mark_key(link.alias.as_deref()?)).map(str::to_owned);
    let dead: BTreeSet<IpAddr> =
        suspects(node).map(|r| r.address).filter(|address| !node.lived.contains(address)).collect();
    let alive = node.reservations.iter().filter(|reserved| !dead.contains(&reserved.address));
    by_link.chain(alive.filter_map(attachment).map(|a| key_of(&a))).collect()
}

fn listed(names: &[String]) -> String {
    let first = names.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMED) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}
