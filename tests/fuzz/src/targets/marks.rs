//! Marks and comments on kernel objects, which any other program may have written.

use ::portmap::owner::Owner;
use attach::identity::{Mark, host_veth, reference_chain};
use cni::Attachment;

use crate::targets::chained::reached;
use crate::verdict::{Verdict, hold, same};

/// Three lines are an attachment, the rest is a comment: the attachment knows its own mark, and nobody's else.
pub fn marks(data: &[u8]) -> Verdict {
    let text = String::from_utf8_lossy(data);
    let mut parts = text.splitn(4, '\n');
    let mut part = || parts.next().unwrap_or_default().to_owned();
    let attachment = Attachment { network: part(), container_id: part(), ifname: part() };
    let comment = part();
    let own = Mark::of(&attachment);
    hold(Mark::is_on(own.as_str(), &attachment), || format!("{own:?} is not known again"))?;
    hold(own.as_str().len() <= 127, || format!("too long for nft: {own:?}"))?;
    hold(!Mark::is_stale(own.as_str(), &attachment.network, std::slice::from_ref(&attachment)), || {
        format!("{own:?} is valid")
    })?;
    hold(Mark::is_stale(own.as_str(), &attachment.network, &[]), || format!("{own:?} is stale"))?;
    same(
        "the length of a name",
        &(host_veth(&attachment).len(), reference_chain(&attachment).len()),
        &(15, 28),
    )?;
    let owner = Owner::of(&attachment, Some("veth0"), 7);
    let again = Owner::read(Some(owner.as_str()));
    same("what a comment says", &(again.via(), again.keys()), &(Some("veth0"), Some(7)))?;
    hold(again.is(&attachment), || format!("{owner:?} is not known again"))?;
    let foreign = Owner::read(Some(&comment));
    hold(comment.contains(foreign.describe()), || format!("words that are not there: {foreign:?}"))?;
    let known = Mark::is_on(&comment, &attachment);
    same(
        "stale without valid ones",
        &foreign.is_stale(&attachment.network, &[]),
        &Mark::is_stale(&comment, &attachment.network, &[]),
    )?;
    hold(!known || foreign.is(&attachment), || format!("whose is {comment:?}"))?;
    Ok(reached(&(known, Mark::is_any(&comment), foreign.via().is_some(), foreign.keys().is_some())))
}
