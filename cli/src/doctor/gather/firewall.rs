//! What decides on forwarded packets, whose the elements of our tables are, and who publishes which port.

use std::process::{Command, Stdio};

use ipnetwork::IpNetwork;
use kernel::nft::{Expression, Family, Hook, Nft, Policy, RuleState, Table, Verdict};

use super::super::node::{Accept, Diverted, ForwardChain, Node, OwnedElement, Published};

/// What the tables of our plugins begin with.
const OURS: &str = "ironbridge_";
/// The table in which iptables over nftables keeps FORWARD: read through iptables itself.
const IPTABLES: &str = "filter";
const KUBE_PROXY: &str = "KUBE-SERVICES";

/// Reads nftables.
pub fn tables(node: &mut Node) -> Result<(), kernel::Error> {
    let mut nft = Nft::open()?;
    for family in [Family::Ip, Family::Ip6, Family::Inet, Family::Bridge] {
        for table in nft.tables(family)? {
            let table = Table::new(family, &table.name);
            forward_chains(&mut nft, table, node)?;
            if table.name.starts_with(OURS) {
                owned_elements(&mut nft, table, node)?;
            }
        }
    }
    let published = portmap::listing::published(&mut nft)?;
    node.published = published
        .into_iter()
        .map(|(key, owner)| Published { key, owner: owner.describe().to_owned() })
        .collect();
    Ok(())
}

fn forward_chains(nft: &mut Nft, table: Table<'_>, node: &mut Node) -> Result<(), kernel::Error> {
    let networks = node.pod_networks();
    for chain in nft.chains(table)? {
        node.kube_proxy |= chain.name == KUBE_PROXY;
        let is_iptables = table.name == IPTABLES && matches!(table.family, Family::Ip | Family::Ip6);
        let Some(base) = chain.base.filter(|base| base.hook == Hook::Forward && !is_iptables) else {
            continue;
        };
        if base.policy != Policy::Drop {
            continue;
        }
        let rules = nft.rules(table.chain(&chain.name))?;
        let accepted = networks.iter().filter(|network| rules.iter().any(|rule| lets_pass(rule, **network)));
        node.forward.push(ForwardChain {
            name: format!("the nftables chain {}", table.chain(&chain.name)),
            families: families(table.family),
            drops: true,
            accepts: accepted.map(|network| Accept::Network(*network)).collect(),
        });
    }
    Ok(())
}

/// A bridge's chain sees frames, which are not forwarded yet.
fn families(family: Family) -> Vec<kernel::Family> {
    match family {
        Family::Ip => vec![kernel::Family::V4],
        Family::Ip6 => vec![kernel::Family::V6],
        Family::Inet => vec![kernel::Family::V4, kernel::Family::V6],
        Family::Bridge => Vec::new(),
    }
}

/// Whether a rule accepts, or goes on to another chain, for what compares equal to the network's own bytes.
fn lets_pass(rule: &RuleState, network: IpNetwork) -> bool {
    let decides = rule.expressions.iter().any(|expression| {
        matches!(expression, Expression::Verdict(Verdict::Accept | Verdict::Jump(_) | Verdict::Goto(_)))
    });
    let bytes = match network {
        IpNetwork::V4(network) => network.network().octets().to_vec(),
        IpNetwork::V6(network) => network.network().octets().to_vec(),
    };
    let prefix = bytes.get(..usize::from(network.prefix() / 8)).unwrap_or_default();
    let names_it = rule.expressions.iter().any(|expression| {
        matches!(expression, Expression::Compare { value, .. } if !prefix.is_empty() && value.as_bytes().starts_with(prefix))
    });
    decides && names_it
}

fn owned_elements(nft: &mut Nft, table: Table<'_>, node: &mut Node) -> Result<(), kernel::Error> {
    for set in nft.sets(table)? {
        let name = table.set(&set.name);
        for comment in nft.elements(name)?.into_iter().filter_map(|element| element.comment) {
            node.elements.push(OwnedElement { place: format!("the nftables set {name}"), comment });
        }
    }
    Ok(())
}

/// The programs of iptables, each with the tables that it reads; the legacy ones only where the kernel has their tables.
const PROGRAMS: [(&str, &str, Option<&str>); 4] = [
    ("iptables", "iptables-nft-save", None),
    ("ip6tables", "ip6tables-nft-save", None),
    ("iptables-legacy", "iptables-legacy-save", Some("/proc/thread-self/net/ip_tables_names")),
    ("ip6tables-legacy", "ip6tables-legacy-save", Some("/proc/thread-self/net/ip6_tables_names")),
];

/// Reads iptables through its own programs, since only they know its rules' form. The answer is what could not be read.
pub fn iptables(node: &mut Node) -> Vec<String> {
    let mut unseen = Vec::new();
    for (name, program, names) in PROGRAMS {
        let has_tables =
            |path| std::fs::read_to_string(path).is_ok_and(|text: String| !text.trim().is_empty());
        if names.is_some_and(|path| !has_tables(path)) {
            continue;
        }
        match Command::new(program).stdin(Stdio::null()).output() {
            Ok(output) if output.status.success() => {
                read_saved(&String::from_utf8_lossy(&output.stdout), name, node);
            }
            Ok(output) => {
                let told = String::from_utf8_lossy(&output.stderr);
                unseen.push(format!("{program}: {}", told.trim()));
            }
            // No program, no rules of it, unless they are the kernel's legacy ones.
            Err(error) => unseen.extend(names.map(|_| format!("{program}: {error}"))),
        }
    }
    unseen
}

