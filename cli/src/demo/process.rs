//! A program that runs in one of the demo's namespaces and ends with the demo.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kernel::Netns;

use super::error::{At, Error};
use super::interrupt::Interrupt;

/// How many lines of a log an error shows.
const TAIL: usize = 12;

/// Whether a program outlives the demo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tie {
    /// The kernel ends it with the demo, even one that was killed.
    Tied,
    /// It lives on (`--keep`).
    Free,
}

/// A running program; dropped, it is ended and waited for.
#[derive(Debug)]
pub struct Process {
    child: Option<Child>,
    name: String,
    place: String,
    log: PathBuf,
}

/// What is to be started.
pub struct Program<'a> {
    /// File name or path.
    pub file: &'a Path,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Name of the node, for messages.
    pub place: &'a str,
    /// Where standard output and error go.
    pub log: PathBuf,
}

impl Process {
    /// Starts a program in a namespace, through the hidden `launch` verb of this binary.
    pub fn start(netns: &Netns, tie: Tie, what: Program<'_>) -> Result<Self, Error> {
        let log = File::create(&what.log).at("write", &what.log)?;
        let copy = log.try_clone().at("write", &what.log)?;
        let mut command = Command::new("/proc/self/exe");
        command.arg0("ironbridge").arg("launch").arg("--netns").arg(netns.path());
        if tie == Tie::Tied {
            command.arg("--tied-to").arg(std::process::id().to_string());
        }
        command.arg("--").arg(what.file).args(&what.arguments);
        // A process group of its own: Ctrl-C is for the demo, which then ends its programs in order.
        command.process_group(0).stdin(Stdio::null()).stdout(log).stderr(copy);
        let child = command.spawn().at("start", what.file)?;
        let name = what.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { child: Some(child), name, place: what.place.to_owned(), log: what.log })
    }

    /// Its process ID.
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Waits until `ready` says so. A program that ends meanwhile, or takes longer, is an error with the end of its log.
    pub fn await_ready(
        &mut self,
        (interrupt, patience): (&Interrupt, Duration),
        mut ready: impl FnMut() -> bool,
    ) -> Result<(), Error> {
        let deadline = Instant::now() + patience;
        let done = interrupt.until(deadline, || {
            if let Some(status) = self.ended() {
                let (program, place, log) = (self.name.clone(), self.place.clone(), self.tail());
                return Err(Error::Ended { program, place, status, log });
            }
            Ok(ready().then_some(()))
        })?;
        done.ok_or_else(|| Error::NotReady {
            program: self.name.clone(),
            place: self.place.clone(),
            seconds: patience.as_secs(),
            log: self.tail(),
        })
    }

    fn ended(&mut self) -> Option<String> {
        let child = self.child.as_mut()?;
        child.try_wait().ok().flatten().map(|status| status.to_string())
    }

    fn tail(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let last = lines.get(lines.len().saturating_sub(TAIL)..).unwrap_or_default();
        last.iter().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
    }

    /// Lets go of it: it lives on.
    pub fn release(&mut self) {
        self.child = None;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let Some(child) = self.child.as_mut() else { return };
        // It may have ended on its own: then there is nobody to tell, and the wait below returns at once.
        child.kill().ok();
        child.wait().ok();
    }
}
