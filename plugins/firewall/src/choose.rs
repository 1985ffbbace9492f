//! Which backend a node needs when the configuration leaves it open: a pure choice over what was seen.

use attach::Error;
use attach::step::Family;
use kernel::nft::{self, Nft};

use crate::conf::{Backend, Conf};
use crate::firewalld;
use crate::program;
use crate::ruleset::{self, FORWARD, Ruleset};

/// A backend, and why it is this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Never [`Backend::Auto`].
    pub backend: Backend,
    /// For a person, after "backend is X because".
    pub why: String,
}

/// What could drop forwarded packets on this node whatever we accept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The firewalld daemon answers.
    pub firewalld: bool,
    /// What in the iptables tables could drop a forwarded packet, if anything.
    pub iptables: Option<String>,
}

/// The backend of `conf` on this node.
pub fn choose(nft: &mut Nft, conf: &Conf) -> Result<Choice, Error> {
    match conf.backend {
        Backend::Auto => Ok(automatic(&look(nft)?)),
        backend @ (Backend::Nftables | Backend::Iptables | Backend::Firewalld) => {
            Ok(Choice { backend, why: "the configuration says so".into() })
        }
    }
}

/// firewalld where it runs, iptables where its own chains could drop, else our table.
#[must_use]
pub fn automatic(seen: &Seen) -> Choice {
    match seen {
        Seen { firewalld: true, .. } => {
            Choice { backend: Backend::Firewalld, why: "firewalld runs on this node".into() }
        }
        Seen { iptables: Some(what), .. } => Choice { backend: Backend::Iptables, why: what.clone() },
        Seen { iptables: None, .. } => Choice {
            backend: Backend::Nftables,
            why: "firewalld does not run, and no iptables rule of this node could drop forwarded packets"
                .into(),
        },
    }
}

fn look(nft: &mut Nft) -> Result<Seen, Error> {
    if firewalld::is_running() {
        return Ok(Seen { firewalld: true, iptables: None });
    }
    for family in [Family::V4, Family::V6] {
        if let Some(what) = obstacle(nft, family)? {
            return Ok(Seen { firewalld: false, iptables: Some(what) });
        }
    }
    Ok(Seen::default())
}

/// What in the FORWARD chain of a family could drop. One chain is read: none, or a few rules, on any node.
fn obstacle(nft: &mut Nft, family: Family) -> Result<Option<String>, Error> {
    if program::has_legacy_table(family) {
        return Ok(Some(
            "the kernel holds a legacy iptables filter table, which only iptables can read".into(),
        ));
    }
    let chain = ruleset::table(family).chain(FORWARD);
    let Some(state) = nft.chain(chain)? else { return Ok(None) };
    if state.base.is_some_and(|base| base.policy == nft::Policy::Drop) {
        return Ok(Some(format!("chain {chain} (iptables) has the policy DROP")));
    }
    let found = ruleset::read(nft, family, &[FORWARD])?;
    Ok(dropping(&found).map(|target| format!("chain {chain} (iptables) has a rule to {target}")))
}

/// The target of the first rule that could drop. Chains of container networks are known not to: of the reference, of
/// kube-proxy (which drops only packets that belong to no connection) and of flannel.
fn dropping(forward: &Ruleset) -> Option<String> {
    let harmless = |target: &str| {
        target == "ACCEPT" || ["CNI-", "KUBE-", "FLANNEL-"].iter().any(|p| target.starts_with(p))
    };
    let targets = forward.of(FORWARD).map(|found| found.shape.target.clone());
    targets
        .map(|target| target.unwrap_or_else(|| "a target of an extension".into()))
        .find(|target| !harmless(target))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forward(rules: &str) -> Option<String> {
        dropping(&ruleset::parse(rules))
    }

    #[test]
    fn only_what_could_drop_calls_for_iptables() {
        assert_eq!(
            forward("-A FORWARD -j CNI-FORWARD\n-A FORWARD -j KUBE-FORWARD\n-A FORWARD -j ACCEPT"),
            None
        );
        assert_eq!(forward("-A INPUT -j DROP"), None);
        assert_eq!(forward("-A FORWARD -j DOCKER-USER").as_deref(), Some("DOCKER-USER"));
        assert_eq!(forward("-A FORWARD -i eth0 -j DROP").as_deref(), Some("DROP"));
    }

    #[test]
    fn firewalld_comes_first_and_our_table_last() {
        let seen = |firewalld, iptables: Option<&str>| Seen { firewalld, iptables: iptables.map(Into::into) };
        assert_eq!(automatic(&seen(true, Some("x"))).backend, Backend::Firewalld);
        assert_eq!(
            automatic(&seen(false, Some("x"))),
            Choice { backend: Backend::Iptables, why: "x".into() }
        );
        assert_eq!(automatic(&seen(false, None)).backend, Backend::Nftables);
    }
}
