//! portmap: its configuration with conditions, the text for iptables-restore, and what iptables-save prints.

use ::portmap::chains::{Present, ruleset};
use ::portmap::conf::{Backend, Conf, Scope};
use ::portmap::plan::Plan;
use kernel::Family;

use crate::targets::chained::{accepted, reached};
use crate::verdict::{Broken, Verdict, hold, same};

/// A configuration: a key is there once, DEL has a hint of each, and the text for iptables has no line that is none of ours.
pub fn conf(data: &[u8]) -> Verdict {
    let (call, conf) = match accepted(data, Conf::of) {
        Ok(both) => both,
        Err(verdict) => return verdict,
    };
    let mut keys: Vec<_> =
        conf.mappings.iter().flat_map(|mapping| mapping.keys().collect::<Vec<_>>()).collect();
    let hints = Scope::of(&call).hints;
    hold(keys.iter().all(|key| hints.contains(key)), || format!("{keys:?} is not all of {hints:?}"))?;
    keys.sort_unstable();
    let all = keys.len();
    keys.dedup();
    same("keys that are there once", &keys.len(), &all)?;
    if let Ok(plan) = Plan::of(&conf, &call) {
        sensible(&plan)?;
        if matches!(conf.backend, Backend::Iptables { .. }) {
            for family in [Family::V4, Family::V6] {
                let text = ruleset(&conf, &plan, family, &Present::default());
                lines(&text)?;
                // A second ADD meets what the first has made.
                let own = text.lines().find_map(|line| line.strip_prefix(":CNI-DN-"));
                let own = format!("CNI-DN-{}", own.and_then(|own| own.split(' ').next()).unwrap_or_default());
                lines(&ruleset(&conf, &plan, family, &Present::read(&text, &own, conf.iptables_mark())))?;
            }
        }
    }
    Ok(reached(&conf))
}

fn sensible(plan: &Plan) -> Result<(), Broken> {
    for publication in &plan.publications {
        let (key, target) = (publication.key, publication.target);
        same("the family of a target", &Family::from(target.ip()), &key.family)?;
        hold(target.port() != 0 && key.port != 0, || format!("port 0: {publication:?}"))?;
    }
    Ok(())
}

/// Every line is of a kind that we write: a value that broke a line would begin a rule of its own.
fn lines(text: &str) -> Result<(), Broken> {
    let known = |line: &str| {
        ["*nat", "COMMIT", ":CNI-", "-A CNI-", "-A PREROUTING ", "-A OUTPUT ", "-I POSTROUTING 1 ", "-D "]
            .iter()
            .any(|start| line.starts_with(start))
    };
    match text.lines().find(|line| !known(line)) {
        Some(line) => Err(Broken::new(format!("a line that nobody wrote: {line:?} in\n{text}"))),
        None => Ok(()),
    }
}

/// What `iptables-save` printed: a removal deletes rules that are there, each by a line of its own.
pub fn saved(data: &[u8]) -> Verdict {
    let text = String::from_utf8_lossy(data);
    let (own, saved) = text.split_once('\n').unwrap_or(("CNI-DN-0", &text));
    let present = Present::read(saved, own, Some(0x2000));
    for entry in &present.entries {
        hold(saved.contains(entry.as_str()), || format!("an entry that is not there: {entry:?}"))?;
    }
    let removal = present.removal(own);
    let deletions = removal.lines().filter(|line| line.starts_with("-D ")).count();
    same("one deletion a rule", &deletions, &present.entries.len())?;
    // What the entries are is the input's.
    let has_entries = !present.entries.is_empty();
    Ok(reached(&(Present { entries: Vec::new(), ..present }, has_entries)))
}
