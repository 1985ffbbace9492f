//! Following the cluster: watch, list, fold bursts of events after the listing, and begin again after any doubt.

use std::fmt;
use std::time::Duration;

use etcd_client::{Event, EventType, WatchOptions, WatchResponse, WatchStream};
use overlay::Snapshot;
use tokio::sync::watch::Sender;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use super::fold::{Entry, Fold};
use super::session::{Listing, Session};
use crate::store::backoff::spread;
use crate::store::{Backoff, ConfigKey, StoreError, View};

/// Events that follow within this time are handed out together,
const QUIET: Duration = Duration::from_millis(20);
/// but not later than this after the first one.
const PATIENCE: Duration = Duration::from_millis(200);

const COMPACTED: &str = "the revision to go on from was compacted away";

/// Why the events of a watch ended.
enum End {
    /// Nobody looks at the views any more.
    Unwatched,
    /// It is time to read everything again, although nothing is wrong.
    Audit,
    /// The watch cannot tell what is true now.
    Doubt(&'static str),
}

/// What is handed out, and how to pace oneself.
struct Outlet {
    views: Sender<View>,
    backoff: Backoff,
    epoch: Epoch,
    told: Option<Instant>,
    /// What was handed out last, in the cluster's own count.
    revision: i64,
}

/// A listing, and the events from its revision on.
///
/// The watch begins before the listing, and events up to the listing's revision are dropped. A watch that is asked for
/// from that revision on is served from the history until the server has caught up, and etcd before 3.5.15 loses
/// a deletion from it when a compaction falls on the same revision (etcd#18089, etcd#19179): a peer that left would stay.
pub(super) struct Followed {
    stream: WatchStream,
    listing: Listing,
}

impl fmt::Debug for Followed {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Followed").field("revision", &self.listing.fold.revision()).finish_non_exhaustive()
    }
}

impl Followed {
    pub(super) async fn begin(session: &mut Session) -> Result<Self, StoreError> {
        let stream = open(session).await?;
        let listing = session.list().await?;
        Ok(Followed { stream, listing })
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        self.listing.fold.snapshot()
    }

    /// Waits for the event of that revision, which the server has written: an error when it does not come.
    pub(super) async fn reach(&mut self, session: &mut Session, revision: i64) -> Result<(), StoreError> {
        let deadline = Instant::now() + session.options().timing.request;
        while self.listing.fold.revision() < revision {
            let late = || session.outage("watch the leases", "an event did not come");
            let message = timeout_at(deadline, self.stream.message()).await.map_err(|_| late())?;
            if let Taken::Canceled(why) = take(session, &mut self.listing.fold, message)? {
                return Err(session.outage("watch the leases", why));
            }
        }
        Ok(())
    }
}

/// Keeps `views` up to date until nobody looks at them; goes on from `followed` first.
pub(super) async fn run(mut session: Session, mut followed: Option<Followed>, views: Sender<View>) {
    let timing = session.options().timing.clone();
    let backoff = Backoff::new(timing.floor, timing.ceiling);
    let mut outlet = Outlet { views, backoff, epoch: Epoch::default(), told: None, revision: 0 };
    while !outlet.views.is_closed() {
        match follow(&mut session, followed.take(), &mut outlet).await {
            Ok(End::Unwatched) => return,
            Ok(End::Audit) => continue,
            Ok(End::Doubt(why)) => tracing::info!(why, "reading all leases again"),
            Err(error) => {
                // The view tells; how often that is worth a line in the log is its reader's business.
                tracing::debug!(%error, "the lease store is out of reach: keeping what it last held");
                View::publish_outage(&outlet.views, &error.to_string());
                session.note(&error);
            }
        }
        tokio::select! {
            () = outlet.views.closed() => return,
            () = sleep(outlet.backoff.pause()) => {}
        }
    }
}

/// One listing and the events after its revision.
async fn follow(
    session: &mut Session,
    followed: Option<Followed>,
    outlet: &mut Outlet,
) -> Result<End, StoreError> {
    let begun = match followed {
        Some(begun) => begun,
        None => Followed::begin(session).await?,
    };
    let Followed { mut stream, listing: Listing { mut fold, config } } = begun;
    outlet.epoch.begin(fold.revision());
    outlet.publish(&fold, config);
    let audit = Instant::now() + spread(session.options().timing.audit);
    loop {
        let message = tokio::select! {
            () = outlet.views.closed() => return Ok(End::Unwatched),
            () = sleep_until(audit) => return Ok(End::Audit),
            message = stream.message() => message,
        };
        match take(session, &mut fold, message)? {
            Taken::Canceled(why) => return Ok(End::Doubt(why)),
            Taken::Nothing => outlet.backoff.reset(),
            Taken::Events => {
                outlet.backoff.reset();
                // A lone change is not to wait for others; of a burst the first is told at once and the rest together.
                // The end of the last lease is told by nobody before it was read again.
                if outlet.is_rested() && fold.has_leases() {
                    outlet.publish(&fold, config);
                }
                let told = outlet.revision;
                if let Some(end) = gather(session, &mut stream, &mut fold).await? {
                    return Ok(end);
                }
                if told != fold.revision() {
                    outlet.publish(&fold, config);
                }
            }
        }
    }
}

