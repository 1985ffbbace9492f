//! Builds the delegate's configuration from the network's and the node's subnet (flannel-behaviour §9.3). Pure.

use cni::Cidr;
use serde_json::{Value, json};

use crate::Error;
use crate::conf::{NetConf, Object};
use crate::subnet_env::SubnetEnv;

/// What the delegate is told: a plugin, and its configuration without anything that belongs to one verb only.
#[derive(Debug, Clone, PartialEq)]
pub struct Delegation {
    /// `type` of the delegate.
    pub plugin: String,
    /// Its configuration, as it is kept for the DEL.
    pub config: Object,
}

impl Delegation {
    /// Fills the user's `delegate` up: what the user gave wins, but `name` and `ipam` are ours to give.
    pub fn build(conf: &NetConf, env: &SubnetEnv) -> Result<Self, Error> {
        let mut config = conf.delegate.clone().unwrap_or_default();
        refuse_ours(conf, &config)?;
        let plugin = string_or(&config, "type", "bridge")
            .ok_or_else(|| bad(conf, "delegate.type", "must be a string"))?
            .to_owned();
        let mut default = |key: &str, value: Value| {
            if member(&config, key).is_none() {
                config.insert(key.to_owned(), value);
            }
        };
        default("ipMasq", json!(!env.daemon_masquerades));
        default("mtu", json!(env.mtu));
        if plugin == "bridge" {
            default("isGateway", json!(true));
        }
        if let Some(args) = &conf.args {
            default("args", Value::Object(args.clone()));
        }
        set(&mut config, "type", json!(plugin));
        set(&mut config, "name", json!(conf.name));
        set(&mut config, "ipam", Value::Object(ipam(conf, env)?));
        if !conf.cni_version.is_empty() {
            set(&mut config, "cniVersion", json!(conf.cni_version));
        }
        if let Some(capabilities) = &conf.runtime_config {
            set(&mut config, "runtimeConfig", Value::Object(capabilities.clone()));
        }
        Ok(Self { plugin, config })
    }

    /// A configuration as [`Delegation::build`] made it once, read back. `None` where it is none.
    #[must_use]
    pub fn from_saved(config: Object) -> Option<Self> {
        let plugin = config.get("type")?.as_str()?.to_owned();
        config.get("name")?.as_str()?;
        Some(Self { plugin, config })
    }

    /// The network it was made for.
    #[must_use]
    pub fn network(&self) -> &str {
        self.config.get("name").and_then(Value::as_str).unwrap_or_default()
    }

    /// With `prevResult`, which a delegate reads by its `cniVersion`: left out when that is no longer the caller's.
    #[must_use]
    pub fn with_previous(mut self, conf: &NetConf) -> Self {
        let version = self.config.get("cniVersion").and_then(Value::as_str).unwrap_or_default();
        if let Some(previous) = conf.prev_result.as_ref().filter(|_| version == conf.cni_version) {
            self.config.insert("prevResult".to_owned(), Value::Object(previous.clone()));
        }
        self
    }

    /// With the caller's `cniVersion`, for a verb that a saved, older version does not know.
    #[must_use]
    pub fn with_version(mut self, conf: &NetConf) -> Self {
        self.config.insert("cniVersion".to_owned(), json!(conf.cni_version));
        self
    }

    /// With the list of what is still in use, where the caller has one.
    #[must_use]
    pub fn with_valid_attachments(mut self, conf: &NetConf) -> Self {
        if let Some(valid) = &conf.valid_attachments {
            self.config.insert("cni.dev/valid-attachments".to_owned(), valid.clone());
        }
        self
    }

    /// The text that the delegate gets on its standard input. Keys are sorted.
    #[must_use]
    pub fn text(&self) -> String {
        Value::Object(self.config.clone()).to_string()
    }
}

fn refuse_ours(conf: &NetConf, delegate: &Object) -> Result<(), Error> {
    for key in ["name", "ipam"] {
        if member(delegate, key).is_some() {
            return Err(bad(conf, &format!("delegate.{key}"), "must be absent: the flannel plugin sets it"));
        }
    }
    Ok(())
}

/// The user's `ipam`, with this node's ranges, and a route to every cluster network that has none yet.
fn ipam(conf: &NetConf, env: &SubnetEnv) -> Result<Object, Error> {
    let mut ipam = conf.ipam.clone().unwrap_or_default();
    let plugin =
        string_or(&ipam, "type", "host-local").ok_or_else(|| bad(conf, "ipam.type", "must be a string"))?;
    let plugin = plugin.to_owned();
    let mut routes = match member(&ipam, "routes") {
        None => Vec::new(),
        Some(Value::Array(routes)) => routes.clone(),
        Some(_) => return Err(bad(conf, "ipam.routes", "must be a list of routes")),
    };
    let served: Vec<Cidr> = routes.iter().filter_map(destination).collect();
    let networks = env.networks.iter().chain(&env.networks_v6).filter(|n| !served.contains(n));
    routes.extend(networks.map(|network| json!({ "dst": network })));
    let subnets = [env.subnet, env.subnet_v6].into_iter().flatten();
    let ranges: Vec<Value> = subnets.map(|subnet| json!([{ "subnet": subnet }])).collect();
    for (key, value) in [("type", json!(plugin)), ("ranges", json!(ranges)), ("routes", json!(routes))] {
        set(&mut ipam, key, value);
    }
    Ok(ipam)
}

/// Gives a member its one value, whatever the case the user wrote its name in.
fn set(object: &mut Object, key: &str, value: Value) {
    object.retain(|name, _| !name.eq_ignore_ascii_case(key));
    object.insert(key.to_owned(), value);
}

