//! Steps as acts: what each does to the kernel when an attachment is made.

use std::time::{Duration, Instant};

use kernel::{Address, Cause, Group, Link, Monitor, Operstate, PortState, Route, Start, linger, sysctl};

use crate::error::{Error, On};
use crate::guard;
use crate::identity::Mark;
use crate::masquerade;
use crate::shared;
use crate::step::{Family, Need, Step, Sysctl, Veth, Write};
use crate::world::{Place, World};

/// How long a port may take to come up. The kernel needs some 0.1 ms; the reference gives up after 2.55 s.
const PORT_DEADLINE: Duration = Duration::from_millis(2_550);

/// How long the carrier of a bridge is waited for after its first port has come up.
const CARRIER_DEADLINE: Duration = Duration::from_millis(250);

/// How long duplicate address detection may take, as in the reference (`SettleAddresses`).
const DAD_DEADLINE: Duration = Duration::from_secs(5);

/// From so many ports on it takes longer to hand a frame to all of them than to leave that to others: an announcement to a child
/// process, that of the sandbox's IPv6 address to the kernel's worker.
const CROWD: u16 = 128;

/// `EXFULL`: the bridge has `BR_MAX_PORTS` ports.
const EXCHANGE_FULL: i32 = 54;

impl Step {
    /// Does what the step says.
    ///
    /// # Errors
    /// When the kernel refuses, or what is there contradicts the step. A failed step may have been done in part;
    /// its inverse takes that into account.
    pub fn apply(&self, world: &mut World) -> Result<(), Error> {
        match self {
            Self::EnsureBridge(bridge) => shared::ensure_bridge(world, bridge),
            Self::CreateVeth(veth) => create_veth(world, veth),
            Self::SetPort { host, port } => {
                Ok(world.rtnl(Place::Host).dress_bridge_port(host, *port).on(host)?)
            }
            Self::Sysctls(Place::Host, list) => Ok(write_sysctls(list)?),
            Self::Sysctls(Place::Sandbox, list) => Ok(world.visit(|| write_sysctls(list))??),
            Self::AddAddress { .. } | Self::RaiseLink { .. } | Self::AddRoute { .. } => {
                together(std::slice::from_ref(self), world)
            }
            Self::AwaitAddresses { ifname } => await_addresses(world, ifname),
            Self::EnsureAddress { bridge, address, conflict } => {
                shared::ensure_address(world, bridge, *address, *conflict)
            }
            Self::EnsureForwarding(family) => Ok(sysctl::ensure(family.forwarding(), "1")?),
            Self::Masquerade { attachment, addresses, backend } => {
                masquerade::add(*backend, attachment, addresses)
            }
            Self::GuardPort(wanted) => guard::add(world, wanted),
            Self::OpenPort { host, ifname, bridge } => {
                open_port(world, (host, ifname), bridge)?;
                await_carrier(world, bridge)
            }
            Self::ForgetNeighbours { bridge, addresses } => {
                shared::forget_neighbours(world, bridge, addresses)
            }
            Self::Announce { ifname, host } => announce(world, ifname, host),
        }
    }
}

impl Step {
    /// Whether the step is one request through the sandbox's socket, which may go out with others of that kind.
    pub(crate) fn goes_with_others(&self) -> bool {
        matches!(self, Self::AddAddress { .. } | Self::RaiseLink { .. } | Self::AddRoute { .. })
    }
}

/// Sends steps that go together in one message. If one is refused the kernel still tries the rest; that is no harm, for
/// all of them go with the interface.
pub(crate) fn together(steps: &[Step], world: &mut World) -> Result<(), Error> {
    let Some(Step::AddAddress { ifname, .. } | Step::RaiseLink { ifname } | Step::AddRoute { ifname, .. }) =
        steps.first()
    else {
        return Ok(());
    };
    let index = world.index(Place::Sandbox, ifname)?;
    let mut batch = world.rtnl(Place::Sandbox).batch();
    for step in steps {
        if let Step::AddAddress { address, dad, .. } = step {
            batch.add_address(index, (*address).into(), *dad);
        } else if let Step::AddRoute { route, .. } = step {
            batch.append_route(&Route { oif: Some(index), ..route.clone() });
        } else {
            batch.raise_link(index);
        }
    }
    batch.commit_all().on(ifname)
}

