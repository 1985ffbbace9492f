//! What the ifb device of an attachment is called, by us and by the reference.

use attach::identity::digest;
use cni::Attachment;

/// Our name: it follows from the whole identity, so that two attachments of a container to one network have two.
#[must_use]
pub fn ifb(attachment: &Attachment) -> String {
    let Attachment { network, container_id, ifname } = attachment;
    format!("ibw{}", digest(&format!("{network}\0{container_id}\0{ifname}"), 12))
}

/// The reference's name (`getIfbDeviceName` of `plugins/meta/bandwidth/main.go`), which has no interface in it.
#[must_use]
pub fn reference_ifb(attachment: &Attachment) -> String {
    format!("bwp{}", digest(&format!("{}{}", attachment.network, attachment.container_id), 12))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_the_kernel_and_match_the_references_vector() {
        let one =
            Attachment { network: "bmnet".into(), container_id: "abc123".into(), ifname: "eth0".into() };
        assert_eq!(reference_ifb(&one), "bwpfbb60b45a5a6");
        assert_eq!(ifb(&one).len(), 15);
    }

    #[test]
    fn weakness_46_two_interfaces_have_two_devices() {
        let [eth0, net1] = ["eth0", "net1"].map(|ifname| Attachment {
            network: "n".into(),
            container_id: "c".into(),
            ifname: ifname.into(),
        });
        assert_ne!(ifb(&eth0), ifb(&net1));
        assert_eq!(reference_ifb(&eth0), reference_ifb(&net1));
    }
}
