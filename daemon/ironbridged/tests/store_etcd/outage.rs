//! What an etcd does to those who depend on it: it dies, hangs, forgets and compacts.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ironbridged::store::{EtcdStore, LeaseStore, StoreError};

use crate::server::{PREFIX, Server, revision};
use crate::store_support::nodes::Applicant;
use crate::store_support::{NETWORK, World, follow, is_live, keys, until, within};

/// Collects the log of this test's thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_killed_etcd_changes_nothing_and_what_happened_meanwhile_is_seen_after_its_restart() {
    let mut server = Server::start().await;
    server.put_config(NETWORK).await;
    let mut store = server.store();
    let one = Applicant::new(1).acquire(&mut store).await.unwrap();
    let two = Applicant::new(2).acquire(&mut store).await.unwrap();
    let mut seen = follow(&mut store);
    until(&mut seen, "both", |view| keys(view).len() == 2).await;
    server.kill();
    let view = until(&mut seen, "stale", |view| !is_live(view)).await;
    assert_eq!(keys(&view).len(), 2);
    let down = store.renew(&one).await.unwrap_err();
    assert!(down.is_outage() && down.to_string().contains("127.0.0.1"), "{down}");
    server.restart();
    let mut client = server.client().await;
    client.delete(format!("{PREFIX}/subnets/{}", two.lease.subnets.to_key()), None).await.unwrap();
    let compacted = revision(&mut client).await;
    client.compact(compacted, None).await.unwrap();
    let left = |view: &ironbridged::store::View| is_live(view) && keys(view) == [one.lease.subnets.to_key()];
    until(&mut seen, "live with one left", left).await;
    store.renew(&one).await.unwrap();
    Applicant::new(3).acquire(&mut store).await.unwrap();
    until(&mut seen, "a new one", |view| keys(view).len() == 2).await;
}

#[tokio::test]
async fn an_etcd_that_lost_its_data_is_followed_from_its_new_beginning() {
    let mut server = Server::start().await;
    server.put_config(NETWORK).await;
    let mut store = server.store();
    let held = Applicant::new(1).acquire(&mut store).await.unwrap();
    let mut seen = follow(&mut store);
    until(&mut seen, "the lease", |view| keys(view).len() == 1).await;
    server.kill();
    server.lose_data();
    server.restart();
    let view = until(&mut seen, "wiped", |view| is_live(view) && view.is_wiped()).await;
    let gone = held.check(&view.snapshot.unwrap());
    assert!(matches!(gone, Err(StoreError::Gone { .. })), "{gone:?}");
    assert!(matches!(store.renew(&held).await, Err(StoreError::Gone { .. })));
    server.put_config(NETWORK).await;
    let again = Applicant::new(1).with_previous(held.lease.subnets).acquire(&mut store).await.unwrap();
    let view = until(&mut seen, "back", |view| keys(view) == [again.lease.subnets.to_key()]).await;
    again.check(&view.snapshot.unwrap()).unwrap();
}

#[tokio::test]
async fn a_hung_etcd_is_noticed_by_watch_and_requests_and_recovered_from() {
    let server = Server::start().await;
    server.put_config(NETWORK).await;
    let mut options = server.options();
    options.timing.request = Duration::from_secs(2);
    let mut store = EtcdStore::new(options);
    let held = Applicant::new(1).acquire(&mut store).await.unwrap();
    let mut seen = follow(&mut store);
    until(&mut seen, "live", is_live).await;
    server.signal("-STOP");
    let began = Instant::now();
    let hung = store.renew(&held).await.unwrap_err();
    assert!(matches!(hung, StoreError::TimedOut { .. }), "{hung}");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let view = within(Duration::from_secs(12), &mut seen, ("stale", |view: &_| !is_live(view))).await;
    assert_eq!(keys(&view).len(), 1);
    server.signal("-CONT");
    until(&mut seen, "live again", is_live).await;
    store.renew(&held).await.unwrap();
}

fn same_leases(want: &overlay::Snapshot) -> impl Fn(&ironbridged::store::View) -> bool {
    move |view| {
        let leases = view.snapshot.iter().flat_map(|s| &s.leases);
        is_live(view) && leases.map(|l| &l.attributes).eq(want.leases.iter().map(|l| &l.attributes))
    }
}

/// Debian's etcd 3.4 loses a deletion from a watch's past when a compaction falls on it (etcd#18089). So here a node
/// leaves at every moment of a watch's beginning, and its deletion is compacted at once.
#[tokio::test]
async fn a_deletion_that_is_compacted_while_a_watch_begins_is_seen_issue_2470() {
    let server = Server::start().await;
    server.put("10.5.1.0-24", r#"{"PublicIP":"192.0.2.1"}"#).await;
    let mut client = server.client().await;
    let leaving = format!("{PREFIX}/subnets/10.5.2.0-24");
    for round in 0..100_u32 {
        client.put(leaving.as_str(), r#"{"PublicIP":"192.0.2.2"}"#, None).await.unwrap();
        let mut seen = follow(&mut server.store());
        let began = Instant::now();
        while began.elapsed() < Duration::from_micros(100) * round {
            tokio::task::yield_now().await;
        }
        let deleted = client.delete(leaving.as_str(), None).await.unwrap().header().unwrap().revision();
        client.compact(deleted, None).await.unwrap();
        let left = |view: &ironbridged::store::View| is_live(view) && keys(view) == ["10.5.1.0-24"];
        within(Duration::from_secs(2), &mut seen, ("only one node", left)).await;
    }
}

#[tokio::test]
async fn a_watch_that_fell_behind_a_compaction_is_begun_anew_issue_2471() {
    let log = Log::default();
    let writer = log.clone();
    let logger = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(logger);
    let server = Server::start().await;
    let mut store = server.store();
    let mut seen = follow(&mut store);
    until(&mut seen, "live", is_live).await;
    // The watcher lives on this thread, which stands still meanwhile, as a suspended machine does.
    let endpoint = server.endpoint();
    std::thread::spawn(move || write_a_lot(&endpoint)).join().unwrap();
    let want = server.store().snapshot().await.unwrap();
    assert_eq!(want.leases.len(), 100);
    until(&mut seen, "the last state", same_leases(&want)).await;
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("compacted away"), "the watch was not canceled: {log}");
}

/// More events and bytes than a server and a connection hold for a watcher that does not read, then a compaction.
fn write_a_lot(endpoint: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = etcd_client::Client::connect([endpoint], None).await.unwrap();
        let padding = "x".repeat(4000);
        let writers = (0..100).map(|n| {
            let (mut client, padding) = (client.kv_client(), padding.clone());
            tokio::spawn(async move {
                for round in 0..40 {
                    let value = format!(r#"{{"PublicIP":"192.0.{round}.{n}","Padding":"{padding}"}}"#);
                    client.put(format!("{PREFIX}/subnets/10.5.{n}.0-24"), value, None).await.unwrap();
                }
            })
        });
        for writer in writers.collect::<Vec<_>>() {
            writer.await.unwrap();
        }
        let mut client = client;
        let newest = revision(&mut client).await;
        client.compact(newest, None).await.unwrap();
    });
}
