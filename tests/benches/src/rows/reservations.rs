//! `host-local` alone, in directories that hold few and many reservations.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::ipam;
use crate::contender::Contender;
use crate::contest::{Cycles, interleave};
use crate::error::Error;
use crate::figure::{Figure, Measure};
use crate::options::Effort;
use crate::programs::{Programs, Side};
use crate::series::Series;
use crate::site::Site;

const ROUNDS: usize = 60;
const NETWORK: &str = "pfhl";

/// Reservations, in which rounds the reference takes part, and the limits of the issue.
struct Level {
    count: u32,
    every: usize,
    reference: f64,
    least: f64,
}

const LEVELS: [Level; 3] = [
    Level { count: 0, every: 1, reference: 0.26, least: 1.5 },
    Level { count: 1_000, every: 1, reference: 0.07, least: 2.0 },
    Level { count: 50_000, every: 6, reference: 0.01, least: 2.0 },
];

/// ADD and DEL at each level; beside the floor where there is none, beside our own at 0 elsewhere.
pub fn run(programs: &Programs, effort: Effort) -> Result<Vec<Figure>, Error> {
    let mut contenders = Vec::new();
    for level in &LEVELS {
        contenders.push(contender(programs, Side::Reference, level)?.every(level.every));
        contenders.push(contender(programs, Side::Ours, level)?);
    }
    contenders.push(Contender::new(programs, Side::Floor, "host-local", &config(programs, Side::Floor, 0)));
    let cycles = interleave(&Site::new(), &contenders, effort.rounds(ROUNDS))?;
    let mut all = figures(&cycles, "ADD", |cycle| &cycle.add);
    all.extend(figures(&cycles, "DEL", |cycle| &cycle.del));
    Ok(all)
}

fn figures(cycles: &[Cycles], verb: &str, of: fn(&Cycles) -> &Series) -> Vec<Figure> {
    let (Some(floor), Some(at_zero)) = (cycles.last(), cycles.get(1)) else { return Vec::new() };
    let pairs = LEVELS.iter().zip(cycles.chunks_exact(2));
    let lines = pairs.filter_map(|(level, pair)| {
        let [reference, ours] = pair else { return None };
        let work = format!("host-local {verb} at {} reservations", level.count);
        let figure = Figure::new(work, Measure::Milliseconds, of(ours))
            .reference(of(reference), Some(level.reference));
        Some(match level.count {
            0 => figure.floor(of(floor), level.least),
            _ => figure.least("ours at 0", of(at_zero), level.least),
        })
    });
    lines.collect()
}

fn contender(programs: &Programs, side: Side, level: &Level) -> Result<Contender, Error> {
    fill(&programs.state(side, &row(level.count)).join(NETWORK), level.count)?;
    Ok(Contender::new(programs, side, "host-local", &config(programs, side, level.count)))
}

fn config(programs: &Programs, side: Side, count: u32) -> serde_json::Value {
    let mut ipam = ipam(programs, side, &row(count), &["10.77.0.0/16"]);
    if let Some(members) = ipam.as_object_mut() {
        members.insert("routes".to_owned(), json!([{"dst": "0.0.0.0/0"}]));
    }
    json!({"cniVersion": "1.0.0", "name": NETWORK, "type": "bridge", "ipam": ipam})
}

fn row(count: u32) -> String {
    format!("host-local-{count}")
}

/// Reservations from 10.77.0.2 on, as the reference writes them; the next free address follows the last.
pub(super) fn fill(folder: &Path, count: u32) -> Result<(), Error> {
    fs::create_dir_all(folder).map_err(Error::file(folder))?;
    let address = |number: u32| format!("10.77.{}.{}", (number + 2) / 256, (number + 2) % 256);
    for number in 0..count {
        let file = folder.join(address(number));
        fs::write(&file, format!("held{number:0>60}\r\neth0")).map_err(Error::file(&file))?;
    }
    match count.checked_sub(1) {
        Some(last) => {
            let cursor = folder.join("last_reserved_ip.0");
            fs::write(&cursor, address(last)).map_err(Error::file(&cursor))
        }
        None => Ok(()),
    }
}
