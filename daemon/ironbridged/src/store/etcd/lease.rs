//! Creating, taking over, renewing and deleting one lease, each write behind a comparison with what was read.

use std::time::{Duration, Instant};

use etcd_client::{Compare, CompareOp, LeaseTimeToLiveOptions, PutOptions, Txn, TxnOp, TxnResponse};
use overlay::{Lease, LeaseAttributes, Subnets};

use super::failure::is_lease_missing;
use super::session::{Found, Session};
use crate::store::{Held, StoreError};

/// A write that loses its comparison this often in a row has an opponent rather than bad luck.
const RENEWALS: usize = 3;

/// What one lease shall be.
struct Wish<'a> {
    subnets: &'a Subnets,
    attributes: &'a LeaseAttributes,
    ttl: Duration,
    key: String,
}

/// How long an etcd lease lasts.
#[derive(Clone, Copy)]
struct Granted {
    id: i64,
    ttl: Duration,
}

impl<'a> Wish<'a> {
    fn new(session: &Session, subnets: &'a Subnets, attributes: &'a LeaseAttributes, ttl: Duration) -> Self {
        let key = format!("{}{}", session.options().leases_prefix(), subnets.to_key());
        Wish { subnets, attributes, ttl, key }
    }

    fn put(&self, lease: Option<i64>) -> TxnOp {
        let options = lease.map(|id| PutOptions::new().with_lease(id));
        TxnOp::put(self.key.as_str(), self.attributes.to_json(), options)
    }

    /// The lease as held since `asked`, when the request was about to be sent: the store's own count began later.
    fn held(&self, revision: i64, granted: Option<Granted>, asked: Instant) -> Held {
        let (subnets, attributes) = (*self.subnets, self.attributes.clone());
        Held {
            lease: Lease { subnets, attributes, reserved: granted.is_none(), revision },
            ttl: granted.map_or(self.ttl, |g| g.ttl),
            expires: granted.map(|g| asked + g.ttl),
        }
    }
}

pub(super) async fn create(
    session: &mut Session,
    subnets: &Subnets,
    attributes: &LeaseAttributes,
    ttl: Duration,
) -> Result<Held, StoreError> {
    let wish = Wish::new(session, subnets, attributes, ttl);
    let asked = Instant::now();
    let granted = grant(session, ttl).await?;
    let nobody = Compare::version(wish.key.as_str(), CompareOp::Equal, 0);
    match write(session, &wish, nobody, wish.put(Some(granted.id))).await {
        Ok(Some(revision)) => Ok(wish.held(revision, Some(granted), asked)),
        lost => {
            // Also after an error: if the write arrived without its answer, its key goes with the etcd lease.
            revoke(session, granted.id).await;
            Err(lost.err().unwrap_or(StoreError::Taken { subnets: *subnets }))
        }
    }
}

pub(super) async fn retake(
    session: &mut Session,
    lease: &Lease,
    attributes: &LeaseAttributes,
    ttl: Duration,
) -> Result<Held, StoreError> {
    let subnets = lease.subnets;
    let wish = Wish::new(session, &subnets, attributes, ttl);
    match session.read(&wish.key).await? {
        None => Err(StoreError::Gone { subnets }),
        Some(found) if found.revision != lease.revision => Err(StoreError::Changed { subnets }),
        Some(found) => assert_lease(session, &wish, &found).await,
    }
}

pub(super) async fn renew(session: &mut Session, held: &Held) -> Result<Held, StoreError> {
    let subnets = held.lease.subnets;
    let wish = Wish::new(session, &subnets, &held.lease.attributes, held.ttl);
    let mut lost = StoreError::Changed { subnets };
    for _ in 0..RENEWALS {
        let found = session.read(&wish.key).await?.ok_or(StoreError::Gone { subnets })?;
        match LeaseAttributes::parse(&found.value) {
            Ok(owner) => held.check_owner(&owner)?,
            Err(why) => {
                tracing::warn!(key = wish.key, %why, "the lease's value was overwritten: putting it back");
            }
        }
        match assert_lease(session, &wish, &found).await {
            Err(error @ StoreError::Changed { .. }) => lost = error,
            done => return done,
        }
    }
    Err(StoreError::Contended { attempts: RENEWALS, last: Box::new(lost) })
}

pub(super) async fn delete(session: &mut Session, lease: &Lease) -> Result<(), StoreError> {
    let subnets = lease.subnets;
    let wish = Wish::new(session, &subnets, &lease.attributes, Duration::ZERO);
    let Some(found) = session.read(&wish.key).await? else { return Ok(()) };
    if found.revision != lease.revision {
        return Err(StoreError::Changed { subnets });
    }
    let unchanged = Compare::mod_revision(wish.key.as_str(), CompareOp::Equal, found.revision);
    if write(session, &wish, unchanged, TxnOp::delete(wish.key.as_str(), None)).await?.is_none() {
        return Err(StoreError::Changed { subnets });
    }
    if let Some(id) = found.lease {
        retire(session, id).await;
    }
    Ok(())
}

