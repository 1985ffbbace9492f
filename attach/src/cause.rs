//! What one plugin alone knows of a failure, and what becomes of an error: joined, undone, told to the runtime.

use std::fmt::Display;

use cni::{AddResult, Call, Code};

use crate::error::Error;
use crate::world::Sandbox;

/// A cause of a plugin's own, with the CNI code that it has.
pub trait Cause: std::error::Error + Send + Sync + 'static {
    /// The CNI error code.
    fn code(&self) -> Code;
}

impl<C: Cause> From<C> for Error {
    fn from(cause: C) -> Self {
        Self::Own { code: cause.code(), source: Box::new(cause) }
    }
}

impl Error {
    /// The kernel's error number, where it is the kernel that refused.
    fn errno(&self) -> Option<i32> {
        if let Self::Kernel(source) | Self::Link { source, .. } | Self::Sandbox { source, .. } = self {
            return source.errno();
        }
        if let Self::RollbackIncomplete { cause, .. } = self { cause.errno() } else { None }
    }

    /// One error for a list of them: success when it is empty.
    pub fn join(mut errors: Vec<Error>) -> Result<(), Error> {
        match errors.len() {
            0 => Ok(()),
            1 => errors.pop().map_or(Ok(()), Err),
            _ => Err(Self::Several(errors)),
        }
    }

    /// The cause of a failed ADD, after what it had done was taken back; `failures` are of that.
    #[must_use]
    pub fn after_undoing(self, failures: impl IntoIterator<Item = impl Display>) -> Self {
        let failures: Vec<String> = failures.into_iter().map(|failure| failure.to_string()).collect();
        if failures.is_empty() { self } else { Self::RollbackIncomplete { cause: Box::new(self), failures } }
    }

    /// That the sandbox has no interface of the attachment's.
    #[must_use]
    pub fn gone(call: &Call, sandbox: &Sandbox) -> Self {
        Self::Gone {
            container: call.container_id.clone(),
            ifname: call.ifname.clone(),
            sandbox: sandbox.path().to_owned(),
        }
    }
}

impl From<Error> for cni::Error {
    fn from(error: Error) -> Self {
        if let Error::Cni(object) = error {
            return object;
        }
        let object = Self::new(error.code(), error.to_string());
        match error.errno() {
            Some(errno) => object.with_details(format!("errno {errno}")),
            None => object,
        }
    }
}

/// The result of the plugins before, without which `plugin` has nothing to work on.
///
/// # Errors
/// [`Error::NotChained`].
pub fn previous<'a>(call: &'a Call, plugin: &'static str) -> Result<&'a AddResult, Error> {
    let network = &call.network;
    call.prev_result.as_ref().ok_or_else(|| Error::NotChained { plugin, network: network.clone() })
}
