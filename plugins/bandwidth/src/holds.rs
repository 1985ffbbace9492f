//! Steps as questions: whether an attachment's limiters are still what ADD made, for CHECK.

use attach::Error;
use kernel::{Handle, HtbClass, Link, Verdict};

use crate::bucket;
use crate::conf::Limit;
use crate::names;
use crate::plan::{self, Classes, Device, Step};
use crate::site::Site;

impl Site {
    /// Whether the kernel is as the step makes it.
    ///
    /// # Errors
    /// A mismatch that names the link, what should be there and what is.
    pub fn holds(&mut self, step: &Step) -> Result<(), Error> {
        match step {
            Step::CreateIfb => self.ifb_holds(),
            Step::Limit(device, limit) => self.limit_holds(*device, *limit),
            Step::Classes(device, classes) => self.classes_hold(*device, classes),
            Step::Redirect => self.redirect_holds(),
        }
    }

    /// The device has our name, or the reference's.
    fn ifb_holds(&mut self) -> Result<(), Error> {
        let ours = names::ifb(&self.attachment);
        let found = match self.rtnl.link(&ours)? {
            Some(link) => Some(link),
            None => self.rtnl.link(&names::reference_ifb(&self.attachment))?,
        };
        let link = found.filter(|link| link.kind.as_deref() == Some("ifb"));
        let link = link.ok_or_else(|| mismatch(format!("ifb {ours}"), "to exist", "nothing"))?;
        let up = link.up;
        self.ifb = Some(link);
        if up { Ok(()) } else { Err(mismatch(format!("ifb {ours}"), "up", "down")) }
    }

    fn limit_holds(&mut self, device: Device, limit: Limit) -> Result<(), Error> {
        let link = self.link(device)?;
        let shown = self.rtnl.qdisc(link.index, Handle::ROOT)?;
        let found = match shown.as_ref().and_then(|qdisc| qdisc.tbf) {
            Some(tbf) if bucket::is_limiter(tbf, limit, self.clock) => return Ok(()),
            Some(tbf) => format!("{tbf:?}"),
            None if self.is_of_1_5(&link, limit)? => return Ok(()),
            None => shown.map_or_else(|| "none".to_owned(), |qdisc| qdisc.kind),
        };
        let wanted = bucket::limiter(limit, self.clock);
        Err(mismatch(limiter(&link), format!("{wanted:?}"), found))
    }

    /// Whether the limiter is that of the reference's releases 1.5.0 and 1.5.1, which had classes for every limit.
    fn is_of_1_5(&mut self, link: &Link, limit: Limit) -> Result<bool, Error> {
        let classes = Classes::over_all(limit);
        let root = self.rtnl.qdisc(link.index, Handle::ROOT)?;
        let default = root.and_then(|qdisc| qdisc.default_class);
        let free = self.rtnl.filters(link.index, plan::root())?.is_empty();
        Ok(default == Some(u32::from(classes.default))
            && free
            && self.missing_class(link, &classes)?.is_none())
    }

    /// The first class that is not there with its rate, and the limited one with its bucket.
    fn missing_class(&mut self, link: &Link, classes: &Classes) -> Result<Option<(Handle, HtbClass)>, Error> {
        let shown = self.rtnl.classes(link.index)?;
        let same = |(handle, class): &(Handle, HtbClass)| {
            // The bucket of the free class does not matter, and is another in the reference.
            let bucket = |buffer| *handle == plan::free() || buffer == class.buffer;
            shown.iter().any(|s| (s.handle, s.rate) == (*handle, class.rate) && bucket(s.buffer))
        };
        Ok(classes.classes(self.clock).into_iter().find(|class| !same(class)))
    }

    fn classes_hold(&mut self, device: Device, classes: &Classes) -> Result<(), Error> {
        let link = self.link(device)?;
        let root = self.rtnl.qdisc(link.index, Handle::ROOT)?;
        // Releases of the reference that know no subnets limit everything.
        if root
            .as_ref()
            .and_then(|qdisc| qdisc.tbf)
            .is_some_and(|tbf| bucket::is_limiter(tbf, classes.limit, self.clock))
        {
            return Ok(());
        }
        let default = root.as_ref().and_then(|qdisc| qdisc.default_class);
        if default != Some(u32::from(classes.default)) {
            let found = root.map_or_else(|| "none".to_owned(), |qdisc| format!("{qdisc:?}"));
            return Err(mismatch(
                limiter(&link),
                format!("htb with default class {:x}", classes.default),
                found,
            ));
        }
        if let Some((handle, class)) = self.missing_class(&link, classes)? {
            let what = format!("class {:x} of {}", handle.0, link.name);
            return Err(mismatch(what, format!("{class:?}"), "another"));
        }
        let there = self.rtnl.filters(link.index, plan::root())?;
        let wanted: Vec<Verdict> = classes.filters.iter().map(|filter| filter.verdict).collect();
        if there.len() == wanted.len() && there.iter().all(|verdict| wanted.contains(verdict)) {
            return Ok(());
        }
        Err(mismatch(format!("filters of {}", link.name), format!("{wanted:?}"), format!("{there:?}")))
    }

    fn redirect_holds(&mut self) -> Result<(), Error> {
        let (end, ifb) = (self.link(Device::HostEnd)?, self.link(Device::Ifb)?);
        let verdicts = match self.rtnl.qdisc(end.index, Handle::INGRESS)? {
            Some(qdisc) if qdisc.kind == "ingress" => self.rtnl.filters(end.index, Handle::INGRESS_QDISC)?,
            _ => Vec::new(),
        };
        if verdicts.contains(&Verdict::Redirect(ifb.index)) {
            return Ok(());
        }
        let what = format!("ingress filter of {}", end.name);
        Err(mismatch(what, format!("a redirection to {}", ifb.name), format!("{verdicts:?}")))
    }
}

fn limiter(link: &Link) -> String {
    format!("limiter of {}", link.name)
}

fn mismatch(what: String, expected: impl Into<String>, found: impl Into<String>) -> Error {
    Error::Mismatch { what, expected: expected.into(), found: found.into() }
}
