//! DEL and GC of a veth attachment, by identity: rules first, then the pair, then the addresses.

use cni::{Attachment, Call};
use kernel::{Link, Rtnl, linger};

use crate::error::Error;
use crate::guard;
use crate::identity::{Mark, host_veth};
use crate::masquerade::{self, Extent};
use crate::ruleset::Rules;
use crate::world::Sandbox;

/// Removes everything of the attachment that `call` names. Absent is success; each failure is kept, none stops the
/// rest. The addresses come last, so that none is handed out while something still uses it.
///
/// # Errors
/// Every part that failed.
pub fn remove(call: &Call, ipam: Option<&str>, extent: Extent) -> Result<(), Error> {
    let attachment = call.attachment();
    let mut failures = Vec::new();
    let mut rules = Rules::open_if_there().unwrap_or_else(|failure| {
        failures.push(failure);
        None
    });
    for removed in [
        masquerade::remove(&mut rules, &attachment, (call.prev_result.as_ref(), extent)),
        guard::remove(&mut rules, &attachment),
    ] {
        failures.extend(removed.err());
    }
    let fate = delete_pair(call, &attachment).unwrap_or_else(|failure| {
        failures.push(failure);
        Fate::Absent
    });
    // Closing a socket takes the kernel a grace period where rules were deleted just now, by this DEL or by another: see
    // `linger`. Where a pair was deleted, that child has a copy.
    match (fate, rules) {
        (Fate::Absent, Some(rules)) => linger::outlive(rules),
        (_, rules) => drop(rules),
    }
    failures.extend(ipam.and_then(|ipam| release(call, ipam).err()));
    Error::join(failures)
}

/// Removes what `network` has on this host and is not in `valid`: rules, then pairs. (Addresses are IPAM's to collect.)
///
/// # Errors
/// Every part that failed.
pub fn collect(network: &str, valid: &[Attachment]) -> Result<(), Error> {
    let mut failures = Vec::new();
    let mut rules = Rules::open_if_there().unwrap_or_else(|failure| {
        failures.push(failure);
        None
    });
    failures.extend(masquerade::collect(&mut rules, network, valid).err());
    failures.extend(guard::collect(&mut rules, network, valid).err());
    failures.extend(collect_pairs(network, valid).err());
    Error::join(failures)
}

fn release(call: &Call, ipam: &str) -> Result<(), Error> {
    Ok(call.delegate(ipam)?.del()?)
}

/// What became of the pair.
enum Fate {
    /// Deleted, by a child that lives on until the kernel's grace period is over, and holds what was open.
    Deleted,
    /// It was not there.
    Absent,
}

/// The pair is found by the host end's name; one that another implementation made, by the sandbox's end.
fn delete_pair(call: &Call, attachment: &Attachment) -> Result<Fate, Error> {
    let mut host = Rtnl::open()?;
    if let Some(link) = host.link(&host_veth(attachment))? {
        linger::delete_link_early(&mut host, link.index)?;
        return Ok(Fate::Deleted);
    }
    let Some(sandbox) = Sandbox::open_if_there(call) else { return Ok(Fate::Absent) };
    let mut inside = sandbox.netns().visit(Rtnl::open)??;
    let link = inside.link(&attachment.ifname)?.filter(|link| link.kind.as_deref() == Some("veth"));
    let Some(link) = link else { return Ok(Fate::Absent) };
    if is_anothers(&mut host, &link)? {
        return Ok(Fate::Absent);
    }
    linger::delete_link_early(&mut inside, link.index)?;
    Ok(Fate::Deleted)
}

/// Whether the pair has our mark, but of another attachment: the DEL that a runtime owes to an ADD that found the
/// interface taken must not take it away from its owner.
fn is_anothers(host: &mut Rtnl, inside: &Link) -> Result<bool, Error> {
    let Some(peer) = inside.peer_index else { return Ok(false) };
    let peer = host.link_at(peer)?.filter(|peer| peer.peer_index == Some(inside.index));
    Ok(peer.and_then(|peer| peer.alias).is_some_and(|alias| Mark::is_any(&alias)))
}

fn collect_pairs(network: &str, valid: &[Attachment]) -> Result<(), Error> {
    let mut host = Rtnl::open()?;
    let mut failures = Vec::new();
    for link in host.links()? {
        let stale = link.alias.as_deref().is_some_and(|alias| Mark::is_stale(alias, network, valid));
        if stale {
            failures.extend(host.delete_link(link.index).err().map(Error::from));
        }
    }
    Error::join(failures)
}
