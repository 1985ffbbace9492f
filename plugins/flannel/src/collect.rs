//! GC: the delegate removes what is no longer in use, then the configurations that were kept for it go.

use cni::{Attachment, Call};

use crate::Error;
use crate::conf::NetConf;
use crate::delegate::Delegation;
use crate::state::{Saved, Store, Writer};
use crate::subnet_env::SubnetEnv;

/// Collects one network. An error stops nothing but the removal of the files that it concerns; all are reported.
pub fn collect(call: &Call) -> Result<(), Error> {
    let conf: NetConf = call.conf()?;
    let store = Store::new(conf.data_dir());
    let stale = match &call.valid_attachments {
        Some(valid) => stale(store.of_network(&call.network)?, valid),
        // No list is no information: the delegate may know better, but nothing of ours is thrown away.
        None => Vec::new(),
    };
    let mut errors = Vec::new();
    for (delegation, files) in by_delegation(current(&conf), stale) {
        match collect_at(call, &conf, delegation) {
            Ok(()) => errors.extend(files.iter().filter_map(|saved| saved.forget().err())),
            Err(error) => errors.push(error),
        }
    }
    match errors.len() {
        0 | 1 => errors.pop().map_or(Ok(()), Err),
        _ => Err(Error::Several(errors)),
    }
}

/// How the delegate would be called today, where the node knows enough.
fn current(conf: &NetConf) -> Option<Delegation> {
    SubnetEnv::read(conf.subnet_file()).and_then(|env| Delegation::build(conf, &env)).ok()
}

fn collect_at(call: &Call, conf: &NetConf, delegation: Delegation) -> Result<(), Error> {
    let delegation = delegation.with_version(conf).with_valid_attachments(conf);
    Ok(call.delegate(&delegation.plugin)?.with_stdin(delegation.text().into_bytes()).gc()?)
}

/// The files that belong to no valid attachment. One of the Go plugin stands for whichever interface its container has.
fn stale(saved: Vec<Saved>, valid: &[Attachment]) -> Vec<Saved> {
    let is_valid = |saved: &Saved| {
        valid.iter().any(|v| {
            v.container_id == saved.attachment.container_id
                && (v.ifname == saved.attachment.ifname || saved.writer == Writer::TheGoPlugin)
        })
    };
    saved.into_iter().filter(|s| !is_valid(s)).collect()
}

/// Attachments that were made by the same configuration are collected by one call, those of today's with it.
fn by_delegation(current: Option<Delegation>, stale: Vec<Saved>) -> Vec<(Delegation, Vec<Saved>)> {
    let mut groups: Vec<(Delegation, Vec<Saved>)> = current.map(|c| (c, Vec::new())).into_iter().collect();
    for saved in stale {
        let Some(delegation) = saved.delegation.clone() else { continue };
        match groups.iter_mut().find(|(known, _)| *known == delegation) {
            Some((_, files)) => files.push(saved),
            None => groups.push((delegation, vec![saved])),
        }
    }
    groups
}
