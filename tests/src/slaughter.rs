//! SIGKILL at a system call of one plugin of a chain, then what a runtime does about it, then the oracle.

use netns_fixtures::{
    Invocation, Network, Pod, Snapshot, Space, Strace, Target, TracedCall, assert_ping, assert_same,
};
use serde_json::{Value, json};

use crate::World;
use crate::ports::mapping;

/// A world with a living neighbour, in which one verb is killed again and again.
pub struct Slaughter {
    world: World,
    network: Network,
    neighbour: (Pod, Target),
    before: Snapshot,
    files: Vec<String>,
}

/// What is killed.
#[derive(Clone, Copy, Debug)]
pub struct Victim {
    /// The verb.
    pub verb: &'static str,
    /// The plugin's place in the network's list.
    pub plugin: usize,
}

/// What the runtime does after it has seen the plugin die.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// DEL; with the result, if ADD ever gave it one.
    Del,
    /// DEL without a sandbox, which went as well.
    DelWithoutSandbox,
    /// Nothing but a GC, for which the attachment is not valid.
    Gc,
}

/// Which system calls a verb is killed at.
pub type Choice = fn(&TracedCall) -> bool;

/// Every one.
#[must_use]
pub fn every_call(_: &TracedCall) -> bool {
    true
}

/// Those that change something that others see, and the end of the process. The state that a kill leaves is that after one
/// of these calls: between two of them it is the same wherever the kill is.
#[must_use]
pub fn changing_call(call: &TracedCall) -> bool {
    let text = &call.text;
    match call.name.as_str() {
        // Netlink: what only asks changes nothing.
        "sendto" | "sendmsg" => !["RTM_GET", "_GET", "NLM_F_DUMP"].iter().any(|asks| text.contains(asks)),
        "openat" => text.contains("O_CREAT") || text.contains("O_TRUNC"),
        "write" | "writev" | "pwrite64" | "ftruncate" | "fallocate" | "rename" | "renameat" | "renameat2"
        | "unlink" | "unlinkat" | "link" | "linkat" | "symlink" | "mkdir" | "mkdirat" | "rmdir" | "ioctl"
        | "clone" | "clone3" | "vfork" | "exit_group" => true,
        _ => false,
    }
}

impl Slaughter {
    /// Everything that attachments of the network share is there, and one of them lives.
    #[track_caller]
    #[must_use]
    pub fn new(world: World, network: Network) -> Self {
        let pod = Pod::new();
        let target = Target::new("neighbour", &pod.path())
            .capability("portMappings", json!([mapping("tcp", 9090, 90), mapping("udp", 9053, 53)]));
        world.runtime().add(&network, &target).unwrap_or_else(|failure| panic!("{failure}"));
        let (before, files) = (world.snapshot(), world.files());
        Self { world, network, neighbour: (pod, target), before, files }
    }

    /// Where a run of the victim can be struck: one entry for each chosen system call of each name.
    #[track_caller]
    #[must_use]
    pub fn places(&self, victim: Victim, choice: Choice) -> Vec<(String, usize)> {
        let (runtime, pod) = (self.world.runtime(), Pod::new());
        let target = target("traced", &pod);
        let invocation = self.prepared(victim, &target);
        let (answer, trace) = Strace::list(&invocation, self.world.host());
        assert!(answer.succeeded(), "{answer}");
        runtime.del(&self.network, &target).unwrap_or_else(|failure| panic!("{failure}"));
        let mut places: Vec<(String, usize)> = Vec::new();
        for call in trace.calls.iter().filter(|call| choice(call)) {
            let place = (call.name.clone(), call.nth);
            if !places.contains(&place) {
                places.push(place);
            }
        }
        assert!(!places.is_empty(), "strace saw {} system calls, and none to kill at", trace.len());
        places
    }

