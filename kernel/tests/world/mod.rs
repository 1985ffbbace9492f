//! Nameless namespaces with a client each, and the eyes of iproute2 in them.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "shared by several test programs, each of which uses a part"
)]

use ipnetwork::IpNetwork;
use kernel::{Link, Netns, Rtnl, Start, Veth};
use std::process::Command;

/// A namespace with a client.
pub struct Node {
    pub ns: Netns,
    pub nl: Rtnl,
}

impl Node {
    pub fn new() -> Self {
        let ns = Netns::new_nameless().unwrap();
        let nl = Rtnl::open_in(&ns).unwrap();
        Self { ns, nl }
    }

    /// Runs a program inside and gives its output, with whitespace folded.
    pub fn run(&self, command: &str) -> String {
        let mut words = command.split_whitespace();
        let mut program = Command::new(words.next().unwrap());
        program.args(words);
        let output = self.ns.run(|| program.output()).unwrap().unwrap();
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
    }

    pub fn link(&mut self, name: &str) -> Link {
        self.nl.link(name).unwrap().unwrap_or_else(|| unreachable!("no link {name}"))
    }

    pub fn index(&mut self, name: &str) -> u32 {
        self.link(name).index
    }

    /// Makes a veth pair to another namespace; both ends up. Gives the indices here and there.
    pub fn cable(&mut self, name: &str, other: &mut Self, peer: &str) -> (u32, u32) {
        let veth = plain(name, peer, &other.ns);
        self.nl.create_veth(&veth).unwrap();
        let (here, there) = (self.index(name), other.index(peer));
        other.nl.set_link_up(there).unwrap();
        (here, there)
    }
}

/// A veth pair with nothing special.
pub fn plain<'a>(host_name: &'a str, peer_name: &'a str, peer_netns: &'a Netns) -> Veth<'a> {
    Veth {
        host_name,
        host_mac: None,
        peer_name,
        peer_mac: None,
        peer_netns,
        mtu: None,
        controller: None,
        start: Start::Up,
    }
}

pub fn net(text: &str) -> IpNetwork {
    text.parse().unwrap()
}
