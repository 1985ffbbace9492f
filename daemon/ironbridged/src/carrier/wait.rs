//! Waiting for packets, or for the end.

use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Milliseconds that a direction rests after an error that may pass.
const REST: u16 = 100;

/// A pipe that nobody writes to: closed, it wakes everybody.
#[derive(Debug, Clone)]
pub struct Stop(Arc<PipeReader>);

/// Why a wait is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// It may go on.
    Ready,
    /// The data path ends.
    Stop,
}

impl Stop {
    /// With the end by which it is closed.
    pub fn new() -> io::Result<(Self, PipeWriter)> {
        let (reader, writer) = io::pipe()?;
        Ok((Stop(Arc::new(reader)), writer))
    }

    /// Until that can be read or written, or has an error to be met.
    pub fn wait(&self, what: BorrowedFd, how: PollFlags) -> Wake {
        polled(&mut [self.descriptor(), PollFd::new(what, how)], PollTimeout::NONE)
    }

    /// For a moment, after an error.
    pub fn rest(&self) -> Wake {
        polled(&mut [self.descriptor()], PollTimeout::from(REST))
    }

    fn descriptor(&self) -> PollFd<'_> {
        PollFd::new(self.0.as_fd(), PollFlags::POLLIN)
    }
}

/// The first descriptor is the pipe.
fn polled(descriptors: &mut [PollFd], timeout: PollTimeout) -> Wake {
    // Any other error is met again where it can be named: at the next read.
    while poll(descriptors, timeout) == Err(Errno::EINTR) {}
    let closed = descriptors.first().and_then(PollFd::any).unwrap_or(false);
    if closed { Wake::Stop } else { Wake::Ready }
}
