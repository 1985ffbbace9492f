//! Steps as questions: whether an attachment's limiters are still what ADD made, for CHECK.

use attach::Error;
use kernel::{Handle, Link, Verdict};

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
            None => shown.map_or_else(|| "none".to_owned(), |qdisc| qdisc.kind),
        };
        let wanted = bucket::limiter(limit, self.clock);
        Err(mismatch(limiter(&link), format!("{wanted:?}"), found))
    }

    fn classes_hold(&mut self, device: Device, classes: &Classes) -> Result<(), Error> {
        let link = self.link(device)?;
        let root = self.rtnl.qdisc(link.index, Handle::ROOT)?;
        let default = root.as_ref().and_then(|qdisc| qdisc.default_class);
        if default != Some(u32::from(classes.default)) {
            let found = root.map_or_else(|| "none".to_owned(), |qdisc| format!("{qdisc:?}"));
            return Err(mismatch(
                limiter(&link),
                format!("htb with default class {:x}", classes.default),
                found,
            ));
        }
        let shown = self.rtnl.classes(link.index)?;
        for (handle, class) in classes.classes(self.clock) {
            let same =
                shown.iter().any(|s| (s.handle, s.rate, s.buffer) == (handle, class.rate, class.buffer));
            if !same {
                return Err(mismatch(
                    format!("class {:x} of {}", handle.0, link.name),
                    format!("{class:?}"),
                    "another",
                ));
            }
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
