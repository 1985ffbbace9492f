//! `ironbridge demo`, the main job in one command: it works with both stores, and leaves nothing behind.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use netns_fixtures::{Bins, Node, Space, eventually, within};
use tempfile::TempDir;

const TAKES: Duration = Duration::from_mins(1);

/// A demo of the test's own: its files go where only it looks, and everything that it starts is known by that.
struct Stage {
    /// Where the demo is started; links that it left outside its namespaces would be here.
    node: Node,
    folder: TempDir,
}

impl Stage {
    fn new() -> Self {
        Self { node: Node::new("demo"), folder: TempDir::new().unwrap() }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(Bins::command());
        command.arg("demo").args(arguments).env("TMPDIR", self.folder.path());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.node.output(self.command(arguments))
    }

    /// Processes that have the demo's folder in their command line or environment: the demo and all its children.
    fn processes(&self) -> Vec<String> {
        let mark = self.folder.path().to_str().unwrap().as_bytes().to_vec();
        let has = |path: PathBuf| {
            let text = fs::read(path).unwrap_or_default();
            text.windows(mark.len()).any(|window| window == mark)
        };
        processes()
            .into_iter()
            .filter(|process| has(process.join("environ")) || has(process.join("cmdline")))
            .map(|process| fs::read_to_string(process.join("cmdline")).unwrap_or_default().replace('\0', " "))
            .collect()
    }

    #[track_caller]
    fn assert_nothing_is_left(&self) {
        // A killed child is collected by whoever inherits it.
        let gone = within(Duration::from_secs(5), || self.processes().is_empty().then_some(()));
        assert!(gone.is_some(), "processes are left: {:?}", self.processes());
        let files: Vec<_> =
            fs::read_dir(self.folder.path()).unwrap().map(|file| file.unwrap().path()).collect();
        assert_eq!(files, [] as [PathBuf; 0], "files are left");
        assert_eq!(self.node.link_names(), ["lo"], "links are left");
        // A namespace outlives its last process only by a mount.
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(self.folder.path().to_str().unwrap()), "mounts are left: {mounts}");
    }
}

fn processes() -> Vec<PathBuf> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.join("ns/net").exists()).collect()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn works(arguments: &[&str], nodes: usize) {
    let stage = Stage::new();
    let output = stage.run(arguments);
    assert!(output.status.success(), "{}", text(&output));
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    for node in 1..=nodes {
        assert!(shown.contains(&format!("node{node}")), "{shown}");
        assert!(shown.contains(&format!("pod{node}a")), "{shown}");
    }
    assert!(shown.contains("ways are open"), "{shown}");
    stage.assert_nothing_is_left();
}

#[test]
fn the_demo_works_with_the_embedded_store_and_leaves_nothing() {
    works(&[], 2);
}

#[test]
fn the_demo_works_through_a_vxlan_tunnel_and_leaves_nothing() {
    works(&["--backend", "vxlan"], 2);
}

#[test]
fn the_demo_works_with_etcd_and_three_nodes_and_leaves_nothing() {
    works(&["--store", "etcd", "--nodes", "3"], 3);
}

/// How a demo is ended before its time.
#[derive(Clone, Copy, PartialEq)]
enum Signal {
    Int,
    Term,
    Kill,
}

impl Signal {
    fn name(self) -> &'static str {
        match self {
            Signal::Int => "INT",
            Signal::Term => "TERM",
            Signal::Kill => "KILL",
        }
    }
}

/// Starts a demo and ends it after a time. False when it was over by then.
fn is_interrupted(arguments: &[&str], signal: Signal, after: Duration) -> bool {
    let stage = Stage::new();
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut demo = stage.node.start(stage.command(arguments), log.path());
    within(after, || None::<()>);
    if !demo.is_running() {
        return false;
    }
    if !stage.node.succeeds(&format!("kill -{} {}", signal.name(), demo.id())) {
        return false;
    }
    let status = demo.wait(TAKES);
    if signal == Signal::Kill {
        eventually("the programs of a killed demo end", TAKES, || stage.processes().is_empty().then_some(()));
        // Its directory is removed by the next one.
        let next = stage.run(&[]);
        assert!(next.status.success(), "{}", text(&next));
    } else {
        assert!([Some(130), Some(0)].contains(&status.code()), "after {after:?}: {status}\n{}", demo.log());
    }
    stage.assert_nothing_is_left();
    !status.success()
}

/// How long a demo takes here and now.
fn whole(arguments: &[&str]) -> Duration {
    let (stage, began) = (Stage::new(), Instant::now());
    let output = stage.run(arguments);
    assert!(output.status.success(), "{}", text(&output));
    began.elapsed()
}

/// Ends a demo at each of these percentages of its time. That of a busy machine varies: not each must be met.
fn interrupt_at(arguments: &[&str], signal: Signal, percentages: &[u32]) {
    let whole = whole(arguments);
    let met =
        percentages.iter().filter(|share| is_interrupted(arguments, signal, whole * **share / 100)).count();
    eprintln!("{arguments:?}: {met} of {} interrupted within {whole:?}", percentages.len());
    assert!(met > 0, "no demo of {whole:?} was interrupted");
}

#[test]
fn an_interrupted_demo_leaves_nothing_whenever_that_is() {
    interrupt_at(&["--nodes", "4"], Signal::Int, &[5, 20, 35, 50, 65, 80]);
    interrupt_at(&["--store", "etcd", "--nodes", "3"], Signal::Int, &[10, 40, 70]);
    interrupt_at(&["--nodes", "4"], Signal::Term, &[30, 60]);
}

#[test]
fn the_programs_of_a_killed_demo_end_and_the_next_one_cleans_up() {
    interrupt_at(&["--nodes", "4"], Signal::Kill, &[25, 50, 75]);
}
