//! The extension backend's hands: the operator's commands are run for peers that come, change and go.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use overlay::{BackendConfig, BackendData, Errand, ExtensionConfig, LeaseAttributes, Snapshot, Subnets};

use super::Assignment;
use crate::commands::{self, CommandError};

/// After this time the rest of a pass's commands waits for the next pass: the supervisor's watchdog asks in between
/// whether the settling loop still turns.
const TURN: Duration = Duration::from_secs(10);

/// What is not done yet.
#[derive(Debug, Default)]
pub struct Unrun {
    /// What failed, which is tried again at the next pass.
    pub failed: Vec<CommandError>,
    /// How many commands had no turn.
    pub waiting: usize,
}

/// What the commands were told in this run. A restart tells them of every peer again, as flannel's does: they must take
/// that for what it is.
#[derive(Debug, Default)]
pub struct Extension {
    known: BTreeMap<Subnets, LeaseAttributes>,
    is_started: bool,
}

impl Extension {
    /// Runs what is due. One peer's failure stops no other's.
    pub fn ensure(&mut self, assignment: &Assignment, snapshot: &Snapshot, may_remove: MayRemove) -> Unrun {
        let Assignment { config, own, attributes, .. } = assignment;
        let BackendConfig::Extension(commands) = &config.backend else { return Unrun::default() };
        if !self.is_started {
            let variables = commands::own_variables(config, own, attributes);
            let command = ("PostStartupCommand", commands.post_startup.as_ref());
            if let Err(error) = run_if(command, &variables, attributes) {
                return Unrun { failed: vec![error], waiting: 0 };
            }
            self.is_started = true;
        }
        let errands = overlay::errands(config, &self.known, snapshot, own);
        let (began, mut unrun) = (Instant::now(), Unrun::default());
        for errand in &errands {
            if began.elapsed() > TURN {
                unrun.waiting += 1;
            } else {
                unrun.failed.extend(self.run(errand, commands, may_remove).err());
            }
        }
        unrun
    }

    fn run(
        &mut self,
        errand: &Errand,
        commands: &ExtensionConfig,
        may_remove: MayRemove,
    ) -> Result<(), CommandError> {
        match errand {
            Errand::Add(lease) => {
                let command = ("SubnetAddCommand", commands.subnet_add.as_ref());
                let variables = commands::variables(&lease.subnets, &lease.attributes);
                run_if(command, &variables, &lease.attributes)?;
                self.known.insert(lease.subnets, lease.attributes.clone());
            }
            Errand::Remove(subnets, attributes) if may_remove == MayRemove::Yes => {
                let command = ("SubnetRemoveCommand", commands.subnet_remove.as_ref());
                run_if(command, &commands::variables(subnets, attributes), attributes)?;
                self.known.remove(subnets);
            }
            Errand::Remove(..) => {}
        }
        Ok(())
    }
}

/// Whether peers that a snapshot lacks have left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MayRemove {
    /// They have.
    Yes,
    /// The store may have lost them.
    No,
}

/// A command that is not configured is done. Its input is the peer's `BackendData`, where that is a text.
fn run_if(
    (name, line): (&'static str, Option<&String>),
    variables: &[commands::Variable],
    attributes: &LeaseAttributes,
) -> Result<(), CommandError> {
    let Some(line) = line else { return Ok(()) };
    let data = attributes.backend_data.as_ref().and_then(BackendData::text).unwrap_or_default();
    commands::run((name, line), variables, &data).map(drop)
}
