//! When leases end: one read for the etcd leases that keep the keys, then one question for each of those.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use etcd_client::GetOptions;

use super::session::Session;
use crate::store::StoreError;

/// In a larger cluster the questions would cost etcd more than the answer is worth.
const MOST: usize = 256;

/// How long each key still lasts. Reservations are not among them; in a cluster of more than 256 leases nobody is.
pub(super) async fn ends(session: &mut Session) -> Result<BTreeMap<String, Duration>, StoreError> {
    let prefix = session.options().leases_prefix();
    let connection = session.connection().await?;
    let (mut kv, mut lease) = (connection.kv, connection.lease);
    let limit = i64::try_from(MOST + 1).unwrap_or(i64::MAX);
    let keys_only = GetOptions::new().with_prefix().with_keys_only().with_limit(limit);
    let doing = format!("read the keys under {prefix}");
    let answer = session.ask(&doing, kv.get(prefix.as_str(), Some(keys_only))).await?;
    let name = |key: &[u8]| String::from_utf8_lossy(key).strip_prefix(&prefix).map(str::to_owned);
    let kept = answer.kvs().iter().filter(|kv| kv.lease() != 0);
    let kept: Vec<(String, i64)> = kept.filter_map(|kv| Some((name(kv.key())?, kv.lease()))).collect();
    if answer.kvs().len() > MOST {
        return Ok(BTreeMap::new());
    }
    let mut left = BTreeMap::new();
    for id in kept.iter().map(|(_, id)| *id).collect::<BTreeSet<i64>>() {
        let question = lease.time_to_live(id, None);
        let answer = session.ask("ask how long an etcd lease lasts", question).await?;
        // Below zero: it ended meanwhile.
        left.insert(id, Duration::from_secs(u64::try_from(answer.ttl()).unwrap_or(0)));
    }
    Ok(kept.into_iter().filter_map(|(key, id)| Some((key, *left.get(&id)?))).collect())
}
