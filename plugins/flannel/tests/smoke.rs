//! The built `flannel` binary, run as a runtime runs it, with a delegate that writes down what it is told.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has failed, which is its job"
)]

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

const ENV: &str =
    "FLANNEL_NETWORK=10.1.0.0/16\nFLANNEL_SUBNET=10.1.17.1/24\nFLANNEL_MTU=1472\nFLANNEL_IPMASQ=true\n";
const RESULT: &str = r#"{ "cniVersion": "1.1.0",  "ips": [ {"address":"10.1.17.5/24"} ] }"#;

/// Appends `<verb> <container> <ifname>` to `calls`, keeps its standard input, and does what the file `answer` says.
const DELEGATE: &str = r#"#!/bin/sh
cd "$(dirname "$0")"
echo "$CNI_COMMAND $CNI_CONTAINERID $CNI_IFNAME $CNI_ARGS" >> calls
cat > "stdin.$CNI_COMMAND"
. ./answer
"#;

struct Node {
    dir: TempDir,
}

struct Answer {
    success: bool,
    text: String,
}

impl Answer {
    fn code(&self) -> Value {
        assert!(!self.success, "{}", self.text);
        serde_json::from_str::<Value>(&self.text).unwrap()["code"].clone()
    }

    #[track_caller]
    fn silent(&self) {
        assert!(self.success && self.text.is_empty(), "{}", self.text);
    }
}

impl Node {
    fn new() -> Self {
        let node = Self { dir: TempDir::new().unwrap() };
        fs::create_dir(node.path("bin")).unwrap();
        node.delegate("bridge");
        node.answer("[ $CNI_COMMAND != ADD ] || echo '{RESULT}'".replace("{RESULT}", RESULT));
        fs::write(node.path("subnet.env"), ENV).unwrap();
        node
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn delegate(&self, name: &str) {
        let path = self.path("bin").join(name);
        fs::write(&path, DELEGATE).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn answer(&self, script: impl AsRef<str>) {
        fs::write(self.path("bin/answer"), script.as_ref()).unwrap();
    }

    fn fails(&self, code: u32) {
        self.answer(format!("echo '{{\"code\":{code},\"msg\":\"no\"}}'; exit 1"));
    }

    fn config(&self) -> Value {
        json!({"cniVersion": "1.1.0", "name": "cbr0", "type": "flannel",
            "subnetFile": self.path("subnet.env"), "dataDir": self.path("state")})
    }

    fn call(&self, verb: &str, ifname: &str, config: &Value) -> Answer {
        let mut child = Command::new(env!("CARGO_BIN_EXE_flannel"))
            .env_clear()
            .envs([
                ("CNI_COMMAND", verb),
                ("CNI_CONTAINERID", "c1"),
                ("CNI_IFNAME", ifname),
                ("CNI_ARGS", "IgnoreUnknown=1"),
            ])
            .env("CNI_NETNS", self.path("gone"))
            .env("CNI_PATH", self.path("bin"))
            .env("PATH", "/usr/bin:/bin")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(config.to_string().as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "weakness 38: nothing is dumped");
        Answer { success: output.status.success(), text: String::from_utf8(output.stdout).unwrap() }
    }

    fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("bin/calls")).unwrap_or_default();
        fs::remove_file(self.path("bin/calls")).ok();
        text.lines().map(|line| line.trim_end().to_owned()).collect()
    }

    fn told(&self, verb: &str) -> Value {
        serde_json::from_slice(&fs::read(self.path("bin").join(format!("stdin.{verb}"))).unwrap()).unwrap()
    }

    fn state(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("state")).into_iter().flatten();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

#[test]
fn add_prints_the_delegates_text_and_del_repeats_its_configuration() {
    let node = Node::new();
    let added = node.call("ADD", "eth0", &node.config());
    assert!(added.success);
    assert_eq!(added.text.trim_end(), RESULT, "unchanged, spaces and all");
    let told = node.told("ADD");
    assert_eq!(
        told,
        json!({"cniVersion": "1.1.0", "name": "cbr0", "type": "bridge", "ipMasq": false, "mtu": 1472, "isGateway": true,
            "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.1.17.0/24"}]], "routes": [{"dst": "10.1.0.0/16"}]}})
    );
    assert_eq!(node.calls(), ["ADD c1 eth0 IgnoreUnknown=1"]);
    fs::remove_file(node.path("subnet.env")).unwrap();
    node.call("DEL", "eth0", &node.config()).silent();
    assert_eq!(node.told("DEL"), told, "DEL needs no subnet file");
    assert_eq!((node.calls().len(), node.state().len()), (1, 0));
    node.call("DEL", "eth0", &node.config()).silent();
    assert!(node.calls().is_empty(), "nothing is known any more, and nothing can be found out");
}

#[test]
fn weakness_36_state_outlives_a_failed_del_of_the_delegate() {
    let node = Node::new();
    assert!(node.call("ADD", "eth0", &node.config()).success);
    node.fails(11);
    assert_eq!(node.call("DEL", "eth0", &node.config()).code(), 11);
    assert_eq!(node.state(), ["c1"]);
    node.answer("");
    node.call("DEL", "eth0", &node.config()).silent();
    assert!(node.state().is_empty());
}

#[test]
fn weakness_37_two_attachments_of_one_container_are_two() {
    let node = Node::new();
    let mut second = node.config();
    second["delegate"] = json!({"mtu": 1300});
    assert!(node.call("ADD", "eth0", &node.config()).success);
    assert!(node.call("ADD", "net1", &second).success);
    node.call("DEL", "eth0", &node.config()).silent();
    assert_eq!(node.told("DEL")["mtu"], 1472);
    node.call("DEL", "net1", &second).silent();
    assert_eq!(node.told("DEL")["mtu"], 1300);
    assert!(node.state().is_empty());
}

