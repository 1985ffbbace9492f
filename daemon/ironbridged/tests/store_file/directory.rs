//! A lease directory: what a crash, a stuck process or a vanished file system do to it.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use ironbridged::store::{Clock, FileStore, LeaseStore, Moment, StoreError, View};

use crate::store_support::nodes::Applicant;
use crate::store_support::{NETWORK, World, follow, is_live, keys, until};

/// A directory on a machine where time can pass, and whose time of day can be set.
pub struct Directory {
    root: tempfile::TempDir,
    start: Instant,
    ahead: Arc<AtomicU64>,
    set: Arc<AtomicI64>,
}

impl Directory {
    pub fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        Directory { root, start: Instant::now(), ahead: Arc::default(), set: Arc::default() }
    }

    fn path(&self, part: &str) -> PathBuf {
        self.root.path().join(part)
    }

    fn lease(&self, key: &str) -> PathBuf {
        self.path("subnets").join(key)
    }
}

impl World for Directory {
    type Store = FileStore;

    fn store(&self) -> FileStore {
        let (ahead, set, start) = (self.ahead.clone(), self.set.clone(), self.start);
        let clock = Clock::new(move || {
            let passed = Duration::from_secs(ahead.load(Ordering::SeqCst));
            let set = set.load(Ordering::SeqCst);
            let by = Duration::from_secs(set.unsigned_abs());
            let day = SystemTime::now() + passed;
            let day = if set < 0 { day - by } else { day + by };
            Moment { day, uptime: start.elapsed() + passed }
        });
        FileStore::with_clock(self.root.path(), clock)
    }

    async fn put_config(&self, json: &str) {
        fs::write(self.path("config"), json).unwrap();
    }

    async fn put(&self, key: &str, value: &str) {
        fs::create_dir_all(self.path("subnets")).unwrap();
        fs::write(self.lease(key), value).unwrap();
        fs::remove_file(self.path("expiry").join(key)).ok();
    }

    async fn overwrite(&self, key: &str, value: &str) {
        fs::write(self.lease(key), value).unwrap();
    }

    async fn remove(&self, key: &str) {
        fs::remove_file(self.lease(key)).unwrap();
    }

    async fn raw(&self, key: &str) -> Option<(String, bool)> {
        let value = fs::read_to_string(self.lease(key)).ok()?;
        Some((value, self.path("expiry").join(key).exists()))
    }

    async fn wipe(&self) {
        for part in ["subnets", "expiry"] {
            fs::remove_dir_all(self.path(part)).unwrap();
        }
        fs::remove_file(self.path("config")).unwrap();
        fs::remove_file(self.path("lock")).unwrap();
    }

    async fn pass(&self, time: Duration) {
        self.ahead.fetch_add(time.as_secs() + 1, Ordering::SeqCst);
        // A machine's clock does not jump without time passing; the watcher's timer runs on real time.
        tokio::time::sleep(time).await;
    }
}

#[tokio::test]
async fn a_directory_that_vanishes_is_an_outage_and_not_an_exodus() {
    let world = Directory::new();
    world.put_config(NETWORK).await;
    let mut store = world.store();
    Applicant::new(1).acquire(&mut store).await.unwrap();
    let mut seen = follow(&mut store);
    until(&mut seen, "the lease", |view| keys(view).len() == 1).await;
    let aside = world.root.path().with_extension("aside");
    fs::rename(world.root.path(), &aside).unwrap();
    let view = until(&mut seen, "stale", |view| !is_live(view)).await;
    assert_eq!(keys(&view).len(), 1);
    assert!(store.snapshot().await.unwrap_err().is_outage());
    fs::rename(&aside, world.root.path()).unwrap();
    until(&mut seen, "live again", |view| is_live(view) && keys(view).len() == 1).await;
}

