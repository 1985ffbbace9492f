//! `fuzz TARGET|all [SECONDS [SEED]]`: searches, and writes what it finds to `corpus/<target>/crash-<hash>`.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use fuzz::hunt::{self, Hunt};
use fuzz::targets::{TARGETS, Target, find};

/// How long a target is searched unless the command line says.
const SECONDS: u64 = 60;

fn main() -> io::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["--child", name, seed, current, seconds] => match (find(name), seed.parse(), seconds.parse()) {
            (Some(target), Ok(seed), Ok(seconds)) => {
                hunt::child(target, seed, Path::new(current), Duration::from_secs(seconds))
            }
            _ => usage(),
        },
        ["--once", name, path] => match find(name) {
            Some(target) => hunt::once(target, &fs::read(path)?),
            None => usage(),
        },
        [name, rest @ ..] if rest.len() <= 2 => {
            let targets: Vec<&'static Target> =
                TARGETS.iter().filter(|target| *name == "all" || target.name == *name).collect();
            let mut numbers = rest.iter().map(|word| word.parse::<u64>());
            let seconds = numbers.next().unwrap_or(Ok(SECONDS));
            let seed = numbers.next().unwrap_or_else(|| Ok(by_the_clock()));
            match (targets.is_empty(), seconds, seed) {
                (false, Ok(seconds), Ok(seed)) => search(&targets, Duration::from_secs(seconds), seed),
                _ => usage(),
            }
        }
        _ => usage(),
    }
}

fn search(targets: &[&'static Target], time: Duration, seed: u64) -> io::Result<ExitCode> {
    let mut found = 0;
    for target in targets {
        writeln!(io::stdout(), "{} for {} s, seed {seed}", target.name, time.as_secs())?;
        found += hunt::hunt(&Hunt { target, time, seed })?.len();
    }
    writeln!(io::stdout(), "found {found}")?;
    Ok(if found == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn by_the_clock() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

fn usage() -> io::Result<ExitCode> {
    writeln!(io::stderr(), "usage: fuzz TARGET|all [SECONDS [SEED]]\ntargets:")?;
    for target in TARGETS {
        writeln!(io::stderr(), "  {}", target.name)?;
    }
    Ok(ExitCode::from(2))
}
