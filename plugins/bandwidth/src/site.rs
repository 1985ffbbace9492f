//! Where an attachment's limiters are: its host end and its ifb device, found by the pair and by identity.

use attach::identity::Mark;
use attach::{Error, Sandbox};
use cni::{AddResult, Attachment, Call};
use kernel::psched::Clock;
use kernel::{Discipline, Handle, Ifb, Link, Qdisc, Rtnl};

use crate::Cause;
use crate::bucket;
use crate::conf::Limit;
use crate::names;
use crate::plan::{self, Classes, Device, Step};

/// The two links, and what was done to them so far.
pub struct Site {
    pub(crate) rtnl: Rtnl,
    pub(crate) clock: Clock,
    pub(crate) end: Link,
    pub(crate) ifb: Option<Link>,
    pub(crate) attachment: Attachment,
    done: Vec<Done>,
}

/// Something that was made now, and can be taken back.
enum Done {
    Qdisc(u32, Handle),
    Link(u32),
}

impl Site {
    /// Finds the host end of the interface of `call`, which `previous` must tell of.
    pub fn open(call: &Call, previous: &AddResult) -> Result<Self, Error> {
        let sandbox = Sandbox::open(call)?;
        let inside = sandbox.netns().visit(|| Rtnl::open()?.link(&call.ifname))??;
        let Some(inside) = inside else {
            return Err(Error::gone(call, &sandbox));
        };
        let mut rtnl = Rtnl::open()?;
        let end = host_end(&mut rtnl, &inside, previous)?;
        let attachment = call.attachment();
        Ok(Self { rtnl, clock: Clock::read()?, end, ifb: None, attachment, done: Vec::new() })
    }

    /// Makes what is not there. What another program has put in the place of ours is refused; what an earlier ADD of
    /// the same attachment made is as good.
    pub fn apply(&mut self, step: &Step) -> Result<(), Error> {
        match step {
            Step::CreateIfb => self.create_ifb(),
            Step::Limit(device, limit) => self.limit(*device, *limit),
            Step::Classes(device, classes) => self.add_classes(*device, classes),
            Step::Redirect => self.redirect(),
        }
    }

    /// Takes back what was made by this value, newest first. What cannot be taken back is told.
    pub fn undo(&mut self) -> Vec<String> {
        let mut failures = Vec::new();
        while let Some(done) = self.done.pop() {
            let undone = match done {
                Done::Qdisc(index, parent) => self.rtnl.delete_qdisc(index, parent),
                Done::Link(index) => self.rtnl.delete_link(index),
            };
            failures.extend(undone.err().filter(|error| !error.is_absent()).map(|error| error.to_string()));
        }
        failures
    }

    /// The link that `device` means.
    pub(crate) fn link(&self, device: Device) -> Result<Link, Error> {
        let gone = || Error::LinkGone { name: names::ifb(&self.attachment) };
        match device {
            Device::HostEnd => Ok(self.end.clone()),
            Device::Ifb => Ok(self.ifb.clone().ok_or_else(gone)?),
        }
    }

    fn create_ifb(&mut self) -> Result<(), Error> {
        let name = names::ifb(&self.attachment);
        let mark = Mark::of(&self.attachment);
        let creation = self.rtnl.create_ifb(&Ifb { name: &name, mtu: self.end.mtu, alias: mark.as_str() })?;
        let found = self.rtnl.link(&name)?;
        let link = found.ok_or_else(|| Error::LinkGone { name: name.clone() })?;
        if link.kind.as_deref() != Some("ifb") {
            let kind = link.kind.unwrap_or_else(|| "physical device".to_owned());
            return Err(Cause::NotIfb { name, kind }.into());
        }
        if creation == kernel::Creation::Made {
            self.done.push(Done::Link(link.index));
        }
        // By this name the reference's CHECK and DEL find it, should the node go back. Another interface of the
        // container may have the name, or the kernel (before 5.5) have no further names: we do not need it.
        self.rtnl.add_link_name(link.index, &names::reference_ifb(&self.attachment)).ok();
        self.ifb = Some(link);
        Ok(())
    }

