//! `ironbridge`: the operator's command, and every plugin in one file when it is called by a plugin's name.
#![forbid(unsafe_code)]

mod ask;
mod command;
mod demo;
mod doctor;
mod handback;
mod install;
mod ipam;
mod launch;
mod plugins;
mod status;
mod table;

use std::path::Path;
use std::process::ExitCode;

/// The whole program. A plugin's call must not pay for the operator's command, so the name decides first.
#[must_use]
pub fn main() -> ExitCode {
    let name = std::env::args_os().next();
    match name.as_deref().and_then(|path| Path::new(path).file_name()).and_then(plugins::named) {
        Some(plugin) => cni::run(plugin, plugins::ALL),
        None => command::run(),
    }
}