fn destination(route: &Value) -> Option<Cidr> {
    let text = member(route.as_object()?, "dst")?.as_str()?;
    text.parse::<Cidr>().ok().map(Cidr::network)
}

/// A member by its name in any case, as the delegate will match it; `null` means that it is not given.
fn member<'a>(object: &'a Object, key: &str) -> Option<&'a Value> {
    object
        .iter()
        .rev()
        .find(|(name, _)| name.eq_ignore_ascii_case(key))
        .map(|(_, value)| value)
        .filter(|v| !v.is_null())
}

/// A string member or its default; `None` where it is no string.
fn string_or<'a>(object: &'a Object, key: &str, default: &'a str) -> Option<&'a str> {
    member(object, key).map_or(Some(default), Value::as_str)
}

fn bad(conf: &NetConf, field: &str, reason: &str) -> Error {
    Error::Conf { network: conf.name.clone(), field: field.to_owned(), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENV: &str =
        "FLANNEL_NETWORK=10.1.0.0/16\nFLANNEL_SUBNET=10.1.17.1/24\nFLANNEL_MTU=1472\nFLANNEL_IPMASQ=true\n";
    const ENV_V6: &str = "FLANNEL_IPV6_NETWORK=fc00::/48\nFLANNEL_IPV6_SUBNET=fc00:0:0:1::1/64\n";

    fn build(conf: &Value, env: &str) -> Result<Value, Error> {
        let conf: NetConf = cni::from_json(conf.to_string().as_bytes()).unwrap();
        Delegation::build(&conf, &SubnetEnv::parse(env).unwrap()).map(|d| Value::Object(d.config))
    }

    #[test]
    fn the_references_own_example() {
        let built = build(&json!({"name": "cni-flannel", "type": "flannel"}), ENV).unwrap();
        assert_eq!(
            built.to_string(),
            r#"{"ipMasq":false,"ipam":{"ranges":[[{"subnet":"10.1.17.0/24"}]],"routes":[{"dst":"10.1.0.0/16"}],"type":"host-local"},"isGateway":true,"mtu":1472,"name":"cni-flannel","type":"bridge"}"#
        );
    }

    #[test]
    fn dual_stack_has_one_range_set_a_family_and_routes_to_every_network_in_order() {
        let built = build(&json!({"name": "n", "cniVersion": "1.0.0"}), &format!("{ENV}{ENV_V6}")).unwrap();
        assert_eq!(
            built["ipam"]["ranges"],
            json!([[{"subnet": "10.1.17.0/24"}], [{"subnet": "fc00:0:0:1::/64"}]])
        );
        assert_eq!(built["ipam"]["routes"], json!([{"dst": "10.1.0.0/16"}, {"dst": "fc00::/48"}]));
        assert_eq!(built["cniVersion"], "1.0.0");
    }

    #[test]
    fn what_the_user_gave_wins_whatever_its_case() {
        let conf = json!({"name": "n", "delegate": {"Type": "macvlan", "IPMasq": true, "MTU": 1300, "master": "eth0"},
            "ipam": {"Type": "dhcp", "Routes": [{"dst": "10.1.255.3/16", "gw": "10.1.17.9"}], "x": 1}});
        let built = build(&conf, ENV).unwrap();
        assert_eq!(
            built,
            json!({"name": "n", "type": "macvlan", "IPMasq": true, "MTU": 1300, "master": "eth0",
                "ipam": {"type": "dhcp", "ranges": [[{"subnet": "10.1.17.0/24"}]], "x": 1,
                    "routes": [{"dst": "10.1.255.3/16", "gw": "10.1.17.9"}]}})
        );
    }

    #[test]
    fn capabilities_and_args_reach_the_delegate() {
        let conf = json!({"name": "n", "runtimeConfig": {"mac": "c2:00:00:00:00:01"}, "args": {"cni": {"ips": ["10.1.17.9"]}}});
        let built = build(&conf, &ENV.replace("IPMASQ=true", "IPMASQ=false")).unwrap();
        assert_eq!(built["runtimeConfig"]["mac"], "c2:00:00:00:00:01");
        assert_eq!(built["args"]["cni"]["ips"][0], "10.1.17.9");
        assert_eq!(built["ipMasq"], true);
    }

    #[test]
    fn what_only_flannel_may_set_is_refused_by_name() {
        for (conf, field) in [
            (json!({"name": "n", "delegate": {"name": "x"}}), "delegate.name"),
            (json!({"name": "n", "delegate": {"IPAM": {}}}), "delegate.ipam"),
            (json!({"name": "n", "delegate": {"type": 7}}), "delegate.type"),
            (json!({"name": "n", "ipam": {"type": []}}), "ipam.type"),
            (json!({"name": "n", "ipam": {"routes": {}}}), "ipam.routes"),
        ] {
            let error = build(&conf, ENV).unwrap_err().to_string();
            assert!(error.contains(field) && error.contains("\"n\""), "{error}");
        }
    }

    #[test]
    fn prev_result_is_passed_on_only_in_the_version_that_it_is_written_in() {
        let saved = |version: &str| {
            let config = json!({"name": "n", "type": "bridge", "cniVersion": version});
            Delegation::from_saved(config.as_object().unwrap().clone()).unwrap()
        };
        let conf =
            NetConf { cni_version: "1.0.0".into(), prev_result: Some(Object::new()), ..NetConf::default() };
        assert!(saved("1.0.0").with_previous(&conf).config.contains_key("prevResult"));
        assert!(!saved("0.3.1").with_previous(&conf).config.contains_key("prevResult"));
    }
}
