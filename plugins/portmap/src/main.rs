//! The `portmap` plugin's binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    cni::run(&portmap::Portmap, &[])
}
