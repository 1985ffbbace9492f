//! Intermediate functional blocks: devices through which redirected packets pass to be shaped.

use crate::{
    Error, Rtnl,
    abi::{ifla, nlm, rtm},
    bridge::Creation,
    link::fixed,
    new_link::{Start, create_started},
    wire::Message,
};

/// An ifb device to be made.
#[derive(Clone, Copy, Debug)]
pub struct Ifb<'a> {
    /// Its name.
    pub name: &'a str,
    /// Largest packet in bytes.
    pub mtu: u32,
    /// Text on it, from its first moment on.
    pub alias: &'a str,
}

pub(crate) fn message(ifb: &Ifb<'_>) -> Message {
    let fill = |message: &mut Message| {
        message.put_text(ifla::IFNAME, ifb.name);
        message.put_u32(ifla::MTU, ifb.mtu);
        // Without, the kernel makes a queue and a tasklet for each possible CPU.
        message.put_u32(ifla::NUM_TX_QUEUES, 1);
        message.put_u32(ifla::NUM_RX_QUEUES, 1);
    };
    create_started("ifb", Start::Down, fill, |_| ())
}

impl Rtnl {
    /// Makes an ifb device that is down, unless something has that name already; that gets the text too. To hang a
    /// discipline on a link that is up makes the kernel wait for a grace period (`dev_deactivate`).
    pub fn create_ifb(&mut self, ifb: &Ifb<'_>) -> Result<Creation, Error> {
        match self.batch().create_ifb(ifb).set_link_alias_of(ifb.name, ifb.alias).commit_all() {
            Ok(()) => Ok(Creation::Made),
            Err(e) if e.is_present() => Ok(Creation::Existed),
            Err(e) => Err(e),
        }
    }

    /// Gives a link one more name, by which [`Rtnl::link`] and every other program find it too.
    ///
    /// # Errors
    /// `EEXIST` if a link of the namespace has that name.
    pub fn add_link_name(&mut self, index: u32, name: &str) -> Result<(), Error> {
        let flags = nlm::CREATE | nlm::EXCL | nlm::APPEND;
        let mut message = Message::new(rtm::NEWLINKPROP, flags, fixed(index, 0, 0).as_flattened());
        message.nest(ifla::PROP_LIST, |list| list.put_text(ifla::ALT_IFNAME, name));
        self.change(message, || format!("giving link {index} the alternative name {name}"))
    }
}
