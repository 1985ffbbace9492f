//! The way back where it is narrow: what only we can do, results that do not tell, pods that come and go meanwhile; and the
//! way here for whole chains, by DEL and by GC.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};

use netns_fixtures::{
    Bins, Clients, CniTool, Echo, Invocation, Network, Pod, Protocol, Space, Target, assert_ping,
    assert_same, needs, tcp_echo,
};
use serde_json::{Value, json};
use tests::ports::{add, at, mapping, mapping_at, target};
use tests::way_back::{attach, chain, handback, ours, remember, succeed, told, world};

#[test]
fn what_only_we_can_do_is_listed_and_ends_only_when_told() {
    needs!(IptablesNat);
    let world = world();
    let mut network = chain(&world, &json!({}));
    network.plugins[1]["conditionsV4"] = json!(["ip daddr != 192.0.2.1"]);
    network.plugins[2]["ingressPolicy"] = json!("isolated");
    let tool = CniTool::new(world.host(), &world.bins, &network);
    let (_pod, _) = attach(&tool, &[mapping("tcp", 8081, 80)]);
    let output = handback(&world, &tool, &[]);
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    for part in [
        "isolation within the bridge: the reference isolates within a bridge only with br_netfilter; --give-up",
        "published ports: conditions in nftables' words: in the reference's tables they would be asked for all",
        "acceptance of 10.66.0.2 and fd66::2, spoof check\n",
    ] {
        assert!(told(&output).contains(part), "{part} in\n{}", told(&output));
    }
    let after = world.snapshot();
    let stays =
        |table: &str| ours(&after).iter().any(|line| line.contains(table) && line.starts_with("element"));
    assert!(stays("inet ironbridge_portmap") && stays("bridge ironbridge_firewall"), "{:#?}", ours(&after));
    assert!(
        !stays("inet ironbridge_masquerade") && !stays("inet ironbridge_firewall"),
        "{:#?}",
        ours(&after)
    );
    let output = handback(&world, &tool, &["--give-up"]);
    assert!(told(&output).contains("given up: net: proving, if: eth0"), "{}", told(&output));
    // There is no giving up a published port: its pod would be cut off.
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    let after = world.snapshot();
    let left: Vec<_> = ours(&after).into_iter().filter(|line| !line.contains("ironbridge_portmap")).collect();
    assert!(left.is_empty() && !ours(&after).is_empty(), "{left:#?}");
}

/// The reference's second backend, as a configuration names it: 1.1.1 has none, so that its tables are looked at here.
#[test]
fn ports_of_the_nftables_backend_go_back_to_the_references_nftables_backend() {
    let world = world();
    let mut network = chain(&world, &json!({"ipMasq": false}));
    network.plugins.truncate(2);
    network.plugins[1]["backend"] = json!("nftables");
    let tool = CniTool::new(world.host(), &world.bins, &network);
    let ports = [mapping("tcp", 8081, 80), mapping_at("192.168.50.1", "udp", 5301, 53)];
    let (pod, _) = attach(&tool, &ports);
    let (other, _) = attach(&tool, &[mapping("tcp", 8082, 80)]);
    let servers = [
        Echo::start(&pod, Protocol::Tcp, 80),
        Echo::start(&pod, Protocol::Udp, 53),
        Echo::start(&other, Protocol::Tcp, 80),
    ];
    assert_ping(&pod, "fd66::1");
    let tcp = [at("192.168.50.1", 8081), at("192.168.50.1", 8082), at("fd50::1", 8081)];
    let tally = Clients::during(world.underlay.hub(), (&tcp, &[at("192.168.50.1", 5301)]), |clients| {
        clients.await_more(10);
        let output = handback(&world, &tool, &[]);
        assert!(output.status.success(), "{}", told(&output));
        clients.await_more(20);
    });
    assert_eq!(tally.lost, Vec::<String>::new());
    assert_eq!(ours(&world.snapshot()), Vec::<&String>::new());
    // From the host itself, and from the pod to itself: what is masqueraded.
    assert!(tcp_echo(world.host(), at("127.0.0.1", 8081)).is_ok(), "the host");
    assert!(tcp_echo(&pod, at("192.168.50.1", 8081)).is_ok(), "the pod");
    let listed = world.host().run("nft list table ip cni_hostport");
    for rule in [
        "tcp dport 8081 dnat to 10.66.0.2:80 comment \"cnitool-",
        "ip daddr 192.168.50.1 udp dport 5301 dnat to 10.66.0.2:53 comment \"cnitool-",
        "ip saddr 127.0.0.1 ip daddr 10.66.0.2 masquerade comment \"cnitool-",
        "type nat hook prerouting priority dstnat; policy accept;\n\t\tfib daddr type local jump hostports_all",
    ] {
        assert!(listed.contains(rule), "{rule} in\n{listed}");
    }
    drop(servers);
    succeed(&tool, "check", &pod, &ports);
    succeed(&tool, "del", &pod, &ports);
    let left = world.host().run("nft list table ip cni_hostport");
    assert!(!left.contains("10.66.0.2") && left.contains("10.66.0.3"), "{left}");
}

