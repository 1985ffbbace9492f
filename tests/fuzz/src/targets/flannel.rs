//! flannel's plugin: `subnet.env`, and what a configuration becomes for the delegate.

use std::cell::{Cell, RefCell};
use std::fs;
use std::io;
use std::path::PathBuf;

use ::flannel::{Flannel, SubnetEnv};
use cni::{Added, Call, Code, Error, Plugin, Response};
use serde_json::{Map, Value, json};

use crate::scratch::Scratch;
use crate::targets::request::{Request, answer, gist};
use crate::verdict::{Broken, Reached, Verdict, hold, must, same};

/// What the fake delegate answers ADD with.
pub const ANSWER: &str = "{\"cniVersion\":\"1.0.0\",\"ips\":[{\"address\":\"10.1.17.2/24\"}]}";
/// The daemon's file in a world that has one.
pub const ENV: &str =
    "FLANNEL_NETWORK=10.1.0.0/16\nFLANNEL_SUBNET=10.1.17.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n";

thread_local! {
    /// What the fake delegate was called with: verb and configuration.
    static CALLS: RefCell<Vec<(String, Value)>> = const { RefCell::new(Vec::new()) };
    /// Whether it fails.
    static FAILS: Cell<bool> = const { Cell::new(false) };
}

/// Stands in for the bridge plugin and keeps what it is called with.
struct Delegate;

impl Delegate {
    fn called(call: &Call) -> Result<(), Error> {
        let conf = serde_json::from_slice(&call.stdin).unwrap_or_default();
        CALLS.with_borrow_mut(|calls| calls.push((call.command.to_string(), conf)));
        if FAILS.get() { Err(Error::new(Code::KERNEL, "the delegate fails")) } else { Ok(()) }
    }
}

impl Plugin for Delegate {
    fn name(&self) -> &'static str {
        "bridge"
    }

    fn about(&self) -> &'static str {
        "CNI fake plugin"
    }

    fn add(&self, call: &Call) -> Result<Added, Error> {
        Self::called(call).map(|()| Added::Verbatim(ANSWER.to_owned()))
    }

    fn del(&self, call: &Call) -> Result<(), Error> {
        Self::called(call)
    }

    fn check(&self, call: &Call) -> Result<(), Error> {
        Self::called(call)
    }

    fn gc(&self, call: &Call) -> Result<(), Error> {
        Self::called(call)
    }

    fn status(&self, call: &Call) -> Result<(), Error> {
        Self::called(call)
    }
}

/// A node with the daemon's file, a directory for state, and the delegate on `CNI_PATH`, linked in.
pub struct Node {
    scratch: Scratch,
    conf: Map<String, Value>,
}

impl Node {
    /// A node for a configuration, whose paths lead into the scratch directory; `None` when it is no object.
    pub fn new(conf: &str) -> Result<Option<Self>, Broken> {
        let Ok(Value::Object(mut conf)) = serde_json::from_str(conf) else { return Ok(None) };
        let scratch = must("a scratch directory", Scratch::new())?;
        conf.retain(|key, _| !["subnetFile", "dataDir"].iter().any(|name| key.eq_ignore_ascii_case(name)));
        conf.insert("subnetFile".to_owned(), json!(scratch.path().join("subnet.env")));
        conf.insert("dataDir".to_owned(), json!(scratch.path().join("state")));
        let node = Self { scratch, conf };
        must("its files", node.furnish())?;
        FAILS.set(false);
        Ok(Some(node))
    }

    fn furnish(&self) -> io::Result<()> {
        let bin = self.scratch.path().join("bin");
        fs::create_dir(&bin)?;
        // This very executable: the delegate that is linked in is taken, and nothing is run.
        std::os::unix::fs::symlink(std::env::current_exe()?, bin.join("bridge"))?;
        self.put_env(Some(ENV))
    }

    /// Puts another text into the daemon's file, or removes it.
    pub fn put_env(&self, text: Option<&str>) -> io::Result<()> {
        let path = self.scratch.path().join("subnet.env");
        match text {
            Some(text) => fs::write(path, text),
            None => fs::remove_file(path),
        }
    }

    /// Makes the delegate fail from now on, or succeed again; whether it fails now.
    pub fn turn_delegate() -> bool {
        FAILS.set(!FAILS.get());
        FAILS.get()
    }

    /// The directory of saved configurations.
    pub fn state(&self) -> PathBuf {
        self.scratch.path().join("state")
    }

