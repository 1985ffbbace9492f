//! Filters on disciplines: which packets are redirected to another link, or belong to which class.

use crate::{
    Error, Rtnl,
    abi::{nlm, rtm, tca},
    error::During,
    qdisc::{FIXED, Handle, fixed},
    wire::{Attribute, Message, Received, attributes, u32_at},
};
use ipnetwork::IpNetwork;
use nix::libc;
use std::net::IpAddr;

/// `TC_U32_TERMINAL`: a match decides.
const TERMINAL: u8 = 1;
/// `TC_ACT_STOLEN`: the packet is not ours any more.
const STOLEN: u32 = 4;
/// `TCA_EGRESS_REDIR` of `linux/tc_act/tc_mirred.h`
const REDIRECT: u32 = 1;
/// Where the link stands in `struct tc_mirred`.
const MIRRED_LINK: usize = 24;

/// A `u32` filter to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Lower ones are asked first.
    pub priority: u16,
    /// Which packets.
    pub matches: Match,
    /// What happens to them.
    pub verdict: Verdict,
}

/// Which packets a filter is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Match {
    /// All, of every protocol.
    All,
    /// Those of the network's family with an address in it.
    Address(Side, IpNetwork),
}

/// One of the two addresses of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Where it comes from.
    Source,
    /// Where it goes.
    Destination,
}

/// What a filter does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The packet leaves by the link of this index instead.
    Redirect(u32),
    /// The packet belongs to this class.
    Class(Handle),
}

impl Match {
    /// `ETH_P_*`
    fn protocol(&self) -> u16 {
        let protocol = match self {
            Self::All => libc::ETH_P_ALL,
            Self::Address(_, IpNetwork::V4(_)) => libc::ETH_P_IP,
            Self::Address(_, IpNetwork::V6(_)) => libc::ETH_P_IPV6,
        };
        u16::try_from(protocol).unwrap_or(0)
    }

    /// `struct tc_u32_key`, one for each four bytes: mask, value, offset in the packet, mask of the offset.
    fn keys(&self) -> Vec<[[u8; 4]; 4]> {
        let Self::Address(side, network) = self else { return vec![[[0; 4]; 4]] };
        let start = match (side, network.is_ipv4()) {
            (Side::Source, true) => 12_i32,
            (Side::Destination, true) => 16,
            (Side::Source, false) => 8,
            (Side::Destination, false) => 24,
        };
        let (masks, values) = (words(network.mask()), words(network.network()));
        let offsets = (start..).step_by(4).map(i32::to_ne_bytes);
        let keys = masks.into_iter().zip(values).zip(offsets);
        let keys = keys.map(|((mask, value), offset)| [mask, value, offset, [0; 4]]);
        // What is masked out whole needs no look; one key there must be.
        keys.enumerate()
            .filter(|(at, key)| *at == 0 || key.first() != Some(&[0; 4]))
            .map(|(_, key)| key)
            .collect()
    }
}

impl Rtnl {
    /// Hangs a filter on a discipline, beside others of the same priority.
    pub fn add_filter(&mut self, index: u32, parent: Handle, filter: &Filter) -> Result<(), Error> {
        let protocol = u32::from(filter.matches.protocol().to_be());
        let fixed = fixed(index, 0, parent.0, u32::from(filter.priority) << 16 | protocol);
        let mut message = Message::new(rtm::NEWTFILTER, nlm::CREATE | nlm::EXCL, fixed.as_flattened());
        message.put_text(tca::KIND, "u32");
        message.nest(tca::OPTIONS, |options| put_filter(options, filter));
        self.change(message, || format!("adding a filter to link {index}"))
    }

    /// What the `u32` filters on a discipline do, in their order.
    pub fn filters(&mut self, index: u32, parent: Handle) -> Result<Vec<Verdict>, Error> {
        let message = Message::new(rtm::GETTFILTER, 0, fixed(index, 0, parent.0, 0).as_flattened());
        self.channel.dump(message, collect).during(|| format!("listing the filters of link {index}"))
    }
}

