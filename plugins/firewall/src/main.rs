//! The `firewall` plugin's binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    cni::run(&firewall::Firewall, &[])
}
