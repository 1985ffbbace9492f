//! Sides that take turns: A B C A B C, so that whatever else the machine does hits all of them alike.

use std::path::PathBuf;
use std::time::Duration;

use netns_fixtures::{Pod, Space};

use crate::call::Call;
use crate::error::Error;
use crate::programs::{Programs, Side};
use crate::series::{Sample, Series};
use crate::site::Site;

/// Rounds that are run and not counted.
const WARM: usize = 3;
/// Between two contenders: what a DEL leaves to the kernel (RCU barriers of links and of nftables, some 20 ms) would be
/// waited for by the next one.
const PAUSE: Duration = Duration::from_millis(30);

/// A plugin with a configuration, as one side runs it.
#[derive(Debug, Clone)]
pub struct Contender {
    dir: PathBuf,
    plugin: &'static str,
    ifname: &'static str,
    config: String,
    every: usize,
}

/// What adding and deleting took.
#[derive(Debug, Clone, Default)]
pub struct Cycles {
    /// Of each ADD.
    pub add: Series,
    /// Of each DEL.
    pub del: Series,
}

impl Contender {
    /// One side's plugin on `eth0`; the configuration is one JSON object.
    pub fn new(programs: &Programs, side: Side, plugin: &'static str, config: &serde_json::Value) -> Self {
        let dir = programs.dir(side).to_owned();
        Self { dir, plugin, ifname: "eth0", config: config.to_string(), every: 1 }
    }

    /// The same on another interface.
    pub fn ifname(self, ifname: &'static str) -> Self {
        Self { ifname, ..self }
    }

    /// The same in every n-th round alone: for what takes too long.
    pub fn every(self, every: usize) -> Self {
        Self { every, ..self }
    }

    /// Whether its sandbox stays as it is, so that one does for all runs.
    fn leaves_the_sandbox_alone(&self) -> bool {
        self.plugin == "host-local"
    }

    /// ADD.
    pub fn add(&self, container: &str, netns: &str) -> Result<(Sample, Vec<u8>), Error> {
        self.call("ADD", container, netns).config(self.config.as_bytes())
    }

    /// DEL, with the ADD's result as libcni gives it.
    pub fn del(&self, container: &str, netns: &str, result: &[u8]) -> Result<Sample, Error> {
        let open = self.config.strip_suffix('}').unwrap_or(&self.config);
        let mut config = open.as_bytes().to_vec();
        config.extend_from_slice(b",\"prevResult\":");
        config.extend_from_slice(result);
        config.push(b'}');
        Ok(self.call("DEL", container, netns).config(&config)?.0)
    }

    fn call<'a>(&'a self, verb: &'a str, container: &'a str, netns: &'a str) -> Prepared<'a> {
        Prepared { contender: self, verb, container, netns }
    }

    fn cycle(&self, container: &str, netns: &str) -> Result<(Sample, Sample), Error> {
        let (add, result) = self.add(container, netns)?;
        Ok((add, self.del(container, netns, &result)?))
    }
}

/// A call that lacks its standard input.
struct Prepared<'a> {
    contender: &'a Contender,
    verb: &'a str,
    container: &'a str,
    netns: &'a str,
}

impl Prepared<'_> {
    fn config(&self, config: &[u8]) -> Result<(Sample, Vec<u8>), Error> {
        let Contender { dir, plugin, ifname, .. } = self.contender;
        Call { dir, plugin, verb: self.verb, container: self.container, netns: self.netns, ifname, config }
            .run()
    }
}

/// The container id of a number; the floor derives an address from the digits at its end.
pub fn container(number: usize) -> String {
    format!("bench{number:0>59}")
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
            let (add, del) = contender.cycle(&container(number), sandbox.map_or("", String::as_str))?;
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