/// What flannel's own plugin would do on DEL: call `bridge` with the configuration that it finds in the container's file.
#[test]
fn attachments_by_flannel_go_back_too() {
    needs!(IptablesNat);
    let (world, reference) = (world(), Bins::reference());
    let (file, state) = (world.state.path().join("subnet.env"), world.state.path().join("flannel"));
    let env =
        "FLANNEL_NETWORK=10.70.0.0/16\nFLANNEL_SUBNET=10.70.1.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n";
    fs::write(&file, env).unwrap();
    let network = Network::new("cbr0", "1.0.0")
        .plugin(json!({
            "type": "flannel", "subnetFile": file, "dataDir": state,
            "ipam": {"type": "host-local", "dataDir": world.state.path()},
            "delegate": {"isDefaultGateway": true, "hairpinMode": true, "macspoofchk": true},
        }))
        .plugin(json!({"type": "portmap", "capabilities": {"portMappings": true}}));
    let (pod, runtime) = (Pod::new(), world.runtime());
    let web = target("web", &pod, &[mapping("tcp", 8081, 80)]);
    let result = add(&runtime, &network, &web);
    let tool = CniTool::new(world.host(), &world.bins, &network);
    remember(&tool.state(), &network, &web, Some(&result));
    let output = handback(&world, &tool, &[]);
    assert!(output.status.success(), "{}", told(&output));
    let done =
        "handed back: net: cbr0, if: eth0, id: web: masquerade of 10.70.1.2, 1 published port, spoof check";
    assert!(told(&output).contains(done), "{}", told(&output));
    let mut delegated: Value = serde_json::from_slice(&fs::read(state.join("web")).unwrap()).unwrap();
    delegated["prevResult"] = result.clone();
    let theirs = runtime.swapped(&reference);
    for request in [network.request(1, &web, Some(&result)), delegated] {
        let deleted = theirs.invocation("DEL", &web, &request).run(world.host());
        assert!(deleted.succeeded(), "{deleted}");
    }
    let left = world.snapshot();
    let own = ["10.70.1.2", "id: \\\\\"web", "cni-br-iface-web", "CNI-DN-"];
    let stays = |line: &&String| own.iter().any(|part| line.contains(part));
    assert_eq!(left.section("firewall").iter().filter(stays).collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn files_that_flannels_own_plugin_would_not_look_for_are_listed() {
    let world = world();
    let network =
        Network::new("cbr0", "1.0.0").plugin(json!({"type": "flannel", "dataDir": world.state.path()}));
    let tool = CniTool::new(world.host(), &world.bins, &network);
    for ifname in ["eth0", "net1"] {
        remember(&tool.state(), &network, &Target::new("c1", "").ifname(ifname), None);
    }
    fs::write(world.state.path().join("c1"), "{}\n").unwrap();
    fs::write(world.state.path().join("c1:net1"), "{}\n").unwrap();
    fs::write(tool.state().join("results/older"), "{}").unwrap();
    let output = handback(&world, &tool, &[]);
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    assert_eq!(told(&output).matches("NOT handed back: ").count(), 1, "{}", told(&output));
    assert!(
        told(&output).contains("c1:net1: flannel's own plugin does not look for it"),
        "{}",
        told(&output)
    );
    assert!(told(&output).contains("results/older is left out: "), "{}", told(&output));
}

/// A node whose runtime does not hold still: what is handed back in between, and what goes meanwhile, leaves nothing.
#[test]
fn pods_that_come_and_go_meanwhile_leave_no_rules() {
    needs!(IptablesNat);
    let world = world();
    let tool = CniTool::new(world.host(), &world.bins, &chain(&world, &json!({})));
    let resident_ports = [mapping("tcp", 8000, 80)];
    let (resident, _) = attach(&tool, &resident_ports);
    assert!(handback(&world, &tool, &[]).status.success());
    let before = world.snapshot();
    let stop = AtomicBool::new(false);
    let outputs: Vec<Output> = std::thread::scope(|scope| {
        for worker in 1..=2 {
            let (tool, stop) = (&tool, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let ports = [mapping("tcp", 8000 + worker, 80)];
                    let (pod, _) = attach(tool, &ports);
                    succeed(tool, "del", &pod, &ports);
                }
            });
        }
        // Judged afterwards: a panic here would wait for the workers for ever.
        let outputs = (0..40).map(|_| handback(&world, &tool, &[])).collect();
        stop.store(true, Ordering::Relaxed);
        outputs
    });
    for output in outputs {
        // A result that is being written, or an attachment that is half made, may be listed, and where pods come and go
        // faster than it reads it gives up for now; nothing may be lost.
        let listed = matches!(output.status.code(), Some(0 | 1)) && output.stderr.is_empty();
        assert!(listed || told(&output).contains("run it again"), "{}", told(&output));
    }
    let output = handback(&world, &tool, &[]);
    assert!(output.status.success(), "{}", told(&output));
    assert_same(&before, &world.snapshot(), "after pods came and went while the node was handed back");
    succeed(&tool, "check", &resident, &resident_ports);
}

