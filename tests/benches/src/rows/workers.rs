//! A hundred ADDs by eight workers on one bridge.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use netns_fixtures::{Pod, Space};

use super::{bridge, chain, ipam};
use crate::contender::Contender;
use crate::error::Error;
use crate::figure::{Figure, Measure};
use crate::options::Effort;
use crate::programs::{Programs, Side};
use crate::series::Series;
use crate::site::Site;

const ROUNDS: usize = 7;
const WORKERS: usize = 8;
const ATTACHMENTS: usize = 100;
/// In which rounds the reference does the chain: it does four a second, and as few DELs.
const SELDOM: usize = 3;

/// ADDs a second; the DELs between two rounds are not timed.
pub fn run(programs: &Programs, effort: Effort) -> Result<Vec<Figure>, Error> {
    let contender = |side| {
        let ipam = ipam(programs, side, "workers", &["10.77.0.0/16"]);
        Contender::new(programs, side, "bridge", &bridge(&ipam))
    };
    let [reference, ours, floor] = rates(effort, 1, contender)?;
    let figure = Figure::new("8 workers, bridge ADDs a second", Measure::PerSecond, &ours)
        .reference(&reference, Some(3.3))
        .floor(&floor, 0.7);
    Ok(vec![figure])
}

/// The same of bridge + ipMasq + portmap with two ports.
pub fn chain(programs: &Programs, effort: Effort) -> Result<Vec<Figure>, Error> {
    let contender = |side| chain::contender(programs, side, "chain-workers");
    let [reference, ours, floor] = rates(effort, SELDOM, contender)?;
    let figure = Figure::new("8 workers, ADDs of that chain a second", Measure::PerSecond, &ours)
        .reference(&reference, Some(50.0))
        .floor(&floor, 0.6);
    Ok(vec![figure])
}

/// ADDs a second of each side, of the reference in every n-th round.
fn rates(effort: Effort, every: usize, contender: impl Fn(Side) -> Contender) -> Result<[Series; 3], Error> {
    let site = Site::new();
    let pods = Site::pods(ATTACHMENTS);
    let paths: Vec<String> = pods.iter().map(Pod::path).collect();
    // What all share is made before: the reference fails where two processes make the same chain.
    for contender in Side::ALL.map(&contender) {
        site.node().inside(|| contender.cycle(ATTACHMENTS, paths.first().map_or("", String::as_str)))?;
    }
    let mut rates: [Vec<f64>; 3] = Default::default();
    for number in 0..effort.rounds(ROUNDS) {
        for (side, rates) in Side::ALL.into_iter().zip(&mut rates) {
            if side == Side::Reference && !number.is_multiple_of(every) {
                continue;
            }
            let contender = contender(side);
            rates.push(site.node().inside(|| round(&contender, &paths))?);
        }
    }
    Ok(rates.map(Series::of))
}

fn round(contender: &Contender, pods: &[String]) -> Result<f64, Error> {
    let began = Instant::now();
    let added = share(pods, |number, pod| {
        let (_, result) = contender.add(number, pod)?;
        Ok((number, result))
    })?;
    let took = began.elapsed().as_secs_f64();
    share(&added, |_, (number, result)| {
        let pod = pods.get(*number).map_or("", String::as_str);
        contender.del(*number, pod, result)
    })?;
    #[expect(clippy::cast_precision_loss, reason = "a hundred")]
    let count = pods.len() as f64;
    Ok(count / took)
}

/// Does the work on each item, by eight threads that take the next one as they come; threads inherit the namespace.
fn share<T: Sync, R: Send>(
    items: &[T],
    work: impl Fn(usize, &T) -> Result<R, Error> + Sync,
) -> Result<Vec<R>, Error> {
    let next = AtomicUsize::new(0);
    let worker = || -> Result<Vec<R>, Error> {
        let mut done = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            match items.get(number) {
                Some(item) => done.push(work(number, item)?),
                None => return Ok(done),
            }
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..WORKERS).map(|_| scope.spawn(worker)).collect();
        let mut all = Vec::new();
        for thread in threads {
            match thread.join() {
                Ok(done) => all.extend(done?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(all)
    })
}
