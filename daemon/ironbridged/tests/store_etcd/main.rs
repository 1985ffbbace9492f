//! The etcd store against a real etcd: the semantic suite, and what only etcd does.

#[cfg(test)]
mod outage;
#[cfg(test)]
mod secure;
#[cfg(test)]
mod server;
#[cfg(test)]
#[path = "../store_support/mod.rs"]
mod store_support;

use std::time::Duration;

use etcd_client::PutOptions;
use ironbridged::store::{EtcdStore, LeaseStore, StoreError};
use server::{PREFIX, Server, etcd_leases, quick, revision};
use store_support::nodes::Applicant;
use store_support::{NETWORK, World, follow, is_live, keys, until};

suite_of!(Server::start().await);

#[tokio::test]
async fn no_etcd_lease_is_left_over_by_lost_races_restarts_and_renewals() {
    let server = Server::start().await;
    let mut client = server.client().await;
    server.put_config(NETWORK).await;
    let mut store = server.store();
    let held = Applicant::new(1).acquire(&mut store).await.unwrap();
    let (attributes, ttl) = (&held.lease.attributes, held.ttl);
    assert_eq!(ttl, Duration::from_hours(24));
    assert!(matches!(
        store.create(&held.lease.subnets, attributes, ttl).await,
        Err(StoreError::Taken { .. })
    ));
    for _ in 0..3 {
        let again = Applicant::new(1).acquire(&mut server.store()).await.unwrap();
        store.renew(&again).await.unwrap();
    }
    assert_eq!(etcd_leases(&mut client).await, 1);
    let snapshot = store.snapshot().await.unwrap();
    store.delete(&snapshot.leases[0]).await.unwrap();
    assert_eq!(etcd_leases(&mut client).await, 0);
}

#[tokio::test]
async fn a_watcher_goes_on_from_the_snapshot_and_misses_nothing_in_between() {
    let server = Server::start().await;
    let mut client = server.client().await;
    server.put("10.5.1.0-24", r#"{"PublicIP":"192.0.2.1"}"#).await;
    server.put("10.5.2.0-24", r#"{"PublicIP":"192.0.2.2"}"#).await;
    let mut store = server.store();
    assert_eq!(store.snapshot().await.unwrap().leases.len(), 2);
    server.put("10.5.3.0-24", r#"{"PublicIP":"192.0.2.3"}"#).await;
    let at = revision(&mut client).await;
    let later = store.snapshot_at(at).await.unwrap();
    assert_eq!(later.leases.len(), 3);
    assert!(later.revision >= at, "{} of {at}", later.revision);
    server.remove("10.5.1.0-24").await;
    server.put("10.5.4.0-24", r#"{"PublicIP":"192.0.2.4"}"#).await;
    let mut seen = follow(&mut store);
    let want = ["10.5.2.0-24", "10.5.3.0-24", "10.5.4.0-24"];
    until(&mut seen, "what came and went meanwhile", |view| keys(view) == want).await;
}

#[tokio::test]
async fn another_time_to_live_gets_another_etcd_lease_and_spares_a_shared_one() {
    let server = Server::start().await;
    let mut client = server.client().await;
    server.put_config(NETWORK).await;
    let shared = client.lease_grant(3000, None).await.unwrap().id();
    let ours = format!("{PREFIX}/subnets/10.5.1.0-24");
    for key in [ours.as_str(), "/somebody/elses"] {
        let options = PutOptions::new().with_lease(shared);
        client.put(key, r#"{"PublicIP":"192.0.2.1"}"#, Some(options)).await.unwrap();
    }
    let held = Applicant::new(1).acquire(&mut server.store()).await.unwrap();
    assert_eq!((held.lease.subnets.to_key().as_str(), held.ttl), ("10.5.1.0-24", Duration::from_hours(24)));
    assert_eq!(client.get("/somebody/elses", None).await.unwrap().kvs().len(), 1);
    assert_eq!(etcd_leases(&mut client).await, 2);
}

#[tokio::test]
async fn a_burst_of_leases_is_a_few_snapshots_and_each_is_complete() {
    let server = Server::start().await;
    let mut store = server.store();
    let mut seen = follow(&mut store);
    until(&mut seen, "live", is_live).await;
    let mut client = server.client().await;
    let writer = tokio::spawn(async move {
        for n in 0..10_u32 {
            let puts = (0..100_u32).map(|m| {
                let key = format!("{PREFIX}/subnets/10.{n}.{m}.0-24");
                etcd_client::TxnOp::put(key, format!(r#"{{"PublicIP":"192.0.{n}.{m}"}}"#), None)
            });
            client.txn(etcd_client::Txn::new().and_then(puts.collect::<Vec<_>>())).await.unwrap();
        }
    });
    let mut views = 0;
    while keys(&seen.borrow_and_update()).len() < 1000 {
        tokio::time::timeout(Duration::from_secs(5), seen.changed()).await.unwrap().unwrap();
        views += 1;
    }
    writer.await.unwrap();
    assert!(views <= 10, "{views} views for 1,000 leases");
    assert_eq!(server.store().snapshot().await.unwrap().leases.len(), 1000);
}

#[tokio::test]
async fn an_endpoint_that_is_down_is_passed_over_as_in_flannels_default_list() {
    let server = Server::start().await;
    server.put_config(NETWORK).await;
    let endpoints = format!(" http://127.0.0.1:1 , {} ", server.endpoint());
    let options =
        ironbridged::store::EtcdOptions::new(&endpoints, PREFIX, ironbridged::store::TlsFiles::default());
    let mut store = EtcdStore::new(quick(options.unwrap()));
    for _ in 0..5 {
        store.config().await.unwrap();
    }
    until(&mut follow(&mut store), "live", is_live).await;
}

#[tokio::test]
async fn keys_of_a_sibling_prefix_are_no_leases() {
    let server = Server::start().await;
    server.put_config(NETWORK).await;
    let mut client = server.client().await;
    for sibling in ["subnets-old/10.5.9.0-24", "subnets", "subnets2"] {
        client.put(format!("{PREFIX}/{sibling}"), r#"{"PublicIP":"192.0.2.9"}"#, None).await.unwrap();
    }
    let snapshot = server.store().snapshot().await.unwrap();
    assert!(snapshot.leases.is_empty() && snapshot.junk.is_empty(), "{snapshot:?}");
}
