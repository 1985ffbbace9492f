//! Following the uplink while the daemon runs: when the published address leaves this node, another one is published.

use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use kernel::{Event, Group, Monitor, Rtnl};
use overlay::NetworkConfig;
use tokio::sync::watch;

use super::{Chosen, Node, choose, observe};
use crate::options::UplinkChoice;
use crate::settle::Input;

/// Changes that concern the choice: links, addresses, and the default route.
const GROUPS: [Group; 5] =
    [Group::Link, Group::Ipv4Address, Group::Ipv6Address, Group::Ipv4Route, Group::Ipv6Route];

/// How long a new choice must stand before it is taken: a network manager that configures a link anew takes addresses
/// away and puts them back, and a link that goes down loses its IPv6 addresses for that time.
const HOLD: Duration = Duration::from_millis(500);

/// How often an idle thread looks whether anybody still listens, and at the links.
const IDLE: Duration = Duration::from_secs(30);

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
        loop {
            let until = pending.as_ref().map_or_else(|| Instant::now() + IDLE, |(_, due)| *due);
            if monitor.next(until)?.is_some_and(|event| !concerns(&event)) {
                continue;
            }
            // What follows at once is seen with it.
            while monitor.next(Instant::now())?.is_some() {}
            let node = observe(rtnl, &self.choice)?;
            let now = Instant::now();
            pending = match (self.change(&node), pending) {
                (None, _) => None,
                (Some(new), Some((known, due))) if new.is_at(&known) && due <= now => {
                    self.take(new);
                    if !tell(&self.chosen) {
                        return Ok(());
                    }
                    None
                }
                (Some(new), Some((known, due))) if new.is_at(&known) => Some((new, due)),
                (Some(new), _) => Some((new, now + HOLD)),
            };
        }
    }

    /// What to publish instead. An address that is still on some link of this node is kept, whatever else there is: the
    /// settling loop finds the link by it.
    fn change(&self, node: &Node) -> Option<Chosen> {
        let published = self.chosen.published();
        let is_there = |address| node.links.iter().any(|link| link.uplink.owns(address));
        if published.into_iter().all(is_there) {
            return None;
        }
        // Nothing to choose yet: the settling loop reports an uplink without its address.
        choose(node, &self.choice, &self.config).ok().filter(|new| new.published() != self.chosen.published())
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
        Event::Route(route) | Event::RouteGone(route) => route.destination.prefix() == 0,
        Event::Link(_)
        | Event::LinkGone { .. }
        | Event::Address(_)
        | Event::AddressGone(_)
        | Event::Overrun => true,
        Event::Port { .. }
        | Event::Settings
        | Event::Nexthop(_)
        | Event::NexthopGone(_)
        | Event::Neighbour(_)
        | Event::NeighbourGone(_)
        | Event::Forwarding(_)
        | Event::ForwardingGone(_) => false,
    }
}
