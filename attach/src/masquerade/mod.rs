//! Masquerade: what leaves a network carries the host's address. Made by one of two backends, removed whoever made it.

mod foreign;
pub mod handback;
mod iptables;
mod native;

use cni::{AddResult, Attachment, Cidr};
use kernel::nft::Nft;

use crate::error::Error;
use crate::ruleset::Rules;

/// Who makes the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// We do, over netlink.
    Nftables,
    /// The `iptables` program, in the reference's chains.
    Iptables,
}

/// Whose rules a removal looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Ours only: the network does not masquerade, and the reference made none for it.
    Ours,
    /// The reference's too, of either backend.
    Everyones,
}

/// Masquerades what comes from `addresses` (with the network's prefix length) and leaves their networks.
pub fn add(backend: Backend, attachment: &Attachment, addresses: &[Cidr]) -> Result<(), Error> {
    let mut nft = Nft::open()?;
    match backend {
        Backend::Nftables => native::add(&mut nft, attachment, addresses),
        Backend::Iptables => iptables::add(&mut nft, attachment, addresses),
    }
}

/// Whether the rules are there, made by us or by the reference.
///
/// # Errors
/// [`Error::Mismatch`] naming the address without rule.
pub fn holds(backend: Backend, attachment: &Attachment, addresses: &[Cidr]) -> Result<(), Error> {
    let mut nft = Nft::open()?;
    if foreign::holds(&mut nft, attachment)? || iptables::legacy_holds(attachment)? {
        return Ok(());
    }
    match backend {
        Backend::Nftables => native::holds(&mut nft, attachment, addresses),
        Backend::Iptables => iptables::holds(attachment, addresses),
    }
}

/// Removes the attachment's rules. No program is started unless the kernel holds legacy iptables tables. Every failure is
/// kept, none stops the rest.
pub(crate) fn remove(
    rules: &mut Option<Rules>,
    attachment: &Attachment,
    (previous, extent): (Option<&AddResult>, Extent),
) -> Result<(), Error> {
    let hints: Vec<Cidr> = previous.iter().flat_map(|result| &result.ips).map(|ip| ip.address).collect();
    let mut failures = Vec::new();
    if let Some(rules) = rules {
        failures.extend(native::remove(rules, attachment, &hints).err());
        if extent == Extent::Everyones {
            failures.extend(foreign::remove(rules, attachment).err());
        }
    }
    if extent == Extent::Everyones {
        failures.extend(iptables::remove_legacy(attachment).err());
    }
    Error::join(failures)
}

/// Removes the rules of a network's attachments that are not in `valid`, whoever made them.
pub(crate) fn collect(rules: &mut Option<Rules>, network: &str, valid: &[Attachment]) -> Result<(), Error> {
    let mut failures = Vec::new();
    if let Some(rules) = rules {
        failures.extend(native::collect(&mut rules.nft, network, valid).err());
        failures.extend(foreign::collect(&mut rules.nft, network, valid).err());
    }
    failures.extend(iptables::collect_legacy(network, valid).err());
    Error::join(failures)
}
