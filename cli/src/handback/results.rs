//! What runtimes remember of attachments: the files that libcni keeps, with configuration, arguments and result of each.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cni::{Attachment, Call, Env, Version};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::error::Error;

/// libcni's folder in its cache directory.
const FOLDER: &str = "results";
/// What a sandbox is called that the runtime did not record: nothing is done in it.
const SOME_SANDBOX: &str = "/proc/self/ns/net";

/// A file as written (`cniCacheV1`).
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct File {
    kind: String,
    container_id: String,
    config: String,
    if_name: String,
    network_name: String,
    netns: String,
    cni_args: Vec<(String, String)>,
    capability_args: Map<String, Value>,
    result: Option<Value>,
}

/// An attachment as a runtime remembers it.
#[derive(Clone, Debug)]
pub struct Remembered {
    /// Whose.
    pub attachment: Attachment,
    path: PathBuf,
    netns: String,
    args: String,
    version: Value,
    plugins: Vec<Value>,
    capabilities: Map<String, Value>,
    result: Option<Value>,
}

/// Everything that was found.
#[derive(Debug, Default)]
pub struct Results {
    /// The attachments.
    pub all: Vec<Remembered>,
    /// Files that say nothing, each with the reason.
    pub unreadable: Vec<(PathBuf, String)>,
}

impl Results {
    /// Reads the results below some cache directories; one without any is empty.
    pub fn read(directories: &[PathBuf]) -> Result<Self, Error> {
        let mut results = Self::default();
        for directory in directories {
            let folder = directory.join(FOLDER);
            let failed = |source| Error::Results { path: folder.clone(), source };
            let entries = match fs::read_dir(&folder) {
                Err(e) if e.kind() == ErrorKind::NotFound => continue,
                entries => entries.map_err(failed)?,
            };
            for entry in entries {
                let path = entry.map_err(failed)?.path();
                match remembered(&path) {
                    Ok(one) => results.all.push(one),
                    Err(reason) => results.unreadable.push((path, reason)),
                }
            }
        }
        results.all.sort_by(|one, other| one.attachment.cmp(&other.attachment));
        results.unreadable.sort();
        Ok(results)
    }

    /// The attachment that a predicate knows.
    pub fn find(&self, is: impl Fn(&Attachment) -> bool) -> Option<&Remembered> {
        self.all.iter().find(|one| is(&one.attachment))
    }
}

fn remembered(path: &Path) -> Result<Remembered, String> {
    let text = fs::read(path).map_err(|error| error.to_string())?;
    let file: File = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    if file.kind != "cniCacheV1" {
        return Err("it is no libcni result of kind cniCacheV1".to_owned());
    }
    let config = STANDARD.decode(&file.config).map_err(|error| format!("its config: {error}"))?;
    let list: Value = serde_json::from_slice(&config).map_err(|error| format!("its config: {error}"))?;
    let plugins = match list.get("plugins") {
        Some(Value::Array(plugins)) => plugins.clone(),
        Some(_) => return Err("its config: plugins is no list".to_owned()),
        // A single plugin's configuration, as old tools have them.
        None => vec![list.clone()],
    };
    let pairs: Vec<String> = file.cni_args.iter().map(|(key, value)| format!("{key}={value}")).collect();
    Ok(Remembered {
        attachment: Attachment {
            network: file.network_name,
            container_id: file.container_id,
            ifname: file.if_name,
        },
        path: path.to_owned(),
        netns: if file.netns.is_empty() { SOME_SANDBOX.to_owned() } else { file.netns },
        args: pairs.join(";"),
        version: list.get("cniVersion").cloned().unwrap_or_else(|| "0.1.0".into()),
        plugins,
        capabilities: file.capability_args,
        result: file.result,
    })
}

