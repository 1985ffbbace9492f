//! A life of one host-local network: verbs in any order, files put and dropped by others in between.
//!
//! The input is a configuration, a line `---`, and one step a line. Whatever happens to the files, an ADD that succeeds has
//! reserved what it gave, and a DEL that succeeds leaves nothing of its attachment.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::{Component, Path, PathBuf};

use ::host_local::{Owner, PLUGIN, reservations};
use cni::{AddResult, Response, Version};
use serde_json::{Map, Value, json};

use crate::scratch::Scratch;
use crate::targets::request::{Request, answer, gist};
use crate::verdict::{Broken, Reached, Verdict, hold, must, same};

/// Most steps of a life.
const STEPS: usize = 40;

/// The target.
pub fn life(data: &[u8]) -> Verdict {
    let text = String::from_utf8_lossy(data);
    let (conf, steps) = text.split_once("\n---\n").unwrap_or((text.as_ref(), ""));
    let scratch = must("a scratch directory", Scratch::new())?;
    let Some(conf) = confined(conf, scratch.path()) else { return Ok(Reached::at("no configuration")) };
    let mut network =
        Network { home: scratch.path().join("networks"), conf, held: BTreeMap::new(), alone: true };
    let mut reached = Reached::at("");
    for step in steps.lines().take(STEPS) {
        reached = reached.and(network.step(step)?);
    }
    Ok(reached)
}

/// The configuration with every path in `home`, and nothing that would make an address space too large to fill.
fn confined(conf: &str, home: &Path) -> Option<Map<String, Value>> {
    let Value::Object(mut conf) = serde_json::from_str(conf).ok()? else { return None };
    let named = |key: &String, name: &str| key.eq_ignore_ascii_case(name);
    let ipams: Vec<Value> =
        conf.iter().filter(|(key, _)| named(key, "ipam")).map(|(_, value)| value.clone()).collect();
    conf.retain(|key, _| !["ipam", "name", "prevResult"].iter().any(|name| named(key, name)));
    let Some(Value::Object(mut ipam)) = ipams.into_iter().next_back() else { return None };
    ipam.retain(|key, _| !["dataDir", "resolvConf"].iter().any(|name| named(key, name)));
    ipam.insert("dataDir".to_owned(), json!(home.join("networks")));
    conf.insert("ipam".to_owned(), Value::Object(ipam));
    conf.insert("name".to_owned(), json!("net"));
    Some(conf)
}

struct Network {
    home: PathBuf,
    conf: Map<String, Value>,
    /// Who was given what, and has not given it back.
    held: BTreeMap<(String, String), Vec<IpAddr>>,
    /// Whether nobody else has touched the files.
    alone: bool,
}

impl Network {
    fn step(&mut self, line: &str) -> Verdict {
        let mut words = line.splitn(3, ' ');
        let mut word = || words.next().unwrap_or_default();
        let (verb, first, rest) = (word(), word(), word());
        match verb {
            "ADD" => self.add(first, rest),
            "DEL" => self.del(first, rest),
            "CHECK" => self.check(first, rest),
            "STATUS" => {
                self.perform("STATUS", (first, rest), |_| {}).map(|response| Reached::at(&gist(&response)))
            }
            "GC" => self.gc(first, rest),
            _ => {
                self.alone = false;
                let Some(path) = inside(&self.home, first) else { return Ok(Reached::at("nowhere")) };
                // What cannot be put there is not there: as good a life as any.
                Ok(Reached::at(&format!("{verb} {}", tamper(verb, &path, rest).is_ok())))
            }
        }
    }

    fn perform(
        &self,
        verb: &str,
        owner: (&str, &str),
        more: impl FnOnce(&mut Map<String, Value>),
    ) -> Result<Response, Broken> {
        let mut conf = self.conf.clone();
        more(&mut conf);
        let request = Request::of(verb, owner, "/nonexistent", Value::Object(conf).to_string().as_bytes());
        let response = cni::respond(&request.env(), || Ok(request.stdin), &PLUGIN, &[]);
        answer(&response)?;
        Ok(response)
    }

    fn add(&mut self, id: &str, ifname: &str) -> Verdict {
        let response = self.perform("ADD", (id, ifname), |_| {})?;
        if response.exit == 0 {
            let result = AddResult::decode(response.stdout.as_bytes(), Version::NEWEST);
            let addresses: Vec<IpAddr> =
                must("a result", result)?.ips.iter().map(|ip| ip.address.ip()).collect();
            let stored = self.stored(id, ifname);
            let lost = addresses.iter().find(|address| !stored.contains(address));
            same("an address without a reservation", &lost, &None)?;
            if self.alone {
                let taken = self.held.values().flatten().find(|address| addresses.contains(address));
                same("an address that is another's", &taken, &None)?;
            }
            let owner = (id.to_owned(), ifname.to_owned());
            let before = self.held.insert(owner, addresses);
            hold(before.is_none() || !self.alone, || format!("{id} {ifname} has two: {before:?}"))?;
        }
        self.in_order()?;
        Ok(Reached::at(&gist(&response)))
    }

    fn del(&mut self, id: &str, ifname: &str) -> Verdict {
        let response = self.perform("DEL", (id, ifname), |_| {})?;
        hold(response.exit == 0 || !self.alone || !is_attachment(&response), || {
            format!("DEL: {response:?}")
        })?;
        if response.exit == 0 {
            same("what DEL leaves", &self.stored(id, ifname), &Vec::new())?;
            self.held.remove(&(id.to_owned(), ifname.to_owned()));
        }
        self.in_order()?;
        Ok(Reached::at(&gist(&response)))
    }

