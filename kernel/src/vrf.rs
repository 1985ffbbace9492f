//! Virtual routing and forwarding devices: links whose ports are routed by a table of their own.

use crate::{Error, Rtnl, abi::ifla, bridge::Creation, new_link::create_message, wire::Message};

/// A VRF device to be made.
#[derive(Clone, Copy, Debug)]
pub struct Vrf<'a> {
    /// Its name.
    pub name: &'a str,
    /// Number of the table that its ports are routed by.
    pub table: u32,
}

impl Rtnl {
    /// Makes a VRF device that is up, unless something has that name already.
    ///
    /// # Errors
    /// `EOPNOTSUPP` if the kernel has no VRF.
    pub fn create_vrf(&mut self, vrf: &Vrf<'_>) -> Result<Creation, Error> {
        let fill = |message: &mut Message| message.put_text(ifla::IFNAME, vrf.name);
        let message = create_message("vrf", fill, |data| data.put_u32(ifla::VRF_TABLE, vrf.table));
        match self.change(message, || format!("creating vrf {} with table {}", vrf.name, vrf.table)) {
            Ok(()) => Ok(Creation::Made),
            Err(e) if e.is_present() => Ok(Creation::Existed),
            Err(e) => Err(e),
        }
    }
}