impl Remembered {
    /// The call that an ADD of the list's plugin of this type was, but with the whole list's result; `None` if the list
    /// has no such plugin.
    pub fn call(&self, plugin: &str) -> Option<Result<Call, String>> {
        let conf =
            self.plugins.iter().find(|conf| conf.get("type").and_then(Value::as_str) == Some(plugin))?;
        Some(self.request(conf).map_err(|error| format!("{}: {error}", self.path.display())))
    }

    fn request(&self, plugin: &Value) -> Result<Call, cni::Error> {
        let mut conf = plugin.clone();
        if let Value::Object(fields) = &mut conf {
            fields.insert("name".into(), self.attachment.network.clone().into());
            fields.insert("cniVersion".into(), self.version.clone());
            fields.extend(self.result.clone().map(|result| ("prevResult".to_owned(), result)));
            let known = fields.get("capabilities").and_then(Value::as_object).cloned().unwrap_or_default();
            let given =
                self.capabilities.iter().filter(|(name, _)| known.get(*name) == Some(&Value::Bool(true)));
            let given: Map<String, Value> =
                given.map(|(name, value)| (name.clone(), value.clone())).collect();
            if !given.is_empty() {
                fields.insert("runtimeConfig".into(), given.into());
            }
        }
        let Attachment { container_id, ifname, .. } = &self.attachment;
        let env: Env = [
            ("CNI_COMMAND", "ADD"),
            ("CNI_CONTAINERID", container_id),
            ("CNI_NETNS", &self.netns),
            ("CNI_IFNAME", ifname),
            ("CNI_ARGS", &self.args),
            ("CNI_PATH", "/"),
        ]
        .into_iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
        Call::read(&env, conf.to_string().into_bytes(), &Version::ALL, &[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(list: &str, more: &str) -> (tempfile::TempDir, Results) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(FOLDER)).unwrap();
        let config = STANDARD.encode(list);
        let text = format!(
            r#"{{"kind":"cniCacheV1","containerId":"c1","config":"{config}","ifName":"eth0","networkName":"net",
                "netns":"/var/run/netns/x","cniArgs":[["K8S_POD_NAME","p"]]{more}}}"#
        );
        fs::write(dir.path().join(FOLDER).join("net-c1-eth0"), text).unwrap();
        fs::write(dir.path().join(FOLDER).join("net-c2-eth0"), r#"{"cniVersion":"0.4.0"}"#).unwrap();
        let results = Results::read(&[dir.path().to_owned(), dir.path().join("none")]).unwrap();
        (dir, results)
    }

    const LIST: &str = r#"{"cniVersion":"1.0.0","name":"net","plugins":[{"type":"bridge"},
        {"type":"portmap","capabilities":{"portMappings":true}}]}"#;

    #[test]
    fn a_plugin_is_told_what_libcni_told_it() {
        let more = r#","capabilityArgs":{"portMappings":[{"hostPort":80,"containerPort":8080,"protocol":"tcp"}],"io":1},
            "result":{"cniVersion":"1.0.0","ips":[{"address":"10.1.0.2/24"}]}"#;
        let (_dir, results) = written(LIST, more);
        let one = results.find(|attachment| attachment.container_id == "c1").unwrap();
        let call = one.call("portmap").unwrap().unwrap();
        assert_eq!(call.attachment(), one.attachment);
        let conf: Value = serde_json::from_slice(&call.stdin).unwrap();
        assert_eq!(conf["runtimeConfig"]["portMappings"][0]["hostPort"], 80);
        assert_eq!(conf["runtimeConfig"].get("io"), None);
        assert_eq!(call.prev_result.unwrap().ips.len(), 1);
        assert!(one.call("bridge").unwrap().is_ok() && one.call("firewall").is_none());
    }

    #[test]
    fn a_file_that_says_nothing_is_named_with_its_reason() {
        let (_dir, results) = written(LIST, "");
        let (path, reason) = &results.unreadable[0];
        assert!(path.ends_with("net-c2-eth0") && reason.contains("cniCacheV1"), "{reason}");
        assert_eq!((results.all.len(), results.unreadable.len()), (1, 1));
    }
}
