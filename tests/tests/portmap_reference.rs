//! `portmap` beside the reference: a node changes sides under live pods, the iptables backend makes the reference's rules
//! to the letter, and what its nftables backend leaves is found.

use netns_fixtures::{
    Bins, Echo, Network, Pod, Protocol, Runtime, Space, Target, assert_same, needs, tcp_echo,
};
use serde_json::{Value, json};
use tests::ports::{add, at, bins, del, mapping, mapping_at, published, target};
use tests::{World, merged};

const NODE: &str = "192.168.50.1";

fn web() -> Vec<Value> {
    let many = (0..16).map(|n| mapping("tcp", 9000 + n, 90));
    [mapping("tcp", 8080, 80), mapping("udp", 5300, 53), mapping_at(NODE, "tcp", 8081, 80)]
        .into_iter()
        .chain(many)
        .collect()
}

/// The plugins before portmap are the same on both sides; the reference's oldest version decides the list's.
fn network(world: &World, more: &Value) -> Network {
    published(world, &merged(json!({}), more)).at("1.0.0")
}

fn mixed(portmap: &Bins) -> Bins {
    let ours = bins();
    Bins::mixed(&[("bridge", &ours), ("host-local", &ours), ("portmap", portmap)])
}

/// The rules of a family, without counters and comments of the program.
fn rules(world: &World, program: &str) -> Vec<String> {
    let text = world.host().run(&format!("{program} -t nat"));
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| if line.starts_with(':') { line.split(" [").next() } else { Some(line) })
        .map(str::to_owned)
        .collect()
}

fn warm(runtime: &Runtime<'_>, network: &Network) {
    let pod = Pod::new();
    let target = target("warm", &pod, &web());
    add(runtime, network, &target);
    del(runtime, network, &target);
}

#[test]
fn what_the_reference_published_we_check_and_withdraw() {
    needs!(IptablesNat);
    let world = World::with(mixed(&Bins::reference()));
    let (network, runtime) = (network(&world, &json!({})), world.runtime());
    warm(&runtime, &network);
    let before = world.snapshot();
    for told in [true, false] {
        let pod = Pod::new();
        let whole = target("web", &pod, &web());
        add(&runtime, &network, &whole);
        assert_ne!(world.host().run("iptables -t nat -S").matches("CNI-DN-").count(), 0);
        let ours = bins();
        let after = runtime.swapped(&ours);
        if told {
            after.check(&network, &whole).unwrap_or_else(|failure| panic!("{failure}"));
        } else {
            after.forget(&network, &whole);
        }
        del(&after, &network, &if told { whole } else { Target::new("web", "") });
        assert_same(&before, &world.snapshot(), &format!("told of the ports: {told}"));
        runtime.forget(&network, &target("web", &pod, &[]));
    }
}

#[test]
fn the_iptables_backend_makes_the_references_rules_to_the_letter() {
    needs!(IptablesNat);
    for more in [
        json!({}),
        json!({"snat": false}),
        json!({"markMasqBit": 20}),
        json!({"externalSetMarkChain": "POSTROUTING", "snat": false}),
        json!({"conditionsV4": ["!", "-s", "192.0.2.0/24"], "conditionsV6": ["!", "-s", "2001:db8::/32"]}),
    ] {
        let more = merged(more, &json!({"backend": "iptables"}));
        let made = [bins(), mixed(&Bins::reference())].map(|side| {
            let world = World::with(side);
            let (network, runtime) = (network(&world, &more), world.runtime());
            let (one, two) = (Pod::new(), Pod::new());
            add(&runtime, &network, &target("one", &one, &web()));
            add(&runtime, &network, &target("two", &two, &[mapping("tcp", 7000, 80)]));
            let all = rules(&world, "iptables-save").into_iter().chain(rules(&world, "ip6tables-save"));
            // Which chain was declared first is the one thing that differs; the rules of each are in order.
            let (mut chains, rest): (Vec<_>, Vec<_>) = all.partition(|line| line.starts_with(':'));
            chains.sort();
            let mut rest: Vec<String> = rest;
            rest.sort_by_key(|rule| rule.split(' ').nth(1).map(str::to_owned));
            (chains, rest)
        });
        let [ours, theirs] = made.map(|(chains, rules)| [chains, rules].concat());
        for (our, their) in ours.iter().zip(&theirs) {
            assert_eq!(our, their, "{more}");
        }
        assert_eq!(ours.len(), theirs.len(), "{more}");
    }
}

