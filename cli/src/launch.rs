//! A hidden verb of ours: enter a network namespace, then become another program.
//!
//! The standard library can start a program in another namespace only from a thread that is there, and such a thread
//! ends; but a program that shall end with the demonstration is tied (`PR_SET_PDEATHSIG`) to the *thread* that started
//! it. So the main thread starts us, and we enter and tie ourselves, without a line of unsafe code.

use std::fs::File;
use std::io;
use std::os::unix::process::{CommandExt, parent_id};
use std::path::PathBuf;
use std::process::Command;

use nix::sched::{CloneFlags, setns};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal};

/// What to become, and where.
#[derive(Debug, clap::Args)]
pub struct Launch {
    /// Path of the network namespace.
    #[arg(long)]
    netns: PathBuf,
    /// Process ID of the parent to end with; without it the program lives on.
    #[arg(long)]
    tied_to: Option<u32>,
    /// The program and its arguments.
    #[arg(last = true, required = true)]
    program: Vec<std::ffi::OsString>,
}

impl Launch {
    /// Returns only if it fails.
    #[must_use]
    pub fn run(&self) -> io::Error {
        self.prepare().map_or_else(|e| e, |()| self.exec())
    }

    fn prepare(&self) -> io::Result<()> {
        if let Some(parent) = self.tied_to {
            set_pdeathsig(Signal::SIGKILL)?;
            // The parent may have ended before the line above.
            if parent_id() != parent {
                return Err(io::Error::other("the program that started this one has ended"));
            }
        }
        // The demo's own mask, which a program would inherit, hides Ctrl-C and SIGTERM from it.
        SigSet::empty().thread_set_mask()?;
        setns(File::open(&self.netns)?, CloneFlags::CLONE_NEWNET)?;
        Ok(())
    }

    fn exec(&self) -> io::Error {
        match self.program.split_first() {
            Some((program, arguments)) => Command::new(program).args(arguments).exec(),
            None => io::Error::other("no program given"),
        }
    }
}
