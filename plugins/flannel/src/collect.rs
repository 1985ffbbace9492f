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
    let mut errors: Vec<Error> = stale.iter().filter_map(|saved| remove(call, saved).err()).collect();
    errors.extend(collect_rest(call, &conf).err());
    match errors.len() {
        0 | 1 => errors.pop().map_or(Ok(()), Err),
        _ => Err(Error::Several(errors)),
    }
}

/// A DEL as the runtime should have sent it: it works with a delegate whose own GC does nothing, too.
fn remove(call: &Call, saved: &Saved) -> Result<(), Error> {
    let Some(delegation) = &saved.delegation else { return Ok(()) };
    call.delegate(&delegation.plugin)?
        .with_stdin(delegation.text().into_bytes())
        .for_attachment(&saved.attachment)
        .del()?;
    saved.forget()
}

/// What the delegate has of attachments that we kept no file of, where the node knows enough to call it.
fn collect_rest(call: &Call, conf: &NetConf) -> Result<(), Error> {
    let today = SubnetEnv::read(conf.subnet_file()).and_then(|env| Delegation::build(conf, &env));
    let Ok(delegation) = today else { return Ok(()) };
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
