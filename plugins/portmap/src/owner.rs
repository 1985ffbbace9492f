//! Whose a published port is, as the comment of its element says it, and how one knows that an owner is dead.

use attach::identity::Mark;
use cni::{AddResult, Attachment};

/// Longest comment in bytes that `nft` reads back (`NFTNL_UDATA_COMMENT_MAXLEN`, with its zero).
const LONGEST: usize = 127;
/// What stands for an interface that is not known.
const UNKNOWN: &str = "-";

/// What an element's comment says: the key of [`Mark`], the host's end of the attachment's interface, and how many
/// elements the attachment has; then, for people, the attachment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    comment: String,
}

impl Owner {
    /// The owner that `attachment` is, with `keys` published keys.
    #[must_use]
    pub fn of(attachment: &Attachment, via: Option<&str>, keys: usize) -> Self {
        let mark = Mark::of(attachment);
        let key = mark.as_str().split(',').next().unwrap_or_default();
        let Attachment { network, container_id, ifname } = attachment;
        let via = via.unwrap_or(UNKNOWN);
        let text =
            format!("{key}, via: {via}, keys: {keys}, net: {network}, if: {ifname}, id: {container_id}");
        let mut comment = text.replace('"', "");
        let end = (0..=LONGEST.min(comment.len())).rev().find(|end| comment.is_char_boundary(*end));
        comment.truncate(end.unwrap_or(0));
        Self { comment }
    }

    /// The owner that a comment names.
    #[must_use]
    pub fn read(comment: Option<&str>) -> Self {
        Self { comment: comment.unwrap_or_default().to_owned() }
    }

    /// The text as it stands on the element.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.comment
    }

    /// Whether this is `attachment`.
    #[must_use]
    pub fn is(&self, attachment: &Attachment) -> bool {
        Mark::is_on(&self.comment, attachment)
    }

    /// Whether this is an attachment of `network` that is not in `valid`.
    #[must_use]
    pub fn is_stale(&self, network: &str, valid: &[Attachment]) -> bool {
        Mark::is_stale(&self.comment, network, valid)
    }

    /// The host's end of its interface, where there is one. It goes with the sandbox.
    #[must_use]
    pub fn via(&self) -> Option<&str> {
        self.field("via: ").filter(|via| *via != UNKNOWN)
    }

    /// How many keys it has.
    #[must_use]
    pub fn keys(&self) -> Option<usize> {
        self.field("keys: ")?.parse().ok()
    }

    /// Network, interface and container, for people; the whole comment if it is not one of ours.
    #[must_use]
    pub fn describe(&self) -> &str {
        let at = self.comment.find("net: ");
        at.and_then(|at| self.comment.get(at..)).unwrap_or(&self.comment)
    }

    /// A field before those that a user chose.
    fn field(&self, name: &str) -> Option<&str> {
        self.comment.split(", ").take(3).find_map(|field| field.strip_prefix(name))
    }
}

/// The host's end of the attachment's interface, by the result of the plugins before: the veth among the host's links,
/// or the only one of them.
#[must_use]
pub fn host_end(previous: &AddResult) -> Option<&str> {
    let links: Vec<&str> = host_links(previous).collect();
    match links.as_slice() {
        [only] => Some(only),
        several => several.iter().find(|name| name.starts_with("veth")).copied(),
    }
}

/// The names of the host's links in a result, those that can be names.
pub fn host_links(previous: &AddResult) -> impl Iterator<Item = &str> {
    let outside = |interface: &&cni::Interface| interface.sandbox.as_deref().is_none_or(str::is_empty);
    let names = previous.interfaces.iter().filter(outside).map(|interface| interface.name.as_str());
    names.filter(|name| is_plain(name))
}

/// The kernel's rule for names, and nothing that would break the comment.
fn is_plain(name: &str) -> bool {
    (1..=15).contains(&name.len())
        && ![UNKNOWN, ".", ".."].contains(&name)
        && !name.contains([',', '"', '/', ' '])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attachment(network: &str) -> Attachment {
        Attachment { network: network.into(), container_id: "f".repeat(64), ifname: "eth0".into() }
    }

    #[test]
    fn a_comment_reads_back_even_where_it_is_cut() {
        for network in ["cbr0", &"n".repeat(200), "a, via: x, keys: 9"] {
            let owner = Owner::of(&attachment(network), Some("veth0123456789a"), 4);
            assert!(owner.as_str().len() <= LONGEST);
            let read = Owner::read(Some(owner.as_str()));
            assert_eq!((read.via(), read.keys()), (Some("veth0123456789a"), Some(4)));
            assert!(read.is(&attachment(network)) && !read.is(&attachment("other")));
        }
        assert_eq!(Owner::of(&attachment("n"), None, 1).via(), None);
        assert!(Owner::of(&attachment("n"), None, 1).describe().starts_with("net: n, if: eth0, id: ffff"));
        assert_eq!(Owner::read(Some("made by hand")).describe(), "made by hand");
    }

    #[test]
    fn the_hosts_end_is_the_veth_or_the_only_link() {
        let link = |name: &str, sandbox: Option<&str>| cni::Interface {
            name: name.into(),
            sandbox: sandbox.map(str::to_owned),
            ..cni::Interface::default()
        };
        let end = |interfaces: Vec<cni::Interface>| {
            host_end(&AddResult { interfaces, ..AddResult::default() }).map(str::to_owned)
        };
        let inside = || link("eth0", Some("/proc/1/ns/net"));
        assert_eq!(end(vec![link("cni0", None), link("vethabc", None), inside()]), Some("vethabc".into()));
        assert_eq!(end(vec![link("cali123", None), inside()]), Some("cali123".into()));
        assert_eq!(end(vec![link("br0", None), link("br1", Some("")), inside()]), None);
        assert_eq!(end(vec![inside()]), None);
    }
}
