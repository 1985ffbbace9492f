//! Acceptance and `ingressPolicy` on the way back: our elements, and the reference's iptables rules that say the same.

use std::net::IpAddr;

use attach::Error;
use attach::handback::Held;
use attach::step::Family;
use cni::Call;
use kernel::nft::{Nft, SetName, Transaction};

use crate::conf::{Conf, Policy, Wanted};
use crate::owners::{self, Listing};
use crate::removal::{self, Scope};
use crate::ruleset::{self, Ruleset};
use crate::script::{self, Chains};
use crate::table::{ISOLATED, PODS4, PODS6};
use crate::{firewalld, wanted};

/// The sets whose elements say whose an address or a port is.
pub const SETS: [SetName<'static>; 3] = [PODS4, PODS6, ISOLATED];

/// What one attachment wants of a firewall, by its configuration and its result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acceptance {
    conf: Conf,
    wanted: Wanted,
}

impl Acceptance {
    /// Reads it from the call that an ADD was.
    ///
    /// # Errors
    /// As ADD's.
    pub fn of(call: &Call) -> Result<Self, Error> {
        let conf = Conf::of(call)?;
        let wanted = wanted(call, &conf, attach::previous(call, "firewall")?)?;
        Ok(Self { conf, wanted })
    }

    /// Whether frames within the bridge are dropped too, which the reference does only with `br_netfilter`.
    #[must_use]
    pub fn is_isolated(&self) -> bool {
        self.wanted.policed.as_ref().is_some_and(|policed| policed.policy == Policy::Isolated)
    }

    /// The addresses.
    #[must_use]
    pub fn addresses(&self) -> &[IpAddr] {
        &self.wanted.addresses
    }

    /// Removes the reference's rules again of addresses that are not in `kept`, because the attachment ended while they
    /// were written; not those of an address that has another owner by now.
    pub fn forget(&self, nft: &mut Nft, kept: &[IpAddr]) -> Result<(), Error> {
        let own = self.wanted.addresses.iter().copied();
        let hints: Vec<IpAddr> = own.filter(|address| !kept.contains(address)).collect();
        let gone = removal::remove(nft, &Scope { ours: &|_| false, hints: &hints, behind: &[] })?;
        firewalld::remove(&self.conf.zone, &gone).map(|_| ())
    }

    /// Puts the addresses into the zone, where firewalld runs: the reference's DEL takes them out.
    pub fn enter_zone(&self) -> Result<(), Error> {
        if firewalld::is_running() { firewalld::add(&self.conf.zone, &self.wanted.addresses) } else { Ok(()) }
    }
}

/// The lines of table `filter` that `iptables-restore --noflush` makes the reference's rules of, for one family. `saved`
/// is what `iptables-save -t filter` printed.
#[must_use]
pub fn rules(all: &[Acceptance], family: Family, saved: &str) -> String {
    let mut present = ruleset::parse(saved);
    let mut text = String::new();
    let in_zone = firewalld::is_running();
    for Acceptance { conf, wanted } in all {
        let own = |address: &IpAddr| Family::of(*address) == family;
        let addresses: Vec<IpAddr> = wanted.addresses.iter().copied().filter(own).collect();
        // Where firewalld accepts, only a policy is left for iptables.
        let accepted = if in_zone { &[] } else { addresses.as_slice() };
        if addresses.is_empty() || (accepted.is_empty() && wanted.policed.is_none()) {
            continue;
        }
        let chains =
            Chains { addresses: accepted, admin: &conf.admin_chain, policed: wanted.policed.as_ref() };
        for line in script::lines(&chains, &present) {
            grow(&mut present, &line);
            text.push_str(&line);
            text.push('\n');
        }
    }
    text
}

/// What is there when the line has been read.
fn grow(present: &mut Ruleset, line: &str) {
    let saved = match line.strip_prefix("-I ").and_then(|rest| rest.split_once(" 1 ")) {
        Some((chain, rule)) => format!("-A {chain} {rule}"),
        None => line.replacen("-N ", ":", 1),
    };
    let grown = ruleset::parse(&saved);
    present.chains.extend(grown.chains);
    present.rules.extend(grown.rules);
}

/// Puts the removal of elements into a batch, with the policy of a bridge that has no other.
pub fn remove(nft: &mut Nft, removal: &mut Transaction, held: &[&Held]) -> Result<(), Error> {
    let gone: Vec<&str> = held.iter().filter_map(|held| held.element.comment.as_deref()).collect();
    let leaving = Listing::read(nft)?.leaving(|comment| gone.contains(&comment));
    owners::remove(removal, &leaving);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::{Backend, Policed};
    use cni::Attachment;

    fn acceptance(container: &str, address: &str, policy: Option<Policy>) -> Acceptance {
        Acceptance {
            conf: Conf {
                backend: Backend::Nftables,
                admin_chain: "CNI-ADMIN".into(),
                zone: "trusted".into(),
                policy: Policy::Open,
            },
            wanted: Wanted {
                attachment: Attachment {
                    network: "net".into(),
                    container_id: container.into(),
                    ifname: "eth0".into(),
                },
                addresses: vec![address.parse().unwrap()],
                policed: policy.map(|policy| Policed { bridge: "cni0".into(), ports: vec![], policy }),
            },
        }
    }

    #[test]
    fn many_attachments_share_chains_and_a_second_time_adds_nothing() {
        let all = [
            acceptance("a", "10.0.0.2", Some(Policy::SameBridge)),
            acceptance("b", "10.0.0.3", Some(Policy::SameBridge)),
            acceptance("c", "fd00::2", None),
        ];
        let text = rules(&all, Family::V4, ":FORWARD ACCEPT [0:0]\n");
        for (part, times) in [
            ("-N CNI-FORWARD\n", 1),
            ("-j CNI-ADMIN", 1),
            ("-I FORWARD 1", 2),
            ("-j ACCEPT", 4),
            ("-i cni0", 1),
            ("fd00", 0),
        ] {
            assert_eq!(text.matches(part).count(), times, "{part} in\n{text}");
        }
        let mut saved = String::new();
        for line in text.lines() {
            let (begin, chain) = (line.starts_with("-N"), line.replacen("-N ", ":", 1));
            saved += &if begin { chain } else { line.replacen("-I ", "-A ", 1).replacen(" 1 ", " ", 1) };
            saved += "\n";
        }
        assert_eq!(rules(&all, Family::V4, &saved), "");
    }
}