#[test]
fn weakness_59_del_without_state_goes_by_identity() {
    let node = Node::new();
    assert!(node.call("ADD", "eth0", &node.config()).success);
    fs::remove_dir_all(node.path("state")).unwrap();
    node.calls();
    node.call("DEL", "eth0", &node.config()).silent();
    assert_eq!(node.calls(), ["DEL c1 eth0 IgnoreUnknown=1"]);
    fs::remove_file(node.path("bin/bridge")).unwrap();
    node.call("DEL", "eth0", &node.config()).silent();
}

#[test]
fn swap_the_go_plugins_state_is_used_and_removed() {
    let node = Node::new();
    let saved = r#"{"cniVersion":"1.1.0","ipMasq":true,"name":"cbr0","type":"bridge"}"#;
    for ifname in ["eth0", "net1"] {
        fs::create_dir_all(node.path("state")).unwrap();
        fs::write(node.path("state/c1"), saved).unwrap();
        node.call("DEL", ifname, &node.config()).silent();
        assert_eq!(node.told("DEL").to_string(), saved);
        assert!(node.state().is_empty());
    }
    assert!(node.call("ADD", "eth0", &node.config()).success);
    let ours: Value = serde_json::from_slice(&fs::read(node.path("state/c1")).unwrap()).unwrap();
    assert_eq!(ours, node.told("ADD"), "where and as the Go plugin would look for it");
}

#[test]
fn a_failed_add_leaves_nothing_but_what_a_doubtful_one_may_need() {
    let node = Node::new();
    for (code, left) in [(100, 0), (7, 0), (102, 1), (999, 1)] {
        node.fails(code);
        assert_eq!(node.call("ADD", "eth0", &node.config()).code(), code);
        assert_eq!(node.state().len(), left, "{code}");
        fs::remove_dir_all(node.path("state")).unwrap();
    }
}

#[test]
fn a_refused_second_add_changes_nothing() {
    let node = Node::new();
    assert!(node.call("ADD", "eth0", &node.config()).success);
    let before = fs::read(node.path("state/c1")).unwrap();
    let mut other = node.config();
    other["delegate"] = json!({"mtu": 1300});
    node.fails(110);
    assert_eq!(node.call("ADD", "eth0", &other).code(), 110);
    assert_eq!(fs::read(node.path("state/c1")).unwrap(), before);
}

#[test]
fn a_missing_or_malformed_subnet_file_says_what_to_look_at() {
    let node = Node::new();
    fs::remove_file(node.path("subnet.env")).unwrap();
    let missing = node.call("ADD", "eth0", &node.config());
    assert_eq!(missing.code(), 11);
    for part in ["subnet.env", "ironbridged", "/readyz", "log"] {
        assert!(missing.text.contains(part), "{part}: {}", missing.text);
    }
    assert_eq!(node.call("STATUS", "", &node.config()).code(), 50);
    for text in ["FLANNEL_MTU", "FLANNEL_SUBNET=x\n", "\u{0}\u{ff}", ""] {
        fs::write(node.path("subnet.env"), text).unwrap();
        let answer = node.call("ADD", "eth0", &node.config());
        assert_eq!(answer.code(), 7, "{}", answer.text);
        node.call("DEL", "eth0", &node.config()).silent();
    }
    assert!(node.calls().is_empty() && node.state().is_empty());
}

#[test]
fn check_asks_the_delegate_with_the_previous_result() {
    let node = Node::new();
    assert!(node.call("ADD", "eth0", &node.config()).success);
    let mut config = node.config();
    config["prevResult"] = serde_json::from_str(RESULT).unwrap();
    node.call("CHECK", "eth0", &config).silent();
    assert_eq!(node.told("CHECK")["prevResult"], config["prevResult"]);
    assert_eq!(node.told("CHECK")["mtu"], 1472);
    node.fails(111);
    assert_eq!(node.call("CHECK", "eth0", &config).code(), 111);
}

#[test]
fn status_is_the_delegates_and_a_missing_one_is_unavailable() {
    let node = Node::new();
    node.call("STATUS", "", &node.config()).silent();
    node.fails(51);
    assert_eq!(node.call("STATUS", "", &node.config()).code(), 51);
    fs::remove_file(node.path("bin/bridge")).unwrap();
    assert_eq!(node.call("STATUS", "", &node.config()).code(), 50);
}

#[test]
fn gc_passes_the_valid_ones_on_and_removes_stale_state_after_the_delegate() {
    let node = Node::new();
    assert!(node.call("ADD", "eth0", &node.config()).success);
    assert!(node.call("ADD", "net1", &node.config()).success);
    let mut config = node.config();
    config["cni.dev/valid-attachments"] = json!([{"containerID": "c1", "ifname": "eth0"}]);
    node.fails(11);
    assert_eq!(node.call("GC", "", &config).code(), 11);
    assert_eq!(node.state(), ["c1", "c1:net1"]);
    node.answer("");
    node.call("GC", "", &config).silent();
    assert_eq!(node.told("GC")["cni.dev/valid-attachments"], config["cni.dev/valid-attachments"]);
    assert_eq!(node.state(), ["c1"]);
    node.call("GC", "", &node.config()).silent();
    assert_eq!(node.state(), ["c1"], "no list is no information");
}

#[test]
fn a_state_directory_that_cannot_be_is_code_5() {
    let node = Node::new();
    fs::write(node.path("state"), "").unwrap();
    let answer = node.call("ADD", "eth0", &node.config());
    assert_eq!(answer.code(), 5, "{}", answer.text);
    assert!(node.calls().is_empty());
}
