//! What can end the demonstration before its verdict.

use std::io;
use std::path::PathBuf;

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not started by root.
    #[error("the demo makes network namespaces and needs root: run it as `sudo ironbridge demo`")]
    NotRoot,
    /// SIGINT, SIGTERM or SIGHUP.
    #[error("interrupted")]
    Interrupted,
    /// The kernel refused something.
    #[error(transparent)]
    Kernel(#[from] kernel::Error),
    /// A file, a directory or a program.
    #[error("cannot {doing} {}: {source}", .path.display())]
    Io {
        /// The verb.
        doing: &'static str,
        /// The object.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A system call without an object worth naming.
    #[error("cannot {doing}: {source}")]
    System {
        /// What was being done.
        doing: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A program that the demo needs is not installed.
    #[error("{program} is not installed: {remedy}")]
    Missing {
        /// Its name.
        program: String,
        /// What to do.
        remedy: &'static str,
    },
    /// Laying the plugins down failed.
    #[error(transparent)]
    Install(#[from] crate::install::Error),
    /// A program that should go on running has ended.
    #[error("{program} on {place} ended ({status}); the end of its log:\n{log}")]
    Ended {
        /// Its name.
        program: String,
        /// The node.
        place: String,
        /// Exit status or signal.
        status: String,
        /// Last lines.
        log: String,
    },
    /// A program did not become ready.
    #[error("{program} on {place} was not ready after {seconds} s; the end of its log:\n{log}")]
    NotReady {
        /// Its name.
        program: String,
        /// The node.
        place: String,
        /// How long it was waited for.
        seconds: u64,
        /// Last lines.
        log: String,
    },
    /// A plugin answered with an error.
    #[error("{verb} of {pod} by the plugin {plugin} failed: {message}")]
    Plugin {
        /// `CNI_COMMAND`.
        verb: &'static str,
        /// The pod.
        pod: String,
        /// Name of the plugin.
        plugin: String,
        /// Its error, or what it printed instead of one.
        message: String,
    },
    /// An object that must be there is not.
    #[error("{what} is not there")]
    Absent {
        /// The object.
        what: String,
    },
    /// The store refused the network configuration.
    #[error("etcd did not take the network configuration: {answer}")]
    Etcd {
        /// What it said.
        answer: String,
    },
    /// A kept demo stands in the way.
    #[error("a kept demo is up already: look at it in {}, or end it with `ironbridge demo --cleanup`", .path.display())]
    Kept {
        /// Its directory.
        path: PathBuf,
    },
}

/// Names the object of a failed file operation.
pub trait At<T> {
    /// With the verb and the path.
    fn at(self, doing: &'static str, path: &std::path::Path) -> Result<T, Error>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, doing: &'static str, path: &std::path::Path) -> Result<T, Error> {
        self.map_err(|source| Error::Io { doing, path: path.to_owned(), source })
    }
}

/// Names what a failed system call was for.
pub trait Doing<T> {
    /// With what was being done.
    fn doing(self, doing: &'static str) -> Result<T, Error>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, doing: &'static str) -> Result<T, Error> {
        self.map_err(|source| Error::System { doing, source: source.into() })
    }
}
