//! The doorway of the `ironbridge` binary, under whichever of its names.

use std::process::ExitCode;

// docs/decisions/0011: a sixth of an ADD.
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    ironbridge::main()
}
