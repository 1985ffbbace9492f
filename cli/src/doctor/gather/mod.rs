//! Looking at the node: everything that the findings are decided on, read once. What cannot be read is said, not guessed.

mod addresses;
mod firewall;
mod kernel_objects;
mod managers;
mod probe;
mod sockets;

use std::fmt::Display;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use overlay::Previous;

use super::checks;
use super::node::Node;
use crate::ask::{self, AskError};

/// Where to look.
#[derive(Debug, Clone, clap::Args)]
pub struct Places {
    /// The daemon's status socket
    #[arg(long, default_value = ask::SOCKET)]
    pub socket: PathBuf,
    /// The file that the daemon writes for the plugins
    #[arg(long, default_value = "/run/flannel/subnet.env")]
    pub subnet_file: PathBuf,
    /// Where host-local keeps its reservations (its `dataDir`)
    #[arg(long, default_value = "/var/lib/cni/networks")]
    pub data_dir: PathBuf,
    /// Where the runtime has its network configurations
    #[arg(long, default_value = "/etc/cni/net.d")]
    pub conf_dir: PathBuf,
    /// The directory under which the files of network managers are: the host's /, seen from a container
    #[arg(long, default_value = "/")]
    pub root: PathBuf,
}

/// The node, and what could not be looked at.
#[derive(Debug, Default)]
pub struct Gathered {
    /// What was seen.
    pub node: Node,
    /// What was not, and why.
    pub unseen: Vec<String>,
}

impl Gathered {
    /// Looks at everything.
    pub fn look(places: &Places) -> Self {
        let mut gathered = Gathered::default();
        gathered.node.overview = match ask::ask(&places.socket) {
            Ok(overview) => Some(overview),
            // A node of plugins alone has no daemon.
            Err(AskError::NoDaemon(_)) => None,
            Err(error) => gathered.missed("the daemon", &error),
        };
        gathered.node.env = match fs::read_to_string(&places.subnet_file) {
            Ok(text) => Previous::parse(&text),
            Err(error) if error.kind() == ErrorKind::NotFound => Previous::default(),
            Err(error) => {
                gathered.missed(&places.subnet_file.display().to_string(), &error).unwrap_or_default()
            }
        };
        if let Err(error) = kernel_objects::read(&mut gathered.node) {
            gathered.missed::<()>("the kernel's links and routes", &error);
        }
        gathered.firewalls();
        match sockets::listeners() {
            Ok(listeners) => gathered.node.listeners = listeners,
            Err(error) => _ = gathered.missed::<()>("the sockets of this node", &error),
        }
        gathered.holders(places);
        gathered.node.managers = managers::running(&places.root, &gathered.node);
        match probe::paths(&gathered.node) {
            Ok(paths) => gathered.node.paths = paths,
            Err(error) => _ = gathered.missed::<()>("the ways to the peers", &error),
        }
        gathered
    }

    fn firewalls(&mut self) {
        match firewall::tables(&mut self.node) {
            Ok(()) => {}
            Err(error) => _ = self.missed::<()>("the nftables tables", &error),
        }
        for error in firewall::iptables(&mut self.node) {
            self.unseen.push(error);
        }
    }

    /// Reservations; and, if some of them may be dead, the addresses of every namespace.
    fn holders(&mut self, places: &Places) {
        match addresses::reservations(&places.data_dir) {
            Ok(reservations) => self.node.reservations = reservations,
            Err(error) => _ = self.missed::<()>("the reservations of host-local", &error),
        }
        self.node.capacities = addresses::capacities(&places.conf_dir, &self.node);
        if checks::suspects(&self.node).next().is_some() {
            match addresses::lived() {
                Ok(lived) => self.node.lived = lived,
                Err(error) => {
                    // Without that look nothing is known to be dead.
                    self.node.lived = self.node.reservations.iter().map(|r| r.address).collect();
                    self.missed::<()>("the network namespaces of this node", &error);
                }
            }
        }
    }

    fn missed<T>(&mut self, what: &str, error: &dyn Display) -> Option<T> {
        self.unseen.push(format!("{what}: {error}"));
        None
    }
}
