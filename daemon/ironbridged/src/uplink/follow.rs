//! Following the uplink while the daemon runs: when the published address leaves this node, another one is published.

use std::net::IpAddr;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use kernel::{Event, Group, Monitor, Rtnl};
use overlay::NetworkConfig;
use tokio::sync::watch;

use super::{Chosen, choose, observe};
use crate::options::UplinkChoice;
use crate::settle::Input;

/// Changes that concern the choice. Not routes, of which the daemon makes thousands: a default route that comes after its
/// address is found at the next [`LOOK`].
const GROUPS: [Group; 3] = [Group::Link, Group::Ipv4Address, Group::Ipv6Address];

/// How long a new choice must stand before it is taken: a network manager that configures a link anew takes addresses
/// away and puts them back, and a link that goes down loses its IPv6 addresses for that time.
const HOLD: Duration = Duration::from_millis(500);

/// How often to look for an address while there is none.
const LOOK: Duration = Duration::from_secs(1);

/// How often an idle thread looks whether anybody still listens, and at the links.
const IDLE: Duration = Duration::from_secs(30);

/// What to publish from now on.
enum Verdict {
    /// The same.
    Stay,
    /// Nothing can be chosen yet.
    Lost,
    /// This.
    Move(Chosen),
}

/// What to choose by.
#[derive(Debug)]
pub struct Follower {
    /// The operator's wishes.
    pub choice: UplinkChoice,
    /// The network, whose families need an address.
    pub config: NetworkConfig,
    /// The choice of the start.
    pub chosen: Chosen,
}

impl Follower {
    /// Starts the thread. The settling loop is told first, so that routes leave by the new link when the peers begin to
    /// answer to the new address.
    pub fn start(self, settle: Sender<Input>) -> Result<watch::Receiver<Chosen>, kernel::Error> {
        let (monitor, mut rtnl) = (Monitor::open(&GROUPS)?, Rtnl::open()?);
        let (moves, seen) = watch::channel(self.chosen.clone());
        std::thread::spawn(move || {
            let ended = self.run(monitor, &mut rtnl, |chosen| {
                settle.send(Input::Moved(Box::new(chosen.clone()))).is_ok()
                    && moves.send(chosen.clone()).is_ok()
            });
            if let Err(error) = ended {
                tracing::error!(%error, "the uplink is not followed any more: restart the daemon after a change of its address");
            }
        });
        Ok(seen)
    }

    fn run(
        mut self,
        mut monitor: Monitor,
        rtnl: &mut Rtnl,
        tell: impl Fn(&Chosen) -> bool,
    ) -> Result<(), kernel::Error> {
        let mut pending: Option<(Chosen, Instant)> = None;
        let mut pause = IDLE;
        loop {
            let until = pending.as_ref().map_or_else(|| Instant::now() + pause, |(_, due)| *due);
            if monitor.next(until)?.is_some_and(|event| !concerns(&event)) {
                continue;
            }
            // What follows at once is seen with it.
            while monitor.next(Instant::now())?.is_some() {}
            let verdict = self.judge(rtnl)?;
            let now = Instant::now();
            pause = if matches!(verdict, Verdict::Lost) { LOOK } else { IDLE };
            pending = match (verdict, pending) {
                (Verdict::Stay | Verdict::Lost, _) => None,
                (Verdict::Move(new), Some((known, due))) if new.is_at(&known) && due <= now => {
                    self.take(new);
                    if !tell(&self.chosen) {
                        return Ok(());
                    }
                    None
                }
                (Verdict::Move(new), Some((known, due))) if new.is_at(&known) => Some((new, due)),
                (Verdict::Move(new), _) => Some((new, now + HOLD)),
            };
        }
    }

    /// An address that is still on some link of this node is kept, whatever else there is: the settling loop finds the
    /// link by it. That is all that is asked each time a pod comes or goes.
    fn judge(&self, rtnl: &mut Rtnl) -> Result<Verdict, kernel::Error> {
        let (carriers, there) = (self.chosen.carriers(), rtnl.all_addresses()?);
        let is_there = |address: &IpAddr| there.iter().any(|known| known.network.ip() == *address);
        if carriers.iter().all(is_there) {
            return Ok(Verdict::Stay);
        }
        let node = observe(rtnl, &self.choice)?;
        Ok(match choose(&node, &self.choice, &self.config) {
            Ok(new) if new.carriers() != carriers => Verdict::Move(new),
            // The settling loop reports an uplink without its address.
            Ok(_) | Err(_) => Verdict::Lost,
        })
    }

    fn take(&mut self, new: Chosen) {
        let text = |chosen: &Chosen| {
            let all: Vec<String> = chosen.published().iter().map(ToString::to_string).collect();
            format!("{} on {}", all.join(" and "), chosen.uplink.name)
        };
        tracing::warn!(
            before = text(&self.chosen),
            now = text(&new),
            "the uplink's address changed: publishing the new one"
        );
        self.chosen = new;
    }
}

fn concerns(event: &Event) -> bool {
    match event {
        Event::Link(_)
        | Event::LinkGone { .. }
        | Event::Address(_)
        | Event::AddressGone(_)
        | Event::Overrun => true,
        Event::Port { .. }
        | Event::Settings
        | Event::Route(_)
        | Event::RouteGone(_)
        | Event::Nexthop(_)
        | Event::NexthopGone(_)
        | Event::Neighbour(_)
        | Event::NeighbourGone(_)
        | Event::Forwarding(_)
        | Event::ForwardingGone(_) => false,
    }
}
