//! Pairs of virtual Ethernet devices, both ends made where they belong by one message.

use crate::{
    Error, Mac, Netns, Rtnl,
    abi::ifla,
    link::fixed,
    new_link::{Start, create_started},
    wire::Message,
};
use std::os::fd::{AsFd, AsRawFd};

/// A veth pair to be made: the host end in the namespace of the client, the peer in another.
#[derive(Debug)]
pub struct Veth<'a> {
    /// Name of the end in the client's namespace.
    pub host_name: &'a str,
    /// Its MAC address; the kernel takes a random one without.
    pub host_mac: Option<Mac>,
    /// Name of the end in the other namespace.
    pub peer_name: &'a str,
    /// Its MAC address.
    pub peer_mac: Option<Mac>,
    /// The other namespace.
    pub peer_netns: &'a Netns,
    /// Largest packet of both ends, in bytes; the kernel's default is 1500.
    pub mtu: Option<u32>,
    /// The bridge that the host end becomes a port of.
    pub controller: Option<u32>,
    /// Whether the host end is up at once. It has no carrier before the peer is up too, and an end that is up without
    /// carrier costs: the kernel waits for a grace period with every change to a link shut out (`dev_deactivate`).
    pub start: Start,
}

impl Rtnl {
    /// Makes both ends with their names, addresses and MTU in their namespaces by one message. The peer is down: the kernel would open it before the pair is tied, and refuse with `ENOTCONN`.
    ///
    /// # Errors
    /// `EEXIST` if either name is taken; `EXFULL` if the bridge has no port number left (1,023 is the most).
    /// The pair is made whole or not at all.
    pub fn create_veth(&mut self, veth: &Veth<'_>) -> Result<(), Error> {
        self.change(message(veth), || doing(veth))
    }

    /// The same, with a text on the host end that is there from its first moment on. A host end of that name that was there
    /// before gets the text too.
    ///
    /// # Errors
    /// As [`Rtnl::create_veth`].
    pub fn create_marked_veth(&mut self, veth: &Veth<'_>, alias: &str) -> Result<(), Error> {
        self.batch().create_veth(veth).set_link_alias_of(veth.host_name, alias).commit_all()
    }
}

pub(crate) fn doing(veth: &Veth<'_>) -> String {
    format!("creating veth {} with peer {}", veth.host_name, veth.peer_name)
}

pub(crate) fn message(veth: &Veth<'_>) -> Message {
    let host = |message: &mut Message| {
        put_end(message, veth.host_name, veth.host_mac, veth.mtu);
        if let Some(controller) = veth.controller {
            message.put_u32(ifla::MASTER, controller);
        }
    };
    create_started("veth", veth.start, host, |data| {
        data.nest(ifla::VETH_INFO_PEER, |peer| {
            peer.put_raw(fixed(0, 0, 0).as_flattened());
            put_end(peer, veth.peer_name, veth.peer_mac, veth.mtu);
            peer.put(ifla::NET_NS_FD, &veth.peer_netns.as_fd().as_raw_fd().to_ne_bytes());
        });
    })
}

fn put_end(message: &mut Message, name: &str, mac: Option<Mac>, mtu: Option<u32>) {
    message.put_text(ifla::IFNAME, name);
    if let Some(mac) = mac {
        message.put(ifla::ADDRESS, &mac.0);
    }
    if let Some(mtu) = mtu {
        message.put_u32(ifla::MTU, mtu);
    }
    // Without, the kernel makes a queue for each possible CPU and then shrinks to one, which costs two grace periods.
    message.put_u32(ifla::NUM_TX_QUEUES, 1);
    message.put_u32(ifla::NUM_RX_QUEUES, 1);
}
