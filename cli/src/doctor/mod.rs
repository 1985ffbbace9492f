//! `ironbridge doctor`: an audit of this node while it works, which names the cause and the remedy of what it finds.

mod checks;
mod finding;
mod gather;
mod node;

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use finding::Finding;
use gather::{Gathered, Places};

/// There is something to do.
const FINDINGS: u8 = 1;
/// Nothing was found, and not everything could be looked at.
const UNSEEN: u8 = 2;
/// A finding must be there twice, so far apart: pods come and go while we look.
const APART: Duration = Duration::from_secs(1);

/// An audit of this node: each finding with its cause and remedy.
#[derive(Debug, clap::Args)]
pub struct Doctor {
    #[command(flatten)]
    places: Places,
    /// One JSON document: findings, and what could not be looked at
    #[arg(long)]
    json: bool,
}

impl Doctor {
    /// The text to print and the exit status: 0 nothing found, 1 findings, 2 could not look.
    pub fn run(&self) -> (String, ExitCode) {
        let (findings, unseen) = self.look();
        let code = match (findings.as_slice(), unseen.as_slice()) {
            ([], []) => ExitCode::SUCCESS,
            ([], [..]) => ExitCode::from(UNSEEN),
            ([..], _) => ExitCode::from(FINDINGS),
        };
        (if self.json { as_json(&findings, &unseen) } else { as_text(&findings, &unseen) }, code)
    }

    fn look(&self) -> (Vec<Finding>, Vec<String>) {
        let first = Gathered::look(&self.places);
        let findings = checks::all(&first.node);
        if findings.is_empty() {
            return (findings, first.unseen);
        }
        let until = Instant::now() + APART;
        while Instant::now() < until {
            std::thread::park_timeout(until.saturating_duration_since(Instant::now()));
        }
        let second = Gathered::look(&self.places);
        let again: BTreeSet<Finding> = checks::all(&second.node).into_iter().collect();
        (findings.into_iter().filter(|finding| again.contains(finding)).collect(), second.unseen)
    }
}

fn as_text(findings: &[Finding], unseen: &[String]) -> String {
    let mut text = String::new();
    for Finding { name, cause, remedy } in findings {
        text += &[name, ": ", cause, "\n  remedy: ", remedy, "\n"].concat();
    }
    for missed in unseen {
        text += &["could not look at ", missed, "\n"].concat();
    }
    if text.is_empty() { "nothing found\n".to_owned() } else { text }
}

fn as_json(findings: &[Finding], unseen: &[String]) -> String {
    let document = serde_json::json!({"findings": findings, "unseen": unseen});
    document.to_string() + "\n"
}
