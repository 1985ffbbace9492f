//! The daemon's binary: arguments and environment in, exit status out.

use std::process::ExitCode;

fn main() -> ExitCode {
    let text = |variable: (std::ffi::OsString, std::ffi::OsString)| {
        Some((variable.0.into_string().ok()?, variable.1.into_string().ok()?))
    };
    let environment: Vec<_> = std::env::vars_os().filter_map(text).collect();
    ironbridged::main(std::env::args_os().skip(1), &environment)
}
