//! What is done to a device that is there, by what disagrees.

use super::*;

fn link() -> VxlanLink {
    VxlanLink {
        vni: 1,
        port: 8472,
        parent: Some(7),
        local: "192.0.2.1".parse().ok(),
        group: None,
        learning: false,
        gbp: false,
        l2miss: false,
    }
}

fn device() -> Device {
    Device {
        name: "flannel.1".into(),
        tunnel: Tunnel::Vxlan(link()),
        mac: Some(Mac([2, 0, 0, 0, 0, 1])),
        mtu: 1450,
        homes: vec![Home {
            address: "10.3.1.0/32".parse().unwrap(),
            network: "10.3.0.0/16".parse().unwrap(),
        }],
    }
}

fn found() -> FoundDevice {
    let want = device();
    FoundDevice {
        index: 9,
        tunnel: Some(want.tunnel),
        mac: want.mac,
        mtu: want.mtu,
        up: true,
        addresses: vec![
            want.homes[0].address,
            "fe80::1/64".parse().unwrap(),
            "172.16.0.1/24".parse().unwrap(),
        ],
    }
}

#[test]
fn a_device_that_agrees_is_left_alone_whoever_made_it() {
    assert_eq!(device().remedy(Some(&found())), []);
    assert_eq!(device().remedy(None), [DeviceChange::Create]);
}

#[test]
fn what_can_be_changed_is_changed_in_place() {
    let there = FoundDevice {
        mac: Some(Mac([2, 0, 0, 0, 0, 9])),
        mtu: 1400,
        up: false,
        addresses: vec!["10.3.8.0/32".parse().unwrap(), "fe80::1/64".parse().unwrap()],
        ..found()
    };
    let want = [
        DeviceChange::SetMac(Mac([2, 0, 0, 0, 0, 1])),
        DeviceChange::SetMtu(1450),
        DeviceChange::Raise,
        DeviceChange::AddAddress("10.3.1.0/32".parse().unwrap()),
        DeviceChange::DeleteAddress("10.3.8.0/32".parse().unwrap()),
    ];
    assert_eq!(device().remedy(Some(&there)), want);
}

#[test]
fn each_parameter_that_disagrees_is_named_with_both_values() {
    let different = [
        (VxlanLink { vni: 2, ..link() }, "its VNI is 2, not 1"),
        (VxlanLink { port: 4789, ..link() }, "its port is 4789, not 8472"),
        (VxlanLink { parent: None, ..link() }, "its lower link is none, not interface 7"),
        (VxlanLink { local: None, ..link() }, "its local address is none, not 192.0.2.1"),
        (VxlanLink { group: "239.1.1.1".parse().ok(), ..link() }, "its group is 239.1.1.1, not none"),
        (VxlanLink { learning: true, ..link() }, "its learning is on, not off"),
        (VxlanLink { gbp: true, ..link() }, "its group policy is on, not off"),
        (VxlanLink { l2miss: true, ..link() }, "its report of misses is on, not off"),
        (VxlanLink { vni: 3, gbp: true, ..link() }, "its VNI is 3, not 1; its group policy is on, not off"),
    ];
    for (there, why) in different {
        let there = FoundDevice { tunnel: Some(Tunnel::Vxlan(there)), ..found() };
        assert_eq!(device().remedy(Some(&there)), [DeviceChange::Recreate { why: why.into() }]);
    }
    let there = FoundDevice { tunnel: None, ..found() };
    assert!(matches!(device().remedy(Some(&there)).as_slice(), [DeviceChange::Recreate { .. }]));
}

#[test]
fn behind_a_translator_the_uplinks_own_address_carries_the_tunnel() {
    let uplink = Uplink {
        v4: vec!["169.254.7.7/16".parse().unwrap(), "192.0.2.1/24".parse().unwrap()],
        ..Uplink::default()
    };
    let ip = |text: &str| text.parse().ok();
    assert_eq!(local_address(&uplink, ip("203.0.113.9")), ip("192.0.2.1"));
    assert_eq!(local_address(&uplink, ip("169.254.7.7")), ip("169.254.7.7"));
    assert_eq!(local_address(&uplink, ip("fd00::1")), None);
}
