//! Which rules the kernel should have: flannel's iptables rules in nftables, for one network.

use ipnetwork::IpNetwork;
use kernel::nft::{Base, ChainKind, Family, Hook, NatFlags, Policy, Relation, Rule, priority};
use overlay::{NetworkConfig, Subnets};

use crate::flags::Switch;
use crate::options::{Ports, RuleChoice};

/// The mark with which kube-proxy asks for masquerading by itself: one bit among others (kube-proxy `--iptables-masquerade-bit` 14).
const KUBE_PROXY: u32 = 0x4000;

/// Destinations that many hosts share are never translated.
const MULTICAST: [&str; 2] = ["224.0.0.0/4", "ff00::/8"];

/// One base chain with its rules in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// Its name in our table.
    pub name: String,
    /// Where it hangs.
    pub base: Base,
    /// Its rules.
    pub rules: Vec<Rule>,
}

/// The chains for a network and this node's subnets in it.
pub fn plan(choice: RuleChoice, config: &NetworkConfig, own: &Subnets) -> Vec<Chain> {
    let networks = Subnets { v4: config.v4.map(|f| f.network), v6: config.v6.map(|f| f.network) };
    let pairs: Vec<(IpNetwork, Option<IpNetwork>)> = [(networks.v4, own.v4), (networks.v6, own.v6)]
        .into_iter()
        .filter_map(|(n, s)| Some((n?, s)))
        .collect();
    let [masquerade_name, forward_name] = names(&networks);
    let mut chains = Vec::new();
    if let Some(ports) = choice.masquerade {
        let rules = masquerade(&pairs, ports);
        chains.push(Chain { name: masquerade_name, base: POSTROUTING, rules });
    }
    if choice.forward == Switch::On {
        chains.push(Chain { name: forward_name, base: FORWARD, rules: forward(&pairs) });
    }
    chains
}

/// The names of both chains of a network: two daemons of two networks share our table.
pub fn names(networks: &Subnets) -> [String; 2] {
    // A chain's name may have letters, digits and - _ . / only.
    let network = networks.to_key().replace('&', "_").replace(':', ".");
    [format!("masquerade_{network}"), format!("forward_{network}")]
}

const POSTROUTING: Base = Base {
    kind: ChainKind::Nat,
    hook: Hook::Postrouting,
    priority: priority::SRCNAT,
    policy: Policy::Accept,
};

const FORWARD: Base =
    Base { kind: ChainKind::Filter, hook: Hook::Forward, priority: priority::FILTER, policy: Policy::Accept };

/// flannel-behaviour §10.1 in its order. Its nftables variant has another third return, with which the last rule never
/// matches (§10.2): the iptables variant is the right one.
fn masquerade(pairs: &[(IpNetwork, Option<IpNetwork>)], ports: Ports) -> Vec<Rule> {
    let marked =
        rule("marked by kube-proxy, which masquerades itself").mark_bits(KUBE_PROXY, KUBE_PROXY).give_back();
    let mut rules = vec![marked];
    let flags = match ports {
        Ports::Random => NatFlags::FULLY_RANDOM,
        Ports::Kept => NatFlags::NONE,
    };
    for (network, subnet) in pairs {
        let multicast = MULTICAST.iter().filter_map(|text| text.parse::<IpNetwork>().ok());
        let multicast = multicast.filter(|m| m.is_ipv4() == network.is_ipv4());
        if let Some(subnet) = subnet {
            rules.extend(returns(*network, *subnet));
        }
        let mut leaving = rule("from the cluster to outside").source(Relation::Equal, *network);
        for multicast in multicast {
            leaving = leaving.destination(Relation::NotEqual, multicast);
        }
        rules.push(leaving.masquerade(flags));
        rules.push(
            rule("from this host to pods elsewhere")
                .source(Relation::NotEqual, *network)
                .destination(Relation::Equal, *network)
                .masquerade(flags),
        );
    }
    rules
}

fn returns(network: IpNetwork, subnet: IpNetwork) -> [Rule; 3] {
    let between = |text, (source, from), (destination, to)| {
        rule(text).source(source, from).destination(destination, to).give_back()
    };
    let (is, is_not) = (Relation::Equal, Relation::NotEqual);
    [
        between("from pods of this node to the cluster", (is, subnet), (is, network)),
        between("from the cluster to pods of this node", (is, network), (is, subnet)),
        between("from outside to pods of this node", (is_not, network), (is, subnet)),
    ]
}

fn forward(pairs: &[(IpNetwork, Option<IpNetwork>)]) -> Vec<Rule> {
    let both = |(network, _): &(IpNetwork, Option<IpNetwork>)| {
        [
            rule("from the cluster").source(Relation::Equal, *network).accept(),
            rule("to the cluster").destination(Relation::Equal, *network).accept(),
        ]
    };
    pairs.iter().flat_map(both).collect()
}

fn rule(comment: &str) -> Rule {
    Rule::new(Family::Inet).comment(comment)
}
