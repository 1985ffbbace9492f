//! Which link leads to the other nodes, and which addresses of it to publish: flannel's rules, on one observation of the node.

mod follow;
mod observe;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;
use overlay::{BackendConfig, LeaseAttributes, NetworkConfig, Uplink};

use crate::options::{UplinkChoice, Wish};

pub use follow::Follower;
pub use observe::{find, observe};

/// The uplink and what peers are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// The link.
    pub uplink: Uplink,
    /// The IPv4 address that peers use.
    pub v4: Option<Ipv4Addr>,
    /// The IPv6 address that peers use.
    pub v6: Option<Ipv6Addr>,
    /// Why this link, in words.
    pub why: String,
}

impl Chosen {
    /// The addresses that peers use, IPv4 first.
    pub fn published(&self) -> Vec<IpAddr> {
        self.v4.map(IpAddr::from).into_iter().chain(self.v6.map(IpAddr::from)).collect()
    }

    /// The uplink's own addresses for the peers' traffic: behind a translator they are not those that the peers use.
    pub fn carriers(&self) -> Vec<IpAddr> {
        let own = |published| overlay::local_address(&self.uplink, Some(published));
        self.published().into_iter().filter_map(own).collect()
    }

    /// A lease's attributes with these addresses in place of those that it had.
    pub fn publish(&self, attributes: &LeaseAttributes) -> LeaseAttributes {
        LeaseAttributes {
            public_ip: self.v4.unwrap_or(Ipv4Addr::UNSPECIFIED),
            public_ipv6: self.v6,
            ..attributes.clone()
        }
    }

    /// Whether both are the same addresses of the same link.
    fn is_at(&self, other: &Chosen) -> bool {
        self.uplink.name == other.uplink.name
            && self.published() == other.published()
            && self.carriers() == other.carriers()
    }
}

/// Why there is no uplink.
#[derive(Debug, thiserror::Error)]
pub enum UplinkError {
    #[error("no link fits {wanted}; there are: {there}; choose one with --iface")]
    NoneFits { wanted: String, there: String },
    #[error(
        "no default route leads out of this node, so the uplink cannot be guessed; choose one with --iface"
    )]
    NoDefaultRoute,
    #[error("the default routes of IPv4 ({v4}) and IPv6 ({v6}) use different links; choose one with --iface")]
    TwoDefaultRoutes { v4: String, v6: String },
    #[error("no link has the public address {0}; choose the uplink with --iface")]
    NoOwner(IpAddr),
    #[error("uplink {link} has no {family} address, which the network needs")]
    NoAddress { link: String, family: &'static str },
    #[error(
        "host-gw cannot work behind address translation: --public-ip {public} is not an address of uplink {link} ({own})"
    )]
    Nat { public: Ipv4Addr, link: String, own: String },
    #[error(transparent)]
    Kernel(#[from] kernel::Error),
}

/// What is known of the node's links when the uplink is chosen.
#[derive(Debug, Default)]
pub struct Node {
    /// Every link with its usable addresses, best first.
    pub links: Vec<Candidate>,
    /// Interface index of the IPv4 default route.
    pub default_v4: Option<u32>,
    /// Interface index of the IPv6 default route.
    pub default_v6: Option<u32>,
    /// For each address of a [`Wish::Reach`]: the interface of the kernel's route to it.
    pub routes: Vec<(IpAddr, u32)>,
}

/// One link.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Candidate {
    /// The link with all its addresses.
    pub uplink: Uplink,
    /// Its usable IPv4 addresses, best first.
    pub usable_v4: Vec<Ipv4Addr>,
    /// Its usable IPv6 addresses, best first.
    pub usable_v6: Vec<Ipv6Addr>,
}

/// Chooses by the order of flannel-behaviour §3.
pub fn choose(node: &Node, choice: &UplinkChoice, config: &NetworkConfig) -> Result<Chosen, UplinkError> {
    let (candidate, why) = if choice.wishes.is_empty() {
        guess(node, choice, config)?
    } else {
        let fits = |wish: &Wish| Some((node.fitting(wish, config)?, format!("the first that fits: {wish}")));
        choice.wishes.iter().find_map(fits).ok_or_else(|| none_fits(node, choice))?
    };
    publish((candidate, why), choice, config)
}

