//! What can stop a handback as a whole; what concerns one attachment is listed instead.

use std::io;
use std::path::PathBuf;

/// Why nothing, or not everything, was handed back. It can be run again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A directory of results.
    #[error("cannot read the results in {}: {source}", .path.display())]
    Results {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The kernel refused something.
    #[error(transparent)]
    Kernel(#[from] kernel::Error),
    /// Masquerade, spoof check, firewall, or a program of iptables.
    #[error(transparent)]
    Rules(#[from] attach::Error),
    /// Others changed the rules each time.
    #[error("attachments came and went, or rules changed, in each of {tries} tries; run it again")]
    Restless {
        /// How often it was tried.
        tries: u32,
    },
}
