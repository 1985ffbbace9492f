//! The spoof check in a table of our own: sets of what each port may send, instead of chains for each container.
//!
//! ```text
//! table bridge ironbridge_guard {
//!     set ports  { type ifname;             elements = { "veth6f0c" comment "<mark>" } }
//!     set macs   { type ifname . ether_addr; elements = { "veth6f0c" . 02:00:00:00:00:05 comment "<mark>" } }
//!     set strict { type ifname }
//!     set ips4   { type ifname . ipv4_addr }
//!     set ips6   { type ifname . ipv6_addr }
//!     chain prerouting { type filter hook prerouting priority dstnat; policy accept; iifname @ports goto source }
//!     chain source     { iifname . ether saddr != @macs drop; iifname @strict goto address }
//!     chain address    { ARP, IPv4 and IPv6 whose source is not in the sets: drop }
//! }
//! ```
//! Table, sets and chains are shared and stay. Everything of a port comes and goes in one transaction, so that an element in
//! `ports` tells whether there is more.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cni::{Attachment, Cidr};
use kernel::nft::{
    Base, Chain, ChainKind, ChainName, Element, Expression, Family, Field, Header, Hook, Membership, Network,
    Nft, Policy, Register, Relation, Rule, Set, SetName, Table, Transaction, Type, Value, priority,
};

use super::Allowed;
use crate::error::Error;
use crate::identity::{Mark, host_veth};
use crate::ruleset::{Rules, commit, is_ours, is_stale, mark_for_removal};

