//! `bridge` ADD on a node that has a thousand attachments already.

use std::process::Command;
use std::time::Duration;

use netns_fixtures::{Space, within};

use super::attach::sides;
use super::reservations::fill;
use super::{bridge, ipam};
use crate::contender::Contender;
use crate::error::Error;
use crate::figure::Figure;
use crate::options::Effort;
use crate::programs::{Programs, Side};
use crate::site::{BRIDGE, Site};

const ROUNDS: usize = 60;
const ATTACHMENTS: u32 = 1_000;
const GATHERS: Duration = Duration::from_mins(2);

/// A thousand ports on the bridge, made by the floor's `crowd`, and as many reservations on each side.
pub fn run(programs: &Programs, effort: Effort) -> Result<Vec<Figure>, Error> {
    let site = Site::new();
    let log = programs.folder("crowd")?.join("log");
    let mut command = Command::new(programs.floor("crowd"));
    command.arg(BRIDGE).arg(ATTACHMENTS.to_string());
    let mut crowd = site.node().start(command, &log);
    let gathered = within(GATHERS, || {
        let gone = !crowd.is_running();
        (gone || crowd.log().contains("holding")).then_some(!gone)
    });
    match gathered {
        Some(true) => {}
        Some(false) => return Err(Error::Answer { program: "crowd".to_owned(), answer: crowd.log() }),
        None => {
            return Err(Error::Late {
                what: "a thousand attachments".to_owned(),
                seconds: GATHERS.as_secs(),
            });
        }
    }
    for side in [Side::Reference, Side::Ours] {
        fill(&programs.state(side, "crowd").join("pfnet"), ATTACHMENTS)?;
    }
    let sides = sides(&site, effort.rounds(ROUNDS), |side| {
        let ipam = ipam(programs, side, "crowd", &["10.77.0.0/16"]);
        Contender::new(programs, side, "bridge", &bridge(&ipam))
    })?;
    Ok(vec![sides.figure("bridge ADD at 1,000 attachments", |cycles| &cycles.add, (0.25, 1.4))])
}