fn guess<'a>(
    node: &'a Node,
    choice: &UplinkChoice,
    config: &NetworkConfig,
) -> Result<(&'a Candidate, String), UplinkError> {
    let public = choice
        .public_ip
        .filter(|_| config.v4.is_some())
        .map(IpAddr::from)
        .or(choice.public_ipv6.filter(|_| config.v6.is_some()).map(IpAddr::from));
    if let Some(address) = public {
        let owner = node.owner(address).ok_or(UplinkError::NoOwner(address))?;
        return Ok((owner, format!("it has the public address {address}")));
    }
    let v4 = node.default_v4.filter(|_| config.v4.is_some());
    let v6 = node.default_v6.filter(|_| config.v6.is_some());
    let name = |index| node.at(index).map_or_else(|| index.to_string(), |c| c.uplink.name.clone());
    match (v4, v6) {
        (Some(v4), Some(v6)) if v4 != v6 => Err(UplinkError::TwoDefaultRoutes { v4: name(v4), v6: name(v6) }),
        (Some(index), _) | (None, Some(index)) => {
            let candidate = node.at(index).ok_or(UplinkError::NoDefaultRoute)?;
            Ok((candidate, "the default route leaves by it, and no flag says otherwise".to_owned()))
        }
        (None, None) => Err(UplinkError::NoDefaultRoute),
    }
}

fn publish(
    (candidate, why): (&Candidate, String),
    choice: &UplinkChoice,
    config: &NetworkConfig,
) -> Result<Chosen, UplinkError> {
    let link = candidate.uplink.name.clone();
    let v4 = choice.public_ip.or(candidate.usable_v4.first().copied()).filter(|_| config.v4.is_some());
    let v6 = choice.public_ipv6.or(candidate.usable_v6.first().copied()).filter(|_| config.v6.is_some());
    if config.v4.is_some() && candidate.usable_v4.is_empty() {
        return Err(UplinkError::NoAddress { link, family: "IPv4" });
    }
    if config.v6.is_some() && candidate.usable_v6.is_empty() {
        return Err(UplinkError::NoAddress { link, family: "IPv6" });
    }
    // A tunnel starts from the uplink's own address, whatever a translator makes of it.
    let foreign = v4.filter(|ip| !candidate.uplink.owns((*ip).into()));
    if let Some(public) = foreign.filter(|_| config.backend == BackendConfig::HostGw) {
        let own = candidate.uplink.v4.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        return Err(UplinkError::Nat { public, link, own });
    }
    Ok(Chosen { uplink: candidate.uplink.clone(), v4, v6, why })
}

impl Node {
    fn fitting(&self, wish: &Wish, config: &NetworkConfig) -> Option<&Candidate> {
        match wish {
            Wish::Name(name) => self.links.iter().find(|c| c.uplink.name == *name),
            Wish::Address(address) => self.owner(*address),
            Wish::Pattern(pattern) => {
                let by_address = |c: &&Candidate| c.addresses_match(pattern, config);
                let by_name = |c: &&Candidate| pattern.is_match(&c.uplink.name);
                self.links.iter().find(by_address).or_else(|| self.links.iter().find(by_name))
            }
            Wish::Reach(address) => {
                let (_, index) = self.routes.iter().find(|(to, _)| to == address)?;
                self.at(*index)
            }
        }
    }

    fn owner(&self, address: IpAddr) -> Option<&Candidate> {
        self.links.iter().find(|c| c.uplink.owns(address))
    }

    fn at(&self, index: u32) -> Option<&Candidate> {
        self.links.iter().find(|c| c.uplink.index == index)
    }
}

impl Candidate {
    /// In a dual-stack network an address of each family must match.
    fn addresses_match(&self, pattern: &regex_lite::Regex, config: &NetworkConfig) -> bool {
        let v4 = self.usable_v4.iter().any(|ip| pattern.is_match(&ip.to_string()));
        let v6 = self.usable_v6.iter().any(|ip| pattern.is_match(&ip.to_string()));
        (config.v4.is_none() || v4) && (config.v6.is_none() || v6)
    }
}

fn none_fits(node: &Node, choice: &UplinkChoice) -> UplinkError {
    let wanted = choice.wishes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let networks = |uplink: &Uplink| {
        let all: Vec<String> = uplink.v4.iter().chain(&uplink.v6).map(IpNetwork::to_string).collect();
        all.join(" ")
    };
    let there: Vec<String> =
        node.links.iter().map(|c| format!("{} ({})", c.uplink.name, networks(&c.uplink))).collect();
    UplinkError::NoneFits { wanted, there: there.join(", ") }
}

#[cfg(test)]
mod tests;
