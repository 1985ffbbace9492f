//! The kernel refuses, one system call after the other: ADD fails with a telling code and leaves nothing.

use netns_fixtures::{Answer, Network, Pod, Snapshot, Space, Strace, Target, assert_same};
use serde_json::json;
use tests::World;

/// A bug and nothing else.
const INTERNAL: u64 = 999;
const ROLLBACK_FAILED: u64 = 102;

/// Calls that ask the kernel for something, and a refusal that each may meet.
const REFUSALS: [(&str, &str); 6] = [
    ("sendto", "ENOBUFS"),
    ("sendmsg", "ENOBUFS"),
    ("socket", "EMFILE"),
    ("setns", "EPERM"),
    ("openat", "EACCES"),
    ("linkat", "ENOSPC"),
];

fn full(world: &World) -> Network {
    let ipam = world.ipam(&["10.66.0.0/24", "fd66::/64"]);
    world.bridge(&json!({"isDefaultGateway": true, "ipMasq": true, "ipam": ipam}))
}

/// A warm world and its state.
struct Faulty {
    world: World,
    network: Network,
    before: Snapshot,
}

impl Faulty {
    fn new() -> Self {
        let world = World::ours();
        let network = full(&world);
        world.warm(&network);
        let before = world.snapshot();
        Self { world, network, before }
    }

    /// How often one thread of an ADD makes a call.
    fn count(&self, call: &str) -> usize {
        let (runtime, pod) = (self.world.runtime(), Pod::new());
        let target = Target::new("counted", &pod.path());
        let request = self.network.request(0, &target, None);
        let (answer, trace) = Strace::list(&runtime.invocation("ADD", &target, &request), self.world.host());
        assert!(answer.succeeded(), "{answer}");
        runtime.del(&self.network, &target).unwrap_or_else(|failure| panic!("{failure}"));
        trace.calls.iter().filter(|traced| traced.name == call).map(|traced| traced.nth).max().unwrap_or(0)
    }

    /// ADD with the `nth` call of a name refused.
    fn add(&self, pod: &Pod, fault: (&str, usize, &str)) -> Answer {
        let target = Target::new("refused", &pod.path());
        let request = self.network.request(0, &target, None);
        Strace::fail_at(&self.world.runtime().invocation("ADD", &target, &request), self.world.host(), fault)
    }

    /// ADD that can send nothing from the `nth` message on, not even what would undo the messages before.
    fn add_without_mercy(&self, pod: &Pod, nth: usize) -> Answer {
        let target = Target::new("refused", &pod.path());
        let request = self.network.request(0, &target, None);
        let invocation = self.world.runtime().invocation("ADD", &target, &request);
        Strace::fail_from(&invocation, self.world.host(), ("sendto", nth, "ENOBUFS"))
    }
}

#[test]
fn whichever_call_the_kernel_refuses_a_failed_add_leaves_nothing() {
    let faulty = Faulty::new();
    let mut failures = 0;
    for (call, errno) in REFUSALS {
        // Every other setns is the way home from a sandbox: without it a plugin must not go on, and it aborts.
        for nth in (1..=faulty.count(call)).step_by(if call == "setns" { 2 } else { 1 }) {
            let (pod, when) = (Pod::new(), format!("{call} number {nth} refused with {errno}"));
            let answer = faulty.add(&pod, (call, nth, errno));
            if answer.succeeded() {
                // Some reads are only wishes, such as a sysctl that a kernel without IPv6 lacks.
                let target = Target::new("refused", &pod.path());
                faulty
                    .world
                    .runtime()
                    .del(&faulty.network, &target)
                    .unwrap_or_else(|f| panic!("{when}: {f}"));
            } else {
                failures += 1;
                assert_eq!(answer.code, Some(1), "{when}: no answer: {answer}");
                let error = answer.error();
                assert_ne!(error.code, INTERNAL, "{when}: {error:?}");
                assert!(!pod.link_names().contains(&"eth0".to_owned()), "{when}: the interface is left");
            }
            assert_same(&faulty.before, &faulty.world.snapshot(), &when);
            assert_eq!(faulty.world.reservations("proving"), Vec::<String>::new(), "{when}");
        }
    }
    assert!(failures > 15, "only {failures} refusals made ADD fail");
}

#[test]
fn a_rollback_that_fails_too_is_code_102_and_del_still_cleans_up() {
    let faulty = Faulty::new();
    let last = faulty.count("sendto");
    let codes: Vec<u64> = (1..=last)
        .map(|nth| {
            let pod = Pod::new();
            let answer = faulty.add_without_mercy(&pod, nth);
            let code = answer.error().code;
            let target = Target::new("refused", &pod.path());
            faulty
                .world
                .runtime()
                .del(&faulty.network, &target)
                .unwrap_or_else(|failure| panic!("{failure}"));
            assert_same(
                &faulty.before,
                &faulty.world.snapshot(),
                &format!("DEL after no sendto from {nth} on"),
            );
            assert_eq!(faulty.world.reservations("proving"), Vec::<String>::new());
            code
        })
        .collect();
    assert!(codes.contains(&ROLLBACK_FAILED) && !codes.contains(&INTERNAL), "codes of ADD: {codes:?}");
}
