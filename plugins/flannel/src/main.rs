//! The doorway of the `flannel` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    cni::run(&flannel::Flannel, &[])
}
