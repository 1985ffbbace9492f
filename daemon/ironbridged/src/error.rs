//! Why the daemon ends with status 1.

use std::io;
use std::path::PathBuf;

use crate::commands::CommandError;
use crate::health::HealthError;
use crate::key_file::KeyError;
use crate::options::OptionsError;
use crate::publish::PublishError;
use crate::store::StoreError;
use crate::uplink::UplinkError;

/// A failure that waiting does not mend.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Options(#[from] OptionsError),
    #[error(transparent)]
    Health(#[from] HealthError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Uplink(#[from] UplinkError),
    #[error(transparent)]
    Kernel(#[from] kernel::Error),
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error("cannot write {}: {source}", path.display())]
    SubnetFile { path: PathBuf, source: io::Error },
    #[error("the runtime cannot start: {0}")]
    Runtime(io::Error),
    #[error("signals cannot be received: {0}")]
    Signals(io::Error),
    #[error("a thread cannot start: {0}")]
    Thread(io::Error),
    #[error("{0} ended, which is a bug")]
    Ended(&'static str),
}
