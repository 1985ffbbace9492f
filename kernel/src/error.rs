//! What can go wrong with the kernel, always with what was being done and to which object.

use nix::{errno::Errno, libc};
use std::{fmt, io, path::PathBuf};

/// A failed operation of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing is at the path of a network namespace.
    #[error("network namespace {} does not exist", path.display())]
    NamespaceMissing {
        /// The path as given.
        path: PathBuf,
    },
    /// The path leads to a file that is no namespace.
    #[error("{} is not a network namespace", path.display())]
    NotANamespace {
        /// The path as given.
        path: PathBuf,
    },
    /// An operation failed for the given cause.
    #[error("{doing}: {cause}")]
    Failed {
        /// The operation and its object: `creating veth veth1a2b`.
        doing: String,
        /// Why.
        #[source]
        cause: Cause,
    },
}

/// Why an operation failed.
#[derive(Debug)]
pub enum Cause {
    /// The kernel refused a netlink request.
    Refused {
        /// Number of the error (positive).
        errno: i32,
        /// Text of the extended acknowledgement, where the kernel gave one.
        text: Option<String>,
        /// Where in the request the offending attribute starts, in bytes, where the kernel said so.
        offset: Option<u32>,
    },
    /// A system call failed.
    System(io::Error),
    /// An answer did not fit the receive buffer, so a part of it is lost.
    Truncated,
    /// An answer could not be understood.
    Malformed(&'static str),
    /// A dump was interrupted by changes each time that it was tried.
    Interrupted {
        /// How many times it was tried.
        tries: u32,
    },
    /// The awaited state did not come before the deadline.
    DeadlinePassed,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { errno, text, offset } => {
                f.write_str(Errno::from_raw(*errno).desc())?;
                if let Some(text) = text {
                    write!(f, ": {text}")?;
                }
                if let Some(offset) = offset {
                    write!(f, " (attribute at offset {offset})")?;
                }
                Ok(())
            }
            Self::System(e) => match e.raw_os_error() {
                Some(errno) => f.write_str(Errno::from_raw(errno).desc()),
                None => write!(f, "{e}"),
            },
            Self::Truncated => f.write_str("the kernel's answer did not fit the receive buffer"),
            Self::Malformed(what) => write!(f, "the kernel's answer is malformed: {what}"),
            Self::Interrupted { tries } => {
                write!(f, "the listing was interrupted by changes {tries} times; try again later")
            }
            Self::DeadlinePassed => f.write_str("did not happen before the deadline"),
        }
    }
}

impl std::error::Error for Cause {}

impl From<io::Error> for Cause {
    fn from(e: io::Error) -> Self {
        Self::System(e)
    }
}

impl From<Errno> for Cause {
    fn from(e: Errno) -> Self {
        Self::System(e.into())
    }
}

impl Cause {
    /// The error number behind it, if there is one.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused { errno, .. } => Some(*errno),
            Self::System(e) => e.raw_os_error(),
            Self::Truncated | Self::Malformed(_) | Self::Interrupted { .. } | Self::DeadlinePassed => None,
        }
    }
}

impl Error {
    /// The error number behind it, if there is one. Positive, as in `errno.h`.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::NamespaceMissing { .. } => Some(libc::ENOENT),
            Self::NotANamespace { .. } => None,
            Self::Failed { cause, .. } => cause.errno(),
        }
    }

    /// The object does not exist (any more).
    #[must_use]
    pub fn is_absent(&self) -> bool {
        let absent = [libc::ENOENT, libc::ENODEV, libc::ESRCH, libc::EADDRNOTAVAIL, libc::ENXIO];
        self.errno().is_some_and(|e| absent.contains(&e))
    }

    /// The object is there already.
    #[must_use]
    pub fn is_present(&self) -> bool {
        self.errno() == Some(libc::EEXIST)
    }

    /// The same request may succeed a little later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        if let Self::Failed { cause: Cause::Interrupted { .. }, .. } = self {
            return true;
        }
        let passing = [libc::EBUSY, libc::EAGAIN, libc::EINTR, libc::ENOBUFS];
        self.errno().is_some_and(|e| passing.contains(&e))
    }
}

/// Puts the name of the operation to a bare cause.
pub(crate) trait During<T> {
    /// `doing` is evaluated on failure only.
    fn during(self, doing: impl FnOnce() -> String) -> Result<T, Error>;
}

impl<T, C: Into<Cause>> During<T> for Result<T, C> {
    fn during(self, doing: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|cause| Error::Failed { doing: doing(), cause: cause.into() })
    }
}

/// Turns "it does not exist" into a value.
pub trait Absent<T>: Sized {
    /// `Ok(None)` where the error says that the object does not exist.
    fn absent_is_none(self) -> Result<Option<T>, Error>;

    /// Success where the error says that the object does not exist: for a removal.
    fn absent_is_fine(self) -> Result<(), Error> {
        self.absent_is_none().map(drop)
    }
}

impl<T> Absent<T> for Result<T, Error> {
    fn absent_is_none(self) -> Result<Option<T>, Error> {
        match self {
            Ok(value) => Ok(Some(value)),
            Err(e) if e.is_absent() => Ok(None),
            Err(e) => Err(e),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(errno: i32) -> Error {
        Err::<(), _>(Cause::Refused { errno, text: Some("No room".into()), offset: Some(8) })
            .during(|| "creating veth v0".into())
            .unwrap_err()
    }

    #[test]
    fn text_has_operation_object_reason_and_the_kernels_own_words() {
        assert_eq!(
            refused(libc::EEXIST).to_string(),
            "creating veth v0: File exists: No room (attribute at offset 8)"
        );
        assert_eq!(refused(libc::EXFULL).errno(), Some(54));
        assert!(refused(libc::EXFULL).to_string().contains("Exchange full"));
    }

    #[test]
    fn classes_do_not_overlap() {
        for errno in 1..134 {
            let e = refused(errno);
            let classes = u8::from(e.is_absent()) + u8::from(e.is_present()) + u8::from(e.is_transient());
            assert!(classes <= 1, "errno {errno}");
        }
        assert!(refused(libc::ENODEV).is_absent() && refused(libc::EBUSY).is_transient());
    }

    #[test]
    fn an_interrupted_dump_is_transient() {
        let e = Err::<(), _>(Cause::Interrupted { tries: 5 }).during(|| "listing links".into()).unwrap_err();
        assert!(e.is_transient());
        assert!(e.to_string().contains("interrupted by changes 5 times"));
    }
}
