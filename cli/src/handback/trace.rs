//! What else of an attachment matters on the way back: files and devices with names of ours, and settings of its plugins.

use std::net::IpAddr;

use attach::handback::Held;
use bandwidth::names::{ifb, reference_ifb};
use kernel::Rtnl;

use super::error::Error;
use super::plan::{Fate, Name, Plan};
use super::results::{Remembered, Results};

/// The address that is an element's key; none where the key is something else.
pub fn address(held: &Held) -> Option<IpAddr> {
    let key = &held.element.key;
    match key.as_bytes().len() {
        4 => key.ipv4_at(0).map(IpAddr::V4),
        16 if held.set.table.family == kernel::nft::Family::Inet => key.ipv6_at(0).map(IpAddr::V6),
        _ => None,
    }
}

/// Whether the network asks for `macspoofchk`, by its bridge plugin or through flannel's delegate.
pub fn checks_macs(remembered: &Remembered) -> Result<bool, String> {
    let bridge = match (remembered.call("bridge"), remembered.call("flannel")) {
        (Some(call), _) => call?.conf::<bridge::conf::NetConf>().map_err(|error| error.to_string())?,
        (None, Some(call)) => {
            let flannel: flannel::NetConf = call?.conf().map_err(|error| error.to_string())?;
            let delegate = serde_json::Value::Object(flannel.delegate.unwrap_or_default());
            cni::from_json(delegate.to_string().as_bytes()).map_err(|error| error.to_string())?
        }
        (None, None) => return Err("its configuration has no bridge".to_owned()),
    };
    Ok(bridge.macspoofchk)
}

/// Lists what the reference would not find of attachments, whether or not they have rules: state of flannel under a
/// name of ours, and a device of bandwidth without its second name.
pub fn look(results: &Results, plan: &mut Plan) -> Result<(), Error> {
    let mut rtnl = Rtnl::open()?;
    for remembered in &results.all {
        let attachment = &remembered.attachment;
        if let Some(Ok(call)) = remembered.call("flannel")
            && let Ok(Some(path)) = flannel::handback::hidden_state(&call)
        {
            let why = "flannel's own plugin does not look for it, and its DEL does nothing; end the attachment first";
            plan.tell(Fate::Kept, &format!("{}: {}: {why}", Name(attachment), path.display()));
        }
        let (ours, theirs) = (ifb(attachment), reference_ifb(attachment));
        if let Some(link) = rtnl.link(&ours)?
            && rtnl.link(&theirs)?.is_none_or(|other| other.index != link.index)
        {
            let why = format!("it is not also called {theirs}, and the reference's DEL leaves it");
            plan.tell(Fate::Kept, &format!("{}: device {ours}: {why}", Name(attachment)));
        }
    }
    Ok(())
}
