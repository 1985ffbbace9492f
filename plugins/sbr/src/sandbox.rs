//! The rules and routes of one sandbox: observed, changed, asked about, taken away.

use attach::{Error, Sandbox};
use cni::{Call, Ip};
use ipnetwork::IpNetwork;
use kernel::{Absent, Route, RouteFilter, Rtnl, Rule};

use crate::plan::{Observed, PROTOCOL, Plan, priority};

/// Everything that the plan needs to know. The interface must be there.
pub fn observe(call: &Call, sandbox: &Sandbox) -> Result<(Rtnl, Observed), Error> {
    let mut rtnl = sandbox.netns().visit(Rtnl::open)??;
    let Some(link) = rtnl.link(&call.ifname)? else {
        return Err(Error::gone(call, sandbox));
    };
    let routes = rtnl.routes(RouteFilter::default())?;
    let observed = Observed { rules: rtnl.all_rules()?, routes, index: link.index };
    Ok((rtnl, observed))
}

/// Something that was done now, and can be taken back.
enum Done {
    Rule(Rule),
    Route(Route),
    Removal(Route),
}

/// Makes what the plan says; a failure takes everything back.
pub fn apply(rtnl: &mut Rtnl, plan: &Plan, observed: &Observed) -> Result<(), Error> {
    let mut done = Vec::new();
    let Err(cause) = run(rtnl, plan, (observed, &mut done)) else { return Ok(()) };
    let mut failures = Vec::new();
    while let Some(last) = done.pop() {
        let undone = match &last {
            Done::Rule(rule) => rtnl.delete_rule(rule),
            Done::Route(route) => rtnl.delete_route(route),
            Done::Removal(route) => rtnl.append_route(route),
        };
        let fine = |error: &kernel::Error| error.is_absent() || error.is_present();
        failures.extend(undone.err().filter(|error| !fine(error)).map(|error| error.to_string()));
    }
    Err(Error::from(cause).after_undoing(failures))
}

/// Tables are filled before rules lead to them, and the main table is emptied last: there is a way at every moment.
fn run(
    rtnl: &mut Rtnl,
    plan: &Plan,
    (observed, done): (&Observed, &mut Vec<Done>),
) -> Result<(), kernel::Error> {
    for route in &plan.routes {
        rtnl.replace_route(route)?;
        if !observed.routes.iter().any(|there| is_in_place_of(route, there)) {
            done.push(Done::Route(route.clone()));
        }
    }
    for rule in plan.rules.iter().filter(|rule| !observed.rules.contains(rule)) {
        rtnl.add_rule(rule)?;
        done.push(Done::Rule(rule.clone()));
    }
    for route in &plan.removals {
        match rtnl.delete_route(route) {
            // The kernel takes a route away with the one that it leads through.
            Err(error) if !error.is_absent() => return Err(error),
            _ => done.push(Done::Removal(route.clone())),
        }
    }
    Ok(())
}

fn is_in_place_of(route: &Route, there: &Route) -> bool {
    (route.table, route.destination, route.oif) == (there.table, there.destination, there.oif)
}

/// Whether every address has its rule, and what the rule leads to a route by the interface.
pub fn hold(plan: &Plan, observed: &Observed) -> Result<(), Error> {
    for rule in &plan.rules {
        if !observed.rules.contains(rule) {
            let source = rule.source.map(|source| source.to_string()).unwrap_or_default();
            let wanted = format!("to table {} with priority {}", rule.table, rule.priority.unwrap_or(0));
            return Err(mismatch(format!("rule for packets from {source}"), wanted, "none such"));
        }
    }
    for route in &plan.routes {
        let is_there = |there: &&Route| is_in_place_of(route, there) && there.gateway == route.gateway;
        if !observed.routes.iter().any(|there| is_there(&there)) {
            let via = route.gateway.map(|gateway| format!(" via {gateway}")).unwrap_or_default();
            let wanted = format!("{}{via}", route.destination);
            return Err(mismatch(format!("routes of table {}", route.table), wanted, "no such route"));
        }
    }
    Ok(())
}

fn mismatch(what: String, expected: String, found: &str) -> Error {
    Error::Mismatch { what, expected, found: found.to_owned() }
}

/// Takes away the attachment's rules, and the routes of the tables that they alone led to. Absent is success; each
/// failure is kept, none stops the rest.
pub fn remove(sandbox: &Sandbox, ifname: &str, told: &[Ip]) -> Result<(), Error> {
    let mut rtnl = sandbox.netns().visit(Rtnl::open)??;
    let index = rtnl.link(ifname)?.map(|link| link.index);
    let mut sources: Vec<IpNetwork> = told.iter().map(|ip| IpNetwork::from(ip.address.ip())).collect();
    if let Some(index) = index {
        sources.extend(rtnl.addresses(index)?.iter().map(|address| IpNetwork::from(address.network.ip())));
    }
    let all = rtnl.all_rules()?;
    let (gone, kept): (Vec<&Rule>, Vec<&Rule>) =
        all.iter().partition(|rule| is_attachments(rule, ifname, &sources));
    let mut failures = Vec::new();
    for rule in &gone {
        failures.extend(rtnl.delete_rule(rule).absent_is_fine().err());
    }
    for rule in
        gone.iter().filter(|rule| is_ours(rule, ifname) && !kept.iter().any(|k| k.table == rule.table))
    {
        failures.extend(flush(&mut rtnl, rule.table, index).err());
    }
    Error::join(failures.into_iter().map(Error::from).collect())
}

/// Ours by its mark; or one by address alone, which the reference may have made.
fn is_attachments(rule: &Rule, ifname: &str, sources: &[IpNetwork]) -> bool {
    let by_address = rule.source.is_some_and(|source| sources.contains(&source)) && !rule.is_special;
    if rule.protocol == PROTOCOL {
        is_ours(rule, ifname) && (by_address || sources.is_empty())
    } else {
        by_address
    }
}

fn is_ours(rule: &Rule, ifname: &str) -> bool {
    rule.protocol == PROTOCOL && rule.priority == Some(priority(ifname))
}

fn flush(rtnl: &mut Rtnl, table: u32, index: Option<u32>) -> Result<(), kernel::Error> {
    let Some(index) = index else { return Ok(()) };
    let filter = RouteFilter { table: Some(table), oif: Some(index), ..RouteFilter::default() };
    for route in rtnl.routes(filter)? {
        rtnl.delete_route(&route).absent_is_fine()?;
    }
    Ok(())
}
