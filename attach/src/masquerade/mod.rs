//! Masquerade: what leaves a network carries the host's address. Made by one of two backends, removed whoever made it.

mod foreign;
pub mod handback;
mod iptables;
mod native;

use std::os::fd::{AsFd, OwnedFd};

use cni::{AddResult, Attachment, Cidr};
use kernel::nft::Nft;

use crate::error::Error;
use crate::ruleset::open_if_there;

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
    match backend {
        Backend::Nftables => native::add(&mut Nft::open()?, attachment, addresses),
        Backend::Iptables => iptables::add(attachment, addresses),
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

/// Removes the attachment's rules. No program is started unless the kernel holds legacy iptables tables. Every failure
/// is kept, none stops the rest.
///
/// Returns the socket if something was deleted through it: closing it takes the kernel a grace period.
pub fn remove(
    attachment: &Attachment,
    previous: Option<&AddResult>,
    extent: Extent,
) -> Result<Option<OwnedFd>, Error> {
    let hints: Vec<Cidr> = previous.iter().flat_map(|result| &result.ips).map(|ip| ip.address).collect();
    let mut failures = Vec::new();
    let mut socket = None;
    if let Some(mut nft) = open_if_there()? {
        let ours = native::remove(&mut nft, attachment, &hints);
        let theirs = match extent {
            Extent::Ours => Ok(false),
            Extent::Everyones => foreign::remove(&mut nft, attachment),
        };
        let mut deleted = false;
        for outcome in [ours, theirs] {
            match outcome {
                Ok(any) => deleted |= any,
                Err(failure) => failures.push(failure),
            }
        }
        // Where it cannot be duplicated, closing it waits: slower, not wrong.
        socket = deleted.then(|| nft.as_fd().try_clone_to_owned().ok()).flatten();
    }
    if extent == Extent::Everyones {
        failures.extend(iptables::remove_legacy(attachment).err());
    }
    Error::join(failures).map(|()| socket)
}

/// Removes the rules of a network's attachments that are not in `valid`, whoever made them.
pub fn collect(network: &str, valid: &[Attachment]) -> Result<(), Error> {
    let mut failures = Vec::new();
    if let Some(mut nft) = open_if_there()? {
        failures.extend(native::collect(&mut nft, network, valid).err());
        failures.extend(foreign::collect(&mut nft, network, valid).err());
    }
    failures.extend(iptables::collect_legacy(network, valid).err());
    Error::join(failures)
}
