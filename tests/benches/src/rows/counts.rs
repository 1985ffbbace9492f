//! What does not depend on the machine's load: system calls, programs run, memory.

use netns_fixtures::{Pod, Runtime, Space, Strace, Target};

use super::{bridge, ipam};
use crate::error::Error;
use crate::figure::{Figure, Measure};
use crate::options::Effort;
use crate::programs::{Programs, Side};
use crate::series::Series;
use crate::site::Site;

/// Counts of a bridge ADD in the steady state, reference and ours.
pub fn run(programs: &Programs, _: Effort) -> Result<Vec<Figure>, Error> {
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
