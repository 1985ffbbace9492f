//! What an attachment publishes, worked out from its configuration and the result of the plugins before. Pure.

use std::net::SocketAddr;

use cni::{AddResult, Attachment, Call, Cidr};
use ipnetwork::IpNetwork;
use kernel::Family;

use crate::conf::Conf;
use crate::error::{Cause, Error};
use crate::mapping::Key;
use crate::owner::{Owner, host_end, host_links};

/// Everything that the plugin makes for one attachment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Whose it is.
    pub attachment: Attachment,
    /// The comment that says so.
    pub owner: Owner,
    /// The address of the sandbox in each family that it has one in.
    pub addresses: Vec<Cidr>,
    /// The ports.
    pub publications: Vec<Publication>,
    /// Links of the host that the plugins before tell of.
    pub links: Vec<String>,
}

/// A key and where it leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publication {
    /// What a packet asks for.
    pub key: Key,
    /// Where it goes.
    pub target: SocketAddr,
}

impl Plan {
    /// The plan of a call.
    ///
    /// # Errors
    /// [`Error::NotChained`], [`Cause::NoAddress`].
    pub fn of(conf: &Conf, call: &Call) -> Result<Self, Error> {
        let attachment = call.attachment();
        let previous = attach::previous(call, "portmap")?;
        let addresses = addresses(previous, &attachment.ifname);
        if addresses.is_empty() && !conf.mappings.is_empty() {
            return Err(Cause::NoAddress { network: attachment.network, ifname: attachment.ifname }.into());
        }
        let publications = publications(conf, &addresses);
        let owner = Owner::of(&attachment, host_end(previous), publications.len());
        let links = host_links(previous).map(str::to_owned).collect();
        Ok(Self { attachment, owner, addresses, publications, links })
    }

    /// The sandbox's address of a family.
    #[must_use]
    pub fn address(&self, family: Family) -> Option<Cidr> {
        self.addresses.iter().copied().find(|address| Family::from(address.ip()) == family)
    }
}

/// The first address of each family that is the interface's own: its index names `CNI_IFNAME` in the sandbox, or
/// nothing.
fn addresses(previous: &AddResult, ifname: &str) -> Vec<Cidr> {
    let own = |ip: &&cni::Ip| match ip.interface.and_then(|index| previous.interfaces.get(index)) {
        Some(interface) => {
            interface.name == ifname && interface.sandbox.as_deref().is_some_and(|path| !path.is_empty())
        }
        None => true,
    };
    let first = |family| {
        let mut own = previous.ips.iter().filter(own).map(|ip| ip.address);
        own.find(|address| Family::from(address.ip()) == family)
    };
    [first(Family::V4), first(Family::V6)].into_iter().flatten().collect()
}

/// All addresses of a result, each as a network of itself.
pub fn networks(result: &AddResult) -> impl Iterator<Item = IpNetwork> + use<'_> {
    result.ips.iter().map(|ip| IpNetwork::from(ip.address.ip()))
}

/// A family that the sandbox has no address in is left out, as in the reference: a list for both is the usual one.
fn publications(conf: &Conf, addresses: &[Cidr]) -> Vec<Publication> {
    let in_family = |address: &Cidr| {
        let ip = address.ip();
        let mappings = conf.mappings.iter();
        mappings.filter_map(move |mapping| {
            let key = mapping.key(Family::from(ip))?;
            Some(Publication { key, target: SocketAddr::new(ip, mapping.container_port) })
        })
    };
    addresses.iter().flat_map(in_family).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(json: &str) -> AddResult {
        AddResult::decode(json.as_bytes(), cni::Version::V1_0_0).unwrap()
    }

    #[test]
    fn the_first_address_of_each_family_of_this_interface_is_the_target() {
        let result = result(
            r#"{"cniVersion":"1.0.0","interfaces":[{"name":"cni0"},{"name":"veth1"},{"name":"eth0","sandbox":"/x"},{"name":"eth1","sandbox":"/x"}],
            "ips":[{"address":"10.9.0.2/24","interface":3},{"address":"10.1.0.2/24","interface":2},{"address":"10.2.0.2/24","interface":2},
            {"address":"fd00::2/64"}]}"#,
        );
        let found: Vec<String> = addresses(&result, "eth0").iter().map(ToString::to_string).collect();
        assert_eq!(found, ["10.1.0.2/24", "fd00::2/64"]);
        let found: Vec<String> = addresses(&result, "eth1").iter().map(ToString::to_string).collect();
        assert_eq!(found, ["10.9.0.2/24", "fd00::2/64"]);
    }
}
