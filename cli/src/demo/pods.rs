//! Pods, attached as a runtime does it: by executing the plugins of a CNI directory in the node's namespace.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use cni::{AddResult, Version};
use kernel::Netns;
use serde_json::{Value, json};

use super::daemon;
use super::directory::Directory;
use super::error::{At, Error};
use super::world::Node;

/// The name that a runtime gives to the first interface of a sandbox.
pub const IFNAME: &str = "eth0";
const VERSION: Version = Version::V1_1_0;
const ADD: &str = "ADD";

/// One pod.
pub struct Pod {
    /// `pod1a` is the first of `node1`.
    pub name: String,
    /// Which node it is on.
    pub node: usize,
    /// Its sandbox.
    pub netns: Netns,
    /// Its address.
    pub address: Ipv4Addr,
    /// Its gateway: the node's bridge.
    pub gateway: Option<IpAddr>,
}

/// Attaches a pod to the node, `lo` first.
pub fn attach(
    bin: &Path,
    directory: &Directory,
    (index, node): (usize, &Node),
    name: String,
) -> Result<Pod, Error> {
    let netns = Netns::new_nameless()?;
    let runtime = Runtime { bin, node, pod: &name, sandbox: netns.path() };
    runtime
        .add("lo", &json!({ "cniVersion": VERSION.as_str(), "name": "cni-loopback", "type": "loopback" }))?;
    let result = runtime.add(IFNAME, &network(directory, node))?;
    let (address, gateway) = result
        .ips
        .iter()
        .find_map(|ip| match ip.address.ip() {
            IpAddr::V4(v4) => Some((v4, ip.gateway)),
            IpAddr::V6(_) => None,
        })
        .ok_or_else(|| Error::Absent { what: format!("an IPv4 address in the result of {name}") })?;
    Ok(Pod { name, node: index, netns, address, gateway })
}

/// The network's configuration, as kube-flannel's, but with the demo's directories.
fn network(directory: &Directory, node: &Node) -> Value {
    let own = directory.path().join(&node.name);
    json!({
        "cniVersion": VERSION.as_str(),
        "name": "demo",
        "type": "flannel",
        "subnetFile": daemon::subnet_file(directory, node),
        "dataDir": own.join("flannel"),
        "delegate": { "hairpinMode": true, "isDefaultGateway": true },
        "ipam": { "dataDir": own.join("networks") },
    })
}

struct Runtime<'a> {
    bin: &'a Path,
    node: &'a Node,
    pod: &'a str,
    sandbox: PathBuf,
}

impl Runtime<'_> {
    fn add(&self, ifname: &str, config: &Value) -> Result<AddResult, Error> {
        let plugin = config.get("type").and_then(Value::as_str).unwrap_or_default();
        let program = self.bin.join(plugin);
        let run = || self.execute(&program, ifname, &config.to_string());
        let output = self.node.netns.run(run)?.at("run", &program)?;
        let failed = |message: String| Error::Plugin {
            verb: ADD,
            pod: self.pod.to_owned(),
            plugin: plugin.to_owned(),
            message,
        };
        if !output.status.success() {
            return Err(failed(message(&output)));
        }
        AddResult::decode(&output.stdout, VERSION).map_err(|e| failed(e.to_string()))
    }

    /// The environment and the pipes of the CNI specification, nothing else.
    fn execute(&self, program: &Path, ifname: &str, config: &str) -> std::io::Result<Output> {
        let mut child = Command::new(program)
            .env_clear()
            .env("CNI_COMMAND", ADD)
            .env("CNI_CONTAINERID", self.pod)
            .env("CNI_NETNS", &self.sandbox)
            .env("CNI_IFNAME", ifname)
            .env("CNI_PATH", self.bin)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(config.as_bytes())?;
        }
        child.wait_with_output()
    }
}

/// What a failed plugin has to say: its error object, or whatever it printed.
fn message(output: &Output) -> String {
    let object: Option<Value> = serde_json::from_slice(&output.stdout).ok();
    let text = |key| object.as_ref().and_then(|o| o.get(key)).and_then(Value::as_str);
    match (text("msg"), text("details")) {
        (Some(msg), Some(details)) => format!("{msg}: {details}"),
        (Some(msg), None) => msg.to_owned(),
        (None, _) => {
            let printed = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
            format!("{} and no error object: {}", output.status, String::from_utf8_lossy(&printed).trim())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    fn failed(stdout: &str, stderr: &str) -> String {
        let status = std::process::ExitStatus::from_raw(1 << 8);
        message(&Output { status, stdout: stdout.into(), stderr: stderr.into() })
    }

    #[test]
    fn a_plugins_own_words_are_shown_and_those_of_a_crashed_one_too() {
        assert_eq!(failed(r#"{"code":7,"msg":"no","details":"why"}"#, ""), "no: why");
        assert_eq!(failed(r#"{"code":7,"msg":"no"}"#, "x"), "no");
        assert_eq!(failed("", "trace\n"), "exit status: 1 and no error object: trace");
    }
}
