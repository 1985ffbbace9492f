//! `ironbridge handback`: the rules of live attachments in the reference plugins' own form, so that their DEL finds them.

mod act;
mod error;
mod kernel_state;
mod plan;
mod results;
mod trace;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use kernel::nft::Nft;

use act::Text;
use error::Error;
use kernel_state::KernelState;
use plan::{Extras, Fate, Plan};
use results::Results;

/// How often it is tried anew because attachments came and went, or others changed the rules.
const TRIES: u32 = 32;

/// Give the node back to the reference plugins: rewrite the rules of live attachments in their form
#[derive(Debug, clap::Args)]
pub struct Handback {
    /// Directory in which a runtime's libcni keeps its results (repeatable)
    #[arg(long, default_value = "/var/lib/cni")]
    cache_dir: Vec<PathBuf>,
    /// Print what would be written and removed, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// End what the reference has nothing like: ipspoofchk, isolation within a bridge
    #[arg(long)]
    give_up: bool,
}

impl Handback {
    /// Does it, and tells. Fails if anything is not the reference's afterwards.
    pub fn run(&self) -> ExitCode {
        let (text, code) = match self.report() {
            Ok((text, plan)) if plan.is_partial() => (text, ExitCode::FAILURE),
            Ok((text, _)) => (text, ExitCode::SUCCESS),
            Err(failure) => {
                // There is nobody left to tell.
                writeln!(std::io::stderr(), "ironbridge: handback: {failure}").ok();
                return ExitCode::FAILURE;
            }
        };
        match std::io::stdout().write_all(text.as_bytes()) {
            Err(failure) if failure.kind() != std::io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
            _ => code,
        }
    }

    fn report(&self) -> Result<(String, Plan), Error> {
        let mut nft = Nft::open()?;
        let mut text = String::new();
        let plan = if self.dry_run {
            let (plan, _) = self.plan(&mut nft)?;
            for part in Text::of(&plan)? {
                write!(text, "# {} --noflush --wait\n{}", part.program(), part.rules).ok(); // a String
            }
            for what in plan.by_netlink() {
                writeln!(text, "# then made over netlink: {what}").ok();
            }
            for held in &plan.leaving {
                writeln!(text, "# then removed: an element of {}, {}", held.set, held.describe()).ok();
            }
            plan
        } else {
            self.carry_out(&mut nft)?
        };
        for line in &plan.lines {
            writeln!(text, "{line}").ok();
        }
        Ok((text, plan))
    }

    fn plan(&self, nft: &mut Nft) -> Result<(Plan, KernelState), Error> {
        let results = Results::read(&self.cache_dir)?;
        let state = KernelState::read(nft)?;
        let extras = if self.give_up { Extras::GiveUp } else { Extras::Keep };
        let mut plan = Plan::of(&state, &results, extras);
        for interface in portmap::handback::guarded(nft)? {
            let what = format!(
                "packets from behind {interface} to 127.0.0.0/8 are dropped only while our table is there"
            );
            plan.tell(Fate::Note, &what);
        }
        trace::look(&results, &mut plan)?;
        Ok((plan, state))
    }

    /// The reference's rules come first and are written whole; ours go only if nothing has changed since they were
    /// read. A kill in between leaves both, which do the same, and the next run goes on from there.
    fn carry_out(&self, nft: &mut Nft) -> Result<Plan, Error> {
        let (mut plan, mut state) = self.plan(nft)?;
        let mut failed: Option<Vec<Text>> = None;
        for _ in 0..TRIES {
            let texts = Text::of(&plan)?;
            match texts.iter().try_for_each(Text::apply) {
                Ok(()) => failed = None,
                // The same texts would fail again; others mean that somebody made one of the chains meanwhile.
                Err(failure) if failed.as_ref() == Some(&texts) => return Err(failure),
                Err(_) => {
                    failed = Some(texts);
                    continue;
                }
            }
            for acceptance in &plan.firewall {
                acceptance.enter_zone()?;
            }
            let generation = nft.generation()?;
            let (again, now) = self.plan(nft)?;
            if now == state {
                let batch = act::removal(nft, (&plan, &state), generation)?;
                match batch.commit(nft) {
                    Ok(()) => return Ok(plan),
                    Err(refusal) if refusal.is_transient() => {}
                    Err(refusal) => return Err(refusal.into()),
                }
            }
            act::forget(nft, &plan, &again)?;
            (plan, state) = (again, now);
        }
        Err(Error::Restless { tries: TRIES })
    }
}
