//! Real traffic between pods, and out of the cluster: the demo's verdict.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use kernel::Netns;

use super::error::Error;
use super::interrupt::Interrupt;
use super::pods::{IFNAME, Pod};
use super::probe;
use super::world::{OUTSIDE, World};

/// How pods are related.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Path {
    /// Through the node's bridge.
    SameNode,
    /// Through both nodes' bridges and the route between them.
    OtherNode,
    /// Back to itself.
    Hairpin,
    /// To an address that is in no network of the cluster.
    Outside,
}

impl Path {
    /// For the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::SameNode => "same node",
            Self::OtherNode => "other node",
            Self::Hairpin => "hairpin to self",
            Self::Outside => "out, masqueraded",
        }
    }
}

/// One probe's outcome: a remark, or what went wrong.
pub type Outcome = Result<String, String>;

/// One row of the table.
pub struct Row {
    /// Name of the pod that begins.
    pub from: String,
    /// Name of the one that answers.
    pub to: String,
    /// Between the two.
    pub path: Path,
    /// `(protocol, outcome)`.
    pub outcomes: Vec<(&'static str, Outcome)>,
}

impl Row {
    /// Whether all of it went well.
    pub fn passed(&self) -> bool {
        self.outcomes.iter().all(|(_, outcome)| outcome.is_ok())
    }
}

/// Every probe there is. `tell` is called before each row.
pub fn run(
    world: &World,
    pods: &[Pod],
    interrupt: &Interrupt,
    tell: impl Fn(&str),
) -> Result<Vec<Row>, Error> {
    let mut rows = Vec::new();
    for (from, to, path) in pairs(pods, world.nodes.len()) {
        interrupt.check()?;
        tell(&format!("{} → {}", from.name, to.name));
        rows.push(between(from, to, path));
    }
    for pod in pods {
        interrupt.check()?;
        tell(&format!("{} → itself, and out", pod.name));
        rows.push(hairpin(pod));
        rows.extend(world.nodes.get(pod.node).map(|node| outside(world, pod, node.address)));
    }
    rows.sort_by_key(|row| row.path);
    Ok(rows)
}

/// All pairs on one node; between nodes, the first pods of each node and the next, both ways.
fn pairs(pods: &[Pod], nodes: usize) -> Vec<(&Pod, &Pod, Path)> {
    let on = |node: usize| pods.iter().filter(move |pod| pod.node == node);
    let mut all = Vec::new();
    for node in 0..nodes {
        for from in on(node) {
            let others = on(node).filter(|to| to.name != from.name);
            all.extend(others.map(|to| (from, to, Path::SameNode)));
        }
        let next = (node + 1) % nodes;
        if let (Some(here), Some(there)) = (on(node).next(), on(next).next())
            && next != node
        {
            all.push((here, there, Path::OtherNode));
            // With two nodes, the way back is the second node's way on.
            if nodes > 2 {
                all.push((there, here, Path::OtherNode));
            }
        }
    }
    all
}

fn between(from: &Pod, to: &Pod, path: Path) -> Row {
    let outcomes = vec![
        ("ICMP", echoed(probe::icmp(&from.netns, to.address))),
        ("TCP", seen_as(probe::tcp(&from.netns, &to.netns, to.address), from.address)),
        ("UDP", seen_as(probe::udp(&from.netns, &to.netns, to.address), from.address)),
    ];
    Row { from: from.name.clone(), to: to.name.clone(), path, outcomes }
}

fn hairpin(pod: &Pod) -> Row {
    let back = probe::reflected(&pod.netns, IFNAME).map(|()| "frame came back".to_owned());
    let outcomes = vec![
        ("bridge", back.map_err(|e| reason(&e))),
        ("TCP", seen_as(probe::tcp(&pod.netns, &pod.netns, pod.address), pod.address)),
        ("UDP", seen_as(probe::udp(&pod.netns, &pod.netns, pod.address), pod.address)),
    ];
    Row { from: pod.name.clone(), to: pod.name.clone(), path: Path::Hairpin, outcomes }
}

/// The outside has no route to a pod: it can answer only what bears the node's address.
fn outside(world: &World, pod: &Pod, node: Ipv4Addr) -> Row {
    let there: &Netns = &world.outside;
    let outcomes = vec![
        ("ICMP", echoed(probe::icmp(&pod.netns, OUTSIDE))),
        ("TCP", seen_as(probe::tcp(&pod.netns, there, OUTSIDE), node)),
        ("UDP", seen_as(probe::udp(&pod.netns, there, OUTSIDE), node)),
    ];
    Row { from: pod.name.clone(), to: OUTSIDE.to_string(), path: Path::Outside, outcomes }
}

fn echoed(result: io::Result<Duration>) -> Outcome {
    result.map(|time| format!("{:.2} ms", time.as_secs_f64() * 1000.0)).map_err(|e| reason(&e))
}

/// The answering side must have seen the address that belongs there: a pod's own inside the cluster, the node's outside.
fn seen_as(result: io::Result<IpAddr>, expected: Ipv4Addr) -> Outcome {
    match result {
        Ok(seen) if seen == expected => Ok(format!("from {seen}")),
        Ok(seen) => Err(format!("came from {seen}, not {expected}")),
        Err(e) => Err(reason(&e)),
    }
}

fn reason(error: &io::Error) -> String {
    // EAGAIN is how a receive timeout ends (socket(7)).
    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) {
        return "no answer".to_owned();
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pods(nodes: usize) -> Vec<Pod> {
        let pod = |node: usize, letter: char| Pod {
            name: format!("{node}{letter}"),
            node,
            netns: Netns::current().unwrap(),
            address: Ipv4Addr::LOCALHOST,
            gateway: None,
        };
        (0..nodes).flat_map(|node| [pod(node, 'a'), pod(node, 'b')]).collect()
    }

    fn names(nodes: usize) -> Vec<String> {
        let pods = pods(nodes);
        pairs(&pods, nodes).into_iter().map(|(a, b, _)| format!("{}-{}", a.name, b.name)).collect()
    }

    #[test]
    fn every_relation_is_probed_both_ways_and_none_twice() {
        assert_eq!(names(1), ["0a-0b", "0b-0a"]);
        assert_eq!(names(2), ["0a-0b", "0b-0a", "0a-1a", "1a-1b", "1b-1a", "1a-0a"]);
        let three = names(3);
        for pair in ["0a-1a", "1a-0a", "1a-2a", "2a-1a", "2a-0a", "0a-2a"] {
            assert_eq!(three.iter().filter(|p| *p == pair).count(), 1, "{pair}");
        }
    }

    #[test]
    fn traffic_that_arrives_with_the_wrong_source_has_failed() {
        let expected = Ipv4Addr::new(192, 0, 2, 11);
        assert!(seen_as(Ok(expected.into()), expected).is_ok());
        let wrong = seen_as(Ok(Ipv4Addr::LOCALHOST.into()), expected).unwrap_err();
        assert_eq!(wrong, "came from 127.0.0.1, not 192.0.2.11");
        assert_eq!(seen_as(Err(io::ErrorKind::WouldBlock.into()), expected).unwrap_err(), "no answer");
    }
}
