//! The pages of docs/plugins say what is so: their examples work, and their tables of fields are the configuration's.

use std::collections::BTreeSet;

use netns_fixtures::{Network, Pod, Space, Target};
use serde_json::{Value, json};
use tests::World;

const BRIDGE: &str = include_str!("../../docs/plugins/bridge.md");
const FLANNEL: &str = include_str!("../../docs/plugins/flannel.md");
const LOOPBACK: &str = include_str!("../../docs/plugins/loopback.md");

/// Keys that belong to the protocol, not to a plugin.
const PROTOCOL: [&str; 4] = ["cniVersion", "name", "prevResult", "validAttachments"];

/// The first example of a page, as a network; each plugin's object through `adjust`, since a test must not write to
/// the machine's own directories.
fn example(page: &str, adjust: impl Fn(&mut Value)) -> Network {
    let text = page.split("```json").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let list: Value = serde_json::from_str(text).expect("the example is JSON");
    let word = |key: &str| list[key].as_str().unwrap_or_default().to_owned();
    let plugins = list["plugins"].as_array().expect("the example is a list of plugins").clone();
    plugins.into_iter().fold(Network::new(&word("name"), &word("cniVersion")), |network, mut plugin| {
        adjust(&mut plugin);
        network.plugin(plugin)
    })
}

/// The first column of the table under "## Fields".
fn documented(page: &str) -> BTreeSet<String> {
    let section = page.split("\n## ").find(|section| section.starts_with("Fields")).unwrap_or_default();
    let rows = section.lines().filter_map(|row| row.strip_prefix("| `")?.split('`').next());
    rows.map(str::to_owned).collect()
}

/// The fields of `NetConf`, as JSON spells them.
fn read_by_the_code(source: &str) -> BTreeSet<String> {
    let body = source.split("pub struct NetConf {").nth(1).and_then(|rest| rest.split("\n}").next());
    let names = body
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.trim().strip_prefix("pub ")?.split(':').next());
    names.map(camel).filter(|name| !PROTOCOL.contains(&name.as_str())).collect()
}

fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |all, word| all + &word[..1].to_uppercase() + &word[1..])
}

/// ADD, CHECK and DEL of the network, in a world of its own.
fn works(world: &World, network: &Network, ifname: &str) -> Value {
    let (pod, runtime) = (Pod::new(), world.runtime());
    let target = Target::new("documented", &pod.path()).ifname(ifname);
    let result = runtime.add(network, &target).unwrap_or_else(|failure| panic!("{failure}"));
    runtime.check(network, &target).unwrap_or_else(|failure| panic!("{failure}"));
    assert!(pod.run("ip -o addr").contains(ifname));
    runtime.del(network, &target).unwrap_or_else(|failure| panic!("{failure}"));
    result
}

#[test]
fn the_tables_of_fields_are_the_configurations() {
    for (page, source) in [
        (BRIDGE, include_str!("../../plugins/bridge/src/conf.rs")),
        (FLANNEL, include_str!("../../plugins/flannel/src/conf.rs")),
    ] {
        assert_eq!(documented(page), read_by_the_code(source));
    }
}

#[test]
fn the_example_of_bridge_works() {
    let world = World::ours();
    let network = example(BRIDGE, |plugin| plugin["ipam"]["dataDir"] = json!(world.state.path()));
    let result = works(&world, &network, "eth0");
    assert_eq!(result["ips"][0]["address"], "10.22.0.2/16");
}

#[test]
fn the_example_of_flannel_works() {
    let world = World::ours();
    let env = world.state.path().join("subnet.env");
    let text =
        "FLANNEL_NETWORK=10.42.0.0/16\nFLANNEL_SUBNET=10.42.7.1/24\nFLANNEL_MTU=1400\nFLANNEL_IPMASQ=true\n";
    std::fs::write(&env, text).expect("a file in the test's own directory");
    let network = example(FLANNEL, |plugin| {
        plugin["subnetFile"] = json!(env);
        plugin["dataDir"] = json!(world.state.path().join("flannel"));
        plugin["ipam"] = json!({"dataDir": world.state.path()});
    });
    let result = works(&world, &network, "eth0");
    assert_eq!(result["ips"][0]["address"], "10.42.7.2/24");
}

#[test]
fn the_example_of_loopback_works() {
    let world = World::ours();
    let result = works(&world, &example(LOOPBACK, |_| ()), "lo");
    assert_eq!(result["ips"][0]["address"], "127.0.0.1/8");
}

/// Every text in quotes that follows `Finding::new(`.
fn findings(source: &str) -> BTreeSet<String> {
    let calls = source.split("Finding::new(").skip(1);
    calls.filter_map(|call| call.split('"').nth(1).map(str::to_owned)).collect()
}

#[test]
fn the_doctors_page_has_every_finding_and_no_other() {
    let page = include_str!("../../docs/doctor.md");
    let table = page.split("| finding |").nth(1).and_then(|rest| rest.split("\n\n").next()).expect("a table");
    let rows = table.lines().filter_map(|row| row.strip_prefix("| `")?.split('`').next()).map(str::to_owned);
    let checks = [
        include_str!("../../cli/src/doctor/checks/forwarding.rs"),
        include_str!("../../cli/src/doctor/checks/cluster.rs"),
        include_str!("../../cli/src/doctor/checks/managers.rs"),
        include_str!("../../cli/src/doctor/checks/owners.rs"),
    ];
    let known: BTreeSet<String> = checks.iter().flat_map(|source| findings(source)).collect();
    assert_eq!(rows.collect::<BTreeSet<_>>(), known);
    let proofs = concat!(include_str!("doctor.rs"), include_str!("doctor_owners.rs"));
    let unproved: Vec<&String> = known.iter().filter(|name| !proofs.contains(name.as_str())).collect();
    assert!(unproved.is_empty(), "no test brings these faults in: {unproved:?}");
}
