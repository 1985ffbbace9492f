//! Pods by cnitool, and `ironbridge handback` on their node: for the tests of the way back.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use netns_fixtures::{Bins, CniTool, Network, Pod, Snapshot, Space, Target};
use serde_json::{Value, json};

use crate::{World, merged};

/// A chain of everything that leaves rules on a node, as the reference 1.1.1 reads it too.
pub fn chain(world: &World, bridge: &Value) -> Network {
    let ipam = world.ipam(&["10.66.0.0/24", "fd66::/64"]);
    let plain = json!({"isDefaultGateway": true, "ipMasq": true, "hairpinMode": true, "macspoofchk": true, "ipam": ipam});
    world
        .bridge(&merged(plain, bridge))
        .plugin(json!({"type": "portmap", "capabilities": {"portMappings": true}}))
        .plugin(json!({"type": "firewall", "ingressPolicy": "same-bridge"}))
}

/// A node of ours whose networks the reference 1.1.1 serves too.
pub fn world() -> World {
    World { version: "1.0.0", ..World::ours() }
}

/// A pod of a tool with ports published, and its result.
#[track_caller]
pub fn attach(tool: &CniTool<'_>, mappings: &[Value]) -> (Pod, Value) {
    let pod = Pod::new();
    let result = attach_to(tool, &pod, mappings);
    (pod, result)
}

/// Attaches a pod with ports published; its result.
#[track_caller]
pub fn attach_to(tool: &CniTool<'_>, pod: &Pod, mappings: &[Value]) -> Value {
    let output = tool.run("add", &pod.path(), &json!({"portMappings": mappings}).to_string());
    assert!(output.status.success(), "cnitool add: {}", told(&output));
    serde_json::from_slice(&output.stdout).expect("cnitool prints the result")
}

/// Another verb for the same pod; the test fails with the plugin's answer if it fails.
#[track_caller]
pub fn succeed(tool: &CniTool<'_>, verb: &str, pod: &Pod, mappings: &[Value]) {
    let output = tool.run(verb, &pod.path(), &json!({"portMappings": mappings}).to_string());
    assert!(output.status.success(), "cnitool {verb}: {}", told(&output));
}

/// `ironbridge handback` on the node, with the tool's results.
pub fn handback(world: &World, tool: &CniTool<'_>, more: &[&str]) -> Output {
    let mut command = Command::new(Bins::command());
    command.arg("handback").arg("--cache-dir").arg(tool.state()).args(more);
    world.host().output(command)
}

/// Writes what a runtime's libcni would keep of an attachment, below a cache directory of its own.
pub fn remember(cache: &Path, network: &Network, target: &Target, result: Option<&Value>) {
    let folder = cache.join("results");
    fs::create_dir_all(&folder).expect("a directory");
    let list = cache.join("list");
    fs::write(&list, network.conflist()).expect("a file");
    let config = Command::new("base64").arg("-w0").arg(&list).output().expect("base64 runs").stdout;
    let mut kept = json!({
        "kind": "cniCacheV1", "containerId": target.container, "ifName": target.ifname, "networkName": network.name,
        "config": String::from_utf8_lossy(&config), "capabilityArgs": target.capabilities,
    });
    if let Some(result) = result {
        kept["result"] = result.clone();
    }
    let name = format!("{}-{}-{}", network.name, target.container, target.ifname);
    fs::write(folder.join(name), kept.to_string()).expect("a file");
}

/// Everything that a program said.
pub fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The node's rules that are ours.
pub fn ours(snapshot: &Snapshot) -> Vec<&String> {
    snapshot.section("firewall").iter().filter(|line| line.contains("ironbridge_")).collect()
}
