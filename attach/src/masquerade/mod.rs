//! Masquerade: what leaves a network carries the host's address. Made by one of two backends, removed whoever made it.

mod foreign;
mod iptables;
mod native;

use std::os::fd::{AsFd, OwnedFd};

use cni::{AddResult, Attachment, Cidr};
use kernel::nft::Nft;

use crate::error::Error;

/// Who makes the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// We do, over netlink.
    Nftables,
    /// The `iptables` program, in the reference's chains.
    Iptables,
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
    if foreign::holds(&mut nft, attachment)? {
        return Ok(());
    }
    if backend == Backend::Iptables {
        return iptables::holds(attachment, addresses);
    }
    for address in addresses {
        if !native::holds(&mut nft, attachment, *address)? {
            return Err(Error::Mismatch {
                what: "masquerade (nftables, table inet ironbridge_masquerade)".into(),
                expected: format!("an element for {}", address.ip()),
                found: "none of this attachment".into(),
            });
        }
    }
    Ok(())
}

/// Removes the attachment's rules, whoever made them: us, or either backend of the reference. No program is started
/// unless the kernel holds legacy iptables tables.
///
/// Returns the socket if something was deleted through it: closing it takes the kernel a grace period.
pub fn remove(attachment: &Attachment, previous: Option<&AddResult>) -> Result<Option<OwnedFd>, Error> {
    let hints: Vec<Cidr> = previous.iter().flat_map(|result| &result.ips).map(|ip| ip.address).collect();
    let mut nft = Nft::open()?;
    let ours = native::remove(&mut nft, attachment, &hints)?;
    let theirs = foreign::remove(&mut nft, attachment)?;
    iptables::remove_legacy(attachment)?;
    if !ours && !theirs {
        return Ok(None);
    }
    // Where it cannot be duplicated, closing it waits: slower, not wrong.
    Ok(nft.as_fd().try_clone_to_owned().ok())
}

/// Removes the rules of a network's attachments that are not in `valid`.
pub fn collect(network: &str, valid: &[Attachment]) -> Result<(), Error> {
    let mut nft = Nft::open()?;
    native::collect(&mut nft, network, valid)?;
    foreign::collect(&mut nft, network, valid)
}
