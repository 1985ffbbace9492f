//! Runs host-local, ours or the reference's, as a runtime does, in a data directory of the test's own.
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::needless_pass_by_value, reason = "json!() is written where it is used")]
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The binary under test.
pub const OURS: &str = env!("CARGO_BIN_EXE_host-local");
/// The reference's, of Debian's package containernetworking-plugins.
pub const REFERENCE: &str = "/usr/lib/cni/host-local";

/// What a call came to.
#[derive(Debug)]
pub struct Answer {
    /// Exit status 0.
    pub success: bool,
    /// stdout as JSON; null when empty.
    pub json: Value,
    /// stderr.
    pub stderr: String,
}

impl Answer {
    /// The addresses of a result, with their prefix lengths.
    pub fn addresses(&self) -> Vec<String> {
        assert!(self.success, "{self:?}");
        let ips = self.json["ips"].as_array().unwrap();
        ips.iter().map(|ip| ip["address"].as_str().unwrap().to_owned()).collect()
    }

    /// The error code.
    pub fn code(&self) -> u64 {
        assert!(!self.success, "{self:?}");
        self.json["code"].as_u64().unwrap()
    }

    /// The error's text.
    pub fn msg(&self) -> &str {
        self.json["msg"].as_str().unwrap()
    }
}

/// One network in a data directory that goes with it.
pub struct Net {
    dir: tempfile::TempDir,
    config: Value,
}

impl Net {
    /// A network "net" with these members of `ipam`.
    pub fn new(ipam: Value) -> Self {
        Self::in_directory(&std::env::temp_dir(), ipam)
    }

    /// The same in memory: for so many files that a disk would be busy with them long after the test.
    pub fn in_memory(ipam: Value) -> Self {
        Self::in_directory(Path::new("/dev/shm"), ipam)
    }

    fn in_directory(parent: &Path, ipam: Value) -> Self {
        let dir = tempfile::tempdir_in(parent).unwrap();
        let mut config = json!({"cniVersion": "1.0.0", "name": "net", "type": "bridge", "ipam": ipam});
        config["ipam"]["type"] = json!("host-local");
        config["ipam"]["dataDir"] = json!(dir.path().join("data"));
        Self { dir, config }
    }

    /// Two sets: `10.1.0.0/24` and `fd00::/64`.
    pub fn dual() -> Self {
        Self::new(json!({"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00::/64"}]]}))
    }

    /// The configuration with `key` at its top level set to `value`.
    pub fn with(&self, key: &str, value: Value) -> Value {
        let mut config = self.config.clone();
        config[key] = value;
        config
    }

    /// The configuration with `ipam.<key>` set to `value`.
    pub fn with_ipam(&self, key: &str, value: Value) -> Value {
        let mut config = self.config.clone();
        config["ipam"][key] = value;
        config
    }

    /// Our binary on the plain configuration.
    pub fn ours(&self, verb: &str, id: &str) -> Answer {
        run(&[OURS], verb, id, &self.config)
    }

    /// The reference on the plain configuration.
    pub fn reference(&self, verb: &str, id: &str) -> Answer {
        run(&[REFERENCE], verb, id, &self.config)
    }

    /// Our binary under another program (strace, unshare): its words come first.
    pub fn under(&self, words: &[&str], verb: &str, id: &str) -> Answer {
        run(&[words, &[OURS]].concat(), verb, id, &self.config)
    }

    /// Adds `CNI_ARGS`.
    pub fn with_args(&self, args: &str, verb: &str, id: &str) -> Answer {
        run(&["env", &format!("CNI_ARGS={args}"), OURS], verb, id, &self.config)
    }

    /// CHECK as a runtime does, with what ADD answered.
    pub fn check(&self, binary: &str, id: &str, added: &Answer) -> Answer {
        run(&[binary], "CHECK", id, &self.with("prevResult", added.json.clone()))
    }

    /// A path in the network's folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join("data/net").join(name)
    }

    /// A path that is none of the plugin's.
    pub fn scratch(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Every file of the data directory with its content (a link: its target). The state's key and the round robins' places
    /// are left out: they go on.
    pub fn snapshot(&self) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        collect(&self.dir.path().join("data"), "", &mut found);
        found.retain(|name, _| !name.ends_with("/state") && !name.contains("/last_reserved_ip."));
        found
    }

    /// The addresses that have a file.
    pub fn reserved(&self) -> Vec<String> {
        let names =
            fs::read_dir(self.file("")).unwrap().map(|one| one.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| name.parse::<std::net::IpAddr>().is_ok()).collect();
        names.sort();
        names
    }
}

fn collect(dir: &Path, prefix: &str, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(dir).into_iter().flatten() {
        let entry = entry.unwrap();
        let name = format!("{prefix}/{}", entry.file_name().to_str().unwrap());
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            collect(&entry.path(), &name, found);
        } else if kind.is_symlink() {
            found.insert(name, fs::read_link(entry.path()).unwrap().to_str().unwrap().to_owned());
        } else {
            let bytes = fs::read(entry.path()).unwrap();
            let content =
                if name.ends_with("/owners") { slots(&bytes) } else { String::from_utf8(bytes).unwrap() };
            found.insert(name, content);
        }
    }
}

/// What a table says, in an order of its own: its used slots, and its length.
fn slots(table: &[u8]) -> String {
    let mut used: Vec<&[u8]> = table[16..].chunks(32).filter(|slot| **slot != [0; 32]).collect();
    used.sort_unstable();
    format!("{:?} {used:?} of {}", &table[..16], table.len())
}

/// Our binary on a configuration that is not the network's plain one.
pub fn on(config: &Value, verb: &str, id: &str) -> Answer {
    run(&[OURS], verb, id, config)
}

/// Runs a plugin: verb in the environment, configuration on stdin.
pub fn run(words: &[&str], verb: &str, id: &str, config: &Value) -> Answer {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).env("CNI_COMMAND", verb).env("CNI_PATH", "/usr/lib/cni");
    if !["GC", "STATUS"].contains(&verb) {
        command.env("CNI_CONTAINERID", id).env("CNI_IFNAME", "eth0").env("CNI_NETNS", "/run/netns/none");
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{words:?}: {error}"));
    let written = child.stdin.take().unwrap().write_all(config.to_string().as_bytes());
    // One that is killed before it reads does not read.
    written.ok();
    answer(&child.wait_with_output().unwrap())
}

fn answer(output: &Output) -> Answer {
    let stdout = String::from_utf8_lossy(&output.stdout);
    // Who is killed may leave half a document.
    let json = serde_json::from_str(&stdout).unwrap_or_default();
    Answer {
        success: output.status.success(),
        json,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// The system calls that our binary makes for one verb, in their order, by name.
pub fn system_calls(net: &Net, verb: &str, id: &str) -> Vec<String> {
    let trace = net.scratch("trace");
    let answer =
        net.under(&["strace", "-f", "-qq", "-e", "signal=none", "-o", trace.to_str().unwrap()], verb, id);
    assert!(answer.success, "{answer:?}");
    let trace = fs::read_to_string(trace).unwrap();
    let name = |line: &str| Some(line.split_once(' ')?.1.trim_start().split_once('(')?.0.to_owned());
    trace.lines().filter_map(name).collect()
}
