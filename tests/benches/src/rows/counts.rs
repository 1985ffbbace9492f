//! What does not depend on the machine's load: system calls, programs run, memory.

use netns_fixtures::{Pod, Runtime, Space, Strace, Target};
use serde_json::{Value, json};

use super::chain::publishing;
use super::{bridge, ipam, with};
use crate::error::Error;
use crate::figure::{Figure, Measure};
use crate::options::Effort;
use crate::programs::{Programs, Side};
use crate::series::Series;
use crate::site::Site;

/// Counts of an ADD in the steady state, reference and ours: of the bridge, and of its chain with published ports.
pub fn run(programs: &Programs, _: Effort) -> Result<Vec<Figure>, Error> {
    let mut figures = alone(programs)?;
    figures.extend(chain(programs));
    Ok(figures)
}

fn alone(programs: &Programs) -> Result<Vec<Figure>, Error> {
    let site = Site::new();
    let [reference, ours] = [count(programs, Side::Reference, &site)?, count(programs, Side::Ours, &site)?];
    let figure = |work: &str, of: fn(&Counted) -> f64, limit: f64| {
        Figure::new(work, Measure::Count, &Series::of([of(&ours)]))
            .reference(&Series::of([of(&reference)]), None)
            .at_most(limit)
    };
    Ok(vec![
        figure("system calls of a bridge ADD", |counted| counted.calls, 120.0),
        figure("programs run by a bridge ADD, itself included", |counted| counted.execs, 1.0),
        figure("resident memory of a bridge ADD, KiB", |counted| counted.memory, 4096.0),
    ])
}

fn chain(programs: &Programs) -> [Figure; 2] {
    let site = Site::new();
    let [reference, ours] = [Side::Reference, Side::Ours].map(|side| count_chain(programs, side, &site));
    let figure = |work: &str, of: fn(&(f64, f64)) -> f64, limit: f64| {
        Figure::new(work, Measure::Count, &Series::of([of(&ours)]))
            .reference(&Series::of([of(&reference)]), None)
            .at_most(limit)
    };
    let calls = "system calls of an ADD of bridge + ipMasq + portmap with two ports";
    [
        figure(calls, |(calls, _)| *calls, 400.0),
        figure("programs run by it, both plugins included", |(_, execs)| *execs, 2.0),
    ]
}

/// System calls of the chain's ADD, and programs that it runs.
fn count_chain(programs: &Programs, side: Side, on: &Site) -> (f64, f64) {
    let (bins, pod) = (programs.bins(side), Pod::new());
    let runtime = Runtime::new(on.node(), bins);
    let target = Target::new("counted", &pod.path());
    let network =
        with(bridge(&ipam(programs, side, "chain-counts", &["10.77.0.0/16"])), &json!({"ipMasq": true}));
    let portmap = publishing(&json!([
        {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"},
        {"hostPort": 5300, "containerPort": 53, "protocol": "udp"},
    ]));
    let after = |previous: &Value| with(portmap.clone(), &json!({"prevResult": previous}));
    let run = |verb: &str, request: &Value| runtime.invocation(verb, &target, request);
    // The first makes what later ones find in place.
    for _ in 0..2 {
        let result = run("ADD", &network).run(on.node()).result();
        run("ADD", &after(&result)).run(on.node());
        run("DEL", &after(&result)).run(on.node());
        run("DEL", &with(network.clone(), &json!({"prevResult": result}))).run(on.node());
    }
    let (answer, first) = Strace::list(&run("ADD", &network), on.node());
    let (_, second) = Strace::list(&run("ADD", &after(&answer.result())), on.node());
    #[expect(clippy::cast_precision_loss, reason = "some thousands")]
    let [calls, execs] = [first.len() + second.len(), first.count("execve") + second.count("execve")]
        .map(|count| count as f64);
    (calls, execs)
}

struct Counted {
    calls: f64,
    execs: f64,
    memory: f64,
}

fn count(programs: &Programs, side: Side, on: &Site) -> Result<Counted, Error> {
    let (bins, pod) = (programs.bins(side), Pod::new());
    let runtime = Runtime::new(on.node(), bins);
    let network = bridge(&ipam(programs, side, "counts", &["10.77.0.0/16"]));
    let target = Target::new("counted", &pod.path());
    let run = |verb: &str| runtime.invocation(verb, &target, &network);
    // The first makes what later ones find in place.
    for _ in 0..2 {
        run("ADD").run(on.node());
        run("DEL").run(on.node());
    }
    let (_, trace) = Strace::list(&run("ADD"), on.node());
    run("DEL").run(on.node());
    let report = programs.folder("counts")?.join("memory");
    let path = report.display().to_string();
    run("ADD").under(&["/usr/bin/time", "-f", "%M", "-o", &path]).run(on.node());
    run("DEL").run(on.node());
    let text = std::fs::read_to_string(&report).map_err(Error::file(&report))?;
    #[expect(clippy::cast_precision_loss, reason = "some thousands")]
    let [calls, execs] = [trace.len() as f64, trace.count("execve") as f64];
    Ok(Counted { calls, execs, memory: number("time", text.trim())? })
}

/// The number that a program printed.
pub(super) fn number(program: &str, answer: &str) -> Result<f64, Error> {
    let unclear = || Error::Answer { program: program.to_owned(), answer: answer.to_owned() };
    answer.parse().map_err(|_| unclear())
}
