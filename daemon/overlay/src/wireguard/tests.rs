//! From leases to peers and routes, without a kernel.

use super::*;
use crate::config::BackendConfig;
use crate::desired::{Desired, desired};
use crate::diff::{Change, diff};
use crate::ground::{End, Ends};
use crate::lease::Snapshot;
use crate::reach::Reach;
use crate::route::Actual;

fn decide(backend: &str, leases: Vec<Lease>) -> Desired {
    let text = format!(
        r#"{{"Network":"10.3.0.0/16","EnableIPv6":true,"IPv6Network":"fd03::/48","Backend":{{"Type":"wireguard"{backend}}}}}"#
    );
    let config = NetworkConfig::parse(text.as_bytes()).unwrap();
    assert!(matches!(config.backend, BackendConfig::Wireguard(_)));
    let own = Subnets::parse_key("10.3.1.0-24&fd03:0:0:1::-64").unwrap();
    let end = |index| Some(End { index, mac: None, mtu: 1420 });
    let second = if backend.contains("auto") { 31 } else { 32 };
    let (uplink, ends) = (Uplink::default(), Ends { v4: end(31), v6: end(second) });
    let ground = Ground { uplink: &uplink, ends: &ends, reach: &Reach::default() };
    desired(
        &config,
        &Snapshot { revision: 1, leases: leases.into_iter().map(Into::into).collect(), junk: vec![] },
        &own,
        ground,
    )
}

fn key(n: u8) -> Key {
    Key([n; 32])
}

fn lease(n: u8, public: &str, of: Key) -> Lease {
    let value = format!(
        r#"{{"PublicIP":"{public}","PublicIPv6":"2001:db8::{n}","BackendType":"wireguard","BackendData":{{"PublicKey":"{of}","Port":4500}},"BackendV6Data":{{"PublicKey":"{of}"}}}}"#
    );
    Lease {
        subnets: Subnets::parse_key(&format!("10.3.{n}.0-24&fd03:0:0:{n}::-64")).unwrap(),
        attributes: LeaseAttributes::parse(value.as_bytes()).unwrap(),
        reserved: false,
        revision: 1,
    }
}

#[test]
fn in_separate_mode_a_peer_has_a_key_on_each_device_and_a_route_to_it() {
    let wanted = decide(r#","PersistentKeepaliveInterval":25"#, vec![lease(2, "192.0.2.2", key(2))]);
    assert_eq!(wanted.problems, []);
    let shown: Vec<_> =
        wanted.peers.iter().map(|(at, p)| (at.0, p.endpoint.to_string(), p.keepalive)).collect();
    let want = [(31, "192.0.2.2:4500".to_owned(), 25), (32, "[2001:db8::2]:51821".to_owned(), 25)];
    assert_eq!(shown, want);
    assert!(wanted.routes.values().all(|hop| hop.gateway.is_none() && !hop.onlink));
}

#[test]
fn in_auto_mode_one_peer_has_both_subnets_over_the_family_that_is_public() {
    for (public, endpoint) in [("192.168.0.2", "[2001:db8::2]:51821"), ("203.0.113.2", "203.0.113.2:4500")] {
        let wanted = decide(r#","Mode":"auto""#, vec![lease(2, public, key(2))]);
        let peer = &wanted.peers[&(31, key(2))];
        assert_eq!((wanted.peers.len(), peer.allowed.len()), (1, 2));
        assert_eq!(peer.endpoint.to_string(), endpoint);
    }
}

fn found(wanted: &Desired) -> Vec<FoundPeer> {
    let one = |(&(index, key), peer): (&(u32, Key), &Peer)| FoundPeer {
        index,
        key,
        endpoint: Some(peer.endpoint),
        allowed: peer.allowed.clone(),
        shared: peer.shared,
        keepalive: peer.keepalive,
        is_heard: false,
    };
    wanted.peers.iter().map(one).collect()
}

#[test]
fn issue_k3s_5216_a_new_key_replaces_the_old_one_and_a_peer_that_roams_is_left_alone() {
    let before = decide("", vec![lease(2, "192.0.2.2", key(2))]);
    let after = decide("", vec![lease(2, "192.0.2.2", key(9))]);
    let there = Actual { peers: found(&before), ..Actual::default() };
    let changes = diff(&after, &there);
    let count = |is: fn(&Change) -> bool| changes.iter().filter(|c| is(c)).count();
    assert_eq!(count(|c| matches!(c, Change::PutPeer { .. })), 2);
    assert_eq!(count(|c| matches!(c, Change::DeletePeer { .. })), 2);
    let mut roaming = found(&before);
    for peer in &mut roaming {
        peer.endpoint = "198.51.100.9:1024".parse().ok();
        peer.is_heard = true;
    }
    let puts = |peers: &[FoundPeer]| {
        let there = Actual { peers: peers.to_vec(), ..Actual::default() };
        diff(&before, &there).iter().filter(|c| matches!(c, Change::PutPeer { .. })).count()
    };
    assert_eq!(puts(&roaming), 0);
    for peer in &mut roaming {
        peer.is_heard = false;
    }
    assert_eq!(puts(&roaming), 2, "issue 1770: one that drifted away is set right");
}

#[test]
fn broken_data_and_a_key_of_two_hosts_are_named() {
    let mut broken = lease(2, "192.0.2.2", key(2));
    broken.attributes.backend_data = Some(json!({"PublicKey": "short"}).into());
    let wanted = decide("", vec![broken, lease(3, "192.0.2.3", key(3)), lease(4, "192.0.2.4", key(3))]);
    let texts: Vec<String> = wanted.problems.iter().map(ToString::to_string).collect();
    assert!(texts[0].contains("\"short\" is no key"), "{texts:?}");
    assert!(texts.iter().any(|text| text.contains("is also that of")), "{texts:?}");
}