fn create_veth(world: &mut World, veth: &Veth) -> Result<(), Error> {
    let controller = world.index(Place::Host, &veth.bridge)?;
    let (rtnl, peer_netns) = world.across();
    let pair = kernel::Veth {
        host_name: &veth.host,
        host_mac: None,
        peer_name: &veth.ifname,
        peer_mac: veth.mac,
        peer_netns,
        mtu: veth.mtu,
        controller: Some(controller),
        start: Start::Down,
    };
    // By its mark GC finds a pair whose ADD was killed.
    match rtnl.create_marked_veth(&pair, Mark::of(&veth.attachment).as_str()) {
        Ok(()) => Ok(()),
        Err(refusal) if refusal.is_present() => Err(already_there(world, veth)?),
        Err(refusal) if refusal.errno() == Some(EXCHANGE_FULL) => {
            Err(Error::BridgeFull { name: veth.bridge.clone() })
        }
        Err(refusal) => Err(refusal.into()),
    }
}

/// Which of the two ends was there before.
fn already_there(world: &mut World, veth: &Veth) -> Result<Error, Error> {
    if world.look(Place::Host, &veth.host)?.is_none() {
        let sandbox = world.sandbox().path().to_owned();
        return Ok(Error::InterfaceExists { ifname: veth.ifname.clone(), sandbox });
    }
    Ok(Error::AlreadyAttached {
        container: veth.attachment.container_id.clone(),
        network: veth.attachment.network.clone(),
        ifname: veth.ifname.clone(),
        host: veth.host.clone(),
    })
}

fn write_sysctls(list: &[Sysctl]) -> Result<(), kernel::Error> {
    for setting in list {
        let ensured = || sysctl::ensure(&setting.path, setting.value);
        let written = match setting.write {
            // Where nothing can be written (a read-only /proc/sys), what is right already will do.
            Write::Always => sysctl::write(&setting.path, setting.value).or_else(|_| ensured()),
            Write::IfDifferent => ensured(),
        };
        if setting.need == Need::Required {
            written?;
        }
    }
    Ok(())
}

fn await_addresses(world: &mut World, ifname: &str) -> Result<(), Error> {
    let index = world.index(Place::Sandbox, ifname)?;
    let until = (index, Instant::now() + DAD_DEADLINE);
    let mut monitor = world.visit(|| Monitor::open(&[Group::Ipv6Address]))??;
    let settled = |present: &[Address]| {
        present.iter().any(|address| address.dad_failed) || !present.iter().any(|address| address.tentative)
    };
    let present = match world.rtnl(Place::Sandbox).wait_addresses(&mut monitor, until, settled) {
        Err(kernel::Error::Failed { cause: Cause::DeadlinePassed, .. }) => return unsettled(world, ifname),
        outcome => outcome.on(ifname)?,
    };
    match present.iter().find(|address| address.dad_failed) {
        None => Ok(()),
        Some(address) => {
            let address = address.network.to_string();
            Err(Error::Duplicate { address, ifname: ifname.to_owned() })
        }
    }
}

/// As in the reference, time running out is an error only on a link with carrier: without, nothing can be tested.
fn unsettled(world: &mut World, ifname: &str) -> Result<(), Error> {
    match world.look(Place::Sandbox, ifname)? {
        Some(link) if link.running == Operstate::Up => {
            Err(Error::StillTentative { ifname: ifname.to_owned(), waited_s: DAD_DEADLINE.as_secs() })
        }
        Some(_) | None => Ok(()),
    }
}

fn announce(world: &mut World, ifname: &str, host: &str) -> Result<(), Error> {
    let link = world.known(Place::Sandbox, ifname)?;
    let link = link.ok_or_else(|| Error::LinkGone { name: ifname.to_owned() })?;
    let port = world.known(Place::Host, host)?.and_then(|host| host.port_number);
    if port.is_some_and(|number| number >= CROWD) {
        return linger::announce_later(world.rtnl(Place::Sandbox), &link).on(ifname);
    }
    world.rtnl(Place::Sandbox).announce(&link).on(ifname)
}

