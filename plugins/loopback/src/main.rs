//! The doorway of the `loopback` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    cni::run(&loopback::Loopback, &[])
}
