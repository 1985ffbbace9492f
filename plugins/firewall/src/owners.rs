//! Whose each address is, read from our table, and what leaves it with its owner.

use std::net::IpAddr;

use attach::Error;
use kernel::nft::{Element, Nft, SetName, Transaction};

use crate::table::{INSIDE, ISOLATED, PODS4, PODS6, POLICED, bridge_of, one, pair, set_of};

/// Whose an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Nobody's that we know of.
    Nobody,
    /// Of what was asked for.
    Ours,
    /// Of another attachment.
    Another,
}

/// Whose `address` is, as `ours` reads comments.
pub fn owner(nft: &mut Nft, address: IpAddr, ours: impl Fn(&str) -> bool) -> Result<Owner, Error> {
    Ok(match nft.find(set_of(address), address)? {
        None => Owner::Nobody,
        Some(element) if element.comment.as_deref().is_some_and(ours) => Owner::Ours,
        Some(_) => Owner::Another,
    })
}

/// Everything that is in the table and has an owner.
#[derive(Debug, Default)]
pub struct Listing {
    addresses: Vec<Element>,
    ports: Vec<Element>,
}

/// What leaves the table.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Leaving {
    /// Addresses.
    pub addresses: Vec<IpAddr>,
    /// Bridges whose last attachment leaves.
    pub bridges: Vec<String>,
    /// Isolated ports.
    pub ports: Vec<String>,
}

impl Listing {
    /// Reads the table; nothing if it was never made.
    pub fn read(nft: &mut Nft) -> Result<Self, Error> {
        let mut addresses = elements(nft, PODS4)?;
        addresses.extend(elements(nft, PODS6)?);
        Ok(Self { addresses, ports: elements(nft, ISOLATED)? })
    }

    /// What `ours` says to be ours, and which bridges that leaves without any attachment.
    #[must_use]
    pub fn leaving(&self, ours: impl Fn(&str) -> bool) -> Leaving {
        let is_ours = |element: &&Element| element.comment.as_deref().is_some_and(&ours);
        let mut leaving = Leaving::default();
        for element in self.addresses.iter().filter(is_ours) {
            leaving.addresses.extend(address(element));
            let Some(bridge) = bridge_of(element) else { continue };
            let stays =
                self.addresses.iter().any(|other| !is_ours(&other) && bridge_of(other) == Some(bridge));
            if !stays && !leaving.bridges.iter().any(|known| known == bridge) {
                leaving.bridges.push(bridge.to_owned());
            }
        }
        let ports = self.ports.iter().filter(is_ours).filter_map(|port| port.key.ifname_at(0));
        leaving.ports.extend(ports);
        leaving
    }

    /// Whether an address is on that bridge, by its comment.
    #[must_use]
    pub fn serves(&self, bridge: &str) -> bool {
        self.addresses.iter().any(|element| bridge_of(element) == Some(bridge))
    }

    /// Whether the address has an owner.
    #[must_use]
    pub fn has(&self, wanted: IpAddr) -> bool {
        self.addresses.iter().any(|element| address(element) == Some(wanted))
    }
}

impl Leaving {
    /// Whether nothing leaves.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty() && self.ports.is_empty()
    }
}

/// The elements of a set; none if it was never made.
fn elements(nft: &mut Nft, set: SetName<'_>) -> Result<Vec<Element>, Error> {
    match nft.elements(set) {
        Err(refusal) if refusal.is_absent() => Ok(Vec::new()),
        found => Ok(found?),
    }
}

fn address(element: &Element) -> Option<IpAddr> {
    match element.key.as_bytes().len() {
        4 => element.key.ipv4_at(0).map(IpAddr::V4),
        _ => element.key.ipv6_at(0).map(IpAddr::V6),
    }
}

/// Puts the removal of what leaves into `removal`.
pub fn remove(removal: &mut Transaction, leaving: &Leaving) {
    for address in &leaving.addresses {
        removal.destroy_elements(set_of(*address), &[Element::new(*address)]);
    }
    for bridge in &leaving.bridges {
        removal.destroy_elements(POLICED, &[one(bridge)]).destroy_elements(INSIDE, &[pair(bridge)]);
    }
    for port in &leaving.ports {
        removal.destroy_elements(ISOLATED, &[one(port)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::{Policed, Policy, Wanted};
    use crate::table::comment;
    use attach::identity::Mark;
    use cni::Attachment;

    fn wanted(container: &str, address: &str, bridge: Option<&str>) -> Wanted {
        Wanted {
            attachment: Attachment {
                network: "net".into(),
                container_id: container.into(),
                ifname: "eth0".into(),
            },
            addresses: vec![address.parse().unwrap()],
            policed: bridge.map(|bridge| Policed {
                bridge: bridge.into(),
                ports: vec![],
                policy: Policy::SameBridge,
            }),
        }
    }

    fn listing(all: &[Wanted]) -> Listing {
        let element = |wanted: &Wanted| Element::new(wanted.addresses[0]).with_comment(comment(wanted));
        Listing { addresses: all.iter().map(element).collect(), ports: Vec::new() }
    }

    #[test]
    fn a_bridges_policy_leaves_with_its_last_attachment_weakness_54() {
        let (a, b) = (wanted("a", "10.0.0.2", Some("cni0")), wanted("b", "10.0.0.3", Some("cni0")));
        let of_a = |comment: &str| Mark::is_on(comment, &a.attachment);
        let both = listing(&[a.clone(), b, wanted("c", "10.1.0.2", Some("cni1"))]);
        assert_eq!(both.leaving(of_a), Leaving { addresses: a.addresses.clone(), ..Leaving::default() });
        let alone = listing(&[a.clone(), wanted("c", "fd00::2", None)]);
        assert_eq!(alone.leaving(of_a).bridges, ["cni0"]);
    }

    #[test]
    fn a_network_named_like_our_comments_does_not_mislead() {
        let mut odd = wanted("a", "10.0.0.2", None);
        odd.attachment.network = "x, on: cni0".into();
        assert_eq!(bridge_of(&Element::new(odd.addresses[0]).with_comment(comment(&odd))), None);
        odd.policed = Some(Policed { bridge: "br1".into(), ports: Vec::new(), policy: Policy::Isolated });
        let element = Element::new(odd.addresses[0]).with_comment(comment(&odd));
        assert_eq!(bridge_of(&element), Some("br1"));
    }
}
