//! The table of our own: whose each address is, and which bridges have a policy.
//!
//! ```text
//! table inet ironbridge_firewall {
//!     set pods4    { type ipv4_addr; elements = { 10.22.0.5 comment "<mark>[, on: <bridge>]" } }
//!     set pods6    { type ipv6_addr }
//!     set policed  { type ifname; elements = { "cni0" } }
//!     set inside   { type ifname . ifname; elements = { "cni0" . "cni0" } }
//!     chain forward {
//!         type filter hook forward priority filter; policy accept;
//!         iifname . oifname @inside return
//!         iifname @policed oifname @policed drop
//!         ct state established,related ip daddr @pods4 accept
//!         ip saddr @pods4 accept
//!         ... and the same two for pods6
//!     }
//! }
//! table bridge ironbridge_firewall {
//!     set isolated { type ifname; elements = { "veth6f0c" comment "<mark>" } }
//!     chain forward {
//!         type filter hook forward priority filter; policy accept;
//!         iifname @isolated oifname @isolated drop
//!     }
//! }
//! ```
//! Tables and chains are shared and stay; an attachment is one element for each address, whatever the backend. The
//! comment is what decides whose an address is. A bridge's elements go with its last attachment.

use std::net::IpAddr;

use attach::Error;
use attach::identity::Mark;
use kernel::nft::{
    Base, Chain, ChainKind, ChainName, CtState, Element, Family, Field, Hook, Membership, Network, Nft,
    Policy as Verdict, Rule, Set, SetName, Table, Transaction, Type, Value, priority,
};

use crate::conf::{Policy, Wanted};

const TABLE: Table<'static> = Table::new(Family::Inet, "ironbridge_firewall");
const FORWARD: ChainName<'static> = TABLE.chain("forward");
pub(crate) const PODS4: SetName<'static> = TABLE.set("pods4");
pub(crate) const PODS6: SetName<'static> = TABLE.set("pods6");
pub(crate) const POLICED: SetName<'static> = TABLE.set("policed");
pub(crate) const INSIDE: SetName<'static> = TABLE.set("inside");

const FRAMES: Table<'static> = Table::new(Family::Bridge, "ironbridge_firewall");
const FRAMES_FORWARD: ChainName<'static> = FRAMES.chain("forward");
pub(crate) const ISOLATED: SetName<'static> = FRAMES.set("isolated");

/// What stands between mark and bridge in the comment of an address.
const ON: &str = ", on: ";

/// Where a policy between bridges is enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enforcer {
    /// Here.
    Us,
    /// In the reference's iptables chains.
    Chains,
}

/// Makes every address the attachment's own, whoever had it before, and notes the policy of its bridge.
pub fn claim(nft: &mut Nft, wanted: &Wanted, enforcer: Enforcer) -> Result<(), Error> {
    // Asked first, for a transaction that the kernel refuses costs it a grace period (some 16 ms).
    if is_whole(nft, wanted)? {
        let mut elements = Transaction::new();
        add(&mut elements, wanted, enforcer);
        match elements.commit(nft) {
            Ok(()) => return Ok(()),
            // An address has a former owner; or somebody flushed the ruleset in this moment.
            Err(refusal) if refusal.is_absent() || refusal.is_present() => {}
            Err(refusal) => return Err(refusal.into()),
        }
    }
    let mut anew = Transaction::new();
    make_shared(&mut anew);
    if isolates(wanted) {
        make_frames(&mut anew);
    }
    anew.destroy_elements(ISOLATED, &ports(wanted));
    for address in &wanted.addresses {
        anew.destroy_elements(set_of(*address), &[Element::new(*address)]);
    }
    add(&mut anew, wanted, enforcer);
    Ok(anew.commit(nft)?)
}

/// Whether the chains have their rules: nobody may have made them yet, or somebody has flushed them.
fn is_whole(nft: &mut Nft, wanted: &Wanted) -> Result<bool, Error> {
    Ok(nft.has_rules(TABLE, &[(FORWARD.name, &rules())])?
        && (!isolates(wanted) || nft.has_rules(FRAMES, &[(FRAMES_FORWARD.name, &[frames_rule()])])?))
}

fn add(transaction: &mut Transaction, wanted: &Wanted, enforcer: Enforcer) {
    let comment = comment(wanted);
    for address in &wanted.addresses {
        let element = Element::new(*address).with_comment(comment.clone());
        transaction.create_elements(set_of(*address), &[element]);
    }
    let Some(policed) = &wanted.policed else { return };
    if enforcer == Enforcer::Us {
        transaction
            .add_elements(POLICED, &[one(&policed.bridge)])
            .add_elements(INSIDE, &[pair(&policed.bridge)]);
    }
    if isolates(wanted) {
        transaction.create_elements(ISOLATED, &ports(wanted));
    }
}

/// The ports of an isolated attachment: they do not reach those of another.
fn ports(wanted: &Wanted) -> Vec<Element> {
    let isolated = wanted.policed.iter().filter(|policed| policed.policy == Policy::Isolated);
    let mark = Mark::of(&wanted.attachment);
    isolated.flat_map(|policed| &policed.ports).map(|port| one(port).with_comment(mark.as_str())).collect()
}

fn isolates(wanted: &Wanted) -> bool {
    !ports(wanted).is_empty()
}

