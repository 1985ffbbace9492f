//! The plan of an attachment's limiters: pure, and read twice, to make them and to ask about them.

use ipnetwork::IpNetwork;
use kernel::psched::Clock;
use kernel::{Discipline, Filter, Handle, HtbClass, Match, Side, Verdict};

use crate::bucket;
use crate::conf::{Conf, Limit, Selection};

/// Handle of every discipline that shapes, as in the reference.
const SHAPER: Handle = Handle::new(1, 0);
/// Minor numbers of the classes with and without a limit.
const SHAPED: u16 = 0x30;
const FREE: u16 = 1;
/// What waits in the limited class.
const QUEUE: Handle = Handle::new(0x30, 0);
/// Bytes a second of the class without a limit: more than any link (800 Gbit/s).
const UNLIMITED: u64 = 100_000_000_000;
/// Bytes that a class may send before another's turn; two kilobytes are needed for a packet, 200,000 are the kernel's most.
const QUANTUM: u32 = 60_000;

/// On which of an attachment's two links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// The host end of the pair: what leaves it comes into the container.
    HostEnd,
    /// The ifb device: what comes out of the container is led through it.
    Ifb,
}

/// One thing to be made, or to be asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The ifb device of the attachment, down.
    CreateIfb,
    /// A token bucket over everything.
    Limit(Device, Limit),
    /// Classes, and which traffic goes to the one without a limit.
    Classes(Device, Classes),
    /// The ifb device is raised, and what comes out of the container goes there.
    Redirect,
}

/// A limit for a part of the traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classes {
    /// The limit.
    pub limit: Limit,
    /// Where packets go that no filter names.
    pub default: u16,
    /// The filters.
    pub filters: Vec<Filter>,
}

impl Classes {
    /// Classes of which the limited one has all traffic.
    #[must_use]
    pub fn over_all(limit: Limit) -> Self {
        Self { limit, default: SHAPED, filters: Vec::new() }
    }

    /// The disciplines, each with its parent and handle: the tree's root, and what waits in the limited class, which
    /// holds as much as a token bucket would.
    #[must_use]
    pub fn disciplines(&self, clock: Clock) -> [(Handle, Handle, Discipline); 2] {
        let limit = bucket::limiter(self.limit, clock).limit;
        [
            (Handle::ROOT, SHAPER, Discipline::Htb { default: self.default }),
            (Handle::new(1, SHAPED), QUEUE, Discipline::Bfifo { limit }),
        ]
    }

    /// The classes with their handles.
    #[must_use]
    pub fn classes(&self, clock: Clock) -> [(Handle, HtbClass); 2] {
        let Limit { rate, .. } = self.limit;
        let buffer = bucket::ticks_at_most(self.limit, clock);
        [
            (Handle::new(1, SHAPED), HtbClass { rate, buffer, quantum: QUANTUM }),
            // A millisecond's worth of ticks: the kernel wants a bucket, and here any will do.
            (Handle::new(1, FREE), HtbClass { rate: UNLIMITED, buffer: 15_625, quantum: QUANTUM }),
        ]
    }
}

/// Handle of the discipline at a link's root.
#[must_use]
pub fn root() -> Handle {
    SHAPER
}

/// Handle of the class without a limit.
#[must_use]
pub fn free() -> Handle {
    Handle::new(1, FREE)
}

/// Everything that `conf` asks for, in the order in which it is made. The traffic is led to the ifb device last, when
/// that is ready: none is lost.
#[must_use]
pub fn steps(conf: &Conf) -> Vec<Step> {
    let mut steps = Vec::new();
    if let Some(limit) = conf.ingress {
        steps.push(shaper(Device::HostEnd, limit, &conf.selection));
    }
    if let Some(limit) = conf.egress {
        steps.extend([Step::CreateIfb, shaper(Device::Ifb, limit, &conf.selection), Step::Redirect]);
    }
    steps
}

fn shaper(device: Device, limit: Limit, selection: &Selection) -> Step {
    let (default, named, networks) = match selection {
        Selection::All => return Step::Limit(device, limit),
        Selection::Only(networks) => (FREE, SHAPED, networks),
        Selection::AllBut(networks) => (SHAPED, FREE, networks),
    };
    let filters = networks.iter().map(|network| filter(device, *network, named)).collect();
    Step::Classes(device, Classes { limit, default, filters })
}

/// The subnet is the other side's: the source of what comes in, the destination of what goes out. Filters of one
/// priority are of one protocol.
fn filter(device: Device, network: IpNetwork, class: u16) -> Filter {
    let side = match device {
        Device::HostEnd => Side::Source,
        Device::Ifb => Side::Destination,
    };
    Filter {
        priority: if network.is_ipv4() { 16 } else { 15 },
        matches: Match::Address(side, network),
        verdict: Verdict::Class(Handle::new(1, class)),
    }
}

/// The filter that leads what comes out of the container to the ifb device of index `ifb`.
#[must_use]
pub fn redirection(ifb: u32) -> Filter {
    Filter { priority: 1, matches: Match::All, verdict: Verdict::Redirect(ifb) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Limit = Limit { rate: 1000, burst: 2000 };

    #[test]
    fn egress_is_led_away_only_when_its_limiter_is_ready() {
        let conf = Conf { ingress: Some(LIMIT), egress: Some(LIMIT), selection: Selection::All };
        assert_eq!(
            steps(&conf),
            [
                Step::Limit(Device::HostEnd, LIMIT),
                Step::CreateIfb,
                Step::Limit(Device::Ifb, LIMIT),
                Step::Redirect
            ]
        );
    }

    #[test]
    fn a_subnet_is_the_other_sides() {
        let network: IpNetwork = "10.0.0.0/8".parse().unwrap();
        for (selection, default, class) in
            [(Selection::Only(vec![network]), FREE, SHAPED), (Selection::AllBut(vec![network]), SHAPED, FREE)]
        {
            for (device, side) in [(Device::HostEnd, Side::Source), (Device::Ifb, Side::Destination)] {
                let Step::Classes(_, classes) = shaper(device, LIMIT, &selection) else { panic!() };
                assert_eq!(classes.default, default);
                assert_eq!(classes.filters[0].matches, Match::Address(side, network));
                assert_eq!(classes.filters[0].verdict, Verdict::Class(Handle::new(1, class)));
            }
        }
    }
}
