//! A network configuration list and the attachment to be made to it, as a runtime holds them.

use serde_json::{Map, Value, json};

/// A configuration list: what a `.conflist` file says.
#[derive(Debug, Clone)]
pub struct Network {
    /// The network's name.
    pub name: String,
    /// The list's `cniVersion`.
    pub version: String,
    /// The plugins' objects, in ADD order.
    pub plugins: Vec<Value>,
}

impl Network {
    /// A list without plugins.
    #[must_use]
    pub fn new(name: &str, version: &str) -> Self {
        Self { name: name.to_owned(), version: version.to_owned(), plugins: Vec::new() }
    }

    /// The list with one more plugin at its end.
    #[must_use]
    pub fn plugin(mut self, config: Value) -> Self {
        self.plugins.push(config);
        self
    }

    /// The same list under another version.
    #[must_use]
    pub fn at(mut self, version: &str) -> Self {
        version.clone_into(&mut self.version);
        self
    }

    /// Whether the list's version is at least `version` (both of the form a.b.c).
    #[must_use]
    pub fn is_at_least(&self, version: &str) -> bool {
        parts(&self.version) >= parts(version)
    }

    /// The text of a `.conflist` file.
    #[must_use]
    pub fn conflist(&self) -> String {
        json!({"cniVersion": self.version, "name": self.name, "plugins": self.plugins}).to_string()
    }

    /// One plugin's stdin as libcni builds it: keys sorted, `prevResult` and `runtimeConfig` only when there are any.
    #[must_use]
    pub fn request(&self, plugin: usize, target: &Target, previous: Option<&Value>) -> Value {
        let mut config = self.plugins[plugin].clone();
        config["cniVersion"] = json!(self.version);
        config["name"] = json!(self.name);
        if let Some(previous) = previous {
            config["prevResult"] = previous.clone();
        }
        let declared = config["capabilities"].as_object().cloned().unwrap_or_default();
        let given: Map<String, Value> = target
            .capabilities
            .iter()
            .filter(|(name, _)| declared.get(*name) == Some(&Value::Bool(true)))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        if !given.is_empty() {
            config["runtimeConfig"] = Value::Object(given);
        }
        config
    }
}

fn parts(version: &str) -> Vec<u32> {
    version.split('.').map(|part| part.parse().unwrap_or(0)).collect()
}

/// What is attached: container, interface, sandbox, arguments and capabilities.
#[derive(Debug, Clone)]
pub struct Target {
    /// `CNI_CONTAINERID`.
    pub container: String,
    /// `CNI_IFNAME`.
    pub ifname: String,
    /// `CNI_NETNS`; empty when the runtime has lost it.
    pub netns: String,
    /// `CNI_ARGS`; not set when empty.
    pub args: String,
    /// Capability arguments by name.
    pub capabilities: Map<String, Value>,
}

impl Target {
    /// `eth0` of a container in a sandbox.
    #[must_use]
    pub fn new(container: &str, netns: &str) -> Self {
        Self {
            container: container.to_owned(),
            ifname: "eth0".to_owned(),
            netns: netns.to_owned(),
            args: String::new(),
            capabilities: Map::new(),
        }
    }

    /// The same with another interface name.
    #[must_use]
    pub fn ifname(mut self, name: &str) -> Self {
        name.clone_into(&mut self.ifname);
        self
    }

    /// The same with another sandbox path: empty or missing ones are what a runtime sends after a crash.
    #[must_use]
    pub fn netns(mut self, path: &str) -> Self {
        path.clone_into(&mut self.netns);
        self
    }

    /// The same with `CNI_ARGS`.
    #[must_use]
    pub fn args(mut self, args: &str) -> Self {
        args.clone_into(&mut self.args);
        self
    }

    /// The same with one more capability argument.
    #[must_use]
    pub fn capability(mut self, name: &str, value: Value) -> Self {
        self.capabilities.insert(name.to_owned(), value);
        self
    }
}
