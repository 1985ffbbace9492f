//! The doorway of the `ironbridge` binary, under whichever of its names.

use std::process::ExitCode;

fn main() -> ExitCode {
    ironbridge::main()
}
