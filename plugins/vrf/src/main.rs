//! The `vrf` plugin's binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    cni::run(&vrf::Vrf, &[])
}