    fn limit(&mut self, device: Device, limit: Limit) -> Result<(), Error> {
        let link = self.link(device)?;
        let wanted = Discipline::Tbf(bucket::limiter(limit, self.clock));
        if let Some(there) = self.add(&link, (Handle::ROOT, plan::root()), &wanted)? {
            let same = there.tbf.is_some_and(|shown| bucket::is_limiter(shown, limit, self.clock));
            return if same { Ok(()) } else { Err(occupied(&link, there, "root")) };
        }
        Ok(())
    }

    fn add_classes(&mut self, device: Device, classes: &Classes) -> Result<(), Error> {
        let link = self.link(device)?;
        let [(root, handle, htb), (parent, queue, fifo)] = classes.disciplines(self.clock);
        if let Some(there) = self.add(&link, (root, handle), &htb)? {
            let same = self.holds(&Step::Classes(device, classes.clone())).is_ok();
            return if same { Ok(()) } else { Err(occupied(&link, there, "root")) };
        }
        for (handle, class) in classes.classes(self.clock) {
            self.rtnl.add_class(link.index, handle, &class)?;
        }
        self.rtnl.add_qdisc(link.index, (parent, queue), &fifo)?;
        for filter in &classes.filters {
            self.rtnl.add_filter(link.index, handle, filter)?;
        }
        Ok(())
    }

    fn redirect(&mut self) -> Result<(), Error> {
        let (end, ifb) = (self.end.clone(), self.link(Device::Ifb)?);
        self.rtnl.set_link_up(ifb.index)?;
        let place = (Handle::INGRESS, Handle::INGRESS_QDISC);
        if let Some(there) = self.add(&end, place, &Discipline::Ingress)? {
            if there.kind != "ingress" {
                return Err(occupied(&end, there, "ingress"));
            }
            if self.holds(&Step::Redirect).is_ok() {
                return Ok(());
            }
        }
        Ok(self.rtnl.add_filter(end.index, Handle::INGRESS_QDISC, &plan::redirection(ifb.index))?)
    }

    /// Adds a discipline, or gives the one that is in its place.
    fn add(
        &mut self,
        link: &Link,
        (parent, handle): (Handle, Handle),
        discipline: &Discipline,
    ) -> Result<Option<Qdisc>, Error> {
        match self.rtnl.add_qdisc(link.index, (parent, handle), discipline) {
            Ok(()) => {
                self.done.push(Done::Qdisc(link.index, parent));
                Ok(None)
            }
            Err(refusal) if refusal.is_present() => match self.rtnl.qdisc(link.index, parent)? {
                Some(there) => Ok(Some(there)),
                None => Err(refusal.into()),
            },
            Err(refusal) => Err(refusal.into()),
        }
    }
}

fn occupied(link: &Link, there: Qdisc, place: &'static str) -> Error {
    Cause::Occupied { link: link.name.clone(), kind: there.kind, place }.into()
}

/// The other end of `inside`, if it is here: an index says little without the namespace that it counts in.
fn host_end(rtnl: &mut Rtnl, inside: &Link, previous: &AddResult) -> Result<Link, Error> {
    let ifname = inside.name.clone();
    if inside.kind.as_deref() != Some("veth") {
        let kind = inside.kind.clone().unwrap_or_else(|| "device without a kind".to_owned());
        return Err(Cause::NotVeth { ifname, kind }.into());
    }
    let end = rtnl.link_at(inside.peer_index.unwrap_or(0))?;
    let is_end = |end: &Link| end.kind.as_deref() == Some("veth") && end.peer_index == Some(inside.index);
    let Some(end) = end.filter(is_end) else {
        let reason = "it is not in the namespace of the runtime".to_owned();
        return Err(Cause::HostEnd { ifname, reason }.into());
    };
    let told = previous.interfaces.iter().any(|interface| {
        interface.name == end.name && interface.sandbox.as_deref().is_none_or(str::is_empty)
    });
    if told {
        Ok(end)
    } else {
        let reason = format!("prevResult has no interface {} of the host", end.name);
        Err(Cause::HostEnd { ifname, reason }.into())
    }
}
