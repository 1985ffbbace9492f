//! The `tuning` plugin's binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    cni::run(&tuning::Tuning, &[])
}