impl Outlet {
    /// Whether nothing was handed out for a while.
    fn is_rested(&self) -> bool {
        self.told.is_none_or(|told| told + PATIENCE <= Instant::now())
    }

    fn publish(&mut self, fold: &Fold, config: ConfigKey) {
        self.told = Some(Instant::now());
        self.revision = fold.revision();
        let mut snapshot = fold.snapshot();
        snapshot.revision = self.epoch.raise(snapshot.revision);
        View::publish(&self.views, snapshot, config);
    }
}

/// Keeps the revisions of views growing when a cluster's revisions begin anew, because its data was lost or restored
/// from a backup: to a node that holds a lease of revision 900, a snapshot of revision 3 would else be one from before
/// the lease was written, which proves nothing, until the new cluster has seen 900 changes.
#[derive(Debug, Default)]
struct Epoch {
    newest: i64,
    raised_by: i64,
}

impl Epoch {
    /// More than all changes that this process can have made to the former cluster without having seen them yet.
    const STEP: i64 = 1 << 32;

    fn begin(&mut self, listed: i64) {
        if listed < self.newest {
            tracing::warn!(
                revision = listed,
                before = self.newest,
                "etcd's revisions began anew: its data was lost or restored"
            );
            self.raised_by += self.newest + Self::STEP;
            self.newest = listed;
        }
    }

    fn raise(&mut self, revision: i64) -> i64 {
        self.newest = self.newest.max(revision);
        revision + self.raised_by
    }
}

/// What a message was.
enum Taken {
    Nothing,
    Events,
    Canceled(&'static str),
}

/// Opens the watch and waits for its first message, by which the server accepts it or tells why not.
async fn open(session: &mut Session) -> Result<WatchStream, StoreError> {
    let mut watch = session.connection().await?.watch;
    let prefix = session.options().leases_prefix();
    let doing = format!("watch {prefix}");
    let options = WatchOptions::new().with_prefix().with_progress_notify();
    let question = async move {
        let mut stream = watch.watch(prefix.as_str(), Some(options)).await?;
        let first = stream.message().await;
        Ok((stream, first))
    };
    let (stream, first) = session.ask(&doing, question).await?;
    // Whatever events it may hold are older than the listing that follows.
    take(session, &mut Fold::new("", 0), first)?;
    Ok(stream)
}

/// Takes what arrives shortly after an event, so that a burst becomes one snapshot.
async fn gather(
    session: &Session,
    stream: &mut WatchStream,
    fold: &mut Fold,
) -> Result<Option<End>, StoreError> {
    let last = Instant::now() + PATIENCE;
    while let Ok(Ok(message)) = timeout_at(last, timeout(QUIET, stream.message())).await {
        if let Taken::Canceled(why) = take(session, fold, message)? {
            return Ok(Some(End::Doubt(why)));
        }
    }
    // The end of every lease is worth a second look, and the question whether the configuration is gone too.
    Ok((!fold.has_leases()).then_some(End::Doubt("the last lease is gone")))
}

/// Folds one message in. A stream that ended says so once and then for ever, so both ends are errors.
fn take(
    session: &Session,
    fold: &mut Fold,
    message: Result<Option<WatchResponse>, etcd_client::Error>,
) -> Result<Taken, StoreError> {
    let doing = || format!("watch the leases under {}", session.options().leases_prefix());
    let ended = |why: &str| session.outage(&doing(), why);
    let message = match message {
        Ok(Some(message)) => message,
        Ok(None) => return Err(ended("the server ended the watch")),
        Err(error) => return Err(session.classify(&doing(), &error)),
    };
    if message.canceled() {
        return match (message.compact_revision(), message.cancel_reason()) {
            (0, reason) if reason.contains("permission denied") => Err(session.denial(&doing(), reason)),
            (0, reason) => Err(ended(&format!("the server canceled the watch: {reason}"))),
            // The server gives neither reason nor revision with this one.
            _ => Ok(Taken::Canceled(COMPACTED)),
        };
    }
    for event in message.events() {
        fold_event(fold, event);
    }
    if let Some(header) = message.header() {
        fold.advance(header.revision());
    }
    Ok(if message.events().is_empty() { Taken::Nothing } else { Taken::Events })
}

fn fold_event(fold: &mut Fold, event: &Event) {
    let Some(kv) = event.kv().filter(|kv| !fold.has_seen(kv.mod_revision())) else { return };
    match event.event_type() {
        EventType::Put => {
            fold.put(&Entry {
                key: kv.key(),
                value: kv.value(),
                revision: kv.mod_revision(),
                lease: kv.lease(),
            });
        }
        EventType::Delete => fold.delete(kv.key(), kv.mod_revision()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revisions_of_views_grow_although_the_clusters_begin_anew() {
        let mut epoch = Epoch::default();
        let seen: Vec<i64> = [5, 900, 3, 4, 1]
            .into_iter()
            .map(|revision| {
                epoch.begin(revision);
                epoch.raise(revision)
            })
            .collect();
        assert_eq!(seen[..2], [5, 900]);
        assert!(seen.is_sorted() && seen[2] > 1000, "{seen:?}");
    }
}
