//! The tuning plugin behind a bridge: parameters and settings made, checked, put back; the allow-list; refusals.

use netns_fixtures::{Bins, Network, Pod, Space, Target, assert_ping};
use serde_json::{Value, json};
use tests::World;

const OURS: [&str; 3] = ["bridge", "host-local", "tuning"];
const ARP: &str = "net/ipv4/conf/eth0/arp_filter";

fn world() -> World {
    World::with(Bins::only(&OURS))
}

fn network(world: &World, settings: &Value) -> Network {
    let mut tuning = json!({"type": "tuning", "capabilities": {"mac": true}, "dataDir": world.state.path().join("tuning")});
    for (key, value) in settings.as_object().expect("an object") {
        tuning[key] = value.clone();
    }
    world.bridge(&json!({"isDefaultGateway": true})).plugin(tuning)
}

fn everything() -> Value {
    json!({"sysctl": {"net.ipv4.conf.IFNAME.arp_filter": "1", "net.core.somaxconn": "500"}, "mac": "02:00:00:00:12:34",
           "mtu": 1400, "promisc": true, "allmulti": true, "txQLen": 77})
}

fn backups(world: &World) -> Vec<String> {
    let files = std::fs::read_dir(world.state.path().join("tuning")).into_iter().flatten().flatten();
    let mut names: Vec<String> = files.map(|file| file.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// MAC, MTU, promiscuity, all multicast, queue and two parameters of the pod.
fn state(world: &World, pod: &Pod) -> Vec<Value> {
    let flags = world.link_field(pod, "eth0", "/flags");
    let has = |flag: &str| json!(flags.as_array().is_some_and(|flags| flags.contains(&json!(flag))));
    vec![
        world.link_field(pod, "eth0", "/address"),
        world.link_field(pod, "eth0", "/mtu"),
        has("PROMISC"),
        has("ALLMULTI"),
        world.link_field(pod, "eth0", "/txqlen"),
        json!(pod.sysctl(ARP)),
        json!(pod.sysctl("net/core/somaxconn")),
    ]
}

#[test]
fn everything_is_set_checked_and_put_back() {
    let world = world();
    let pod = Pod::new();
    let (runtime, target) = (world.runtime(), Target::new("c", &pod.path()));
    let plain = world.bridge(&json!({"isDefaultGateway": true}));
    let first = runtime.add(&plain, &target).unwrap();
    let before = state(&world, &pod);
    let network = network(&world, &everything());
    let request = network.request(1, &target, Some(&first));
    let tuned = json!(["02:00:00:00:12:34", 1400, true, true, 77, "1", "500"]);
    // Weakness 50: a second ADD keeps the values of before the first.
    for _twice in 0..2 {
        let result = runtime.invocation("ADD", &target, &request).run(world.host()).result();
        assert_eq!(json!(state(&world, &pod)), tuned);
        assert_eq!(result["interfaces"][2]["mac"], "02:00:00:00:12:34");
        assert_eq!(result["interfaces"][1]["mac"], first["interfaces"][1]["mac"]);
    }
    assert_eq!(backups(&world), ["c_eth0.json"]);
    runtime.invocation("CHECK", &target, &request).run(world.host()).silent();
    assert_ping(&pod, "10.66.0.1");
    for _twice in 0..2 {
        runtime.invocation("DEL", &target, &request).run(world.host()).silent();
        assert_eq!(state(&world, &pod), before, "weakness 50: parameters are put back too");
        assert!(backups(&world).is_empty());
    }
}

#[test]
fn check_names_what_was_changed() {
    let world = world();
    let network = network(&world, &everything());
    let pod = Pod::new();
    let (runtime, target) = (world.runtime(), Target::new("c", &pod.path()));
    runtime.add(&network, &target).unwrap_or_else(|failure| panic!("{failure}"));
    runtime.check(&network, &target).unwrap_or_else(|failure| panic!("{failure}"));
    for (change, back, named) in [
        ("ip link set eth0 mtu 1300", "ip link set eth0 mtu 1400", "MTU"),
        ("ip link set eth0 promisc off", "ip link set eth0 promisc on", "promiscuous"),
        ("ip link set eth0 allmulticast off", "ip link set eth0 allmulticast on", "allmulti"),
        ("ip link set eth0 txqueuelen 5", "ip link set eth0 txqueuelen 77", "txQLen"),
        ("ip link set eth0 address 02:00:00:00:00:01", "ip link set eth0 address 02:00:00:00:12:34", "MAC"),
    ] {
        pod.run(change);
        let error = runtime.check(&network, &target).unwrap_err().error();
        assert_eq!(error.code, 111, "{change}: {}", error.msg);
        // The bridge looks at the MAC address first.
        assert!(error.msg.contains(named), "{change}: {}", error.msg);
        pod.run(back);
        runtime.check(&network, &target).unwrap_or_else(|failure| panic!("{failure}"));
    }
    pod.set_sysctl(ARP, "0");
    let error = runtime.check(&network, &target).unwrap_err().error();
    assert!(error.code == 111 && error.msg.contains("arp_filter"), "{}", error.msg);
}

#[test]
fn the_mac_comes_from_the_last_who_speaks() {
    let world = world();
    let network = network(&world, &json!({"mac": "02:00:00:00:00:01"}));
    let mut user = network.clone();
    user.plugins[1]["args"] = json!({"cni": {"mac": "02:00:00:00:00:04"}});
    let args = "IgnoreUnknown=1;K8S_POD_NAME=p;MAC=02:00:00:00:00:02";
    let runtime_says = json!("02:00:00:00:00:03");
    for (nth, network, args, mac) in [
        (1, &network, "", None),
        (2, &network, args, None),
        (3, &network, args, Some(&runtime_says)),
        (4, &user, args, Some(&runtime_says)),
    ] {
        let pod = Pod::new();
        // The bridge reads CNI_ARGS and the runtime's address too, and then comes first.
        let mut target = Target::new(&format!("c{nth}"), &pod.path()).args(args);
        if let Some(mac) = mac {
            target = target.capability("mac", mac.clone());
        }
        world.runtime().add(network, &target).unwrap_or_else(|failure| panic!("{failure}"));
        assert_eq!(world.link_field(&pod, "eth0", "/address"), format!("02:00:00:00:00:0{nth}"));
    }
}

#[test]
fn path_tricks_are_refused_and_nothing_is_touched() {
    let world = world();
    let pod = Pod::new();
    let (runtime, target) = (world.runtime(), Target::new("c", &pod.path()));
    let first = runtime.add(&world.bridge(&json!({})), &target).unwrap();
    for key in ["kernel.hostname", "net/../kernel/hostname", "../../tmp/x", "net", "fs.file-max"] {
        let network = network(&world, &json!({"sysctl": {key: "1"}, "mtu": 1300}));
        let request = network.request(1, &target, Some(&first));
        let error = runtime.invocation("ADD", &target, &request).run(world.host()).error();
        assert_eq!(error.code, 7, "{key}: {}", error.msg);
        assert!(error.msg.contains(key));
        runtime.invocation("DEL", &target, &request).run(world.host()).silent();
    }
    assert_eq!(world.link_field(&pod, "eth0", "/mtu"), 1500);
    assert!(backups(&world).is_empty());
}

#[test]
fn a_failed_add_puts_everything_back() {
    let world = world();
    let pod = Pod::new();
    let (runtime, target) = (world.runtime(), Target::new("c", &pod.path()));
    let first = runtime.add(&world.bridge(&json!({})), &target).unwrap();
    let before = state(&world, &pod);
    for late in [
        json!({"sysctl": {"net.ipv4.conf.IFNAME.arp_filter": "1", "net.core.no_such": "1"}}),
        json!({"sysctl": {"net.ipv4.conf.IFNAME.arp_filter": "1"}, "mac": "02:00:00:00:00:09", "mtu": 10}),
    ] {
        let request = network(&world, &late).request(1, &target, Some(&first));
        let error = runtime.invocation("ADD", &target, &request).run(world.host()).error();
        assert_eq!(error.code, 110, "{}", error.msg);
        assert_eq!(state(&world, &pod), before, "{late}");
        assert!(backups(&world).is_empty(), "{late}");
    }
}

#[test]
fn weakness_50_a_backup_does_not_outlive_its_sandbox() {
    let world = world();
    let network = network(&world, &everything());
    for lost in ["", "/var/run/netns/ironbridge-test-gone"] {
        let pod = Pod::new();
        let (runtime, target) = (world.runtime(), Target::new("c", &pod.path()));
        runtime.add(&network, &target).unwrap();
        assert_eq!(backups(&world).len(), 1);
        runtime.del(&network, &target.netns(lost)).unwrap_or_else(|failure| panic!("{failure}"));
        assert!(backups(&world).is_empty());
    }
    let pod = Pod::new();
    let (runtime, target) = (world.runtime(), Target::new("lost", &pod.path()));
    runtime.add(&network, &target).unwrap();
    runtime.gc_plugins(&network, &[]).unwrap();
    assert!(backups(&world).is_empty());
}

#[test]
fn weakness_51_nothing_crashes() {
    let world = world();
    let pod = Pod::new();
    let (runtime, target) = (world.runtime(), Target::new("c", &pod.path()));
    let first = runtime.add(&world.bridge(&json!({})), &target).unwrap();
    let user = network(&world, &json!({"args": {"cni": {"sysctl": {"net.core.somaxconn": "99"}}}}));
    let request = user.request(1, &target, Some(&first));
    assert_eq!(runtime.invocation("ADD", &target, &request).run(world.host()).result()["ips"], first["ips"]);
    assert_eq!(pod.sysctl("net/core/somaxconn").as_deref(), Some("99"));
    let request = user.request(1, &target, None);
    assert_eq!(runtime.invocation("ADD", &target, &request).run(world.host()).error().code, 7);
    let twice = format!(
        r#"{{"cniVersion":"1.0.0","name":"n","type":"tuning","sysctl":{{"net.a":"1","net.a":"2"}},"prevResult":{first}}}"#
    );
    for verb in ["ADD", "CHECK"] {
        let error =
            runtime.invocation(verb, &target, &request).stdin(twice.as_bytes()).run(world.host()).error();
        assert!(error.code == 7 && error.msg.contains("twice"), "{}", error.msg);
    }
}

/// Runs a plugin with an `/etc` of its own that has this allow-list.
const WITH_LIST: &str = "mount -t tmpfs none /etc && mkdir -p /etc/cni/tuning && \
     printf '%s\\n' 'net.core.somaxconn' > /etc/cni/tuning/allowlist.conf && exec \"$0\"";

#[test]
fn weakness_51_the_allow_list_speaks_about_whole_keys_in_add_and_check() {
    let world = world();
    let pod = Pod::new();
    let (runtime, target) = (world.runtime(), Target::new("c", &pod.path()));
    let first = runtime.add(&world.bridge(&json!({})), &target).unwrap();
    for (key, allowed) in
        [("net.core.somaxconn", true), ("net.core.somaxconn_more", false), ("net.ipv4.ip_forward", false)]
    {
        let request = network(&world, &json!({"sysctl": {key: "1"}})).request(1, &target, Some(&first));
        for verb in ["ADD", "CHECK"] {
            let run =
                runtime.invocation(verb, &target, &request).under(&["unshare", "-m", "sh", "-c", WITH_LIST]);
            let answer = run.run(world.host());
            assert_eq!(answer.succeeded(), allowed, "{verb} {key}: {answer}");
            if !allowed {
                let error = answer.error();
                assert!(error.code == 7 && error.msg.contains("not allowed"), "{}", error.msg);
            }
        }
    }
}

#[test]
fn swap_either_side_checks_and_puts_back_what_the_other_changed() {
    let (ours, reference) = (Bins::only(&OURS), Bins::reference());
    for (from, to) in [(&ours, &reference), (&reference, &ours)] {
        let world = World { version: "1.0.0", ..World::with(from.clone()) };
        let mut settings = everything();
        settings.as_object_mut().unwrap().remove("sysctl");
        // The Debian build of the reference knows no txQLen and no dataDir default of ours.
        settings.as_object_mut().unwrap().remove("txQLen");
        let network = network(&world, &settings);
        let pod = Pod::new();
        let (runtime, target) = (world.runtime(), Target::new("c", &pod.path()));
        let plain = world.bridge(&json!({"isDefaultGateway": true}));
        let first = runtime.add(&plain, &target).unwrap_or_else(|failure| panic!("{failure}"));
        let before = state(&world, &pod);
        let request = network.request(1, &target, Some(&first));
        let added = runtime.invocation("ADD", &target, &request).run(world.host()).result();
        assert_ne!(state(&world, &pod), before);
        let (other, request) = (runtime.swapped(to), network.request(1, &target, Some(&added)));
        other.invocation("CHECK", &target, &request).run(world.host()).silent();
        other.invocation("DEL", &target, &request).run(world.host()).silent();
        assert_eq!(state(&world, &pod), before);
        assert!(backups(&world).is_empty());
    }
}
