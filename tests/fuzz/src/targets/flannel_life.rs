//! A life of one flannel network: verbs in any order, a delegate that fails, state files put and dropped by others.
//!
//! The input is a configuration, a line `---`, and one step a line.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};

use crate::targets::flannel::{Node, without_previous};
use crate::targets::request::gist;
use crate::verdict::{Reached, Verdict, hold, must, same};

/// Most steps of a life.
const STEPS: usize = 40;

/// The target.
pub fn life(data: &[u8]) -> Verdict {
    let text = String::from_utf8_lossy(data);
    let (conf, steps) = text.split_once("\n---\n").unwrap_or((text.as_ref(), ""));
    let Some(node) = Node::new(conf)? else { return Ok(Reached::at("no object")) };
    let mut life = Life { node, held: BTreeMap::new(), fails: false, alone: true };
    let mut reached = Reached::at("");
    for step in steps.lines().take(STEPS) {
        reached = reached.and(life.step(step)?);
    }
    Ok(reached)
}

struct Life {
    node: Node,
    /// What the delegate was told about an attachment at its ADD.
    held: BTreeMap<(String, String), Value>,
    /// Whether the delegate fails.
    fails: bool,
    /// Whether nobody else has touched the state.
    alone: bool,
}

impl Life {
    fn step(&mut self, line: &str) -> Verdict {
        let mut words = line.splitn(3, ' ');
        let mut word = || words.next().unwrap_or_default();
        let (verb, first, rest) = (word(), word(), word());
        let reached = match verb {
            "ADD" => self.add(first, rest)?,
            "DEL" => self.del(first, rest)?,
            "CHECK" => {
                let (response, calls) = self.node.perform("CHECK", (first, rest), |_| {})?;
                hold(response.exit == 1 || !calls.is_empty(), || "CHECK without the delegate".to_owned())?;
                Reached::at(&gist(&response))
            }
            "STATUS" => Reached::at(&gist(&self.node.perform("STATUS", ("", ""), |_| {})?.0)),
            "GC" => self.gc(first, rest)?,
            "FAIL" => {
                self.fails = Node::turn_delegate();
                Reached::at(verb)
            }
            "NOENV" => Reached::at(&format!("{:?}", self.node.put_env(None).is_ok())),
            "ENV" => {
                let text = line.get(4..).unwrap_or_default().replace("\\n", "\n");
                Reached::at(&format!("{:?}", self.node.put_env(Some(&text)).is_ok()))
            }
            _ => self.tamper(verb, first, rest),
        };
        self.in_order()?;
        Ok(reached)
    }

    fn add(&mut self, id: &str, ifname: &str) -> Verdict {
        let (response, calls) = self.node.perform("ADD", (id, ifname), |_| {})?;
        if response.exit == 0 {
            let told = calls.first().map(|(_, told)| without_previous(told)).unwrap_or_default();
            hold(told.is_object(), || format!("ADD without the delegate: {response:?}"))?;
            self.held.insert((id.to_owned(), ifname.to_owned()), told);
        }
        Ok(Reached::at(&gist(&response)))
    }

    fn del(&mut self, id: &str, ifname: &str) -> Verdict {
        let (response, calls) = self.node.perform("DEL", (id, ifname), |_| {})?;
        let owner = (id.to_owned(), ifname.to_owned());
        if let Some(told) = self.held.get(&owner).filter(|_| self.alone) {
            let again = calls.first().map(|(_, told)| without_previous(told)).unwrap_or_default();
            same("what DEL gives the delegate", &again, told)?;
            same("DEL's success is the delegate's", &(response.exit == 0), &!self.fails)?;
        }
        if response.exit == 0 {
            self.held.remove(&owner);
        }
        Ok(Reached::at(&gist(&response)))
    }

    /// One attachment stays, or none does.
    fn gc(&mut self, id: &str, ifname: &str) -> Verdict {
        let valid = if id.is_empty() { json!([]) } else { json!([{"containerID": id, "ifname": ifname}]) };
        let key = "cni.dev/valid-attachments";
        let (response, _) = self.node.perform("GC", ("", ""), |conf| {
            conf.retain(|name, _| !name.eq_ignore_ascii_case(key));
            conf.insert(key.to_owned(), valid);
        })?;
        if response.exit == 0 {
            self.held.retain(|(one, other), _| one == id && other == ifname);
        }
        // A GC that fails may have removed some of the files.
        self.alone &= response.exit == 0 || !self.fails;
        Ok(Reached::at(&gist(&response)))
    }

    fn tamper(&mut self, verb: &str, name: &str, content: &str) -> Reached {
        self.alone = false;
        let path = self.node.state().join(name.replace(['/', '\0'], ""));
        let done = match verb {
            _ if name.is_empty() || name.starts_with("..") || name == "." => Ok(()),
            "PUT" => fs::create_dir_all(self.node.state()).and_then(|()| fs::write(path, content)),
            "DROP" => fs::remove_file(path),
            _ => Ok(()),
        };
        Reached::at(&format!("{verb} {}", done.is_ok()))
    }

    /// While nobody interferes, there is one file an attachment that was added and not deleted.
    fn in_order(&self) -> Result<(), crate::Broken> {
        if !self.alone {
            return Ok(());
        }
        let name = |(id, ifname): &(String, String)| match ifname.as_str() {
            "eth0" => id.clone(),
            other => format!("{id}:{other}"),
        };
        let mut expected: Vec<String> = self.held.keys().map(name).collect();
        expected.sort();
        same("state", &self.node.files(), &expected)?;
        for (owner, told) in &self.held {
            let text = must("a saved configuration", fs::read(self.node.state().join(name(owner))))?;
            let saved: Value = must("a saved configuration", serde_json::from_slice(&text))?;
            same("a saved configuration", &without_previous(&saved), told)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life() -> Life {
        let node = Node::new(r#"{"cniVersion":"1.1.0","name":"n"}"#).unwrap().unwrap();
        Life { node, held: BTreeMap::new(), fails: false, alone: true }
    }

    #[test]
    fn a_delegate_that_fails_keeps_the_state() {
        let mut life = life();
        for step in ["ADD c1 eth0", "ADD c1 net1", "FAIL", "DEL c1 eth0"] {
            life.step(step).unwrap();
        }
        assert_eq!((life.held.len(), life.node.files().len()), (2, 2));
        for step in ["FAIL", "DEL c1 eth0", "GC"] {
            life.step(step).unwrap();
        }
        assert_eq!((life.held.len(), life.node.files().len()), (0, 0));
    }

    #[test]
    fn state_that_is_lost_breaks_a_promise() {
        let mut life = life();
        life.step("ADD c1 eth0").unwrap();
        fs::remove_file(life.node.state().join("c1")).unwrap();
        assert!(life.step("STATUS").is_err());
    }
}
