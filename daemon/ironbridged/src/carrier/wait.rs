//! Waiting for packets, or for the end.

use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Milliseconds that a direction rests after an error that may pass.
const REST: u16 = 100;

/// A pipe that nobody writes to: closed, it wakes those who wait. Those who have no time to wait look at the flag.
#[derive(Debug, Clone)]
pub struct Stop {
    pipe: Arc<PipeReader>,
    over: Arc<AtomicBool>,
}

/// What ends it all when it is dropped.
#[derive(Debug)]
pub struct End {
    _pipe: PipeWriter,
    over: Arc<AtomicBool>,
}

impl Drop for End {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// Why a wait is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// It may go on.
    Ready,
    /// The data path ends.
    Stop,
}

impl Stop {
    /// With what ends it.
    pub fn new() -> io::Result<(Self, End)> {
        let (reader, writer) = io::pipe()?;
        let over = Arc::new(AtomicBool::new(false));
        Ok((Stop { pipe: Arc::new(reader), over: over.clone() }, End { _pipe: writer, over }))
    }

    /// Whether the data path ends.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
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
        PollFd::new(self.pipe.as_fd(), PollFlags::POLLIN)
    }
}

/// The first descriptor is the pipe.
fn polled(descriptors: &mut [PollFd], timeout: PollTimeout) -> Wake {
    // Any other error is met again where it can be named: at the next read.
    while poll(descriptors, timeout) == Err(Errno::EINTR) {}
    let closed = descriptors.first().and_then(PollFd::any).unwrap_or(false);
    if closed { Wake::Stop } else { Wake::Ready }
}
