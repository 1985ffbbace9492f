//! A container runtime: runs a chain of plugins as libcni does, and remembers results as its cache does.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use crate::answer::{Answer, CniError};
use crate::bins::Bins;
use crate::invocation::Invocation;
use crate::network::{Network, Target};
use crate::node::Node;

type Key = (String, String, String);

/// Runs lists of plugins on one node, from one directory. Safe to use from many threads, as a runtime's daemon is.
pub struct Runtime<'w> {
    host: &'w Node,
    bins: &'w Bins,
    results: Mutex<BTreeMap<Key, Value>>,
}

/// A verb that failed: at which plugin, and what that one answered.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The plugin's type.
    pub plugin: String,
    /// Its answer.
    pub answer: Answer,
}

impl Failure {
    /// The protocol's error object.
    #[track_caller]
    #[must_use]
    pub fn error(&self) -> CniError {
        self.answer.loose_error()
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}: {}", self.answer.what, self.answer)
    }
}

impl<'w> Runtime<'w> {
    /// A runtime on a node that finds its plugins in `bins`.
    #[must_use]
    pub fn new(host: &'w Node, bins: &'w Bins) -> Self {
        Self { host, bins, results: Mutex::new(BTreeMap::new()) }
    }

    /// The same node and the same cache, other plugins: a node whose binaries were swapped.
    #[must_use]
    pub fn swapped<'b>(&self, bins: &'b Bins) -> Runtime<'b>
    where
        'w: 'b,
    {
        let results = self.results.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Runtime { host: self.host, bins, results: Mutex::new(results) }
    }

    /// ADD of every plugin in order; the last result is kept. Stops at the first failure and undoes nothing.
    pub fn add(&self, network: &Network, target: &Target) -> Result<Value, Failure> {
        let mut previous = None;
        for index in 0..network.plugins.len() {
            let answer = self.run("ADD", target, &network.request(index, target, previous.as_ref()))?;
            previous = Some(answer.result());
        }
        let result = previous.unwrap_or_else(|| json!({}));
        self.cache().insert(key(network, target), result.clone());
        Ok(result)
    }

    /// DEL in reverse order, with the cached result from version 0.4.0 on; success forgets it.
    pub fn del(&self, network: &Network, target: &Target) -> Result<(), Failure> {
        let cached = self.cached(network, target).filter(|_| network.is_at_least("0.4.0"));
        for index in (0..network.plugins.len()).rev() {
            self.run("DEL", target, &network.request(index, target, cached.as_ref()))?.silent();
        }
        self.cache().remove(&key(network, target));
        Ok(())
    }

    /// CHECK in ADD order with the cached result.
    pub fn check(&self, network: &Network, target: &Target) -> Result<(), Failure> {
        let cached = self.cached(network, target);
        for index in 0..network.plugins.len() {
            self.run("CHECK", target, &network.request(index, target, cached.as_ref()))?.silent();
        }
        Ok(())
    }

    /// GC: DEL of every cached attachment of the network that is not in `valid`, then GC of each plugin.
    pub fn gc(&self, network: &Network, valid: &[&Target]) -> Result<(), Failure> {
        let kept: Vec<Key> = valid.iter().map(|target| key(network, target)).collect();
        let stale: Vec<Key> = self
            .cache()
            .keys()
            .filter(|known| known.0 == network.name && !kept.contains(known))
            .cloned()
            .collect();
        for (_, container, ifname) in stale {
            self.del(network, &Target::new(&container, "").ifname(&ifname))?;
        }
        self.gc_plugins(network, valid)
    }

    /// Only the second half of [`Self::gc`]: what plugins see after a runtime has lost its cache.
    pub fn gc_plugins(&self, network: &Network, valid: &[&Target]) -> Result<(), Failure> {
        let attachments: Vec<Value> =
            valid.iter().map(|t| json!({"containerID": t.container, "ifname": t.ifname})).collect();
        let nobody = Target::new("", "").ifname("");
        for index in 0..network.plugins.len() {
            let mut request = network.request(index, &nobody, None);
            request["cni.dev/valid-attachments"] = json!(attachments);
            request["cni.dev/attachments"] = json!(attachments);
            self.run("GC", &nobody, &request)?.silent();
        }
        Ok(())
    }

    /// STATUS of each plugin, the first failure wins.
    pub fn status(&self, network: &Network) -> Result<(), Failure> {
        let nobody = Target::new("", "").ifname("");
        for index in 0..network.plugins.len() {
            self.run("STATUS", &nobody, &network.request(index, &nobody, None))?.silent();
        }
        Ok(())
    }

    /// The result of the last ADD of an attachment.
    #[must_use]
    pub fn cached(&self, network: &Network, target: &Target) -> Option<Value> {
        self.cache().get(&key(network, target)).cloned()
    }

    /// Loses the cache of one attachment, as a runtime does whose state was wiped.
    pub fn forget(&self, network: &Network, target: &Target) {
        self.cache().remove(&key(network, target));
    }

    /// One plugin's run as this runtime would do it, for a test that changes it before running it.
    #[must_use]
    pub fn invocation(&self, verb: &str, target: &Target, request: &Value) -> Invocation {
        let plugin = request["type"].as_str().expect("a plugin's object has a type");
        let mut run = Invocation::new(self.bins, plugin).verb(verb).config(request);
        for (name, value) in [
            ("CNI_CONTAINERID", &target.container),
            ("CNI_IFNAME", &target.ifname),
            ("CNI_NETNS", &target.netns),
            ("CNI_ARGS", &target.args),
        ] {
            run = run.env(name, value);
        }
        run
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, BTreeMap<Key, Value>> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, verb: &str, target: &Target, request: &Value) -> Result<Answer, Failure> {
        let answer = self.invocation(verb, target, request).run(self.host);
        if answer.succeeded() {
            return Ok(answer);
        }
        let plugin = request["type"].as_str().unwrap_or_default().to_owned();
        Err(Failure { plugin, answer })
    }
}

fn key(network: &Network, target: &Target) -> Key {
    (network.name.clone(), target.container.clone(), target.ifname.clone())
}
