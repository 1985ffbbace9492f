//! Masquerade on the way back: our elements, and the reference's iptables rules that say the same.

use std::collections::BTreeMap;

use cni::{Attachment, Cidr};
use kernel::nft::{Data, SetName};

use super::{foreign, iptables, native};
use crate::error::Error;
use crate::handback::Held;
use crate::identity::reference_chain;
use crate::ruleset::Rules;
use crate::step::Family;

/// The maps that hold an element for each masqueraded address.
pub const SETS: [SetName<'static>; 2] = native::MAPS;

/// The masqueraded address, with the prefix length of the network that is spared.
#[must_use]
pub fn address(held: &Held) -> Option<Cidr> {
    let key = &held.element.key;
    let ip = match key.as_bytes().len() {
        4 => key.ipv4_at(0)?.into(),
        _ => key.ipv6_at(0)?.into(),
    };
    let Data::Verdict(verdict) = &held.element.data else { return None };
    native::prefix_in(verdict.target()?).map_or(Some(Cidr::host(ip)), |prefix| Cidr::new(ip, prefix))
}

/// The lines of table `nat` that `iptables-restore --noflush` makes the reference's rules of, for one family. `saved` is
/// what `iptables-save -t nat` printed: jumps that are there already give way to the new ones.
///
/// Attachments of one container to one network share a chain; that weakness is part of the layout.
#[must_use]
pub fn rules(masqueraded: &[(Attachment, Cidr)], family: Family, saved: &str) -> String {
    let mut chains: BTreeMap<String, (&Attachment, Vec<Cidr>)> = BTreeMap::new();
    for (attachment, address) in masqueraded.iter().filter(|(_, address)| Family::of(address.ip()) == family)
    {
        let (_, addresses) =
            chains.entry(reference_chain(attachment)).or_insert_with(|| (attachment, Vec::new()));
        addresses.push(*address);
    }
    let mut text = String::new();
    for (chain, (attachment, addresses)) in &chains {
        let leads = format!(" -j {chain}");
        let stale =
            saved.lines().filter(|line| line.starts_with("-A POSTROUTING ") && line.ends_with(&leads));
        text.extend(stale.map(|line| format!("{}\n", line.replacen("-A", "-D", 1))));
        text.push_str(&iptables::rules(attachment, addresses, addresses));
    }
    text
}

/// Removes the reference's rules of an attachment that ended while they were written.
///
/// # Errors
/// Every part that failed.
pub fn forget(attachment: &Attachment) -> Result<(), Error> {
    if let Some(mut rules) = Rules::open_if_there()? {
        foreign::remove(&mut rules, attachment)?;
    }
    iptables::remove_legacy(attachment)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Mark;
    use kernel::nft::{Element, Verdict};

    fn attachment(ifname: &str) -> Attachment {
        Attachment { network: "bmnet".into(), container_id: "abc123".into(), ifname: ifname.into() }
    }

    #[test]
    fn an_element_tells_its_address_and_network() {
        for (text, chain) in [
            ("10.99.0.2/16", "to-10.99.0.0/16"),
            ("10.99.0.2/32", "to-anywhere"),
            ("fd00:22::5/64", "to-fd00_22__/64"),
        ] {
            let cidr: Cidr = text.parse().unwrap();
            let element = Element::new(cidr.ip())
                .with_verdict(Verdict::goto(chain))
                .with_comment(Mark::of(&attachment("eth0")).as_str());
            let held = Held { set: SETS[0], element };
            assert_eq!(address(&held), Some(cidr));
            assert!(held.is_of(&attachment("eth0")) && held.describe().starts_with("net: bmnet"));
        }
    }

    #[test]
    fn two_interfaces_share_a_chain_that_is_emptied_once() {
        let both = [
            (attachment("eth0"), "10.99.0.2/16".parse().unwrap()),
            (attachment("net1"), "10.98.0.2/16".parse().unwrap()),
            (attachment("eth0"), "fd00::2/64".parse().unwrap()),
        ];
        let saved = "-A POSTROUTING -s 10.99.0.2/32 -m comment --comment \"x\" -j CNI-fbb60b45a5a6709de0c01fd5\n\
                     -A POSTROUTING -s 10.99.0.7/32 -j CNI-0000\n";
        let text = rules(&both, Family::V4, saved);
        assert_eq!(text.matches(":CNI-fbb60b45a5a6709de0c01fd5 ").count(), 1);
        assert_eq!((text.matches("-j ACCEPT").count(), text.matches("-j MASQUERADE").count()), (2, 1));
        assert_eq!(text.matches("-A POSTROUTING").count(), 2);
        assert_eq!(text.matches("-D POSTROUTING -s 10.99.0.2/32").count(), 1);
        assert!(!text.contains("CNI-0000") && !text.contains("fd00"));
    }
}
