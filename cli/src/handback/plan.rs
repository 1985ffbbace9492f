//! What is handed back, in which form, and what is not, and why: decided from results and kernel before anything is done.

use std::fmt;

use attach::handback::Held;
use attach::{guard, masquerade};
use cni::{Attachment, Cidr};
use firewall::handback::Acceptance;
use portmap::handback::Ports;

use super::kernel_state::{Belongings, KernelState};
use super::results::{Remembered, Results};
use super::trace;

/// What becomes of what the reference has no form for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extras {
    /// It stays, and is listed.
    Keep,
    /// It is given up, and listed.
    GiveUp,
}

/// What is to be done.
#[derive(Debug, Default)]
pub struct Plan {
    /// Addresses that are masqueraded.
    pub masquerade: Vec<(Attachment, Cidr)>,
    /// Ports that are published.
    pub ports: Vec<Ports>,
    /// Addresses that are accepted, and bridges with a policy.
    pub firewall: Vec<Acceptance>,
    /// Ports of bridges whose source MAC addresses are checked.
    pub guards: Vec<(Attachment, Vec<Held>)>,
    /// Our elements that go once the reference's rules are there.
    pub leaving: Vec<Held>,
    /// What is told of it.
    pub lines: Vec<Line>,
}

/// A line of the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// What became of it.
    pub fate: Fate,
    /// Whose it is, and what.
    pub what: String,
}

/// What became of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is the reference's now.
    HandedBack,
    /// Its attachment is gone: it is removed.
    LeftOver,
    /// It ends: the reference has nothing like it.
    GivenUp,
    /// Something to know.
    Note,
    /// It stays as it is.
    Kept,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fate = match self.fate {
            Fate::HandedBack => "handed back",
            Fate::LeftOver => "left over, removed",
            Fate::GivenUp => "given up",
            Fate::Note => "note",
            Fate::Kept => "NOT handed back",
        };
        write!(f, "{fate}: {}", self.what)
    }
}

impl Plan {
    /// Decides.
    pub fn of(state: &KernelState, results: &Results, extras: Extras) -> Self {
        let mut plan = Self::default();
        for (key, belongings) in &state.belongings {
            let known = results.find(|attachment| belongings.all().any(|held| held.is_of(attachment)));
            match known {
                Some(remembered) => plan.take(remembered, belongings, extras),
                None if state.is_dead(key, belongings) => {
                    plan.tell(Fate::LeftOver, &described(belongings));
                    plan.leaving.extend(belongings.all().cloned());
                }
                None => plan.tell(
                    Fate::Kept,
                    &format!(
                        "{}: no result of a runtime tells of this attachment; name the runtime's directory with --cache-dir",
                        described(belongings)
                    ),
                ),
            }
        }
        for held in &state.unmarked {
            plan.tell(Fate::Kept, &format!("an element of {} without a mark of ours", held.set));
        }
        for (path, reason) in &results.unreadable {
            plan.tell(Fate::Note, &format!("{} is left out: {reason}", path.display()));
        }
        plan
    }

    /// Whether something stays that is not the reference's.
    pub fn is_partial(&self) -> bool {
        self.lines.iter().any(|line| line.fate == Fate::Kept)
    }

    /// What of the reference's rules is not iptables'.
    pub fn by_netlink(&self) -> Vec<String> {
        let guards = self.guards.iter().map(|(attachment, _)| (attachment, "chains of table bridge nat"));
        let ports = self.ports.iter().filter(|ports| ports.are_nftables());
        let ports = ports.map(|ports| (ports.attachment(), "rules of tables ip and ip6 cni_hostport"));
        guards.chain(ports).map(|(attachment, what)| format!("{what} for {}", Name(attachment))).collect()
    }

    /// Adds a line to the report.
    pub fn tell(&mut self, fate: Fate, what: &str) {
        self.lines.push(Line { fate, what: what.to_owned() });
    }

    fn take(&mut self, remembered: &Remembered, belongings: &Belongings, extras: Extras) {
        let mut parts = Vec::new();
        parts.extend(self.take_masquerade(remembered, &belongings.masquerade));
        parts.extend(self.take_ports(remembered, &belongings.ports));
        parts.extend(self.take_firewall(remembered, &belongings.firewall, extras));
        parts.extend(self.take_guard(remembered, &belongings.guard, extras));
        if !parts.is_empty() {
            let name = Name(&remembered.attachment);
            self.tell(Fate::HandedBack, &format!("{name}: {}", parts.join(", ")));
        }
    }

    fn keep(&mut self, remembered: &Remembered, what: &str, why: &str) {
        self.tell(Fate::Kept, &format!("{}: {what}: {why}", Name(&remembered.attachment)));
    }

