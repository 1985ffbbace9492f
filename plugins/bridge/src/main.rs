//! The `bridge` plugin's binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    cni::run(&bridge::Bridge, &[])
}
