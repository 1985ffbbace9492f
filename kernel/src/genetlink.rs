//! Generic netlink: subsystems that are asked for by name.

use crate::{
    Error,
    channel::Channel,
    error::During,
    wire::{Message, attributes},
};
use netlink_sys::protocols::NETLINK_GENERIC;

/// `GENL_ID_CTRL`, `CTRL_CMD_GETFAMILY`, `CTRL_ATTR_FAMILY_ID`, `CTRL_ATTR_FAMILY_NAME` of `linux/genetlink.h`.
const CONTROL: u16 = 16;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;

/// Length of `struct genlmsghdr`.
pub(crate) const FIXED: usize = 4;

/// A socket to one subsystem of a namespace.
#[derive(Debug)]
pub(crate) struct Genetlink {
    pub(crate) channel: Channel,
    family: u16,
}

impl Genetlink {
    /// Opens a socket in the namespace of the calling thread, and looks the subsystem up.
    pub(crate) fn open(name: &str) -> Result<Self, Error> {
        let mut channel =
            Channel::open(NETLINK_GENERIC).during(|| "opening a generic netlink socket".into())?;
        let mut message = Message::new(CONTROL, 0, &[GET_FAMILY, 1, 0, 0]);
        message.put_text(FAMILY_NAME, name);
        let family = channel.get(message, |received| {
            let id = attributes(received.payload, FIXED).find(|attribute| attribute.kind == FAMILY_ID)?;
            id.value.first_chunk().copied().map(u16::from_ne_bytes)
        });
        let family = family.during(|| format!("looking up the kernel's subsystem {name}"))?;
        Ok(Self { channel, family })
    }

    /// A request to it.
    pub(crate) fn request(&self, command: u8) -> Message {
        Message::new(self.family, 0, &[command, 1, 0, 0])
    }
}