#[test]
fn the_iptables_backend_carries_traffic_and_either_side_removes_it() {
    needs!(IptablesNat);
    let world = World::with(bins());
    let (network, runtime) = (network(&world, &json!({"backend": "iptables"})), world.runtime());
    warm(&runtime, &network);
    let before = world.snapshot();
    for theirs in [false, true] {
        let pod = Pod::new();
        let web = target("web", &pod, &web());
        let result = add(&runtime, &network, &web);
        let again = runtime.invocation("ADD", &web, &network.request(1, &web, Some(&result)));
        let once = rules(&world, "iptables-save");
        assert!(again.run(world.host()).succeeded());
        assert_eq!(once, rules(&world, "iptables-save"), "ADD twice");
        let server = Echo::start(&pod, Protocol::Tcp, 80);
        let seen = tcp_echo(world.underlay.hub(), at(NODE, 8080)).expect("from another host");
        assert_eq!(seen.to_string(), "192.168.50.254");
        assert!(tcp_echo(world.host(), at("127.0.0.1", 8080)).is_ok());
        assert!(tcp_echo(&pod, at(NODE, 8081)).is_ok());
        runtime.check(&network, &web).unwrap_or_else(|failure| panic!("{failure}"));
        drop(server);
        let other = mixed(&Bins::reference());
        let remover = if theirs { runtime.swapped(&other) } else { runtime.swapped(&world.bins) };
        del(&remover, &network, &web);
        runtime.forget(&network, &web);
        assert_same(&before, &world.snapshot(), &format!("DEL by the reference: {theirs}"));
        let asked = runtime.invocation("CHECK", &web, &network.request(1, &web, Some(&result)));
        assert_eq!(asked.run(world.host()).loose_error().code, 111);
    }
}

#[test]
fn what_the_references_nftables_backend_left_goes_by_its_comment_and_address() {
    let world = World::with(bins());
    let (network, runtime) = (network(&world, &json!({})), world.runtime());
    let pod = Pod::new();
    let web = target("web", &pod, &[mapping("tcp", 8080, 80)]);
    add(&runtime, &network, &web);
    let file = world.state.path().join("left.nft");
    std::fs::write(
        &file,
        "table ip cni_hostport { chain hostports {\n\
           tcp dport 8080 dnat to 10.66.0.2:80 comment \"web\"\n\
           tcp dport 8082 dnat to 10.77.0.2:80 comment \"web\"\n\
           tcp dport 8083 dnat to 10.66.0.9:80 comment \"other\"\n\
         }\n chain masquerading { type nat hook postrouting priority 100;\n\
           ip saddr 10.66.0.2 ip daddr 10.66.0.2 masquerade comment \"web\"\n\
         }\n chain prerouting { type nat hook prerouting priority -100; jump hostports\n }\n }\n",
    )
    .unwrap();
    world.host().run(&format!("nft -f {}", file.display()));
    del(&runtime, &network, &web);
    let left = world.host().run("nft list table ip cni_hostport");
    assert!(!left.contains("10.66.0.2"), "{left}");
    assert!(left.contains("10.77.0.2") && left.contains("10.66.0.9"), "another network's, another's: {left}");
}

#[test]
fn gc_removes_the_references_chains_of_what_is_not_valid() {
    needs!(IptablesNat);
    let world = World::with(mixed(&Bins::reference()));
    let (network, runtime) = (network(&world, &json!({})), world.runtime());
    let pods = [Pod::new(), Pod::new()];
    let kept = target("kept", &pods[0], &[mapping("tcp", 8080, 80)]);
    add(&runtime, &network, &kept);
    add(&runtime, &network, &target("lost", &pods[1], &[mapping("tcp", 8081, 80)]));
    let ours = bins();
    let newer = network.clone().at("1.1.0");
    runtime.swapped(&ours).gc_plugins(&newer, &[&kept]).unwrap_or_else(|failure| panic!("{failure}"));
    for program in ["iptables-save", "ip6tables-save"] {
        let rules = rules(&world, program).join("\n");
        assert!(rules.contains("8080") && !rules.contains("8081") && !rules.contains("lost"), "{rules}");
    }
}
