//! DEL and GC by identity: the ifb device, what leads to it, and the host end's limiter.

use attach::Error;
use attach::identity::{Mark, host_veth};
use cni::{AddResult, Attachment, Call};
use kernel::psched::Clock;
use kernel::{Absent, Handle, Link, Rtnl, Verdict, linger};

use crate::bucket;
use crate::conf::Conf;
use crate::names;

/// Removes everything of the attachment that `call` names. Absent is success; each failure is kept, none stops the rest.
pub fn remove(call: &Call) -> Result<(), Error> {
    let attachment = call.attachment();
    let mut rtnl = Rtnl::open()?;
    let ifb = find_ifb(&mut rtnl, &attachment, call.prev_result.as_ref())?;
    let mut failures = Vec::new();
    for end in host_ends(&mut rtnl, &attachment, call.prev_result.as_ref())? {
        // A configuration that is refused now was refused by ADD too, or was another: then nothing is known of it.
        let conf = Conf::of(call).ok();
        failures.extend(release(&mut rtnl, &end, (ifb.as_ref(), conf.as_ref())).err());
    }
    if let Some(ifb) = ifb {
        failures.extend(linger::delete_link_early(&mut rtnl, ifb.index).err());
    }
    Error::join(failures.into_iter().map(Error::from).collect())
}

/// Removes the ifb devices that `network` has on this host and that belong to none of `valid`.
pub fn collect(network: &str, valid: &[Attachment]) -> Result<(), Error> {
    let mut rtnl = Rtnl::open()?;
    let mut failures = Vec::new();
    for link in rtnl.links()? {
        let marked = link.alias.as_deref().is_some_and(|alias| Mark::is_stale(alias, network, valid));
        if marked && link.kind.as_deref() == Some("ifb") {
            failures.extend(rtnl.delete_link(link.index).err().map(Error::from));
        }
    }
    Error::join(failures)
}

/// Ours by name. Without one, the reference's: its name is the same for every interface of a container on a network, so
/// a result that does not tell of it belongs to another interface. Ours have that name too, but not as their first.
fn find_ifb(
    rtnl: &mut Rtnl,
    attachment: &Attachment,
    previous: Option<&AddResult>,
) -> Result<Option<Link>, Error> {
    let is_ifb = |link: &Link| link.kind.as_deref() == Some("ifb");
    if let Some(link) = rtnl.link(&names::ifb(attachment))?.filter(is_ifb) {
        return Ok(Some(link));
    }
    let name = names::reference_ifb(attachment);
    if previous.is_some_and(|previous| !previous.interfaces.iter().any(|told| told.name == name)) {
        return Ok(None);
    }
    Ok(rtnl.link(&name)?.filter(|link| is_ifb(link) && link.name == name))
}

/// The host end by our name, or those that the result tells of. It may be gone, or about to go.
fn host_ends(
    rtnl: &mut Rtnl,
    attachment: &Attachment,
    previous: Option<&AddResult>,
) -> Result<Vec<Link>, Error> {
    let told = previous.map(|previous| previous.interfaces.as_slice()).unwrap_or_default();
    let told = told.iter().filter(|interface| interface.sandbox.as_deref().is_none_or(str::is_empty));
    let own = host_veth(attachment);
    let mut names: Vec<&str> =
        told.map(|interface| interface.name.as_str()).filter(|name| !name.is_empty()).collect();
    if !names.contains(&own.as_str()) {
        names.push(&own);
    }
    let mut ends = Vec::new();
    for name in names {
        ends.extend(rtnl.link(name)?.filter(|link| link.kind.as_deref() == Some("veth")));
    }
    Ok(ends)
}

/// Takes from a host end what leads to `ifb` (which would otherwise lead to nowhere) and the limiter that `conf` says.
fn release(
    rtnl: &mut Rtnl,
    end: &Link,
    (ifb, conf): (Option<&Link>, Option<&Conf>),
) -> Result<(), kernel::Error> {
    if let Some(ifb) = ifb {
        let ingress = rtnl.qdisc(end.index, Handle::INGRESS)?.filter(|qdisc| qdisc.kind == "ingress");
        let filters = match ingress {
            Some(_) => rtnl.filters(end.index, Handle::INGRESS_QDISC)?,
            None => Vec::new(),
        };
        if filters == [Verdict::Redirect(ifb.index)] {
            rtnl.delete_qdisc(end.index, Handle::INGRESS).absent_is_fine()?;
        }
    }
    let Some(limit) = conf.and_then(|conf| conf.ingress) else { return Ok(()) };
    let clock = Clock::read()?;
    let root = rtnl.qdisc(end.index, Handle::ROOT)?;
    let ours = root.is_some_and(|qdisc| {
        qdisc.default_class.is_some()
            || qdisc.tbf.is_some_and(|shown| bucket::is_limiter(shown, limit, clock))
    });
    if ours { rtnl.delete_qdisc(end.index, Handle::ROOT).absent_is_fine() } else { Ok(()) }
}
