//! The `bandwidth` plugin's binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    cni::run(&bandwidth::Bandwidth, &[])
}
