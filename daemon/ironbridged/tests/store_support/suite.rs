//! Lease semantics that hold for every store that can be written.

use std::collections::BTreeSet;
use std::time::Duration;

use ironbridged::store::{Held, LeaseStore, StoreError, StoreState};
use overlay::{AcquireError, Subnets};

use super::nodes::{AddressFamilies, Applicant};
use super::{NETWORK, World, follow, keys, until};

/// Makes a test of each case of the suite in a world of its own.
#[macro_export]
macro_rules! suite {
    ($world:expr; $($case:ident)*) => {
        $(#[tokio::test] async fn $case() { store_support::suite::$case(&$world).await; })*
    };
}

/// The cases.
#[macro_export]
macro_rules! suite_of {
    ($world:expr) => {
        $crate::suite!($world;
            twenty_nodes_that_start_together_get_twenty_subnets
            one_of_two_nodes_gets_the_last_subnet_and_the_other_a_clear_error
            a_restarted_node_gets_its_subnet_again_and_writes_only_what_changed
            a_renewal_writes_nothing_that_others_see
            a_stolen_lease_is_noticed_and_not_taken_back_issue_1343
            a_deleted_lease_is_noticed_and_the_same_subnet_taken_again_issue_904
            a_reservation_never_gets_a_time_to_live_issue_1329
            junk_removes_nobody
            flannels_lease_is_read_and_left_as_it_is
            flannels_lease_of_this_node_is_taken_over
            two_nodes_that_claim_one_address_are_told_so_issue_51
            a_wiped_store_is_seen_as_wiped_and_filled_again
            an_expired_lease_is_seen_to_go_and_its_subnet_is_free
            a_watcher_sees_nodes_come_change_and_leave
            a_lease_outside_the_new_network_is_replaced
            ipv6_only_nodes_do_not_share_one_lease
            dual_stack_nodes_share_neither_familys_subnet
            a_lease_that_changed_since_it_was_read_is_not_overwritten
            a_missing_and_a_refused_configuration_are_told_apart
        );
    };
}

pub async fn twenty_nodes_that_start_together_get_twenty_subnets<W: World>(world: &W) {
    let config = r#"{"Network":"10.5.0.0/16","SubnetMin":"10.5.1.0","SubnetMax":"10.5.20.0","Backend":{"Type":"host-gw"}}"#;
    world.put_config(config).await;
    let tasks = (1..=20).map(|n| {
        let mut store = world.store();
        tokio::spawn(async move { Applicant::new(n).acquire(&mut store).await })
    });
    let mut subnets = BTreeSet::new();
    for task in tasks.collect::<Vec<_>>() {
        subnets.insert(task.await.unwrap().unwrap().lease.subnets);
    }
    assert_eq!(subnets.len(), 20);
    let exhausted = Applicant::new(21).acquire(&mut world.store()).await.unwrap_err();
    assert!(matches!(exhausted, StoreError::Acquire(AcquireError::Exhausted { .. })), "{exhausted}");
}

pub async fn one_of_two_nodes_gets_the_last_subnet_and_the_other_a_clear_error<W: World>(world: &W) {
    let config = r#"{"Network":"10.5.0.0/16","SubnetMin":"10.5.1.0","SubnetMax":"10.5.1.0","Backend":{"Type":"host-gw"}}"#;
    world.put_config(config).await;
    let (mut a, mut b) = (world.store(), world.store());
    let (one, two) = (Applicant::new(1), Applicant::new(2));
    let both = tokio::join!(one.acquire(&mut a), two.acquire(&mut b));
    let (won, lost) = match both {
        (Ok(won), Err(lost)) | (Err(lost), Ok(won)) => (won, lost),
        other => panic!("{other:?}"),
    };
    assert_eq!(won.lease.subnets.to_key(), "10.5.1.0-24");
    assert!(matches!(lost, StoreError::Acquire(AcquireError::Exhausted { .. })), "{lost}");
}

pub async fn a_restarted_node_gets_its_subnet_again_and_writes_only_what_changed<W: World>(world: &W) {
    world.put_config(NETWORK).await;
    let first = Applicant::new(1).acquire(&mut world.store()).await.unwrap();
    let again = Applicant::new(1).acquire(&mut world.store()).await.unwrap();
    assert_eq!(again.lease, first.lease, "the same revision: nothing was written");
    let mut moved = Applicant::named(9, Some("node-1"));
    moved.attributes.backend_data = Some(serde_json::json!({"VNI": 1}).into());
    let moved = moved.acquire(&mut world.store()).await.unwrap();
    assert_eq!(moved.lease.subnets, first.lease.subnets, "a change of address keeps the subnet: flannel#760");
    assert!(moved.lease.revision > first.lease.revision);
    let (value, has_ttl) = world.raw(&first.lease.subnets.to_key()).await.unwrap();
    assert!(
        value.starts_with(r#"{"PublicIP":"192.0.2.9","PublicIPv6":null,"BackendType":"host-gw""#),
        "{value}"
    );
    assert!(has_ttl);
}

pub async fn a_renewal_writes_nothing_that_others_see<W: World>(world: &W) {
    world.put_config(NETWORK).await;
    let mut store = world.store();
    let held = Applicant::new(1).acquire(&mut store).await.unwrap();
    let mut seen = follow(&mut store);
    until(&mut seen, "the lease", |view| !keys(view).is_empty()).await;
    let before = seen.borrow_and_update().clone();
    tokio::time::sleep(Duration::from_millis(30)).await;
    let renewed = store.renew(&held).await.unwrap();
    assert_eq!(renewed.lease, held.lease);
    assert!(renewed.expires > held.expires);
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert!(seen.borrow().says_the_same(&before), "all daemons would compare their routes");
}

pub async fn a_stolen_lease_is_noticed_and_not_taken_back_issue_1343<W: World>(world: &W) {
    world.put_config(NETWORK).await;
    let mut store = world.store();
    let held = Applicant::new(1).acquire(&mut store).await.unwrap();
    let mut seen = follow(&mut store);
    let key = held.lease.subnets.to_key();
    let theirs = r#"{"PublicIP":"192.0.2.66","PublicIPv6":null,"BackendType":"host-gw"}"#;
    until(&mut seen, "ours", |view| held_by(view, &held).is_ok()).await;
    world.overwrite(&key, theirs).await;
    until(&mut seen, "theft", |view| matches!(held_by(view, &held), Err(StoreError::Stolen { .. }))).await;
    let stolen = store.renew(&held).await.unwrap_err();
    assert!(stolen.to_string().contains("192.0.2.66"), "{stolen}");
    assert_eq!(world.raw(&key).await.unwrap().0, theirs);
}

fn held_by(view: &ironbridged::store::View, held: &Held) -> Result<(), StoreError> {
    let subnets = held.lease.subnets;
    view.snapshot.as_ref().map_or(Err(StoreError::Gone { subnets }), |snapshot| held.check(snapshot))
}

pub async fn a_deleted_lease_is_noticed_and_the_same_subnet_taken_again_issue_904<W: World>(world: &W) {
    world.put_config(NETWORK).await;
    let mut store = world.store();
    Applicant::new(2).acquire(&mut store).await.unwrap();
    let held = Applicant::new(1).acquire(&mut store).await.unwrap();
    let mut seen = follow(&mut store);
    until(&mut seen, "both", |view| keys(view).len() == 2).await;
    world.remove(&held.lease.subnets.to_key()).await;
    until(&mut seen, "gone", |view| matches!(held_by(view, &held), Err(StoreError::Gone { .. }))).await;
    assert!(matches!(store.renew(&held).await, Err(StoreError::Gone { .. })));
    let again = Applicant::new(1).with_previous(held.lease.subnets).acquire(&mut store).await.unwrap();
    assert_eq!(again.lease.subnets, held.lease.subnets);
}

pub async fn a_reservation_never_gets_a_time_to_live_issue_1329<W: World>(world: &W) {
    world.put_config(NETWORK).await;
    world.put("10.5.77.0-24", r#"{"PublicIP":"192.0.2.1"}"#).await;
    let mut store = world.store();
    let held = Applicant::new(1).acquire(&mut store).await.unwrap();
    assert_eq!((held.lease.subnets.to_key().as_str(), held.lease.reserved), ("10.5.77.0-24", true));
    assert_eq!(held.expires, None);
    let held = store.renew(&held).await.unwrap();
    let again = Applicant::new(1).acquire(&mut store).await.unwrap();
    assert!(held.lease.reserved && again.lease.reserved);
    let (value, has_ttl) = world.raw("10.5.77.0-24").await.unwrap();
    assert!(value.contains("host-gw") && !has_ttl, "{value}");
}

pub async fn junk_removes_nobody<W: World>(world: &W) {
    world.put_config(NETWORK).await;
    let mut store = world.store();
    let held = Applicant::new(1).acquire(&mut store).await.unwrap();
    let mut seen = follow(&mut store);
    until(&mut seen, "the lease", |view| !keys(view).is_empty()).await;
    world.put("nonsense", "x").await;
    world.put("10.5.300.0-24", "{}").await;
    world.put("10.6.0.0-24", "not json").await;
    let view = until(&mut seen, "junk", |v| v.snapshot.as_ref().is_some_and(|s| s.junk.len() == 3)).await;
    assert_eq!(keys(&view), [held.lease.subnets.to_key()]);
    let snapshot = store.snapshot().await.unwrap();
    let named: Vec<&str> = snapshot.junk.iter().map(|junk| junk.key.as_str()).collect();
    assert_eq!(named, ["10.5.300.0-24", "10.6.0.0-24", "nonsense"]);
    store.renew(&held).await.unwrap();
    world.overwrite(&held.lease.subnets.to_key(), "garbage").await;
    until(&mut seen, "ours is junk", |view| keys(view).is_empty()).await;
    store.renew(&held).await.unwrap();
    until(&mut seen, "ours is put back", |view| held_by(view, &held).is_ok()).await;
}

/// As flannel's own test asserts it, and as its vxlan backend writes it.
const FLANNELS: [(&str, &str); 3] = [
    ("10.5.52.0-24", r#"{"PublicIP":"1.2.3.4","PublicIPv6":null}"#),
    (
        "10.5.53.0-24",
        r#"{"PublicIP":"1.2.3.5","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:44"}}"#,
    ),
    (
        "10.5.54.0-24&fd00:12:13::-56",
        r#"{"PublicIP":"1.2.3.6","PublicIPv6":"fd00::6","BackendType":"host-gw"}"#,
    ),
];

pub async fn flannels_lease_is_read_and_left_as_it_is<W: World>(world: &W) {
    world.put_config(NETWORK).await;
    let mut store = world.store();
    for (key, value) in FLANNELS {
        world.put(key, value).await;
    }
    let held = Applicant::new(1).acquire(&mut store).await.unwrap();
    store.renew(&held).await.unwrap();
    let snapshot = store.snapshot().await.unwrap();
    for (key, value) in FLANNELS {
        let subnets = Subnets::parse_key(key).unwrap();
        let lease = snapshot.leases.iter().find(|lease| lease.subnets == subnets).unwrap();
        assert_eq!(lease.attributes.to_json(), value);
        assert_eq!(world.raw(key).await.unwrap().0, value);
    }
    let unnamed = Applicant::named(2, None).acquire(&mut store).await.unwrap();
    let (value, _) = world.raw(&unnamed.lease.subnets.to_key()).await.unwrap();
    assert_eq!(value, r#"{"PublicIP":"192.0.2.2","PublicIPv6":null,"BackendType":"host-gw"}"#);
}

pub async fn flannels_lease_of_this_node_is_taken_over<W: World>(world: &W) {
    world.put_config(NETWORK).await;
    let mut store = world.store();
    let flannels = Applicant::named(1, None).acquire(&mut store).await.unwrap();
    let ours = Applicant::new(1).acquire(&mut store).await.unwrap();
    assert_eq!(ours.lease.subnets, flannels.lease.subnets);
    let (value, has_ttl) = world.raw(&ours.lease.subnets.to_key()).await.unwrap();
    assert!(value.ends_with(r#","Node":"node-1"}"#) && has_ttl, "{value}");
    let back = Applicant::named(1, None).acquire(&mut store).await.unwrap();
    assert_eq!(back.lease.subnets, ours.lease.subnets);
}

pub async fn two_nodes_that_claim_one_address_are_told_so_issue_51<W: World>(world: &W) {
    world.put_config(NETWORK).await;
    let mut store = world.store();
    let held = Applicant::named(1, Some("first")).acquire(&mut store).await.unwrap();
    let refused = Applicant::named(1, Some("second")).acquire(&mut store).await.unwrap_err();
    assert!(refused.to_string().contains("first"), "{refused}");
    assert!(!refused.is_outage() && !refused.is_race());
    store.renew(&held).await.unwrap();
    assert_eq!(store.snapshot().await.unwrap().leases.len(), 1);
}

pub async fn a_wiped_store_is_seen_as_wiped_and_filled_again<W: World>(world: &W) {
    world.put_config(NETWORK).await;
    let mut store = world.store();
    let held = Applicant::new(1).acquire(&mut store).await.unwrap();
    let mut seen = follow(&mut store);
    until(&mut seen, "the lease", |view| !keys(view).is_empty()).await;
    assert!(!seen.borrow().is_wiped());
    world.wipe().await;
    let view = until(&mut seen, "wiped", ironbridged::store::View::is_wiped).await;
    assert!(matches!(held_by(&view, &held), Err(StoreError::Gone { .. })));
    world.put_config(NETWORK).await;
    let again = Applicant::new(1).with_previous(held.lease.subnets).acquire(&mut store).await.unwrap();
    assert_eq!(again.lease.subnets, held.lease.subnets);
    until(&mut seen, "filled again", |view| held_by(view, &again).is_ok() && !view.is_wiped()).await;
}

pub async fn an_expired_lease_is_seen_to_go_and_its_subnet_is_free<W: World>(world: &W) {
    world.put_config(NETWORK).await;
    let mut store = world.store();
    let stays = Applicant::new(2).acquire(&mut store).await.unwrap();
    let ttl = Duration::from_secs(1);
    let held = Applicant::new(1).with_ttl(ttl).acquire(&mut store).await.unwrap();
    let mut seen = follow(&mut store);
    until(&mut seen, "both", |view| keys(view).len() == 2).await;
    world.pass(held.ttl).await;
    until(&mut seen, "expired", |view| keys(view) == [stays.lease.subnets.to_key()]).await;
    assert!(matches!(store.renew(&held).await, Err(StoreError::Gone { .. })));
    let heir = Applicant::new(3).with_previous(held.lease.subnets).acquire(&mut store).await.unwrap();
    assert_eq!(heir.lease.subnets, held.lease.subnets);
}

pub async fn a_watcher_sees_nodes_come_change_and_leave<W: World>(world: &W) {
    world.put_config(NETWORK).await;
    let mut store = world.store();
    let mut seen = follow(&mut store);
    let view = until(&mut seen, "live", |view| view.state == StoreState::Live).await;
    assert!(view.snapshot.is_some() && keys(&view).is_empty() && !view.is_wiped());
    let one = Applicant::new(1).acquire(&mut store).await.unwrap();
    let two = Applicant::new(2).acquire(&mut store).await.unwrap();
    until(&mut seen, "both", |view| keys(view).len() == 2).await;
    let moved = Applicant::named(200, Some("node-2")).acquire(&mut store).await.unwrap();
    until(&mut seen, "a changed address (flannel-behaviour 16.1, 2)", |view| {
        view.snapshot
            .as_ref()
            .is_some_and(|s| s.leases.iter().any(|l| l.attributes == moved.lease.attributes))
    })
    .await;
    assert!(matches!(store.delete(&two.lease).await, Err(StoreError::Changed { .. })));
    store.delete(&moved.lease).await.unwrap();
    store.delete(&moved.lease).await.unwrap();
    until(&mut seen, "one left", |view| keys(view) == [one.lease.subnets.to_key()]).await;
}

pub async fn a_lease_outside_the_new_network_is_replaced<W: World>(world: &W) {
    world.put_config(NETWORK).await;
    let mut store = world.store();
    let old = Applicant::new(1).acquire(&mut store).await.unwrap();
    world.put_config(r#"{"Network":"10.77.0.0/16","Backend":{"Type":"host-gw"}}"#).await;
    let new = Applicant::new(1).acquire(&mut store).await.unwrap();
    assert!(new.lease.subnets.to_key().starts_with("10.77."));
    assert_eq!(world.raw(&old.lease.subnets.to_key()).await, None);
}

pub async fn a_lease_that_changed_since_it_was_read_is_not_overwritten<W: World>(world: &W) {
    world.put_config(NETWORK).await;
    let mut store = world.store();
    let held = Applicant::new(1).acquire(&mut store).await.unwrap();
    let key = held.lease.subnets.to_key();
    tokio::time::sleep(Duration::from_millis(10)).await;
    world.overwrite(&key, r#"{"PublicIP":"192.0.2.66"}"#).await;
    let (attributes, ttl) = (&held.lease.attributes, Duration::from_hours(24));
    assert!(matches!(store.retake(&held.lease, attributes, ttl).await, Err(StoreError::Changed { .. })));
    assert!(matches!(
        store.create(&held.lease.subnets, attributes, ttl).await,
        Err(StoreError::Taken { .. })
    ));
    world.remove(&key).await;
    assert!(matches!(store.retake(&held.lease, attributes, ttl).await, Err(StoreError::Gone { .. })));
    assert_eq!(world.raw(&key).await, None);
}

pub async fn a_missing_and_a_refused_configuration_are_told_apart<W: World>(world: &W) {
    let mut store = world.store();
    let missing = store.config().await.unwrap_err();
    assert!(matches!(missing, StoreError::NoConfig { .. }), "{missing}");
    world.put_config(r#"{"Network":"10.5.0.0/31"}"#).await;
    let refused = store.config().await.unwrap_err();
    assert!(matches!(refused, StoreError::BadConfig { .. }), "{refused}");
    world.put_config(r#"{"network":"10.5.0.0/16","backend":{"type":"HOST-GW"}}"#).await;
    store.config().await.unwrap();
}

pub async fn ipv6_only_nodes_do_not_share_one_lease<W: World>(world: &W) {
    let config =
        r#"{"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"fd00:5::/48","Backend":{"Type":"host-gw"}}"#;
    world.put_config(config).await;
    let mut store = world.store();
    let nodes = [1, 2].map(|n| Applicant::new(n).with_ipv6(AddressFamilies::Ipv6));
    let one = nodes[0].acquire(&mut store).await.unwrap();
    let two = nodes[1].acquire(&mut store).await.unwrap();
    assert_ne!(one.lease.subnets, two.lease.subnets);
    assert!(one.lease.subnets.to_key().starts_with("0.0.0.0-0&fd00:5:"), "{:?}", one.lease);
    assert_eq!(nodes[0].acquire(&mut store).await.unwrap().lease, one.lease);
    store.renew(&two).await.unwrap();
    assert_eq!(store.snapshot().await.unwrap().leases.len(), 2);
}

pub async fn dual_stack_nodes_share_neither_familys_subnet<W: World>(world: &W) {
    // Few IPv6 subnets, so that nodes which start together do choose the same ones beside different IPv4 subnets.
    let config = r#"{"Network":"10.5.0.0/16","EnableIPv6":true,"IPv6Network":"fd00:5::/48","IPv6SubnetLen":64,
        "IPv6SubnetMin":"fd00:5:0:1::","IPv6SubnetMax":"fd00:5:0:8::","Backend":{"Type":"host-gw"}}"#;
    world.put_config(config).await;
    let tasks = (1..=8).map(|n| {
        let mut store = world.store();
        let node = Applicant::new(n).with_ipv6(AddressFamilies::Both);
        tokio::spawn(async move { node.acquire(&mut store).await })
    });
    let mut subnets = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        subnets.push(task.await.unwrap().unwrap().lease.subnets);
    }
    let v6: BTreeSet<_> = subnets.iter().map(|s| s.v6.unwrap()).collect();
    let v4: BTreeSet<_> = subnets.iter().map(|s| s.v4.unwrap()).collect();
    assert_eq!((v4.len(), v6.len()), (8, 8), "{subnets:?}");
}