/// The text of `iptables-save`: the FORWARD chain, kube-proxy's chains and what leads ports elsewhere.
fn read_saved(text: &str, name: &str, node: &mut Node) {
    let mut table = "";
    let mut rules: Vec<&str> = Vec::new();
    for line in text.lines() {
        if let Some(next) = line.strip_prefix('*') {
            table = next;
        }
        node.kube_proxy |= line.starts_with(&format!(":{KUBE_PROXY} "));
        if table == "nat" {
            node.diverted.extend(diverted(line));
        }
        if table == "filter" {
            rules.push(line);
        }
    }
    let policy = rules.iter().find_map(|line| line.strip_prefix(":FORWARD ")?.split(' ').next());
    if let Some(policy) = policy {
        let accepts = reachable(&rules).into_iter().filter_map(accept).collect();
        let short = name.replace("-legacy", " (legacy)");
        node.forward.push(ForwardChain {
            name: format!("{short}' chain FORWARD"),
            families: families(if name.starts_with("ip6") { Family::Ip6 } else { Family::Ip }),
            drops: policy == "DROP",
            accepts,
        });
    }
}

/// The rules of FORWARD and of every chain that it leads to.
fn reachable<'a>(rules: &[&'a str]) -> Vec<&'a str> {
    let mut chains = vec!["FORWARD"];
    let mut found = Vec::new();
    let mut next = 0;
    while let Some(chain) = chains.get(next).copied() {
        for rule in rules
            .iter()
            .filter(|rule| rule.strip_prefix("-A ").is_some_and(|r| r.split(' ').next() == Some(chain)))
        {
            found.push(*rule);
            if let Some(target) = argument(rule, "-j").or(argument(rule, "-g"))
                && !chains.contains(&target)
            {
                chains.push(target);
            }
        }
        next += 1;
    }
    found
}

/// What a rule accepts, if it does and is for new connections too.
fn accept(rule: &str) -> Option<Accept> {
    if argument(rule, "-j") != Some("ACCEPT") || rule.contains(" ! ") {
        return None;
    }
    if let Some(network) = argument(rule, "-s").or(argument(rule, "-d")) {
        return network.parse().ok().map(Accept::Network);
    }
    if let Some(link) = argument(rule, "-i").or(argument(rule, "-o")) {
        return Some(Accept::Link(link.to_owned()));
    }
    let is_bare = rule.split_whitespace().count() == 4;
    is_bare.then_some(Accept::Everything)
}

fn diverted(line: &str) -> Option<Diverted> {
    argument(line, "-j").filter(|target| *target == "DNAT")?;
    let protocol = argument(line, "-p")?.to_owned();
    let port = argument(line, "--dport")?.parse().ok()?;
    Some(Diverted { protocol, port, rule: line.to_owned() })
}

/// The word after an option.
fn argument<'a>(line: &'a str, option: &str) -> Option<&'a str> {
    let mut words = line.split_whitespace();
    words.find(|word| *word == option)?;
    words.next()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCKER: &str = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [3:180]\n:DOCKER - [0:0]\n\
        -A FORWARD -j DOCKER\n-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n\
        -A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -j ACCEPT\n-A FORWARD -i docker0 ! -o docker0 -j ACCEPT\n\
        -A UNUSED -s 10.244.0.0/16 -j ACCEPT\nCOMMIT\n*nat\n:KUBE-SERVICES - [0:0]\n\
        -A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80\nCOMMIT\n";

    fn read(text: &str) -> Node {
        let mut node = Node::default();
        read_saved(text, "iptables", &mut node);
        node
    }

    #[test]
    fn what_docker_leaves_drops_and_accepts_nothing_of_ours() {
        let node = read(DOCKER);
        let [chain] = node.forward.as_slice() else { panic!("{:?}", node.forward) };
        assert!(chain.drops && chain.accepts.is_empty(), "{chain:?}");
        assert!(node.kube_proxy);
        assert_eq!((node.diverted[0].protocol.as_str(), node.diverted[0].port), ("tcp", 8080));
    }

    #[test]
    fn a_rule_counts_where_it_is_reached() {
        let text = DOCKER.replace(
            "-A FORWARD -j DOCKER\n",
            "-A FORWARD -j UNUSED\n-A UNUSED -i cni0 -j ACCEPT\n-A FORWARD -j ACCEPT\n",
        );
        let accepts = &read(&text).forward[0].accepts;
        let network = "10.244.0.0/16".parse().unwrap();
        assert!(
            accepts.contains(&Accept::Network(network)) && accepts.contains(&Accept::Link("cni0".into()))
        );
        assert!(accepts.contains(&Accept::Everything));
    }
}
