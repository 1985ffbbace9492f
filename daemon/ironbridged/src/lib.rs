//! The daemon's hands: stores, kernel, the settling loop, health. What to do is decided in `overlay`.

mod announcer;
mod carrier;
mod commands;
mod daemon;
mod error;
mod eyes;
mod flags;
mod forwarding;
mod health;
mod key_file;
mod logging;
mod node_name;
mod options;
mod pods;
mod publish;
mod rules;
mod selftest;
mod settle;
mod start;
pub mod store;
mod subnet_file;
mod supervisor;
mod tenure;
mod uplink;

use std::ffi::OsString;
use std::process::ExitCode;

use error::Error;
use flags::Flags;
use options::{LogChoice, Options};
use supervisor::Supervision;

/// The exit status for a command line that cannot be obeyed, clap's own. flanneld's is 0, which no supervisor notices.
const WRONG_FLAGS: u8 = 2;

/// The whole program: `arguments` without the program's name, `environment` read once by the caller. Status 0 on SIGTERM
/// and SIGINT, 2 for a wrong command line, 1 for everything else.
pub fn main(arguments: impl IntoIterator<Item = OsString>, environment: &[(String, String)]) -> ExitCode {
    let flags = match Flags::read(arguments, environment) {
        Ok(flags) => flags,
        Err(refused) => {
            // Nobody is left to tell when even standard error is closed.
            refused.print().ok();
            return ExitCode::from(u8::try_from(refused.exit_code()).unwrap_or(WRONG_FLAGS));
        }
    };
    let variable =
        |name: &str| environment.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    logging::start(LogChoice::from(&flags), variable("RUST_LOG"));
    match run(&flags, variable("WIREGUARD_KEY_FILE"), &Supervision::read(variable)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            if matches!(error, Error::Options(_)) { ExitCode::from(WRONG_FLAGS) } else { ExitCode::FAILURE }
        }
    }
}

fn run(flags: &Flags, wireguard_key: Option<&str>, supervision: &Supervision) -> Result<(), Error> {
    let mut options = Options::new(flags)?;
    if let Some(file) = wireguard_key {
        options.wireguard_key = file.into();
    }
    tracing::info!(version = env!("CARGO_PKG_VERSION"), ?options, "starting");
    for name in flags.unused() {
        tracing::info!("--{name} is accepted and has no use here");
    }
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Runtime)?;
    let ended = runtime.block_on(daemon::run(&options, supervision));
    // A store's blocking read must not hold up the end.
    runtime.shutdown_background();
    ended
}