/// Makes the found key what was wished with the least change: often none at all beyond keeping its etcd lease alive.
async fn assert_lease(session: &mut Session, wish: &Wish<'_>, found: &Found) -> Result<Held, StoreError> {
    let asked = Instant::now();
    let Some(id) = found.lease else {
        // A reservation never gets a time to live (flannel gives it one: flannel#1329).
        let revision = write_value(session, wish, found, None).await?;
        return Ok(wish.held(revision, None, asked));
    };
    let granted = match keep_alive(session, id).await {
        Ok(granted) => granted,
        Err(error) if is_lease_missing(&error) => return Err(StoreError::Gone { subnets: *wish.subnets }),
        Err(error) => return Err(error),
    };
    if is_about(granted.ttl, wish.ttl) {
        let revision = write_value(session, wish, found, Some(id)).await?;
        return Ok(wish.held(revision, Some(granted), asked));
    }
    let fresh = grant(session, wish.ttl).await?;
    let unchanged = Compare::mod_revision(wish.key.as_str(), CompareOp::Equal, found.revision);
    match write(session, wish, unchanged, wish.put(Some(fresh.id))).await {
        Ok(Some(revision)) => {
            retire(session, id).await;
            Ok(wish.held(revision, Some(fresh), asked))
        }
        lost => {
            revoke(session, fresh.id).await;
            Err(lost.err().unwrap_or(StoreError::Changed { subnets: *wish.subnets }))
        }
    }
}

/// Writes the value if it differs; the key's revision afterwards.
async fn write_value(
    session: &mut Session,
    wish: &Wish<'_>,
    found: &Found,
    lease: Option<i64>,
) -> Result<i64, StoreError> {
    if found.value == wish.attributes.to_json().as_bytes() {
        return Ok(found.revision);
    }
    let unchanged = Compare::mod_revision(wish.key.as_str(), CompareOp::Equal, found.revision);
    write(session, wish, unchanged, wish.put(lease))
        .await?
        .ok_or(StoreError::Changed { subnets: *wish.subnets })
}

/// One write behind one comparison: the new revision, or `None` when the comparison failed.
async fn write(
    session: &mut Session,
    wish: &Wish<'_>,
    condition: Compare,
    operation: TxnOp,
) -> Result<Option<i64>, StoreError> {
    let mut kv = session.connection().await?.kv;
    let txn = Txn::new().when([condition]).and_then([operation]);
    let answer: TxnResponse = session.ask(&format!("write {}", wish.key), kv.txn(txn)).await?;
    let revision = answer.header().map_or(0, etcd_client::ResponseHeader::revision);
    Ok(answer.succeeded().then_some(revision))
}

async fn grant(session: &mut Session, ttl: Duration) -> Result<Granted, StoreError> {
    let mut lease = session.connection().await?.lease;
    let seconds = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX).max(1);
    let answer = session.ask("grant an etcd lease", lease.grant(seconds, None)).await?;
    Ok(Granted { id: answer.id(), ttl: seconds_of(answer.ttl()) })
}

/// Starts the etcd lease's time anew. The client hides the first answer, so a second one tells how long that is.
async fn keep_alive(session: &mut Session, id: i64) -> Result<Granted, StoreError> {
    let mut lease = session.connection().await?.lease;
    let question = async move {
        let (mut keeper, mut answers) = lease.keep_alive(id).await?;
        keeper.keep_alive().await?;
        Ok(answers.message().await?.map_or(0, |answer| answer.ttl()))
    };
    let ttl = session.ask(&format!("keep the etcd lease {id:x} alive"), question).await?;
    Ok(Granted { id, ttl: seconds_of(ttl) })
}

/// Ends an etcd lease that this call made and nobody else knows of.
async fn revoke(session: &mut Session, id: i64) {
    let Ok(connection) = session.connection().await else { return };
    let mut lease = connection.lease;
    if let Err(error) = session.ask("revoke an etcd lease", lease.revoke(id)).await {
        tracing::debug!(%error, lease = format!("{id:x}"), "an unused etcd lease is left to expire");
    }
}

/// Ends the etcd lease that a key had before, unless other keys still hang on it: an administrator may have used one for many.
async fn retire(session: &mut Session, id: i64) {
    let Ok(connection) = session.connection().await else { return };
    let mut lease = connection.lease;
    let question = lease.time_to_live(id, Some(LeaseTimeToLiveOptions::new().with_keys()));
    match session.ask("look at an etcd lease", question).await {
        Ok(answer) if answer.keys().is_empty() && answer.ttl() > 0 => revoke(session, id).await,
        Ok(_) => {}
        Err(error) => tracing::debug!(%error, "a former etcd lease is left to expire"),
    }
}

fn seconds_of(ttl: i64) -> Duration {
    Duration::from_secs(u64::try_from(ttl).unwrap_or_default())
}

/// etcd rounds short times up to its election timeout, so a small difference is no reason for a new etcd lease.
fn is_about(found: Duration, wished: Duration) -> bool {
    found.abs_diff(wished) <= Duration::from_secs(3) + wished / 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_really_different_time_to_live_asks_for_a_new_etcd_lease() {
        let is_about = |found, wished| is_about(Duration::from_secs(found), Duration::from_secs(wished));
        assert!(is_about(86_400, 86_400) && is_about(2, 1));
        assert!(!is_about(86_400, 3600) && !is_about(60, 86_400));
    }
}
