//! Why the bench cannot go on.

use std::path::PathBuf;

/// A cause, with the object that it concerns.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An option that is not known.
    #[error("unknown option {0}: `./bench [--quick] [--docs DIR] [ROW…]`; rows are {1}")]
    Option(String, String),
    /// An option without its value.
    #[error("option {0} needs a value")]
    Value(&'static str),
    /// A file of the bench.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A program that did not start.
    #[error("cannot start {program}: {source}")]
    Start {
        /// Which.
        program: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A plugin that refused what it was asked.
    #[error("{what} failed with {status}: {output}")]
    Plugin {
        /// Program and verb.
        what: String,
        /// Its exit status.
        status: std::process::ExitStatus,
        /// What it wrote.
        output: String,
    },
    /// A program of the floor or of the system that gave no number.
    #[error("{program} answered {answer:?}")]
    Answer {
        /// Which.
        program: String,
        /// What it wrote.
        answer: String,
    },
    /// The kernel.
    #[error(transparent)]
    Kernel(#[from] kernel::Error),
    /// A resource figure or a notification of the kernel.
    #[error("{what}: {source}")]
    System {
        /// Which call.
        what: &'static str,
        /// Why.
        source: nix::Error,
    },
    /// Something that did not come in time.
    #[error("not within {seconds} s: {what}")]
    Late {
        /// What was waited for.
        what: String,
        /// How long.
        seconds: u64,
    },
    /// The store that leases are simulated in.
    #[error("etcd, {doing}: {why}")]
    Etcd {
        /// Which request.
        doing: String,
        /// Why.
        why: String,
    },
    /// Standard output.
    #[error("the table cannot be printed: {0}")]
    Output(std::io::Error),
}

impl Error {
    /// Attaches a path to an I/O error.
    pub fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}
