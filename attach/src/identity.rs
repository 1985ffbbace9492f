//! Names and marks that follow from an attachment's identity alone, so that every verb finds what any other verb made.

use std::fmt::Write as _;

use cni::Attachment;
use sha2::{Digest, Sha512};

/// Longest mark, in bytes: the kernel keeps at most 255 bytes of an interface alias, nft 128 of a rule's comment.
const MARK_BYTES: usize = 127;

/// The first `digits` hexadecimal digits of the SHA-512 of `text`.
///
/// # Examples
/// ```
/// assert_eq!(attach::identity::digest("bmnet", 16), "134870fee6061018");
/// ```
#[must_use]
pub fn digest(text: &str, digits: usize) -> String {
    let mut hex = String::with_capacity(digits + 1);
    for byte in Sha512::digest(text.as_bytes()).iter().take(digits.div_ceil(2)) {
        // Writing to a String cannot fail.
        write!(hex, "{byte:02x}").ok();
    }
    hex.truncate(digits);
    hex
}

/// The host end's name of an attachment: `veth` (the prefix that firewalls and network managers match on) and
/// eleven hexadecimal digits of its identity. The three parts are kept apart by a byte that none of them may hold.
#[must_use]
pub fn host_veth(attachment: &Attachment) -> String {
    let Attachment { network, container_id, ifname } = attachment;
    format!("veth{}", digest(&format!("{network}\0{container_id}\0{ifname}"), 11))
}

/// What makes a kernel object an attachment's own: an interface alias or the comment of an nftables element.
///
/// The text is the reference plugins' rule comment (`pkg/ip/ipmasq_nftables_linux.go`), so that one form serves both.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(String);

impl Mark {
    /// The mark of `attachment`.
    #[must_use]
    pub fn of(attachment: &Attachment) -> Self {
        let Attachment { network, container_id, ifname } = attachment;
        let text = format!("{}, net: {network}, if: {ifname}, id: {container_id}", Self::key(attachment));
        let mut text = text.replace('"', "");
        let end = (0..=MARK_BYTES.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or(0));
        Self(text)
    }

    /// The part of the mark that decides: two digests, of the network and of the attachment within it.
    #[must_use]
    pub fn key(attachment: &Attachment) -> String {
        let Attachment { network, container_id, ifname } = attachment;
        format!("{}-{}", digest(network, 16), digest(&format!("{ifname}:{container_id}"), 16))
    }

    /// The text as it stands on the object.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether an object with this comment or alias belongs to `attachment`.
    #[must_use]
    pub fn is_on(comment: &str, attachment: &Attachment) -> bool {
        comment.starts_with(&Self::key(attachment))
    }

    /// Whether an interface alias is a mark, of whatever attachment.
    #[must_use]
    pub fn is_any(alias: &str) -> bool {
        Self::key_in(alias)
            .is_some_and(|key| alias.get(key.len()..).is_some_and(|t| t.starts_with(", net: ")))
    }

    /// The part of a comment or alias that decides, if it begins with one: the same on all that an attachment has.
    #[must_use]
    pub fn key_in(text: &str) -> Option<&str> {
        let hex = |part: &str| part.len() == 16 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
        let key = text.split(',').next()?;
        key.split_once('-').filter(|(network, attachment)| hex(network) && hex(attachment)).map(|_| key)
    }

    /// Whether an object with this comment or alias belongs to `network` but to none of `valid`.
    #[must_use]
    pub fn is_stale(comment: &str, network: &str, valid: &[Attachment]) -> bool {
        comment.starts_with(&format!("{}-", digest(network, 16)))
            && !valid.iter().any(|attachment| Self::is_on(comment, attachment))
    }
}

/// The reference's iptables chain for the masquerade of a container (`pkg/utils/utils.go`): `CNI-` and 24 digits.
/// It does not depend on the interface; that weakness is part of the layout.
#[must_use]
pub fn reference_chain(attachment: &Attachment) -> String {
    format!("CNI-{}", digest(&format!("{}{}", attachment.network, attachment.container_id), 24))
}

/// The comment on the reference's iptables rules: Go-quoted network and container.
#[must_use]
pub fn reference_comment(attachment: &Attachment) -> String {
    format!("{}{}\"", reference_comment_start(&attachment.network), attachment.container_id)
}

/// What all those comments of one network begin with.
#[must_use]
pub fn reference_comment_start(network: &str) -> String {
    format!("name: \"{network}\" id: \"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attachment(network: &str, container_id: &str) -> Attachment {
        Attachment { network: network.into(), container_id: container_id.into(), ifname: "eth0".into() }
    }

    #[test]
    fn names_match_the_reference_vectors() {
        let one = attachment("bmnet", "abc123");
        assert_eq!(reference_chain(&one), "CNI-fbb60b45a5a6709de0c01fd5");
        assert!(
            Mark::of(&one).as_str().starts_with("134870fee6061018-ebce0e3dd4dafae3, net: bmnet, if: eth0")
        );
        let two = attachment("unit-test", "one");
        assert!(Mark::of(&two).as_str().starts_with("6fd94d501e58f0aa-287fc69eff0574a2"));
    }

    #[test]
    fn a_host_name_fits_the_kernel_and_differs_for_split_ambiguities() {
        let one = host_veth(&attachment("ab", "c"));
        let two = host_veth(&attachment("a", "bc"));
        assert_eq!(one.len(), 15);
        assert_ne!(one, two);
    }

    #[test]
    fn a_long_mark_is_cut_but_still_decides() {
        let long = attachment(&"n".repeat(300), "c");
        let mark = Mark::of(&long);
        assert!(mark.as_str().len() <= MARK_BYTES);
        assert!(Mark::is_on(mark.as_str(), &long));
        assert!(!Mark::is_on(mark.as_str(), &attachment("n", "c")));
    }

    #[test]
    fn stale_means_of_this_network_and_not_valid() {
        let (kept, gone) = (attachment("net", "a"), attachment("net", "b"));
        let comment = Mark::of(&gone);
        assert!(Mark::is_stale(comment.as_str(), "net", std::slice::from_ref(&kept)));
        assert!(!Mark::is_stale(comment.as_str(), "net", &[kept, gone]));
        assert!(!Mark::is_stale(comment.as_str(), "other", &[]));
        assert!(Mark::is_any(comment.as_str()) && !Mark::is_any("eth0 of pod-1, net: x"));
    }
}
