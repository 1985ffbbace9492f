//! A policy: how what was asked for is treated, as a chain that all attachments of one network share.

use attach::identity::digest;
use cni::Cidr;
use ipnetwork::IpNetwork;
use kernel::Family;
use kernel::nft::{Relation, Rule, Verdict};

use crate::condition::Condition;
use crate::conf::{Backend, Conf, Masquerade};
use crate::plan::Plan;
use crate::table::{Filled, Reach, Realm, loopback, not_for_us, postrouting, rule};

/// The treatment of one realm's keys that lead to one network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The keys that it is for.
    pub realm: Realm,
    /// The network of the target.
    network: Cidr,
    masquerade: Masquerade,
    mark: u32,
    conditions: Vec<Condition>,
}

impl Policy {
    /// The policies of a plan: one for each realm that it has keys in.
    #[must_use]
    pub fn all(conf: &Conf, plan: &Plan) -> Vec<Self> {
        let Backend::Nftables { mark, .. } = &conf.backend else { return Vec::new() };
        let used =
            |realm: &Realm| plan.publications.iter().any(|publication| Realm::of(&publication.key) == *realm);
        let policy = |realm: Realm| {
            Some(Self {
                realm,
                network: plan.address(realm.family)?.network(),
                masquerade: conf.masquerade,
                mark: *mark,
                conditions: conf.conditions(realm.family).to_vec(),
            })
        };
        Realm::ALL.into_iter().filter(used).filter_map(policy).collect()
    }

    /// The chain's name: the network, and a digest of what is not the default. No colon, for `nft` to read it back.
    #[must_use]
    pub fn name(&self) -> String {
        let reach = match self.realm.reach {
            Reach::At => "at",
            Reach::Any => "any",
        };
        let plain = format!("{reach}-{}", self.network).replace(':', "_");
        if self.masquerade == Masquerade::Local && self.mark == 0x2000 && self.conditions.is_empty() {
            return plain;
        }
        let rest = format!("{:?} {} {:?}", self.masquerade, self.mark, self.conditions);
        format!("{plain}-{}", digest(&rest, 12))
    }

    /// What stands behind a key of this policy. A jump: where its conditions do not hold, the next map is asked.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        Verdict::jump(self.name())
    }

    /// The chain of the policy, and the one that it needs.
    #[must_use]
    pub fn chains(&self) -> Vec<Filled> {
        let mut chains = vec![Filled { name: self.name(), base: None, rules: self.rules() }];
        if self.masquerade != Masquerade::Off {
            chains.push(postrouting(self.mark));
        }
        chains
    }

    /// What is not for us, or not as it must be, goes back; the rest is marked and translated.
    fn rules(&self) -> Vec<Rule> {
        let mut rules = vec![not_for_us()];
        rules.extend(self.conditions.iter().flat_map(Condition::guards));
        rules.extend(self.sources().into_iter().map(|source| {
            let begun = match source {
                Some(network) => rule().source(Relation::Equal, network),
                None => rule(),
            };
            begun.add_mark(self.mark)
        }));
        rules.push(self.realm.translation(rule()));
        rules
    }

    /// Whose traffic is masqueraded; nothing means everybody's.
    fn sources(&self) -> Vec<Option<IpNetwork>> {
        match (self.masquerade, self.realm.family) {
            (Masquerade::Off, _) => Vec::new(),
            (Masquerade::All, _) => vec![None],
            (Masquerade::Local, Family::V4) => vec![Some(self.network.into()), Some(loopback())],
            (Masquerade::Local, Family::V6) => vec![Some(self.network.into())],
        }
    }
}
