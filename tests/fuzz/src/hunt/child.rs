//! The process that tries inputs, and may end at any of them.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::hunt::{BROKEN, Pool};
use crate::targets::Target;

/// How often a child says that it lives.
const PULSE: Duration = Duration::from_secs(1);

/// Tries mutations until `end`, each written to `current` first; one line a second says how it goes.
pub fn child(target: &'static Target, seed: u64, current: &Path, time: Duration) -> io::Result<ExitCode> {
    let mut pool = Pool::new(target, seed)?;
    let current = File::create(current)?;
    let (start, mut said, mut runs) = (Instant::now(), Instant::now(), 0_u64);
    let mut slowest = Duration::ZERO;
    let tell = |runs, places, slowest: Duration| {
        writeln!(io::stdout(), "{runs} runs, {places} places, slowest {} ms", slowest.as_millis())
    };
    while start.elapsed() < time {
        let input = pool.next_input();
        current.set_len(0)?;
        current.write_all_at(&input, 0)?;
        let begun = Instant::now();
        let verdict = (target.run)(&input);
        slowest = slowest.max(begun.elapsed());
        match verdict {
            Ok(reached) => pool.learn(input, reached),
            Err(broken) => {
                writeln!(io::stderr(), "{}: {broken}", target.name)?;
                return Ok(ExitCode::from(BROKEN));
            }
        }
        runs += 1;
        if said.elapsed() > PULSE {
            said = Instant::now();
            tell(runs, pool.places(), slowest)?;
        }
    }
    tell(runs, pool.places(), slowest)?;
    Ok(ExitCode::SUCCESS)
}

/// Tries one input.
pub fn once(target: &'static Target, input: &[u8]) -> io::Result<ExitCode> {
    match (target.run)(input) {
        Ok(_) => Ok(ExitCode::SUCCESS),
        Err(broken) => {
            writeln!(io::stderr(), "{}: {broken}", target.name)?;
            Ok(ExitCode::from(BROKEN))
        }
    }
}