/// Raises the host end, which is carrier for both, and waits until both pass frames. Since Linux 6.8 a question for a link lets
/// the kernel finish what carrier brings (`linkwatch_sync_dev`); before, a worker does it a moment later, and until then the
/// end drops what it is given.
///
/// While the host end is asked for, that worker mostly comes to both ends. Then the sandbox's has been told of, and on a
/// crowded bridge should not be asked for: the next worker holds the kernel's lock to tell every port of the sandbox's
/// IPv6 address.
fn open_port(world: &mut World, (host, ifname): (&str, &str), bridge: &str) -> Result<(), Error> {
    let crowded = may_be_crowded(world, ifname, bridge)?;
    if crowded {
        world.rtnl(Place::Sandbox).hear_links().on(ifname)?;
    }
    let raised = world.rtnl(Place::Host).raise_named_link(host).on(host)?;
    await_open(world, (Place::Host, host), raised, passes_frames)?;
    let inside = world.index(Place::Sandbox, ifname)?;
    let told = if crowded { world.rtnl(Place::Sandbox).heard_link(inside).on(ifname)? } else { None };
    await_open(world, (Place::Sandbox, ifname), told.filter(is_up), is_up)
}

/// Whether the bridge may have many ports: not if few links were made since it was.
fn may_be_crowded(world: &mut World, ifname: &str, bridge: &str) -> Result<bool, Error> {
    let host = world.known(Place::Sandbox, ifname)?.and_then(|link| link.peer_index);
    let since = host.unwrap_or_default().saturating_sub(world.index(Place::Host, bridge)?);
    Ok(since >= u32::from(CROWD))
}

fn is_up(link: &Link) -> bool {
    link.running == Operstate::Up
}

/// Waits until an end of the pair passes frames; `seen` is how it was met last, if it was.
fn await_open(
    world: &mut World,
    (place, name): (Place, &str),
    seen: Option<Link>,
    open: impl Fn(&Link) -> bool,
) -> Result<(), Error> {
    let started = Instant::now();
    let mut last = match seen {
        Some(link) => Some(link),
        None => world.look(place, name)?,
    };
    if let Some(link) = last.as_ref().filter(|link| !open(link)) {
        let until = (link.index, started + PORT_DEADLINE);
        let mut monitor = match place {
            Place::Host => Monitor::open(&[Group::Link])?,
            Place::Sandbox => world.visit(|| Monitor::open(&[Group::Link]))??,
        };
        match world.rtnl(place).wait_link(&mut monitor, until, |link| link.is_none_or(&open)) {
            Ok(link) => last = link,
            Err(kernel::Error::Failed { cause: Cause::DeadlinePassed, .. }) => {}
            Err(failure) => return Err(failure.into()),
        }
    }
    match last {
        Some(link) if open(&link) => {
            world.remember(place, link);
            Ok(())
        }
        last => Err(Error::PortStayedDown {
            name: name.to_owned(),
            waited_ms: started.elapsed().as_millis(),
            state: last
                .map_or_else(|| "gone".to_owned(), |link| format!("{:?}", link.running).to_lowercase()),
        }),
    }
}

/// Waits until a bridge that had no port before lets frames through itself: its queue opens a moment after its port, and
/// what the host sends until then is lost. No error if it takes longer: under STP it takes half a minute.
fn await_carrier(world: &mut World, bridge: &str) -> Result<(), Error> {
    // A bridge whose carrier never changed has the state "unknown": its queue is open (`operstates.rst`).
    let open = |link: Option<&Link>| {
        link.is_none_or(|link| matches!(link.running, Operstate::Up | Operstate::Unknown))
    };
    if open(world.known(Place::Host, bridge)?.as_ref()) || open(world.look(Place::Host, bridge)?.as_ref()) {
        return Ok(());
    }
    let until = (world.index(Place::Host, bridge)?, Instant::now() + CARRIER_DEADLINE);
    let mut monitor = Monitor::open(&[Group::Link])?;
    match world.rtnl(Place::Host).wait_link(&mut monitor, until, open) {
        Ok(_) | Err(kernel::Error::Failed { cause: Cause::DeadlinePassed, .. }) => Ok(()),
        Err(failure) => Err(failure.into()),
    }
}

/// Whether the port has carrier and the bridge uses it. With STP it may still listen, for longer than a caller waits.
fn passes_frames(link: &Link) -> bool {
    link.running == Operstate::Up && link.port_state != Some(PortState::Disabled)
}

/// Whether forwarding is on for `family`.
pub(crate) fn forwards(family: Family) -> Result<bool, Error> {
    Ok(sysctl::read(family.forwarding())?.trim() != "0")
}