    /// The run of the victim, after all that comes before it.
    #[track_caller]
    fn prepared(&self, victim: Victim, target: &Target) -> Invocation {
        let runtime = self.world.runtime();
        let run = |verb, plugin, previous: Option<&Value>| {
            runtime.invocation(verb, target, &self.network.request(plugin, target, previous))
        };
        let mut chain = self.network.clone();
        if victim.verb == "ADD" {
            chain.plugins.truncate(victim.plugin);
        }
        let result = runtime.add(&chain, target).unwrap_or_else(|failure| panic!("{failure}"));
        if victim.verb == "ADD" {
            return run("ADD", victim.plugin, Some(&result).filter(|_| victim.plugin > 0));
        }
        for plugin in (victim.plugin + 1..chain.plugins.len()).rev() {
            run("DEL", plugin, Some(&result)).run(self.world.host()).silent();
        }
        run("DEL", victim.plugin, Some(&result))
    }

    /// Kills the victim at one place, then the remedy, the oracle, and a fresh ADD in the same sandbox if there is one.
    /// Whether the plugin itself was struck: some places are those of a child that outlives a DEL.
    #[track_caller]
    #[must_use]
    pub fn strike(&self, victim: Victim, place: (&str, usize), remedy: Remedy) -> bool {
        let pod = Pod::new();
        let empty = Snapshot::of(&pod);
        let target = target("struck", &pod);
        let killed = Strace::kill_at(&self.prepared(victim, &target), self.world.host(), place);
        let plugin = &self.network.plugins[victim.plugin]["type"];
        let when =
            format!("{} of {plugin} killed at {} number {}, then {remedy:?}", victim.verb, place.0, place.1);
        assert!(killed.stdout.is_empty() || victim.verb == "ADD", "{when}: {killed}");
        self.heal(&target, remedy, &when);
        assert_same(&self.before, &self.world.snapshot(), &when);
        assert_eq!(self.world.files(), self.files, "{when}: files");
        if remedy == Remedy::Del {
            assert_same(&empty, &Snapshot::of(&pod), &format!("{when}: in the sandbox"));
        }
        let pod = if remedy == Remedy::Del { pod } else { Pod::new() };
        self.live(&pod, &when);
        !killed.succeeded()
    }

    fn heal(&self, target: &Target, remedy: Remedy, when: &str) {
        // A runtime that never saw an answer has no result to hand over: this one has forgotten it in any case.
        let runtime = self.world.runtime();
        let healed = match remedy {
            Remedy::Del => runtime.del(&self.network, target),
            Remedy::DelWithoutSandbox => runtime.del(&self.network, &target.clone().netns("")),
            Remedy::Gc => runtime.gc_plugins(&self.network, &[&self.neighbour.1]),
        };
        healed.unwrap_or_else(|failure| panic!("{when}: {failure}"));
    }

    /// The same container is attached, works, and goes.
    fn live(&self, pod: &Pod, when: &str) {
        let (runtime, target) = (self.world.runtime(), target("struck", pod));
        runtime
            .add(&self.network, &target)
            .unwrap_or_else(|failure| panic!("a fresh ADD after {when}: {failure}"));
        runtime.check(&self.network, &target).unwrap_or_else(|failure| panic!("{when}: {failure}"));
        assert_ping(pod, "10.66.0.1");
        assert_ping(&self.neighbour.0, "10.66.0.1");
        runtime.del(&self.network, &target).unwrap_or_else(|failure| panic!("{when}: {failure}"));
    }
}

fn target(container: &str, pod: &Pod) -> Target {
    let mappings = [mapping("tcp", 8080, 80), mapping("udp", 5300, 53)];
    Target::new(container, &pod.path()).capability("portMappings", json!(mappings))
}

/// Every chosen place of a victim, worked off by two threads with a world each: the time is the kernel's.
#[track_caller]
pub fn strike_everywhere(make: fn() -> Slaughter, victim: Victim, (choice, remedy): (Choice, Remedy)) {
    let places = &make().places(victim, choice);
    let struck: usize = std::thread::scope(|scope| {
        let work = |worker| {
            let slaughter = make();
            let mine = places.iter().skip(worker).step_by(2);
            mine.filter(|(name, nth)| slaughter.strike(victim, (name, *nth), remedy)).count()
        };
        let workers = [0, 1].map(|worker| scope.spawn(move || work(worker)));
        workers.map(|worker| worker.join().expect("a worker's failure is the test's")).iter().sum()
    });
    // The others are those of the child that sits out the kernel's grace period.
    let missed = places.len() - struck;
    assert!(
        missed <= 1.max(places.len() / 5),
        "{victim:?}: only {struck} of {} places were struck",
        places.len()
    );
}