    fn check(&mut self, id: &str, ifname: &str) -> Verdict {
        let response = self.perform("CHECK", (id, ifname), |_| {})?;
        let holds = self.held.contains_key(&(id.to_owned(), ifname.to_owned()));
        hold(response.exit == 1 || holds || !self.alone, || format!("CHECK of nothing: {response:?}"))?;
        Ok(Reached::at(&gist(&response)))
    }

    /// One attachment stays, or none does.
    fn gc(&mut self, id: &str, ifname: &str) -> Verdict {
        let valid = if id.is_empty() { json!([]) } else { json!([{"containerID": id, "ifname": ifname}]) };
        let key = "cni.dev/valid-attachments";
        let response = self.perform("GC", ("", ""), |conf| drop(conf.insert(key.to_owned(), valid)))?;
        if response.exit == 0 {
            self.held.retain(|(one, other), _| one == id && other == ifname);
        }
        self.in_order()?;
        Ok(Reached::at(&gist(&response)))
    }

    fn stored(&self, id: &str, ifname: &str) -> Vec<IpAddr> {
        let owner = Owner::new(id, ifname);
        // A directory that cannot be read has no reservations that could be told of.
        let all = reservations(&self.home, "net").unwrap_or_default();
        all.iter().filter(|one| one.holder.owner() == Some(&owner)).map(|one| one.address).collect()
    }

    /// While nobody interferes, the files say what the answers said.
    fn in_order(&self) -> Result<(), Broken> {
        if !self.alone {
            return Ok(());
        }
        let mut said: Vec<IpAddr> = self.held.values().flatten().copied().collect();
        said.sort_unstable();
        let all = must("reservations", reservations(&self.home, "net"))?;
        same("reservations", &all.iter().map(|one| one.address).collect(), &said)
    }
}

/// Whether a request came as far as the plugin: others are refused for what they are.
fn is_attachment(response: &Response) -> bool {
    !["\"code\": 1,", "\"code\": 4,", "\"code\": 6,", "\"code\": 7,"]
        .iter()
        .any(|code| response.stdout.contains(code))
}

/// A path in `home` that does not lead out of it.
fn inside(home: &Path, name: &str) -> Option<PathBuf> {
    let plain = |part: Component<'_>| matches!(part, Component::Normal(_));
    let name = name.trim_matches('/');
    let relative =
        if name.starts_with(".ironbridge") { PathBuf::from(name) } else { Path::new("net").join(name) };
    (relative.components().all(plain) && !name.contains('\0')).then(|| home.join(relative))
}

/// What others do: make a whole file or link (never write into one that is there), or remove one.
fn tamper(verb: &str, path: &Path, content: &str) -> std::io::Result<()> {
    if path.is_dir() {
        return if verb == "DROP" { fs::remove_dir_all(path) } else { Ok(()) };
    }
    let parent = path.parent().unwrap_or(path);
    let draft = parent.join(".others");
    match verb {
        "PUT" => {
            fs::create_dir_all(parent)?;
            fs::write(&draft, content.replace("\\r", "\r").replace("\\n", "\n"))?;
            fs::rename(draft, path)
        }
        "LINK" if content.len() < 4000 && !content.starts_with('/') && !content.contains("..") => {
            fs::create_dir_all(parent)?;
            std::os::unix::fs::symlink(content.replace('\0', ""), &draft)?;
            fs::rename(draft, path)
        }
        "DROP" => fs::remove_file(path),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(scratch: &Scratch) -> Network {
        let conf = r#"{"cniVersion":"1.1.0","ipam":{"subnet":"10.1.0.0/29"}}"#;
        Network {
            home: scratch.path().join("networks"),
            conf: confined(conf, scratch.path()).unwrap(),
            held: BTreeMap::new(),
            alone: true,
        }
    }

    #[test]
    fn a_reservation_that_nobody_was_told_of_breaks_a_promise() {
        let scratch = Scratch::new().unwrap();
        let mut network = network(&scratch);
        network.step("ADD c1 eth0").unwrap();
        assert_eq!(network.held.values().flatten().count(), 1);
        fs::write(scratch.path().join("networks/net/10.1.0.6"), "c9\r\neth0").unwrap();
        assert!(network.step("ADD c2 eth0").is_err());
    }

    #[test]
    fn verbs_give_and_take_back() {
        let scratch = Scratch::new().unwrap();
        let mut network = network(&scratch);
        for step in ["ADD c1 eth0", "ADD c2 eth0", "DEL c1 eth0", "GC c2 eth0"] {
            network.step(step).unwrap();
        }
        assert_eq!(network.held.len(), 1);
        network.step("GC").unwrap();
        assert!(network.held.is_empty() && network.stored("c2", "eth0").is_empty());
    }

    #[test]
    fn no_path_of_an_input_leads_out() {
        let home = Path::new("/h");
        for name in ["../x", "a/../../x", ".ironbridge/../../x", "a\0b"] {
            assert_eq!(inside(home, name), None, "{name}");
        }
        assert_eq!(inside(home, "/etc/passwd"), Some(PathBuf::from("/h/net/etc/passwd")));
        let conf = r#"{"IPAM":{"DATADIR":"/etc","dataDir":"/var","ResolvConf":"/dev/zero"}}"#;
        let text = Value::Object(confined(conf, home).unwrap()).to_string();
        assert!(!text.contains("/etc") && !text.contains("/var") && !text.contains("zero"), "{text}");
    }
}
