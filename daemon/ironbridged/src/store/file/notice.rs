//! Waking up when files change, by inotify, or by the clock where the machine has no inotify instance left.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::net::unix::pipe::Receiver;
use tokio::time::sleep;

/// How often to look where nothing tells.
const POLL: Duration = Duration::from_millis(200);

/// What happens to a lease file or directory when its content changes, and nothing that reading it causes.
const CHANGES: AddWatchFlags = AddWatchFlags::IN_CLOSE_WRITE
    .union(AddWatchFlags::IN_CREATE)
    .union(AddWatchFlags::IN_DELETE)
    .union(AddWatchFlags::IN_MOVED_FROM)
    .union(AddWatchFlags::IN_MOVED_TO)
    .union(AddWatchFlags::IN_DELETE_SELF)
    .union(AddWatchFlags::IN_MOVE_SELF);

/// A source of wake-ups.
pub(super) struct Notices(Option<Inotified>);

struct Inotified {
    inotify: Inotify,
    /// The same open file under a second descriptor. tokio waits safely only for the kinds of files it knows;
    /// reading and readiness of an inotify file are those of a pipe (`inotify(7)`).
    events: Receiver,
}

impl Notices {
    pub(super) fn new() -> Self {
        let inotified = Inotified::new();
        if let Err(error) = &inotified {
            tracing::warn!(%error, "no inotify: looking for changes every {POLL:?}");
        }
        Notices(inotified.ok())
    }

    /// Watches a directory. Asked again for the same one it changes nothing; for one that was made anew it watches that.
    pub(super) fn cover(&self, directory: &Path) {
        if let Some(inotified) = &self.0 {
            // One that is missing is noticed by the read that follows, and by its parent when it comes.
            inotified.inotify.add_watch(directory, CHANGES).ok();
        }
    }

    /// Waits for a change.
    pub(super) async fn changed(&self) {
        match &self.0 {
            None => sleep(POLL).await,
            Some(inotified) => {
                if inotified.drained().await.is_err() {
                    sleep(POLL).await;
                }
            }
        }
    }
}

impl Inotified {
    fn new() -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let twin = inotify.as_fd().try_clone_to_owned()?;
        Ok(Inotified { inotify, events: Receiver::from_file_unchecked(File::from(twin))? })
    }

    /// Waits for events and throws them away: that there were any is all that matters.
    async fn drained(&self) -> io::Result<()> {
        let mut events = [0; 4096];
        self.events.readable().await?;
        loop {
            match self.events.try_read(&mut events) {
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e),
            }
        }
    }
}
