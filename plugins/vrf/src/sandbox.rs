//! The VRF and the interface of one sandbox: joined, asked about, separated.

use std::time::Duration;

use attach::{Error, Sandbox};
use cni::Call;
use ipnetwork::IpNetwork;
use kernel::{Creation, Dad, Link, Route, RouteFilter, Rtnl, Vrf};

use crate::Cause;
use crate::conf::Conf;
use crate::plan;

/// How long an ADD or DEL waits for those of the sandbox's other interfaces.
const PATIENCE: Duration = Duration::from_secs(10);

/// Makes the interface a member of the VRF, with its addresses and routes. A failure takes everything back.
///
/// Two interfaces that are added at once must neither choose one table for two VRFs, nor join a VRF that the DEL of its last
/// member is about to delete: one after the other.
pub fn join(call: &Call, conf: &Conf, sandbox: &Sandbox) -> Result<(), Error> {
    let _hold = sandbox.netns().hold(PATIENCE)?;
    let mut rtnl = sandbox.netns().visit(Rtnl::open)??;
    let link = interface(&mut rtnl, call, sandbox)?;
    if let Some(controller) = link.controller {
        let is_in = find_vrf(&mut rtnl, conf)?.is_some_and(|(vrf, _)| vrf.index == controller);
        let elsewhere = || Cause::Controlled { ifname: call.ifname.clone(), controller };
        return if is_in { Ok(()) } else { Err(elsewhere().into()) };
    }
    let (vrf, creation, table) = ensure_vrf(&mut rtnl, conf)?;
    let before = Before::of(&mut rtnl, &link)?;
    let Err(cause) = enter(&mut rtnl, (&link, &vrf, table), &before) else { return Ok(()) };
    let undone = leave(&mut rtnl, link.index, &before).and_then(|()| match creation {
        Creation::Made => Ok(rtnl.delete_link(vrf.index)?),
        Creation::Existed => Ok(()),
    });
    Err(Error::from(cause).after_undoing(undone.err()))
}

/// What an interface has that a change of its controller may take.
struct Before {
    addresses: Vec<IpNetwork>,
    routes: Vec<Route>,
}

impl Before {
    fn of(rtnl: &mut Rtnl, link: &Link) -> Result<Self, kernel::Error> {
        let filter = RouteFilter { oif: Some(link.index), ..RouteFilter::default() };
        let addresses = plan::kept_addresses(&rtnl.addresses(link.index)?);
        Ok(Self { addresses, routes: rtnl.routes(filter)? })
    }
}

fn interface(rtnl: &mut Rtnl, call: &Call, sandbox: &Sandbox) -> Result<Link, Error> {
    rtnl.link(&call.ifname)?.ok_or_else(|| Error::gone(call, sandbox))
}

/// The VRF with its table; made if it is not there, and switched on if it is off.
fn ensure_vrf(rtnl: &mut Rtnl, conf: &Conf) -> Result<(Link, Creation, u32), Error> {
    let mut creation = Creation::Existed;
    if rtnl.link(&conf.name)?.is_none() {
        let table = match conf.table {
            Some(table) => table,
            None => free_table(rtnl)?,
        };
        creation = rtnl.create_vrf(&Vrf { name: &conf.name, table })?;
    }
    let (vrf, table) = find_vrf(rtnl, conf)?.ok_or_else(|| Error::LinkGone { name: conf.name.clone() })?;
    if !vrf.up {
        rtnl.set_link_up(vrf.index)?;
    }
    Ok((vrf, creation, table))
}

fn free_table(rtnl: &mut Rtnl) -> Result<u32, kernel::Error> {
    let rules = rtnl.all_rules()?;
    Ok(plan::free_table(&rtnl.links()?, &rules, &rtnl.routes(RouteFilter::default())?))
}

/// The VRF, if there is a link of its name. It must be one, with the table that is asked for.
fn find_vrf(rtnl: &mut Rtnl, conf: &Conf) -> Result<Option<(Link, u32)>, Error> {
    let Some(link) = rtnl.link(&conf.name)? else { return Ok(None) };
    let Some(found) = link.vrf_table else {
        let kind = link.kind.unwrap_or_else(|| "physical device".to_owned());
        return Err(Cause::NotVrf { name: conf.name.clone(), kind }.into());
    };
    match conf.table {
        Some(wanted) if wanted != found => {
            Err(Cause::OtherTable { name: conf.name.clone(), wanted, found }.into())
        }
        _ => Ok(Some((link, found))),
    }
}

fn enter(
    rtnl: &mut Rtnl,
    (link, vrf, table): (&Link, &Link, u32),
    before: &Before,
) -> Result<(), kernel::Error> {
    rtnl.set_link_controller(link.index, Some(vrf.index))?;
    restore_addresses(rtnl, link.index, before)?;
    plan::moved_routes(&before.routes, link.index, table)
        .iter()
        .try_for_each(|route| rtnl.replace_route(route))
}

/// Usable at once: they were tested when they were new, and nothing has to be waited for.
fn restore_addresses(rtnl: &mut Rtnl, index: u32, before: &Before) -> Result<(), kernel::Error> {
    before.addresses.iter().try_for_each(|address| {
        rtnl.add_address(index, *address, Dad::Skip).or_else(|e| if e.is_present() { Ok(()) } else { Err(e) })
    })
}

fn leave(rtnl: &mut Rtnl, index: u32, before: &Before) -> Result<(), Error> {
    rtnl.set_link_controller(index, None)?;
    restore_addresses(rtnl, index, before)?;
    let mut routes: Vec<&Route> = before.routes.iter().filter(|route| route.table == MAIN).collect();
    routes.sort_by_key(|route| route.gateway.is_some());
    Ok(routes.into_iter().try_for_each(|route| rtnl.replace_route(route))?)
}

/// `RT_TABLE_MAIN`
const MAIN: u32 = 254;

/// Whether the interface is a member of the VRF.
pub fn is_joined(call: &Call, conf: &Conf, sandbox: &Sandbox) -> Result<(), Error> {
    let mut rtnl = sandbox.netns().visit(Rtnl::open)??;
    let link = interface(&mut rtnl, call, sandbox)?;
    let vrf = find_vrf(&mut rtnl, conf)?;
    let mismatch = |what: String, expected: String, found: String| Error::Mismatch { what, expected, found };
    let Some((vrf, _)) = vrf else {
        return Err(mismatch(format!("vrf {}", conf.name), "to exist".to_owned(), "nothing".to_owned()));
    };
    if link.controller == Some(vrf.index) {
        return Ok(());
    }
    let found =
        link.controller.map_or_else(|| "no port".to_owned(), |other| format!("a port of link {other}"));
    Err(mismatch(format!("interface {}", link.name), format!("a port of vrf {}", conf.name), found))
}

/// Takes the interface from the VRF, and the VRF away when it was the last. What is gone is gone.
pub fn separate(call: &Call, conf: &Conf, sandbox: &Sandbox) -> Result<(), Error> {
    let _hold = sandbox.netns().hold(PATIENCE)?;
    let mut rtnl = sandbox.netns().visit(Rtnl::open)??;
    let Some(vrf) = rtnl.link(&conf.name)?.filter(|link| link.kind.as_deref() == Some("vrf")) else {
        return Ok(());
    };
    if let Some(link) = rtnl.link(&call.ifname)?.filter(|link| link.controller == Some(vrf.index)) {
        rtnl.set_link_controller(link.index, None)?;
    }
    if rtnl.ports(vrf.index)?.is_empty() {
        rtnl.delete_link(vrf.index)?;
    }
    Ok(())
}