fn words(address: IpAddr) -> Vec<[u8; 4]> {
    match address {
        IpAddr::V4(ip) => vec![ip.octets()],
        IpAddr::V6(ip) => ip.octets().as_chunks().0.to_vec(),
    }
}

fn put_filter(options: &mut Message, filter: &Filter) {
    let class = match filter.verdict {
        Verdict::Class(class) => class,
        // What the reference has there; a redirected packet has no class.
        Verdict::Redirect(_) => Handle::new(1, 1),
    };
    options.put_u32(tca::U32_CLASSID, class.0);
    let keys = filter.matches.keys();
    // struct tc_u32_sel: flags, shift, number of keys; no variable offset and no hash.
    let mut selector = vec![TERMINAL, 0, u8::try_from(keys.len()).unwrap_or(0)];
    selector.resize(16, 0);
    selector.extend_from_slice(keys.as_flattened().as_flattened());
    options.put(tca::U32_SEL, &selector);
    if let Verdict::Redirect(link) = filter.verdict {
        options.nest(tca::U32_ACT, |actions| actions.nest(1, |action| put_redirect(action, link)));
    }
}

fn put_redirect(action: &mut Message, link: u32) {
    action.put_text(tca::ACT_KIND, "mirred");
    action.nest(tca::ACT_OPTIONS, |options| {
        // struct tc_mirred: index, capabilities, action, two counts, what to do, link.
        let parms = [0, 0, STOLEN, 0, 0, REDIRECT, link].map(u32::to_ne_bytes);
        options.put(tca::MIRRED_PARMS, parms.as_flattened());
    });
}

fn collect(received: &Received<'_>, verdicts: &mut Vec<Verdict>) {
    if received.kind == rtm::NEWTFILTER {
        verdicts.extend(read_verdict(received.payload));
    }
}

/// A filter's hash tables are listed too; they have neither keys nor verdict.
fn read_verdict(payload: &[u8]) -> Option<Verdict> {
    let options = attributes(payload, FIXED).find(|attribute| attribute.kind == tca::OPTIONS)?;
    let find = |kind: u16| options.nested().find(|attribute: &Attribute<'_>| attribute.kind == kind);
    find(tca::U32_SEL)?;
    if let Some(actions) = find(tca::U32_ACT) {
        return actions.nested().find_map(|action| read_redirect(&action));
    }
    find(tca::U32_CLASSID)?.u32().map(|class| Verdict::Class(Handle(class)))
}

fn read_redirect(action: &Attribute<'_>) -> Option<Verdict> {
    let options = action.nested().find(|attribute| attribute.kind == tca::ACT_OPTIONS)?;
    let parms = options.nested().find(|attribute| attribute.kind == tca::MIRRED_PARMS)?;
    (u32_at(parms.value, MIRRED_LINK - 4)? == REDIRECT)
        .then(|| u32_at(parms.value, MIRRED_LINK).map(Verdict::Redirect))
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(side: Side, network: &str) -> Vec<[[u8; 4]; 4]> {
        Match::Address(side, network.parse().unwrap()).keys()
    }

    #[test]
    fn a_network_is_matched_word_by_word_where_its_mask_says_something() {
        let key = |mask: [u8; 4], value: [u8; 4], offset: i32| [mask, value, offset.to_ne_bytes(), [0; 4]];
        assert_eq!(
            keys(Side::Source, "10.1.2.3/16"),
            [key([255, 255, 0, 0], [10, 1, 0, 0], 12)],
            "host bits do not count"
        );
        assert_eq!(
            keys(Side::Destination, "fd00:1::/36"),
            [key([255; 4], [0xfd, 0, 0, 1], 24), key([0xf0, 0, 0, 0], [0; 4], 28)]
        );
        assert_eq!(keys(Side::Destination, "::/0").len(), 1);
        assert_eq!(keys(Side::Source, "::1/128").len(), 4);
    }

    #[test]
    fn each_family_has_its_own_protocol() {
        let protocol = |text: &str| Match::Address(Side::Source, text.parse().unwrap()).protocol();
        assert_eq!(
            (protocol("10.0.0.0/8"), protocol("fd00::/8"), Match::All.protocol()),
            (0x0800, 0x86dd, 3)
        );
    }
}