    fn take_masquerade(&mut self, remembered: &Remembered, held: &[Held]) -> Option<String> {
        let mut addresses = Vec::new();
        for one in held {
            match masquerade::handback::address(one) {
                Some(address) => addresses.push(address),
                None => self.keep(remembered, "masquerade", "an element of another make"),
            }
        }
        if addresses.is_empty() || addresses.len() < held.len() {
            return None;
        }
        let text: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
        self.masquerade.extend(addresses.into_iter().map(|address| (remembered.attachment.clone(), address)));
        self.leaving.extend_from_slice(held);
        Some(format!("masquerade of {}", text.join(" and ")))
    }

    fn take_ports(&mut self, remembered: &Remembered, held: &[Held]) -> Option<String> {
        if held.is_empty() {
            return None;
        }
        let ports = match remembered.call("portmap") {
            None => Err("its configuration has no portmap".to_owned()),
            Some(call) => call.and_then(|call| Ports::of(&call).map_err(|error| error.to_string())),
        };
        let all: Vec<&Held> = held.iter().collect();
        let ports = ports.and_then(|ports| match ports.lacks(&all) {
            None => Ok(ports),
            Some(key) => Err(format!("its result does not tell of {key}")),
        });
        match ports {
            Err(why) => {
                self.keep(remembered, "published ports", &why);
                None
            }
            Ok(ports) => {
                self.ports.push(ports);
                self.leaving.extend_from_slice(held);
                Some(format!("{} published port{}", held.len(), if held.len() == 1 { "" } else { "s" }))
            }
        }
    }

    fn take_firewall(&mut self, remembered: &Remembered, held: &[Held], extras: Extras) -> Option<String> {
        if held.is_empty() {
            return None;
        }
        let acceptance = match remembered.call("firewall") {
            None => Err("its configuration has no firewall".to_owned()),
            Some(call) => call.and_then(|call| Acceptance::of(&call).map_err(|error| error.to_string())),
        };
        let acceptance = match acceptance {
            Err(why) => {
                self.keep(remembered, "acceptance", &why);
                return None;
            }
            Ok(acceptance) => acceptance,
        };
        let (frames, addresses): (Vec<Held>, Vec<Held>) =
            held.iter().cloned().partition(|one| trace::address(one).is_none());
        if acceptance.is_isolated() && !frames.is_empty() {
            let why = "the reference isolates within a bridge only with br_netfilter";
            self.give_up(remembered, ("isolation within the bridge", why), (&frames, extras));
        }
        let accepted: Vec<String> =
            addresses.iter().filter_map(trace::address).map(|address| address.to_string()).collect();
        let text = format!("acceptance of {}", accepted.join(" and "));
        self.firewall.push(acceptance);
        self.leaving.extend(addresses);
        Some(text)
    }

    fn take_guard(&mut self, remembered: &Remembered, held: &[Held], extras: Extras) -> Option<String> {
        if held.is_empty() {
            return None;
        }
        if held.iter().any(guard::handback::checks_addresses) {
            let why = "the reference has no ipspoofchk";
            self.give_up(remembered, ("check of source addresses", why), (held, extras));
            if extras == Extras::Keep {
                return None;
            }
        } else {
            self.leaving.extend_from_slice(held);
        }
        match trace::checks_macs(remembered) {
            Ok(true) => {
                self.guards.push((remembered.attachment.clone(), held.to_vec()));
                Some("spoof check".to_owned())
            }
            Ok(false) => None,
            Err(why) => {
                self.leaving.retain(|leaving| !held.contains(leaving));
                self.keep(remembered, "spoof check", &why);
                None
            }
        }
    }

    fn give_up(
        &mut self,
        remembered: &Remembered,
        (what, why): (&str, &str),
        (held, extras): (&[Held], Extras),
    ) {
        match extras {
            Extras::Keep => {
                self.keep(remembered, what, &format!("{why}; --give-up ends it"));
            }
            Extras::GiveUp => {
                self.tell(Fate::GivenUp, &format!("{}: {what}: {why}", Name(&remembered.attachment)));
                self.leaving.extend_from_slice(held);
            }
        }
    }
}

/// An attachment for people.
pub struct Name<'a>(pub &'a Attachment);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Attachment { network, container_id, ifname } = self.0;
        write!(f, "net: {network}, if: {ifname}, id: {container_id}")
    }
}

/// An attachment that no result tells of, by what its elements say.
fn described(belongings: &Belongings) -> String {
    let longest = belongings.all().map(Held::describe).max_by_key(|text| text.len());
    let mut sets: Vec<String> = belongings.all().map(|held| held.set.table.to_string()).collect();
    sets.dedup();
    format!("{} (in {})", longest.unwrap_or("an attachment"), sets.join(", "))
}