#[tokio::test]
async fn a_crash_between_end_and_lease_leaves_nothing_that_matters() {
    let world = Directory::new();
    world.put_config(NETWORK).await;
    let mut store = world.store();
    store.snapshot().await.unwrap();
    fs::write(world.path("expiry").join("10.5.9.0-24"), "1\n").unwrap();
    fs::write(world.path(".new"), "torn").unwrap();
    store.snapshot().await.unwrap();
    world.put("10.5.9.0-24", r#"{"PublicIP":"192.0.2.9"}"#).await;
    let snapshot = store.snapshot().await.unwrap();
    assert_eq!(snapshot.leases.len(), 1, "a reservation does not inherit an end");
    assert!(snapshot.junk.is_empty());
    Applicant::new(1).acquire(&mut store).await.unwrap();
}

#[tokio::test]
async fn whoever_holds_the_lock_too_long_is_named_and_not_waited_for_for_ever() {
    let world = Directory::new();
    let mut store = world.store();
    let stuck = fs::File::create(world.path("lock")).unwrap();
    stuck.lock().unwrap();
    let locked = store.snapshot().await.unwrap_err();
    assert!(matches!(&locked, StoreError::Locked { path, .. } if path.ends_with("lock")), "{locked}");
    assert!(locked.is_outage());
    drop(stuck);
    store.snapshot().await.unwrap();
}

#[tokio::test]
async fn a_lease_written_later_is_the_younger_one_however_long_it_waited_for_the_lock() {
    let world = Directory::new();
    world.put_config(NETWORK).await;
    let mut store = world.store();
    store.snapshot().await.unwrap();
    let lock = fs::File::open(world.path("lock")).unwrap();
    lock.lock().unwrap();
    let subnets = overlay::Subnets::parse_key("10.5.7.0-24").unwrap();
    let attributes = overlay::LeaseAttributes::parse(br#"{"PublicIP":"192.0.2.1"}"#).unwrap();
    let waiting =
        tokio::spawn(async move { store.create(&subnets, &attributes, Duration::from_mins(1)).await });
    tokio::time::sleep(Duration::from_millis(30)).await;
    let meanwhile = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
    drop(lock);
    let held = waiting.await.unwrap().unwrap();
    assert!(held.lease.revision >= i64::try_from(meanwhile).unwrap(), "{held:?}");
}

#[tokio::test]
async fn a_clock_that_is_set_forward_or_back_by_days_ends_no_lease_and_hides_no_change() {
    const DAYS: i64 = 3 * 86_400;
    let world = Directory::new();
    world.put_config(NETWORK).await;
    let mut store = world.store();
    let nodes = [1, 2].map(Applicant::new);
    let mine = nodes[0].acquire(&mut store).await.unwrap();
    let theirs = nodes[1].acquire(&mut store).await.unwrap();
    for set in [DAYS, -DAYS] {
        world.set.store(set, Ordering::SeqCst);
        let snapshot = store.snapshot().await.unwrap();
        assert_eq!(snapshot.leases.len(), 2, "{set}");
        mine.check(&snapshot).unwrap();
        let left = store.renew(&mine).await.unwrap().expires.unwrap().duration_since(Instant::now());
        assert!(left + Duration::from_mins(1) > mine.ttl, "{set}: {left:?}");
        // A program that was started after the jump counts as the others do.
        assert_eq!(world.store().snapshot().await.unwrap().leases, snapshot.leases);
        world.remove(&mine.lease.subnets.to_key()).await;
        let gone = mine.check(&store.snapshot().await.unwrap()).unwrap_err();
        assert!(matches!(gone, StoreError::Gone { .. }), "{set}: {gone}");
        store.create(&mine.lease.subnets, &mine.lease.attributes, mine.ttl).await.unwrap();
    }
    world.ahead.fetch_add(theirs.ttl.as_secs() + 1, Ordering::SeqCst);
    assert_eq!(store.snapshot().await.unwrap().leases.len(), 0, "a day ends them all the same");
}

#[tokio::test]
async fn the_watch_ends_when_nobody_looks() {
    let world = Directory::new();
    let (views, seen) = View::channel();
    let watching = tokio::spawn(world.store().watch(views));
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(seen);
    tokio::time::timeout(Duration::from_secs(2), watching).await.unwrap().unwrap();
}