    /// The names in the directory of saved configurations.
    pub fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.state()).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// One verb with the configuration as changed by `more`; the answer, and what the delegate was called with.
    pub fn perform(
        &self,
        verb: &str,
        owner: (&str, &str),
        more: impl FnOnce(&mut Map<String, Value>),
    ) -> Result<(Response, Vec<(String, Value)>), Broken> {
        const REGISTRY: &[&dyn Plugin] = &[&Delegate];
        let mut conf = self.conf.clone();
        more(&mut conf);
        let stdin = Value::Object(conf).to_string();
        let path = self.scratch.path().join("bin");
        let request = Request::of(verb, owner, &path.to_string_lossy(), stdin.as_bytes());
        CALLS.take();
        let response = cni::respond(&request.env(), || Ok(request.stdin), &Flannel, REGISTRY);
        answer(&response)?;
        Ok((response, CALLS.take()))
    }
}

/// A configuration: what the delegate gets of it at ADD is whole, and DEL gives it the same.
pub fn conf(data: &[u8]) -> Verdict {
    let Some(node) = Node::new(&String::from_utf8_lossy(data))? else { return Ok(Reached::at("no object")) };
    let owner = ("c1", "net1");
    let (response, calls) = node.perform("ADD", owner, |_| {})?;
    let reached = Reached::at(&gist(&response));
    let Some((_, told)) = calls.first().filter(|_| response.exit == 0) else {
        same("what a failed ADD leaves", &node.files(), &Vec::new())?;
        return Ok(reached);
    };
    same("the delegate's answer", &response.stdout.as_str(), &ANSWER)?;
    same("state", &node.files(), &vec!["c1:net1".to_owned()])?;
    whole(told)?;
    let (response, calls) = node.perform("DEL", owner, |_| {})?;
    same("DEL", &response.exit, &0)?;
    let again = calls.first().map(|(_, told)| without_previous(told));
    same("what DEL gives the delegate", &again, &Some(without_previous(told)))?;
    same("what DEL leaves", &node.files(), &Vec::new())?;
    Ok(reached.and(Reached::at(&shape(told))))
}

/// A configuration of a delegate without what belongs to one call.
pub fn without_previous(conf: &Value) -> Value {
    let mut conf = conf.clone();
    if let Some(members) = conf.as_object_mut() {
        members.remove("prevResult");
    }
    conf
}

fn whole(told: &Value) -> Result<(), Broken> {
    let members = told.as_object().ok_or_else(|| Broken::new(format!("no object: {told}")))?;
    for key in ["type", "name", "ipam", "mtu", "ipMasq"] {
        let spellings = members.keys().filter(|name| name.eq_ignore_ascii_case(key)).count();
        let is_ours = ["type", "name", "ipam"].contains(&key);
        hold(spellings >= 1 && (spellings == 1 || !is_ours), || format!("{key} {spellings} times: {told}"))?;
    }
    let ranges = told.pointer("/ipam/ranges");
    same("ranges", &ranges, &Some(&json!([[{"subnet": "10.1.17.0/24"}]])))?;
    let routes = told.pointer("/ipam/routes").and_then(Value::as_array);
    hold(routes.is_some_and(|routes| !routes.is_empty()), || format!("no route to the cluster: {told}"))
}

/// The keys alone.
fn shape(told: &Value) -> String {
    let keys: Vec<&str> = told.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
    keys.join(" ")
}

/// `subnet.env`: text and value are one, and the daemon that reads its own file sees the same.
pub fn subnet_env(data: &[u8]) -> Verdict {
    let text = String::from_utf8_lossy(data);
    let env = match SubnetEnv::parse(&text) {
        Err(reason) => {
            hold(!reason.is_empty(), || "no reason".to_owned())?;
            return Ok(Reached::at(&reason));
        }
        Ok(env) => env,
    };
    same("subnet.env written and read", &SubnetEnv::parse(&written(&env)).as_ref(), &Ok(&env))?;
    let previous = overlay::Previous::parse(&written(&env)).subnets;
    let texts = |daemon: Option<String>, ours: Option<cni::Cidr>| (daemon, ours.map(|one| one.to_string()));
    for (daemon, ours) in [
        texts(previous.v4.map(|subnet| subnet.to_string()), env.subnet.filter(|one| one.is_ipv4())),
        texts(previous.v6.map(|subnet| subnet.to_string()), env.subnet_v6.filter(|one| !one.is_ipv4())),
    ] {
        same("the daemon's own reading", &daemon, &ours)?;
    }
    Ok(Reached::at(&format!("{env:?}")))
}

fn written(env: &SubnetEnv) -> String {
    let list = |all: &[cni::Cidr]| all.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let mut text = format!("FLANNEL_MTU={}\nFLANNEL_IPMASQ={}\n", env.mtu, env.daemon_masquerades);
    for (name, value) in [
        ("NETWORK", list(&env.networks)),
        ("IPV6_NETWORK", list(&env.networks_v6)),
        ("SUBNET", list(env.subnet.as_slice())),
        ("IPV6_SUBNET", list(env.subnet_v6.as_slice())),
    ] {
        if !value.is_empty() {
            text.extend(["FLANNEL_", name, "=", &value, "\n"]);
        }
    }
    text
}
