//! Sides that take turns: A B C A B C, so that whatever else the machine does hits all of them alike.

use std::time::Duration;

use netns_fixtures::{Pod, Space};

use crate::contender::Contender;
use crate::error::Error;
use crate::series::Series;
use crate::site::Site;

/// Rounds that are run and not counted.
const WARM: usize = 3;
/// Between two contenders: what a DEL leaves to the kernel and to its children (RCU barriers of links and of nftables, some
/// 20 ms) would be waited for by the next one.
const PAUSE: Duration = Duration::from_millis(50);

/// What adding and deleting took.
#[derive(Debug, Clone, Default)]
pub struct Cycles {
    /// Of each ADD.
    pub add: Series,
    /// Of each DEL.
    pub del: Series,
}

/// Runs ADD and DEL of each contender in turn, `rounds` times after a warm-up.
pub fn interleave(site: &Site, contenders: &[Contender], rounds: usize) -> Result<Vec<Cycles>, Error> {
    let fresh = contenders.iter().filter(|contender| !contender.leaves_the_sandbox_alone()).count();
    let pods = Site::pods((rounds + WARM) * fresh + 1);
    let paths: Vec<String> = pods.iter().map(Pod::path).collect();
    site.node().inside(|| turns(&paths, contenders, rounds))
}

fn turns(paths: &[String], contenders: &[Contender], rounds: usize) -> Result<Vec<Cycles>, Error> {
    let mut taken = vec![Cycles::default(); contenders.len()];
    let mut unused = paths.iter();
    let shared = unused.next();
    let mut number = 0;
    for round in 0..rounds + WARM {
        for (contender, cycles) in contenders.iter().zip(&mut taken) {
            if round >= WARM && !(round - WARM).is_multiple_of(contender.every) {
                continue;
            }
            let sandbox = if contender.leaves_the_sandbox_alone() { shared } else { unused.next() };
            let (add, del) = contender.cycle(number, sandbox.map_or("", String::as_str))?;
            std::thread::park_timeout(PAUSE);
            number += 1;
            if round >= WARM {
                cycles.add.push(add);
                cycles.del.push(del);
            }
        }
    }
    Ok(taken)
}