const TABLE: Table<'static> = Table::new(Family::Bridge, "ironbridge_guard");
pub(super) const PORTS: SetName<'static> = TABLE.set("ports");
pub(super) const MACS: SetName<'static> = TABLE.set("macs");
pub(super) const STRICT: SetName<'static> = TABLE.set("strict");
pub(super) const IPS4: SetName<'static> = TABLE.set("ips4");
pub(super) const IPS6: SetName<'static> = TABLE.set("ips6");
pub(super) const SETS: [SetName<'static>; 5] = [PORTS, MACS, STRICT, IPS4, IPS6];
const PREROUTING: ChainName<'static> = TABLE.chain("prerouting");
const SOURCE: ChainName<'static> = TABLE.chain("source");
const ADDRESS: ChainName<'static> = TABLE.chain("address");

/// `IPPROTO_UDP`, `IPPROTO_ICMPV6` and the port of a DHCP server.
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
const DHCP_SERVER: u16 = 67;

/// The type of a neighbour advertisement, and where its target stands (RFC 4861 §4.4).
const ADVERTISEMENT: u8 = 136;
const TARGET_OFFSET: u32 = 8;
/// Bytes of an interface name in a register, and of an IPv6 address.
const IFNAME: u32 = 16;
const IPV6: u32 = 16;

/// Adds the port's elements: one message where the table is whole, everything in one transaction otherwise.
pub(super) fn add(nft: &mut Nft, attachment: &Attachment, allowed: &Allowed) -> Result<(), Error> {
    // Asked first, for a transaction that the kernel refuses costs it a grace period (some 16 ms).
    if !is_whole(nft)? {
        return anew(nft, attachment, allowed);
    }
    let mut elements = Transaction::new();
    add_elements(&mut elements, attachment, allowed);
    match elements.commit(nft) {
        Ok(()) => Ok(()),
        // Something of a dead port is left, or somebody flushed the ruleset in this moment.
        Err(refusal) if refusal.is_absent() || refusal.is_present() => anew(nft, attachment, allowed),
        Err(refusal) => Err(refusal.into()),
    }
}

/// Whether the chains have their rules: somebody may have flushed one of them.
fn is_whole(nft: &mut Nft) -> Result<bool, Error> {
    let chains = chains();
    let wanted = chains.each_ref().map(|(chain, rules)| (chain.name, rules.as_slice()));
    Ok(nft.has_rules(TABLE, &wanted)?)
}

fn anew(nft: &mut Nft, attachment: &Attachment, allowed: &Allowed) -> Result<(), Error> {
    let mut all = Transaction::new();
    make_shared(&mut all);
    mark_for_removal(nft, &mut all, &SETS, |element| is_ours(element, attachment))?;
    add_elements(&mut all, attachment, allowed);
    Ok(all.commit(nft)?)
}

fn add_elements(transaction: &mut Transaction, attachment: &Attachment, allowed: &Allowed) {
    let mark = Mark::of(attachment);
    for (set, key) in keys(allowed) {
        transaction.create_elements(set, &[Element::new(key).with_comment(mark.as_str())]);
    }
}

/// What the sets hold of a port.
fn keys(allowed: &Allowed) -> Vec<(SetName<'static>, Value)> {
    let port = Value::ifname(&allowed.port);
    let mut keys = vec![(PORTS, port), (MACS, port.and(allowed.mac))];
    if let Some(addresses) = &allowed.addresses {
        keys.push((STRICT, port));
        keys.extend(addresses.iter().map(|address| match address {
            IpAddr::V4(address) => (IPS4, port.and(*address)),
            IpAddr::V6(address) => (IPS6, port.and(*address)),
        }));
    }
    keys
}

fn make_shared(transaction: &mut Transaction) {
    let base = Base {
        kind: ChainKind::Filter,
        hook: Hook::Prerouting,
        priority: priority::BRIDGE_DSTNAT,
        policy: Policy::Accept,
    };
    transaction
        .add_table(TABLE)
        .add_set(&Set::plain(PORTS, &[Type::IfName]))
        .add_set(&Set::plain(MACS, &[Type::IfName, Type::EtherAddr]))
        .add_set(&Set::plain(STRICT, &[Type::IfName]))
        .add_set(&Set::plain(IPS4, &[Type::IfName, Type::Ipv4Addr]))
        .add_set(&Set::plain(IPS6, &[Type::IfName, Type::Ipv6Addr]))
        .add_chain(&Chain::regular(ADDRESS))
        .add_chain(&Chain::regular(SOURCE))
        .add_chain(&Chain::base(PREROUTING, base));
    for (chain, rules) in chains() {
        transaction.flush_chain(chain);
        for rule in rules {
            transaction.append_rule(chain, &rule);
        }
    }
}

fn chains() -> [(ChainName<'static>, Vec<Rule>); 3] {
    let port = Field::InputInterface;
    let entry = Rule::new(Family::Bridge).lookup(&[port], Membership::In, PORTS.name).goto(SOURCE.name);
    let source = vec![
        unless(&[port, Field::EtherSource], MACS),
        Rule::new(Family::Bridge).lookup(&[port], Membership::In, STRICT.name).goto(ADDRESS.name),
    ];
    [(PREROUTING, vec![entry]), (SOURCE, source), (ADDRESS, address_rules())]
}

/// ARP, IPv4 and IPv6, in this order. Unspecified sources are what duplicate detection (RFC 5227, RFC 4862), multicast
/// listener reports and DHCP begin with.
fn address_rules() -> Vec<Rule> {
    let port = Field::InputInterface;
    let rule = || Rule::new(Family::Bridge);
    let nowhere4 = Cidr::host(Ipv4Addr::UNSPECIFIED.into()).into();
    let nowhere6 = Cidr::host(Ipv6Addr::UNSPECIFIED.into()).into();
    vec![
        unless(&[port, Field::ArpSenderMac], MACS),
        rule().field(Field::ArpSenderIp, Relation::Equal, Ipv4Addr::UNSPECIFIED).accept(),
        unless(&[port, Field::ArpSenderIp], IPS4),
        rule().source(Relation::Equal, nowhere4).destination_port(UDP, DHCP_SERVER).accept(),
        unless(&[port, Field::Source(Network::Ip)], IPS4),
        rule().source(Relation::Equal, nowhere6).accept(),
        unless(&[port, Field::Source(Network::Ip6)], IPS6),
        advertisement(),
    ]
}

fn unless(fields: &[Field], set: SetName<'_>) -> Rule {
    Rule::new(Family::Bridge).lookup(fields, Membership::NotIn, set.name).drop_packet()
}

/// A neighbour advertisement for an address that is not the port's: what ARP's sender field is to IPv4.
fn advertisement() -> Rule {
    let into = Register::FIRST;
    let icmp = |offset, length, into| Expression::Payload { header: Header::Transport, offset, length, into };
    let kind = Value::new(&[ADVERTISEMENT]);
    Rule::new(Family::Bridge)
        .network(Network::Ip6)
        .protocol(ICMPV6)
        .push(icmp(0, 1, into))
        .push(Expression::Compare { from: into, relation: Relation::Equal, value: kind })
        .push(Expression::Meta { key: kernel::nft::MetaKey::IIFNAME, into })
        .push(icmp(TARGET_OFFSET, IPV6, into.after(IFNAME)))
        .push(Expression::Lookup { set: IPS6.name.into(), from: into, membership: Membership::NotIn })
        .drop_packet()
}

/// Whether rules and elements are there.
pub(super) fn holds(nft: &mut Nft, attachment: &Attachment, allowed: &Allowed) -> Result<(), Error> {
    let missing = |what: String, expected: String, found: &str| Error::Mismatch {
        what: format!("spoof check of {}: {what}", allowed.port),
        expected,
        found: found.into(),
    };
    for (chain, wanted) in chains() {
        let found = nft.rules(chain)?;
        let same = found.len() == wanted.len() && found.iter().zip(&wanted).all(|(one, other)| one.is(other));
        if !same {
            let expected = format!("our {} rules", wanted.len());
            return Err(missing(format!("nftables chain {chain}"), expected, "none, or others"));
        }
    }
    for (set, key) in keys(allowed) {
        if !nft.find(set, key)?.is_some_and(|element| is_ours(&element, attachment)) {
            return Err(missing(format!("nftables set {set}"), "its element".into(), "none"));
        }
    }
    Ok(())
}

/// Removes the port's elements.
pub(super) fn remove(rules: &mut Rules, attachment: &Attachment) -> Result<(), Error> {
    if !rules.has(TABLE) {
        return Ok(());
    }
    let nft = &mut rules.nft;
    let port = Value::ifname(&host_veth(attachment));
    if nft.find(PORTS, port)?.is_none() {
        return Ok(());
    }
    let mut removal = Transaction::new();
    mark_for_removal(nft, &mut removal, &SETS, |element| is_ours(element, attachment))?;
    commit(nft, removal)
}

/// Removes the elements of a network's attachments that are not in `valid`.
pub(super) fn collect(nft: &mut Nft, network: &str, valid: &[Attachment]) -> Result<(), Error> {
    let mut removal = Transaction::new();
    mark_for_removal(nft, &mut removal, &SETS, |element| is_stale(element, network, valid))?;
    commit(nft, removal)
}
