//! SIGKILL at every system call of ADD and of DEL, on the release binary: a DEL afterwards cleans up, and life goes on.

use netns_fixtures::{
    Bins, Network, Node, Pod, Runtime, Snapshot, Space, Strace, Target, assert_ping, assert_same,
};
use serde_json::json;
use tempfile::TempDir;
use tests::World;

/// Default gateway, both families, masquerade and in-process IPAM: everything that an attachment can own.
fn full(world: &World) -> Network {
    let ipam = world.ipam(&["10.66.0.0/24", "fd66::/64"]);
    world.bridge(&json!({"isDefaultGateway": true, "ipMasq": true, "hairpinMode": true, "ipam": ipam}))
}

/// A world in which everything shared is there, and where one verb is killed again and again.
struct Slaughter {
    world: World,
    network: Network,
    before: Snapshot,
}

impl Slaughter {
    fn new() -> Self {
        let world = World::ours();
        let network = full(&world);
        let (resident, _) = world.attach(&network, "resident");
        // The resident's namespace may go; its link and address are what has to be unharmed.
        drop(resident);
        let runtime = world.runtime();
        let gone = Target::new("resident", "");
        runtime.del(&network, &gone).unwrap_or_else(|failure| panic!("{failure}"));
        let before = world.snapshot();
        Self { world, network, before }
    }

    /// Where a run of the verb can be struck: one entry for each system call of each name.
    fn places(&self, verb: &str) -> Vec<(String, usize)> {
        let (runtime, pod) = (self.world.runtime(), Pod::new());
        let target = Target::new("traced", &pod.path());
        if verb == "DEL" {
            runtime.add(&self.network, &target).unwrap_or_else(|failure| panic!("{failure}"));
        }
        let request = self.network.request(0, &target, runtime.cached(&self.network, &target).as_ref());
        let (answer, trace) = Strace::list(&runtime.invocation(verb, &target, &request), self.world.host());
        assert!(answer.succeeded(), "{answer}");
        runtime.del(&self.network, &target).unwrap_or_else(|failure| panic!("{failure}"));
        assert!(trace.len() > 30, "strace saw {} system calls", trace.len());
        trace.places()
    }

    /// Kills the verb at one place; then the runtime's DEL, the oracle, and a fresh ADD in the same sandbox. Whether the
    /// plugin itself was struck: some places are those of a child that outlives a DEL.
    fn strike(&self, verb: &str, place: (&str, usize), lost_sandbox: &str) -> bool {
        let (runtime, pod) = (self.world.runtime(), Pod::new());
        let target = Target::new("struck", &pod.path());
        if verb == "DEL" {
            runtime.add(&self.network, &target).unwrap_or_else(|failure| panic!("{failure}"));
        }
        let request = self.network.request(0, &target, runtime.cached(&self.network, &target).as_ref());
        let killed = Strace::kill_at(&runtime.invocation(verb, &target, &request), self.world.host(), place);
        let when = format!("{verb} killed at {} number {}", place.0, place.1);
        assert!(killed.stdout.is_empty() || verb == "ADD", "{when}: {killed}");
        // A runtime that never saw an answer has no result to hand over, and may have lost the sandbox as well.
        runtime.forget(&self.network, &target);
        let after = if lost_sandbox.is_empty() { target.clone() } else { target.clone().netns("") };
        let pod = if lost_sandbox.is_empty() { pod } else { Pod::new() };
        runtime.del(&self.network, &after).unwrap_or_else(|failure| panic!("{when}: {failure}"));
        assert_same(&self.before, &self.world.snapshot(), &when);
        assert_eq!(self.world.reservations("proving"), Vec::<String>::new(), "{when}");
        let target = Target::new("struck", &pod.path());
        runtime
            .add(&self.network, &target)
            .unwrap_or_else(|failure| panic!("a fresh ADD after {when}: {failure}"));
        assert_ping(&pod, "10.66.0.1");
        runtime.del(&self.network, &target).unwrap_or_else(|failure| panic!("{when}: {failure}"));
        !killed.succeeded()
    }
}

/// Every place, worked off by two threads with a world each: the time is the kernel's.
fn strike_everywhere(verb: &'static str, lost_sandbox: &'static str) {
    let places = &Slaughter::new().places(verb);
    let struck: usize = std::thread::scope(|scope| {
        let work = |worker| {
            let slaughter = Slaughter::new();
            let mine = places.iter().skip(worker).step_by(2);
            mine.filter(|(name, nth)| slaughter.strike(verb, (name, *nth), lost_sandbox)).count()
        };
        let workers = [0, 1].map(|worker| scope.spawn(move || work(worker)));
        workers.map(|worker| worker.join().expect("a worker's failure is the test's")).iter().sum()
    });
    assert!(struck * 10 > places.len() * 8, "only {struck} of {} places were struck", places.len());
}

#[test]
fn add_may_die_at_any_system_call() {
    strike_everywhere("ADD", "");
}

#[test]
fn add_may_die_at_any_system_call_and_the_sandbox_with_it() {
    strike_everywhere("ADD", "lost");
}

#[test]
fn del_may_die_at_any_system_call() {
    strike_everywhere("DEL", "");
}

#[test]
fn the_first_add_on_a_node_may_die_at_any_system_call() {
    let (bins, probe, state) = (Bins::multicall(), Node::new("probe"), TempDir::new().unwrap());
    let (pod, runtime, network) = (Pod::new(), Runtime::new(&probe, &bins), first(&state));
    let target = Target::new("first", &pod.path());
    let request = network.request(0, &target, None);
    let (answer, trace) = Strace::list(&runtime.invocation("ADD", &target, &request), &probe);
    assert!(answer.succeeded(), "{answer}");
    // What is shared is made by netlink and sysctl writes: these are the places that differ from a later ADD.
    let shared = |name: &str| ["sendto", "sendmsg", "write"].contains(&name);
    for (name, nth) in trace.places().into_iter().filter(|(name, _)| shared(name)) {
        let (host, pod, state) = (Node::new("fresh"), Pod::new(), TempDir::new().unwrap());
        let (runtime, network) = (Runtime::new(&host, &bins), first(&state));
        let target = Target::new("first", &pod.path());
        let request = network.request(0, &target, None);
        Strace::kill_at(&runtime.invocation("ADD", &target, &request), &host, (&name, nth));
        runtime.del(&network, &target).unwrap_or_else(|failure| panic!("{name} {nth}: {failure}"));
        runtime.add(&network, &target).unwrap_or_else(|failure| panic!("{name} {nth}: {failure}"));
        runtime.check(&network, &target).unwrap_or_else(|failure| panic!("{name} {nth}: {failure}"));
        assert_ping(&pod, "10.66.0.1");
    }
}

/// The same network for a node of which there is nothing but its namespace.
fn first(state: &TempDir) -> Network {
    let ranges = json!([[{"subnet": "10.66.0.0/24"}], [{"subnet": "fd66::/64"}]]);
    let ipam = json!({"type": "host-local", "dataDir": state.path(), "ranges": ranges});
    let bridge =
        json!({"type": "bridge", "bridge": "cni0", "isDefaultGateway": true, "ipMasq": true, "ipam": ipam});
    Network::new("proving", "1.1.0").plugin(bridge)
}
