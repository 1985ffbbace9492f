//! The rim: the real environment, stdin, stdout, stderr, exit status and panics of a plugin process.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::panic::PanicHookInfo;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::dispatch::respond;
use crate::environment::Env;
use crate::error::{Code, Error};
use crate::plugin::{Plugin, Registry};

/// Whether stdout has its one document.
static ANSWERED: AtomicBool = AtomicBool::new(false);

/// The whole `main` of a plugin: answers the request of this process.
///
/// `registry` lists the plugins linked into this executable, which may be delegates without an exec.
/// A panic is answered too: code 999, before the process ends.
#[must_use]
pub fn run(plugin: &dyn Plugin, registry: Registry) -> ExitCode {
    std::panic::set_hook(Box::new(answer_panic));
    let env: Env = std::env::vars_os().collect();
    let response = respond(&env, read_stdin, plugin, registry);
    // text for people: nobody could be told that it did not get through
    io::stderr().write_all(response.stderr.as_bytes()).ok();
    if ANSWERED.swap(true, Ordering::SeqCst) {
        return ExitCode::FAILURE;
    }
    match write_stdout(&response.stdout) {
        Ok(()) => ExitCode::from(response.exit),
        Err(cause) => {
            // stdout is gone, so stderr is the last place to say it
            writeln!(io::stderr(), "error writing to stdout: {cause}").ok();
            ExitCode::FAILURE
        }
    }
}

fn read_stdin() -> io::Result<Vec<u8>> {
    let mut text = Vec::with_capacity(4096);
    io::stdin().lock().read_to_end(&mut text)?;
    Ok(text)
}

fn write_stdout(text: &str) -> io::Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    // In one system call, so that no reader ever finds half a document: Rust's own stdout would write up to the last
    // newline first.
    File::from(io::stdout().as_fd().try_clone_to_owned()?).write_all(text.as_bytes())
}

/// Release builds abort on a panic, so this is the only moment to answer (design decision 17). It ends the
/// process itself: exit status 1 as for every error, and no core file for a bug that has been reported.
#[expect(clippy::exit, reason = "after a panic nothing may run that could print a second document")]
fn answer_panic(panic: &PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or("panic");
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    // the process is ending: whatever cannot be written is lost
    writeln!(io::stderr(), "panic at {place}: {message}").ok();
    if !ANSWERED.swap(true, Ordering::SeqCst) {
        let error = Error::new(Code::INTERNAL, format!("bug in the plugin: {message}")).with_details(place);
        write_stdout(&error.to_json()).ok();
    }
    std::process::exit(1)
}
