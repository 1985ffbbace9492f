//! Following the files: read everything whenever something changed, a lease ends, or a while has passed.

use std::time::Duration;

use tokio::sync::watch::Sender;
use tokio::time::sleep;

use super::directory::SUBNETS;
use super::notice::Notices;
use super::{FileStore, Place, Reading};
use crate::store::{Backoff, StoreError, View};

/// How often to read although nothing told of a change. Renewals and ends that are written tell nobody.
const AUDIT: Duration = Duration::from_secs(30);
/// Writes that follow each other within this time are read together.
const QUIET: Duration = Duration::from_millis(20);

/// Keeps `views` up to date until nobody looks at them.
pub(super) async fn run(store: FileStore, views: Sender<View>) {
    let notices = Notices::new();
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(2));
    while !views.is_closed() {
        // Before the read: what changes after it wakes us, what changed before it is read.
        store.cover(&notices);
        let wait = match store.read().await {
            Ok(reading) => {
                backoff.reset();
                let wait = until_next(&reading);
                View::publish(&views, reading.snapshot, reading.config);
                wait
            }
            Err(error) => outage(&views, &error).min(backoff.pause()),
        };
        tokio::select! {
            () = views.closed() => return,
            () = sleep(wait) => {}
            () = notices.changed() => sleep(QUIET).await,
        }
    }
}

fn outage(views: &Sender<View>, error: &StoreError) -> Duration {
    tracing::debug!(%error, "the lease store cannot be read: keeping what it last held");
    View::publish_outage(views, &error.to_string());
    AUDIT
}

impl FileStore {
    fn cover(&self, notices: &Notices) {
        match &self.place {
            Place::Directory(root) => {
                // Only what exists can be watched. The read that follows fails in the same way, and says so.
                root.prepare().ok();
                notices.cover(root.path());
                notices.cover(&root.path().join(SUBNETS));
            }
            // The directory, since a file renamed into place is another file.
            Place::Fixed(path) => {
                if let Some(parent) = path.parent() {
                    notices.cover(parent);
                }
            }
        }
    }
}

/// Until the next lease ends, at most until the next audit.
fn until_next(reading: &Reading) -> Duration {
    reading.next_end.unwrap_or(AUDIT).clamp(Duration::from_millis(10), AUDIT)
}
