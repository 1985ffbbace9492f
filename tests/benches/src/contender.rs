//! What takes part in a contest: one plugin or a chain of them with their configurations, as one side runs them.

use std::path::PathBuf;

use serde_json::Value;

use crate::call::Call;
use crate::error::Error;
use crate::programs::{Programs, Side};
use crate::series::Sample;

/// In a configuration, stands for two host ports that no other attachment of the bench has.
pub const PORTS: [&str; 2] = ["PORT0", "PORT1"];
/// The lowest of these ports, and how many pairs there are.
const FIRST_PORT: usize = 10_000;
const PAIRS: usize = 10_000;

/// A chain of plugins with a configuration each, as one side runs it.
#[derive(Debug, Clone)]
pub struct Contender {
    chain: Vec<Link>,
    ifname: &'static str,
    /// In how many rounds it takes part: in every n-th.
    pub every: usize,
}

/// A plugin of a chain.
#[derive(Debug, Clone)]
struct Link {
    dir: PathBuf,
    plugin: &'static str,
    config: String,
    part: Part,
}

/// What a plugin is in the contest for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// It is measured.
    Measured,
    /// It makes what the next one needs.
    Given,
}

impl Contender {
    /// One side's plugin on `eth0`; the configuration is one JSON object.
    pub fn new(programs: &Programs, side: Side, plugin: &'static str, config: &Value) -> Self {
        let link = Link::new(programs, side, plugin, config);
        Self { chain: vec![link], ifname: "eth0", every: 1 }
    }

    /// The same with a plugin chained after.
    pub fn then(mut self, programs: &Programs, (plugin, config): (&'static str, &Value), side: Side) -> Self {
        self.chain.push(Link::new(programs, side, plugin, config));
        self
    }

    /// The same chained after an attachment that our `bridge` makes on every side, and that is not measured.
    pub fn on_attachment(mut self, programs: &Programs, config: &Value) -> Self {
        let link = Link { part: Part::Given, ..Link::new(programs, Side::Ours, "bridge", config) };
        self.chain.insert(0, link);
        self
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
    pub fn leaves_the_sandbox_alone(&self) -> bool {
        self.chain.iter().all(|link| link.plugin == "host-local")
    }

    /// ADD of the chain: each plugin gets the result of the one before.
    pub fn add(&self, number: usize, netns: &str) -> Result<(Sample, Vec<u8>), Error> {
        let (mut sum, mut result) = (Sample::default(), Vec::new());
        for link in &self.chain {
            let (sample, printed) = self.run(link, ("ADD", number, netns), &result)?;
            sum.count(link, sample);
            result = printed;
        }
        Ok((sum, result))
    }

    /// DEL of the chain, in the other order, each with the ADD's last result, as libcni does.
    pub fn del(&self, number: usize, netns: &str, result: &[u8]) -> Result<Sample, Error> {
        let mut sum = Sample::default();
        for link in self.chain.iter().rev() {
            let (sample, _) = self.run(link, ("DEL", number, netns), result)?;
            sum.count(link, sample);
        }
        Ok(sum)
    }

    /// ADD and DEL.
    pub fn cycle(&self, number: usize, netns: &str) -> Result<(Sample, Sample), Error> {
        let (add, result) = self.add(number, netns)?;
        Ok((add, self.del(number, netns, &result)?))
    }

    fn run(
        &self,
        link: &Link,
        (verb, number, netns): (&str, usize, &str),
        previous: &[u8],
    ) -> Result<(Sample, Vec<u8>), Error> {
        let (container, config) = (container(number), link.config(number, previous));
        let Link { dir, plugin, .. } = link;
        Call { dir, plugin, verb, container: &container, netns, ifname: self.ifname, config: &config }.run()
    }
}

impl Link {
    fn new(programs: &Programs, side: Side, plugin: &'static str, config: &Value) -> Self {
        let (dir, config) = (programs.dir(side).to_owned(), config.to_string());
        Self { dir, plugin, config, part: Part::Measured }
    }

    /// With the attachment's own ports, and the result before where there is one.
    fn config(&self, number: usize, previous: &[u8]) -> Vec<u8> {
        let first = FIRST_PORT + 2 * (number % PAIRS);
        let config = PORTS.iter().zip(first..).fold(self.config.clone(), |text, (word, port)| {
            text.replace(&format!("\"{word}\""), &port.to_string())
        });
        if previous.is_empty() {
            return config.into_bytes();
        }
        let mut config = config.strip_suffix('}').unwrap_or(&config).as_bytes().to_vec();
        config.extend_from_slice(b",\"prevResult\":");
        config.extend_from_slice(previous);
        config.push(b'}');
        config
    }
}

impl Sample {
    fn count(&mut self, link: &Link, sample: Self) {
        if link.part == Part::Measured {
            self.wall += sample.wall;
            self.cpu += sample.cpu;
        }
    }
}

/// The container id of a number; the floor derives an address from the digits at its end.
fn container(number: usize) -> String {
    format!("bench{number:0>59}")
}
