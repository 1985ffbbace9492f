//! Lease semantics over the files: the same comparisons as in etcd's transactions, made under the lock.

use std::time::{Duration, Instant, SystemTime};

use overlay::{Lease, LeaseAttributes, Subnets};

use super::directory::{Locked, Stored, Times, revision_of};
use crate::store::{Held, StoreError};

/// What one lease shall be.
pub(super) struct Wish {
    subnets: Subnets,
    attributes: LeaseAttributes,
    ttl: Duration,
}

impl Wish {
    pub(super) fn new(subnets: &Subnets, attributes: &LeaseAttributes, ttl: Duration) -> Self {
        Wish { subnets: *subnets, attributes: attributes.clone(), ttl }
    }

    pub(super) fn create(&self, locked: &Locked, now: SystemTime) -> Result<Held, StoreError> {
        let (key, at) = (self.subnets.to_key(), self.times(now));
        // Removes one that has ended but that nobody looked at since.
        locked.get(&key, now)?;
        if !locked.put_new(&key, &self.attributes.to_json(), at)? {
            return Err(StoreError::Taken { subnets: self.subnets });
        }
        Ok(self.held(revision_of(now), at))
    }

    pub(super) fn retake(&self, locked: &Locked, revision: i64, now: SystemTime) -> Result<Held, StoreError> {
        match locked.get(&self.subnets.to_key(), now)? {
            None => Err(StoreError::Gone { subnets: self.subnets }),
            Some(found) if found.revision != revision => Err(StoreError::Changed { subnets: self.subnets }),
            Some(found) => self.assert_lease(locked, &found, now),
        }
    }

    /// Makes the found lease what was wished. A reservation never gets an end.
    fn assert_lease(&self, locked: &Locked, found: &Stored, now: SystemTime) -> Result<Held, StoreError> {
        let (key, value) = (self.subnets.to_key(), self.attributes.to_json());
        let at = match found.end {
            Some(_) => self.times(now),
            None => Times { now, end: None },
        };
        if found.value == value.as_bytes() {
            locked.put_end(&key, at)?;
            return Ok(self.held(found.revision, at));
        }
        locked.put(&key, &value, at)?;
        Ok(self.held(revision_of(now), at))
    }

    fn times(&self, now: SystemTime) -> Times {
        Times { now, end: Some(now + self.ttl) }
    }

    fn held(&self, revision: i64, at: Times) -> Held {
        let (subnets, attributes) = (self.subnets, self.attributes.clone());
        Held {
            lease: Lease { subnets, attributes, reserved: at.end.is_none(), revision },
            ttl: self.ttl,
            expires: at.end.map(|_| Instant::now() + self.ttl),
        }
    }
}

pub(super) fn renew(locked: &Locked, held: &Held, now: SystemTime) -> Result<Held, StoreError> {
    let subnets = held.lease.subnets;
    let found = locked.get(&subnets.to_key(), now)?.ok_or(StoreError::Gone { subnets })?;
    match LeaseAttributes::parse(&found.value) {
        Ok(owner) => held.check_owner(&owner)?,
        Err(why) => tracing::warn!(%subnets, %why, "the lease's value was overwritten: putting it back"),
    }
    Wish::new(&subnets, &held.lease.attributes, held.ttl).assert_lease(locked, &found, now)
}

pub(super) fn delete(locked: &Locked, lease: &Lease, now: SystemTime) -> Result<(), StoreError> {
    let key = lease.subnets.to_key();
    match locked.get(&key, now)? {
        None => Ok(()),
        Some(found) if found.revision != lease.revision => {
            Err(StoreError::Changed { subnets: lease.subnets })
        }
        Some(_) => locked.remove(&key),
    }
}