#[test]
fn a_whole_chain_of_the_references_goes_by_our_del_and_by_our_gc() {
    needs!(IptablesNat);
    let (world, reference) = (world(), Bins::reference());
    let network = chain(&world, &json!({}));
    let theirs = world.runtime().swapped(&reference);
    let (resident, gone, lost) = (Pod::new(), Pod::new(), Pod::new());
    let kept = target("resident", &resident, &[mapping("tcp", 8000, 80)]);
    add(&theirs, &network, &kept);
    let before = world.snapshot();
    let doomed = target("gone", &gone, &[mapping("tcp", 8081, 80)]);
    add(&theirs, &network, &doomed);
    let our = theirs.swapped(&world.bins);
    our.del(&network, &doomed).unwrap_or_else(|failure| panic!("{failure}"));
    assert_same(&before, &world.snapshot(), "our DEL of what the reference made");
    // A runtime that lost everything: only the list of what is valid is left.
    add(&theirs, &network, &target("lost", &lost, &[mapping("tcp", 8082, 80)]));
    our.gc_plugins(&network.clone().at("1.1.0"), &[&Target::new("resident", "")])
        .unwrap_or_else(|failure| panic!("{failure}"));
    let after = world.snapshot();
    let named = after
        .section("firewall")
        .iter()
        .filter(|line| line.contains("id: \\\\\"lost") || line.contains("8082"));
    assert_eq!(named.collect::<Vec<_>>(), Vec::<&String>::new());
    let chains = |prefix: &str| {
        let mut command = Command::new("iptables-save");
        command.args(["-t", "nat"]);
        let saved = world.host().output(command);
        String::from_utf8_lossy(&saved.stdout).lines().filter(|line| line.starts_with(prefix)).count()
    };
    assert_eq!((chains(":CNI-DN-"), chains(":CNI-")), (1, 5), "of the resident, and what all share");
}

/// A node whose `iptables` is the legacy one: the reference's rules go where that program keeps them.
#[test]
fn on_a_node_with_legacy_iptables_the_rules_are_legacy_ones() {
    needs!(IptablesLegacyNat);
    let (world, reference) = (world(), Bins::reference());
    let programs = world.state.path().join("programs");
    fs::create_dir(&programs).unwrap();
    for name in ["iptables", "ip6tables"] {
        for part in ["", "-save", "-restore"] {
            let legacy = format!("/usr/sbin/{name}-legacy{part}");
            symlink(legacy, programs.join(format!("{name}{part}"))).unwrap();
        }
    }
    let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", programs.display());
    let network = chain(&world, &json!({}));
    let (pod, runtime) = (Pod::new(), world.runtime());
    let web = target("web", &pod, &[mapping("tcp", 8081, 80)]);
    let result = add(&runtime, &network, &web);
    let cache = world.state.path().join("cache");
    remember(&cache, &network, &web, Some(&result));
    let handback = Invocation::new(&world.bins, "ironbridge").env("PATH", &path);
    let handback = handback.arguments(&["handback", "--cache-dir", &cache.display().to_string()]);
    let answer = handback.run(world.host());
    assert!(answer.succeeded(), "{answer}");
    assert_eq!(ours(&world.snapshot()), Vec::<&String>::new());
    let saved = || world.host().run("iptables-legacy-save") + &world.host().run("ip6tables-legacy-save");
    for part in ["DNAT --to-destination 10.66.0.2:80", "-s fd66::2/128", "-A CNI-FORWARD -s 10.66.0.2/32"] {
        assert!(saved().contains(part), "{part} in\n{}", saved());
    }
    let _server = Echo::start(&pod, Protocol::Tcp, 80);
    assert!(tcp_echo(world.underlay.hub(), at("192.168.50.1", 8081)).is_ok());
    let theirs = runtime.swapped(&reference);
    for plugin in (0..network.plugins.len()).rev() {
        let request = network.request(plugin, &web, Some(&result));
        let deleted = theirs.invocation("DEL", &web, &request).env("PATH", &path).run(world.host());
        assert!(deleted.succeeded(), "{deleted}");
    }
    let left = saved();
    assert!(!["10.66.0.2", "fd66::2", "CNI-DN-"].iter().any(|part| left.contains(part)), "{left}");
}