pub(crate) fn comment(wanted: &Wanted) -> String {
    let mark = Mark::of(&wanted.attachment);
    let on = wanted.policed.as_ref().map(|policed| format!("{ON}{}", policed.bridge));
    format!("{}{}", mark.as_str(), on.unwrap_or_default())
}

/// The bridge in an address's comment. A network may be named anything: only the last part is ours.
pub(crate) fn bridge_of(element: &Element) -> Option<&str> {
    let comment = element.comment.as_deref()?;
    comment.rsplit_once(ON).map(|(_, bridge)| bridge).filter(|bridge| bridge.len() < 16)
}

pub(crate) fn one(bridge: &str) -> Element {
    Element::new(Value::ifname(bridge))
}

pub(crate) fn pair(bridge: &str) -> Element {
    Element::new(Value::ifname(bridge).and(Value::ifname(bridge)))
}

pub(crate) fn set_of(address: IpAddr) -> SetName<'static> {
    if address.is_ipv4() { PODS4 } else { PODS6 }
}

const BASE: Base = Base {
    kind: ChainKind::Filter,
    hook: Hook::Forward,
    priority: priority::FILTER,
    policy: Verdict::Accept,
};

fn make_shared(transaction: &mut Transaction) {
    transaction
        .add_table(TABLE)
        .add_set(&Set::plain(PODS4, &[Type::Ipv4Addr]))
        .add_set(&Set::plain(PODS6, &[Type::Ipv6Addr]))
        .add_set(&Set::plain(POLICED, &[Type::IfName]))
        .add_set(&Set::plain(INSIDE, &[Type::IfName, Type::IfName]))
        .add_chain(&Chain::base(FORWARD, BASE))
        .flush_chain(FORWARD);
    for rule in rules() {
        transaction.append_rule(FORWARD, &rule);
    }
}

fn rules() -> Vec<Rule> {
    let rule = || Rule::new(Family::Inet);
    let (from, to) = (Field::InputInterface, Field::OutputInterface);
    let mut rules = vec![
        rule().lookup(&[from, to], Membership::In, INSIDE.name).give_back(),
        rule()
            .lookup(&[from], Membership::In, POLICED.name)
            .lookup(&[to], Membership::In, POLICED.name)
            .drop_packet(),
    ];
    for (network, pods) in [(Network::Ip, PODS4), (Network::Ip6, PODS6)] {
        let answers = rule().state(CtState::ESTABLISHED | CtState::RELATED);
        rules.push(answers.lookup(&[Field::Destination(network)], Membership::In, pods.name).accept());
        rules.push(rule().lookup(&[Field::Source(network)], Membership::In, pods.name).accept());
    }
    rules
}

fn make_frames(transaction: &mut Transaction) {
    let base = Base { priority: priority::BRIDGE_FILTER, ..BASE };
    transaction
        .add_table(FRAMES)
        .add_set(&Set::plain(ISOLATED, &[Type::IfName]))
        .add_chain(&Chain::base(FRAMES_FORWARD, base))
        .flush_chain(FRAMES_FORWARD)
        .append_rule(FRAMES_FORWARD, &frames_rule());
}

fn frames_rule() -> Rule {
    let rule = Rule::new(Family::Bridge).lookup(&[Field::InputInterface], Membership::In, ISOLATED.name);
    rule.lookup(&[Field::OutputInterface], Membership::In, ISOLATED.name).drop_packet()
}

/// Whether chain, rules and the bridge's policy are there; the addresses are asked for by [`crate::owners::owner`].
///
/// # Errors
/// [`Error::Mismatch`] naming what is missing.
pub fn holds(nft: &mut Nft, wanted: &Wanted, enforcer: Enforcer) -> Result<(), Error> {
    same_rules(nft, FORWARD, &rules())?;
    let Some(policed) = &wanted.policed else { return Ok(()) };
    let mut wanted_elements = Vec::new();
    if enforcer == Enforcer::Us {
        wanted_elements.extend([(POLICED, one(&policed.bridge)), (INSIDE, pair(&policed.bridge))]);
    }
    if isolates(wanted) {
        same_rules(nft, FRAMES_FORWARD, &[frames_rule()])?;
        wanted_elements.extend(ports(wanted).into_iter().map(|port| (ISOLATED, port)));
    }
    for (set, element) in wanted_elements {
        let found = match nft.element(set, element.key) {
            Err(refusal) if refusal.is_absent() => None,
            found => found?,
        };
        if found.is_none() {
            return Err(missing(format!("nftables set {set}"), format!("the element of {}", policed.bridge)));
        }
    }
    Ok(())
}

fn same_rules(nft: &mut Nft, chain: ChainName<'_>, wanted: &[Rule]) -> Result<(), Error> {
    let what = || format!("nftables chain {chain}");
    if nft.chain(chain)?.and_then(|chain| chain.base).is_none() {
        return Err(missing(what(), "to exist"));
    }
    let found = nft.rules(chain)?;
    let same =
        found.len() == wanted.len() && found.iter().zip(wanted).all(|(found, wanted)| found.is(wanted));
    if same {
        Ok(())
    } else {
        Err(Error::Mismatch {
            what: what(),
            expected: format!("our {} rules", wanted.len()),
            found: format!("{} rules, not the same", found.len()),
        })
    }
}

/// [`Error::Mismatch`] with nothing found.
pub fn missing(what: impl Into<String>, expected: impl Into<String>) -> Error {
    Error::Mismatch { what: what.into(), expected: expected.into(), found: "nothing".into() }
}
