//! The `sbr` plugin's binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    cni::run(&sbr::Sbr, &[])
}
