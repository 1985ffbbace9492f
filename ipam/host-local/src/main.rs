//! The `host-local` binary.
use std::process::ExitCode;

fn main() -> ExitCode {
    cni::run(&host_local::PLUGIN, &[])
}
