//! The operator's command line.

use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::demo::Demo;
use crate::doctor::Doctor;
use crate::handback::Handback;
use crate::ipam::Ipam;
use crate::launch::Launch;
use crate::status::Status;
use crate::{install, plugins};

/// The operator's command of Ironbridge. Called by the name of a plugin, this program is that plugin.
#[derive(Debug, Parser)]
#[command(name = "ironbridge", version, disable_help_subcommand = true)]
struct Command {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// A cluster on this machine: nodes, daemons, pods and real traffic, in namespaces that are gone at the end
    Demo(Demo),
    /// An audit of this node that names causes and remedies; exit status 1 findings, 2 could not look
    Doctor(Doctor),
    /// Lay this program down under every plugin's name, in one step each
    Install {
        /// The runtime's plugin directory
        #[arg(default_value = "/opt/cni/bin")]
        directory: PathBuf,
    },
    Handback(Handback),
    /// What the IPAM plugins have on disk
    #[command(subcommand)]
    Ipam(Ipam),
    /// The plugins that this program is
    Plugins,
    /// What the daemon of this node knows: leases, routes, store, findings; exit status 1 not ready, 2 no answer
    Status(Status),
    /// The version of this program
    Version,
    #[command(hide = true)]
    Launch(Launch),
}

/// Reads the command line and does what it says.
pub fn run() -> ExitCode {
    let outcome = match Command::parse().verb {
        Verb::Demo(demo) => return demo.run(),
        Verb::Handback(handback) => return handback.run(),
        Verb::Launch(launch) => Err(format!("launch: {}", launch.run())),
        Verb::Install { directory } => {
            install::install(&directory).map_err(|e| e.to_string()).map(|installed| {
                installed
                    .iter()
                    .fold(String::new(), |text, path| format!("{text}installed {}\n", path.display()))
            })
        }
        Verb::Doctor(doctor) => return report(Ok(doctor.run())),
        Verb::Status(status) => {
            return report(status.run().map_err(|e| (e.to_string(), Status::no_answer())));
        }
        Verb::Ipam(ipam) => ipam.run().map_err(|e| e.to_string()),
        Verb::Plugins => Ok(plugins::ALL
            .iter()
            .fold(String::new(), |text, plugin| format!("{text}{:<12}{}\n", plugin.name(), plugin.about()))),
        Verb::Version => Ok(format!("ironbridge {}\n", env!("CARGO_PKG_VERSION"))),
    };
    report(outcome.map(|text| (text, ExitCode::SUCCESS)).map_err(|message| (message, ExitCode::FAILURE)))
}

/// Prints what was found or why nothing was, each with its exit status.
fn report(outcome: Result<(String, ExitCode), (String, ExitCode)>) -> ExitCode {
    match outcome {
        Ok((text, code)) if print(&text) == ExitCode::SUCCESS => code,
        Ok(_) => ExitCode::FAILURE,
        Err((message, code)) => {
            // There is nobody left to tell.
            writeln!(std::io::stderr(), "ironbridge: {message}").ok();
            code
        }
    }
}

/// A reader that has seen enough (`| head`) is no failure.
fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Command::command().debug_assert();
    }

    #[test]
    fn cleanup_goes_with_nothing_else() {
        let parse = |line: &str| Command::try_parse_from(line.split(' '));
        assert!(parse("ironbridge demo --cleanup").is_ok());
        assert!(parse("ironbridge demo --cleanup --keep").is_err());
        assert!(parse("ironbridge demo --nodes 0").is_err());
        assert!(parse("ironbridge demo --store consul").is_err());
    }
}
