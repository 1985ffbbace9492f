//! bandwidth: its configuration, and the arithmetic of buckets.

use ::bandwidth::bucket::{is_limiter, limiter, ticks_at_most};
use ::bandwidth::conf::{Conf, Limit};
use ::bandwidth::plan::{Step, steps};
use kernel::Burst;
use kernel::psched::Clock;

use crate::targets::chained::{accepted, reached};
use crate::verdict::{Broken, Verdict, hold, same};

/// A configuration: a limit lets at least a byte through, none of its numbers wraps, and CHECK knows what ADD makes.
pub fn conf(data: &[u8]) -> Verdict {
    let (_, conf) = match accepted(data, Conf::of) {
        Ok(both) => both,
        Err(verdict) => return verdict,
    };
    let steps = steps(&conf);
    same("a plan for a limit", &steps.is_empty(), &conf.is_empty())?;
    let ifbs = steps.iter().filter(|step| **step == Step::CreateIfb).count();
    same("an ifb for what comes out", &ifbs, &usize::from(conf.egress.is_some()))?;
    [conf.ingress, conf.egress].into_iter().flatten().try_for_each(sensible)?;
    Ok(reached(&conf))
}

fn sensible(limit: Limit) -> Result<(), Broken> {
    hold(limit.rate > 0 && limit.burst > 0, || format!("a limit of nothing: {limit:?}"))?;
    let clock = Clock::default();
    let tbf = limiter(limit, clock);
    same("the rate", &tbf.rate, &limit.rate)?;
    hold(tbf.limit >= limit.burst, || format!("less room than the burst: {tbf:?}"))?;
    match tbf.burst {
        Burst::Ticks(ticks) => hold(ticks > 0, || format!("no ticks: {tbf:?}"))?,
        Burst::Bytes(bytes) => same("the burst", &bytes, &limit.burst)?,
    }
    hold(ticks_at_most(limit, clock) > 0, || format!("a class without a bucket: {limit:?}"))?;
    if let Burst::Ticks(_) = tbf.burst {
        hold(is_limiter(tbf, limit, clock), || format!("not known again: {tbf:?}"))?;
    }
    Ok(())
}
