//! sbr and vrf: their configurations, and the plan of sbr on an empty sandbox.

use ::sbr::conf::Conf;
use ::sbr::plan::{Observed, addresses, plan, priority};
use ::vrf::conf::Conf as Vrf;

use crate::targets::chained::{accepted, reached};
use crate::verdict::{Verdict, hold, same};

/// A configuration of sbr: one rule an address, each with the priority of its interface, to a table that is not the kernel's.
pub fn sbr(data: &[u8]) -> Verdict {
    let (call, conf) = match accepted(data, Conf::of) {
        Ok(both) => both,
        Err(verdict) => return verdict,
    };
    let Some(previous) = &call.prev_result else { return Ok(reached(&conf)) };
    let addresses = addresses(previous, &call.ifname);
    let made = plan(&conf, (&call.ifname, &addresses), &Observed { index: 2, ..Observed::default() });
    same("a rule an address", &made.rules.len(), &addresses.len())?;
    for rule in &made.rules {
        same("its priority", &rule.priority, &Some(priority(&call.ifname)))?;
        let own = matches!(conf, Conf::Own(_));
        hold(!own || !(253..=255).contains(&rule.table) && rule.table != 0, || format!("{rule:?}"))?;
    }
    Ok(reached(&(conf, addresses.len(), made.routes.len())))
}

/// A configuration of vrf: the name is one of an interface.
pub fn vrf(data: &[u8]) -> Verdict {
    match accepted(data, Vrf::of) {
        Err(verdict) => verdict,
        Ok((_, conf)) => {
            let bad = |c: char| c == '/' || c == ':' || c.is_whitespace();
            let is_name = (1..=15).contains(&conf.name.len()) && !conf.name.contains(bad);
            hold(is_name, || format!("{conf:?}"))?;
            Ok(reached(&conf))
        }
    }
}
