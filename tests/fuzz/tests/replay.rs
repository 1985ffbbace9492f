//! Every kept input, and a fixed number of mutations of them, through its target: no panic, no hang, no broken promise.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that panics has failed, which is its job"
)]

use std::any::Any;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fuzz::hunt::Pool;
use fuzz::targets::{TARGETS, Target, find};
use fuzz::{Reached, corpus};

/// How long a target's whole replay may take: it takes less than a second, also on a busy machine it has an end.
const PATIENCE: Duration = Duration::from_mins(3);

/// The chance of every replay.
const SEED: u64 = 2;

fn run(target: &Target, input: &[u8], name: &str) -> Reached {
    let outcome = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    let why = match outcome {
        Ok(Ok(reached)) => return reached,
        Ok(Err(broken)) => broken.to_string(),
        Err(panic) => said(panic.as_ref()),
    };
    panic!("{} with {name}: {why}\ninput: {:?}", target.name, String::from_utf8_lossy(input));
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

/// On a thread of its own, so that an input that never comes back is named too.
fn replay(name: &str) {
    let target = find(name).expect("a target");
    let trying = Arc::new(Mutex::new((String::new(), Vec::new())));
    let (done, finished) = channel();
    let shared = Arc::clone(&trying);
    let worker = std::thread::spawn(move || {
        let attempt = |label: &str, input: &[u8]| {
            *shared.lock().unwrap() = (label.to_owned(), input.to_vec());
            run(target, input, label)
        };
        for kept in corpus::read(target.name).unwrap() {
            attempt(&kept.name, &kept.input);
        }
        let mut pool = Pool::new(target, SEED).unwrap();
        for round in 0..target.rounds {
            let input = pool.next_input();
            let reached = attempt(&format!("mutation {round}"), &input);
            pool.learn(input, reached);
        }
        done.send(()).ok();
    });
    match finished.recv_timeout(PATIENCE) {
        Ok(()) => {}
        Err(RecvTimeoutError::Disconnected) => std::panic::resume_unwind(worker.join().unwrap_err()),
        Err(RecvTimeoutError::Timeout) => {
            let (label, input) = trying.lock().unwrap().clone();
            panic!("{name} hangs at {label}: {:?}", String::from_utf8_lossy(&input));
        }
    }
}

macro_rules! replays {
    ($($name:ident)*) => {
        const REPLAYED: &[&str] = &[$(stringify!($name)),*];

        $(
            #[test]
            fn $name() {
                replay(stringify!($name));
            }
        )*
    };
}

replays! {
    cni_json
    cni_result
    cni_args
    cni_cidr
    cni_call
    cni_respond
    plugins_respond
    bridge_conf
    host_local_conf
    host_local_text
    host_local_files
    host_local_life
    flannel_conf
    flannel_subnet_env
    flannel_life
    overlay_config
    overlay_key
    overlay_attributes
    overlay_subnet_env
    overlay_frames
    overlay_leases
    portmap_conf
    portmap_saved
    firewall_conf
    firewall_saved
    bandwidth_conf
    tuning_conf
    tuning_allowlist
    tuning_backup
    sbr_conf
    vrf_conf
    marks
}

#[test]
fn every_target_is_replayed_and_has_a_corpus_and_no_corpus_is_left_over() {
    let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(names, REPLAYED);
    let mut directories: Vec<String> = fs::read_dir(corpus::root())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    directories.sort();
    let mut sorted = names.clone();
    sorted.sort_unstable();
    assert_eq!(directories, sorted);
    for name in names {
        assert!(corpus::read(name).unwrap().len() >= 5, "{name} has too few seeds");
    }
}
