//! tuning: its configuration with the keys of parameters, the administrator's list, and the file of earlier values.

use std::fs;

use ::tuning::allowlist::permitted_by;
use ::tuning::backup::{Store, collect};
use ::tuning::conf::{Conf, Scope};
use ::tuning::keys::{Parameter, path};
use cni::Attachment;

use crate::scratch::Scratch;
use crate::targets::chained::{accepted, reached, refused};
use crate::verdict::{Broken, Verdict, hold, must, same};

/// A configuration: no parameter is out of the sandbox, and DEL finds the files of ADD.
pub fn conf(data: &[u8]) -> Verdict {
    let (call, conf) = match accepted(data, Conf::of) {
        Ok(both) => both,
        Err(verdict) => return verdict,
    };
    let scope = Scope::of(&call);
    same("where backups are", &must("DEL reads what ADD read", scope)?.data_dir, &conf.data_dir)?;
    for parameter in &conf.parameters {
        inside(&parameter.path)?;
    }
    hold(conf.link.mtu.is_none_or(|mtu| (1..=65_535).contains(&mtu)), || format!("{:?}", conf.link))?;
    Ok(reached(&conf))
}

/// A path below `/proc/sys/net` that no part leads out of.
fn inside(path: &str) -> Result<(), Broken> {
    let parts: Vec<&str> = path.split('/').collect();
    let plain = |part: &&str| !part.is_empty() && *part != "." && *part != ".." && !part.contains('\0');
    let is_inside = parts.len() > 1 && parts.first() == Some(&"net") && parts.iter().all(plain);
    hold(is_inside, || format!("a path out of the sandbox: {path:?}"))
}

/// The first line is a key, the second an interface, the rest the administrator's list: a line that is just the key allows
/// it, and the order of lines does not matter.
pub fn allowlist(data: &[u8]) -> Verdict {
    let text = String::from_utf8_lossy(data);
    let mut parts = text.splitn(3, '\n');
    let mut part = || parts.next().unwrap_or_default();
    let (key, ifname, list) = (part(), part(), part());
    if let Some(path) = path(key, if ifname.is_empty() { "eth0" } else { ifname })
        && !ifname.contains(['/', '\0'])
        && ![".", ".."].contains(&ifname)
    {
        inside(&path)?;
    }
    let wanted = [Parameter { key: key.to_owned(), path: String::new(), value: String::new() }];
    let verdict = permitted_by(list, &wanted);
    let reversed: Vec<&str> = list.lines().rev().collect();
    same("the order of lines", &permitted_by(&reversed.join("\n"), &wanted).is_ok(), &verdict.is_ok())?;
    same(
        "no parameter, or a list that cannot be read",
        &permitted_by(list, &[]).is_err(),
        &broken(&verdict),
    )?;
    match verdict {
        Ok(()) => Ok(reached(&"allowed")),
        Err(error) => refused(&error.into()),
    }
}

/// Whether the list itself is refused, not the key.
fn broken(verdict: &Result<(), attach::Error>) -> bool {
    verdict.as_ref().is_err_and(|error| error.to_string().contains("is not a regular expression"))
}

/// A file of earlier values: whatever it holds, DEL reads it or goes without, and it goes.
pub fn backup(data: &[u8]) -> Verdict {
    let scratch = must("a directory", Scratch::new())?;
    let attachment =
        Attachment { network: "net".to_owned(), container_id: "c1".to_owned(), ifname: "eth0".to_owned() };
    must("a file", fs::write(scratch.path().join("c1_eth0.json"), data))?;
    let store = Store::of(scratch.path(), &attachment);
    let found = must("reading", store.load())?;
    if let Some(backup) = &found {
        must("writing", store.save(backup))?;
        same("what was written", &must("reading again", store.load())?.as_ref(), &Some(backup))?;
        same("under itself", &backup.clone().under(backup.clone()), backup)?;
        let wanted = backup.wanted();
        hold(wanted.mtu != Some(0), || format!("an MTU of nothing: {wanted:?}"))?;
    }
    let network = found.as_ref().map(|backup| backup.network.clone()).unwrap_or_default();
    must(
        "GC that keeps it",
        collect(scratch.path(), &network, &[Attachment { network: network.clone(), ..attachment }]),
    )?;
    must("GC", collect(scratch.path(), &network, &[]))?;
    must("DEL", store.remove())?;
    let left = must("a directory", fs::read_dir(scratch.path()))?.count();
    same("files that are left", &left, &0)?;
    Ok(reached(&found))
}
