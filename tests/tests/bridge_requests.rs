//! `bridge`: what a runtime may ask for beside the configuration, and the keys that are refused by name.

use netns_fixtures::{Pod, Space, Target};
use serde_json::{Value, json};
use tests::{World, address, merged};

#[test]
fn a_requested_mac_is_taken_and_the_capability_wins() {
    let world = World::ours();
    let (by_args, by_config, by_capability) = ("02:00:00:00:00:0a", "02:00:00:00:00:0b", "02:00:00:00:00:0c");
    let config = json!({"capabilities": {"mac": true}, "args": {"cni": {"mac": by_config}}});
    let plain = json!({"capabilities": {"mac": true}});
    let cni_args = format!("IgnoreUnknown=1;MAC={by_args}");
    for (what, more, args, capability, expected) in [
        ("CNI_ARGS", &plain, cni_args.as_str(), None, by_args),
        ("args.cni", &config, cni_args.as_str(), None, by_config),
        ("capability", &config, cni_args.as_str(), Some(by_capability), by_capability),
        ("another spelling", &plain, "", Some("02-00-00-00-00-0C"), by_capability),
    ] {
        let (pod, network) = (Pod::new(), world.bridge(more));
        let mut target = Target::new(&what.replace(' ', "-"), &pod.path()).args(args);
        if let Some(mac) = capability {
            target = target.capability("mac", json!(mac));
        }
        let result =
            world.runtime().add(&network, &target).unwrap_or_else(|failure| panic!("{what}: {failure}"));
        assert_eq!(world.link_field(&pod, "eth0", "/address"), expected, "{what}");
        assert_eq!(result["interfaces"][2]["mac"], expected, "{what}");
    }
}

#[test]
fn requested_addresses_are_given_by_each_of_three_ways() {
    let world = World::ours();
    let by_config = json!({"args": {"cni": {"ips": ["10.66.0.31"]}}});
    let by_capability = json!({"capabilities": {"ips": true}});
    for (what, more, args, ips, expected) in [
        ("args", json!({}), "IgnoreUnknown=true;IP=10.66.0.30", Value::Null, "10.66.0.30"),
        ("config", by_config, "", Value::Null, "10.66.0.31"),
        ("capability", by_capability.clone(), "", json!(["10.66.0.32"]), "10.66.0.32"),
        ("prefix", by_capability, "", json!(["10.66.0.33/16"]), "10.66.0.33"),
    ] {
        let (pod, network) = (Pod::new(), world.bridge(&more));
        let target = Target::new(what, &pod.path()).args(args).capability("ips", ips);
        let result =
            world.runtime().add(&network, &target).unwrap_or_else(|failure| panic!("{what}: {failure}"));
        assert_eq!(result["ips"][0]["address"], format!("{expected}/24"), "{what}");
        assert_eq!(pod.addresses("eth0"), [format!("{expected}/24")], "{what}");
    }
}

#[test]
fn a_requested_address_that_is_taken_is_code_101() {
    let world = World::ours();
    let network = world.bridge(&json!({"capabilities": {"ips": true}}));
    let (_holder, result) = world.attach(&network, "holder");
    let pod = Pod::new();
    let target = Target::new("second", &pod.path()).capability("ips", json!([address(&result, 0)]));
    let failure = world.runtime().add(&network, &target).unwrap_err();
    assert_eq!(failure.answer.error().code, 101, "{failure}");
}

#[test]
fn kubernetes_arguments_in_any_order_are_tolerated() {
    let world = World::ours();
    let args = "K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0;IgnoreUnknown=1;K8S_POD_UID=8f;K8S_POD_INFRA_CONTAINER_ID=c0ffee";
    let pod = Pod::new();
    let target = Target::new("k8s", &pod.path()).args(args);
    let network = world.bridge(&json!({}));
    world.runtime().add(&network, &target).unwrap_or_else(|failure| panic!("{failure}"));
    world.runtime().del(&network, &target).unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn unknown_arguments_without_ignore_unknown_are_refused() {
    let world = World::ours();
    let pod = Pod::new();
    for args in ["K8S_POD_NAME=web-0", "mac=02:00:00:00:00:01", "IP=10.66.0.9;", "IgnoreUnknown=maybe"] {
        let target = Target::new("odd", &pod.path()).args(args);
        let failure = world.runtime().add(&world.bridge(&json!({})), &target).unwrap_err();
        assert_eq!(failure.answer.error().code, 4, "{args}: {failure}");
    }
    assert!(pod.link_names() == ["lo"], "a refused ADD makes no link");
}

#[test]
fn keys_that_this_version_does_not_serve_are_refused_by_name_and_value() {
    let world = World::ours();
    for (key, value) in [
        ("vlan", json!(7)),
        ("vlanTrunk", json!([{"minID": 5, "maxID": 9}])),
        ("preserveDefaultVlan", json!(true)),
    ] {
        let pod = Pod::new();
        let failure = world
            .runtime()
            .add(&world.bridge(&json!({key: value})), &Target::new("a", &pod.path()))
            .unwrap_err();
        let error = failure.answer.error();
        assert_eq!(error.code, 2, "{failure}");
        assert!(error.msg.contains(key), "{failure}");
    }
}

#[test]
fn the_same_keys_at_their_defaults_are_accepted() {
    let world = World::ours();
    let defaults = json!({"vlan": 0, "vlanTrunk": [], "preserveDefaultVlan": false, "macspoofchk": false, "vlan ": null});
    let (pod, _) = world.attach(&world.bridge(&defaults), "a");
    assert_eq!(pod.addresses("eth0"), ["10.66.0.2/24"]);
}

#[test]
fn keys_match_in_any_case_and_null_means_default() {
    let world = World::ours();
    let odd =
        json!({"bridge": null, "BRIDGE": "cni7", "IsGateway": true, "mtu": Value::Null, "HAIRPINMODE": true});
    let mut network = world.bridge(&json!({}));
    let plain = merged(network.plugins[0].clone(), &json!({"bridge": null}));
    let mut written = plain.as_object().unwrap().clone();
    written.extend(odd.as_object().unwrap().clone().into_iter().filter(|(key, _)| key != "bridge"));
    network.plugins[0] = Value::Object(written);
    let (_pod, result) = world.attach(&network, "a");
    assert_eq!(result["interfaces"][0]["name"], "cni7");
    let hairpin =
        world.link_field(world.host(), &world.host_end(&result), "/linkinfo/info_slave_data/hairpin");
    assert_eq!(hairpin, true);
}
