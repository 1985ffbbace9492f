//! What a plugin is: a name, versions and five verbs.

use std::fmt;

use crate::call::Call;
use crate::error::Error;
use crate::result::AddResult;
use crate::version::Version;

/// The plugins that are linked into this executable and may be called in-process.
pub type Registry = &'static [&'static dyn Plugin];

/// A CNI plugin; VERSION is answered for it.
pub trait Plugin: Sync {
    /// The name of its binary.
    fn name(&self) -> &'static str;

    /// One line that says what the binary is, for a person who starts it by hand.
    fn about(&self) -> &'static str;

    /// The versions it accepts, oldest first.
    fn versions(&self) -> &'static [Version] {
        &Version::ALL
    }

    /// Attaches.
    fn add(&self, call: &Call) -> Result<Added, Error>;

    /// Detaches; what is gone already is a success.
    fn del(&self, call: &Call) -> Result<(), Error>;

    /// Compares what is there with what ADD made.
    fn check(&self, call: &Call) -> Result<(), Error>;

    /// Removes what belongs to attachments that are no longer valid.
    fn gc(&self, call: &Call) -> Result<(), Error>;

    /// Says whether an ADD could be served.
    fn status(&self, call: &Call) -> Result<(), Error>;
}

impl fmt::Debug for dyn Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What ADD answers with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Added {
    /// a result, to be written in the version of the request
    Result(AddResult),
    /// a document that goes out as it is: a meta plugin passes its delegate's answer through
    Verbatim(String),
}

impl From<AddResult> for Added {
    fn from(result: AddResult) -> Self {
        Self::Result(result)
    }
}
